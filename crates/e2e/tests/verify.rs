//! `ottla verify`: records are kept through kills, and what is not kept is noticed.

use ottla_e2e::Cluster;
use ottla_e2e::cluster::binary;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn check(cluster: &Cluster, history: &Path) -> Output {
    Command::new(binary())
        .args(["verify", "check", "--bootstrap-server", &cluster.bootstrap(), "--history"])
        .arg(history)
        .output()
        .expect("the binary is built")
}

#[test]
fn what_is_acknowledged_through_a_kill_is_kept_and_a_loss_is_noticed() {
    let mut cluster = Cluster::start(3, "");
    let history = cluster.directory().join("history");
    let producing = Command::new(binary())
        .args(["verify", "produce", "--bootstrap-server", &cluster.bootstrap(), "--records", "4000"])
        .args(["--rate", "1000", "--partitions", "4", "--history"])
        .arg(&history)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    ottla_e2e::eventually("records are acknowledged", ottla_e2e::cluster::PATIENCE, || {
        // Written a buffer at a time.
        std::fs::read_to_string(&history).ok()?.contains("acknowledged").then_some(())
    });

    cluster.node(2).kill();
    cluster.node(2).start();

    let produced = producing.wait_with_output().expect("the child is ours");
    let said = String::from_utf8_lossy(&produced.stdout);
    assert!(produced.status.success(), "{said}{}", String::from_utf8_lossy(&produced.stderr));
    assert!(said.starts_with("acknowledged 4000, refused 0, unknown 0"), "{said}");
    let checked = check(&cluster, &history);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    assert!(said.starts_with("acknowledged 4000  kept 4000  lost 0  doubled 0  reordered 0"), "{said}");

    // Somebody was told of a record that is not there.
    let mut file = OpenOptions::new().append(true).open(&history).expect("the history");
    writeln!(file, "{{\"upto\":[0,5000]}}\n{{\"acknowledged\":[0,4999,4999]}}").expect("it is written");
    let checked = check(&cluster, &history);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("  lost 1  ") && said.ends_with("FAIL\n"), "{said}");
}
