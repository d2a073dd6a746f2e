//! Drives `kcat`, the tutorial's `kafkacat`.

use crate::Cluster;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs `kcat` against the cluster with this input, and returns what it wrote to standard output.
///
/// # Panics
/// When it fails, with what it said.
pub fn run(cluster: &Cluster, arguments: &[&str], input: &str) -> String {
    let output = try_run(cluster, arguments, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat {arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).expect("kcat prints what was produced: text")
}

/// As [`run`], whatever becomes of it.
///
/// # Panics
/// When `kcat` is not installed.
pub fn try_run(cluster: &Cluster, arguments: &[&str], input: &str) -> Output {
    let bootstrap = cluster.bootstrap();
    let mut child = Command::new("timeout")
        .args(["60", "kcat", "-b", &bootstrap])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kcat is installed by `cargo xtask test`");
    let mut stdin = child.stdin.take().expect("piped");
    // A consumer does not read its input, and may be gone before it is written.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("the child is ours")
}

/// Produces one record a line.
pub fn produce(cluster: &Cluster, topic: &str, lines: &str) {
    run(cluster, &["-P", "-t", topic, "-X", "acks=all"], lines);
}

/// Everything in a topic, a record a line, sorted.
pub fn consume_all(cluster: &Cluster, topic: &str) -> Vec<String> {
    let text = run(cluster, &["-C", "-t", topic, "-e", "-q", "-o", "beginning"], "");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
