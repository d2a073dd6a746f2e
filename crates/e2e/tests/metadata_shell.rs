//! The metadata log and its snapshots, as Kafka's own `kafka-metadata-shell` shows them; and Ottla's says the same of them.

use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::{Cluster, eventually, jars};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The latest that the shell of Apache Kafka 4.3.1 can read.
const LEVEL: &str = "--release-version=4.3";

/// A node whose metadata log that shell can read, with a snapshot every few records.
fn cluster() -> Cluster {
    let mut cluster =
        Cluster::start(1, "broker.rack=r1\nmetadata.log.max.record.bytes.between.snapshots=2000");
    cluster.kill();
    for node in cluster.nodes() {
        fs::remove_dir_all(node.data()).expect("it had a disk");
        node.format(LEVEL);
    }
    cluster.restart();
    cluster
}

/// Runs a shell on a file, with lines to read.
fn run(mut shell: Command, file: &Path, command: &[&str], lines: &str) -> Output {
    shell.arg("--snapshot").arg(file).args(command);
    let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = shell.spawn().expect("it is built, or java is installed by `cargo xtask test`");
    // A shell that has failed reads nothing; the output tells.
    let _ = child.stdin.take().expect("piped").write_all(lines.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn ours(file: &Path, command: &[&str], lines: &str) -> Output {
    let mut shell = Command::new(binary());
    shell.arg("kafka-metadata-shell");
    run(shell, file, command, lines)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What both shells say. Kafka's may answer before it has loaded the file (`waitUntilCaughtUp` does not wait for the image
/// to be published), so it is asked until it has not.
fn said(file: &Path, command: &[&str], lines: &str) -> String {
    let ours = ours(file, command, lines);
    let ours = (text(&ours.stdout), ours.status.code());
    let mut theirs = (String::new(), None);
    for _ in 0..10 {
        let output = run(jars::metadata_shell(), file, command, lines);
        theirs = (text(&output.stdout), output.status.code());
        if theirs == ours {
            break;
        }
    }
    assert!(ours == theirs, "{command:?} {lines}\nKafka's shell:\n{theirs:?}\nours:\n{ours:?}");
    ours.0
}

/// The latest snapshot of the log, which must tell of most topics.
fn snapshot(log: &Path) -> PathBuf {
    eventually("there is a snapshot with most topics", PATIENCE, || {
        let entries =
            fs::read_dir(log).expect("the metadata log").map(|entry| entry.expect("an entry").path());
        let latest = entries.filter(|path| path.extension().is_some_and(|end| end == "checkpoint")).max()?;
        let output = ours(&latest, &["ls", "/image/topics/byName"], "");
        text(&output.stdout).contains("topic-19").then_some(latest)
    })
}

#[test]
fn both_shells_show_the_same_of_a_log_and_of_a_snapshot() {
    let mut cluster = cluster();
    let bootstrap = cluster.bootstrap();
    let tool = |cluster: &Cluster, name: &str, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        cluster.tool(&[&[name, "--bootstrap-server", &bootstrap], &words[..]].concat());
    };
    tool(&cluster, "kafka-topics", "--create --topic first --partitions 12 --config cleanup.policy=compact");
    tool(
        &cluster,
        "kafka-configs",
        "--alter --entity-type brokers --entity-default --add-config log.roll.ms=90000",
    );
    tool(&cluster, "kafka-configs", "--alter --broker 1 --add-config log.roll.ms=80000");
    tool(&cluster, "kafka-configs", "--alter --group g --add-config consumer.session.timeout.ms=50000");
    tool(&cluster, "kafka-client-metrics", "--alter --name m --interval 5000");
    for number in 10..30 {
        tool(&cluster, "kafka-topics", &format!("--create --topic topic-{number} --partitions 2"));
    }
    tool(&cluster, "kafka-topics", "--delete --topic topic-20");
    let log = cluster.nodes()[0].data().join("__cluster_metadata-0");
    let snapshot = snapshot(&log);

    cluster.kill();

    for file in [log.join("00000000000000000000.log"), snapshot] {
        let whole = said(&file, &["tree", "/image"], "");
        for expected in [
            "BrokerRegistration(id=1, ",
            "rack=Optional[r1], ",
            "ControllerRegistration(id=1, ",
            "PartitionRegistration(replicas=[1], ",
            "  TOPIC:first:\n    cleanup.policy:\n      compact\n",
            "    Optional[4.3-IV0]\n",
        ] {
            assert!(whole.contains(expected), "{expected}\n{whole}");
        }
        assert!(said(&file, &["find", "/image"], "").contains("\n/image/topics/byName/topic-19/1\n"));
        said(&file, &["ls", "/", "/image", "/image/acls", "/image/scram", "/image/provenance"], "");
        said(&file, &["ls", "nope", "/image/topics/byName/{first,topic-1?}"], "");
        said(&file, &["cat", "/image/topics/byName/*/id", "/image/provenance", "/image", "nope"], "");
        said(&file, &["cat", "/image/features/*", "/image/cluster/*/1"], "");
        for wrong in [&["cat"][..], &["pwd"], &["tre", "/"], &["nope"], &["tree", ""]] {
            said(&file, wrong, "");
        }
        let lines = "pwd\ncd /image/topics/byName\nls\ncd f*\npwd\ncat 'na'me\nls nope\nman ls\nman pwd\nls -h\n\
                     cd ../topic-10/id\ncd\nhistory 3\nhistory x\nls -x\nhist\nc\nexit\nls\n";
        assert!(said(&file, &[], lines).contains(">> /image/topics/byName/first\n"));
    }
}

#[test]
fn the_log_of_a_running_node_is_refused_by_both() {
    let cluster = cluster();
    let log = cluster.nodes()[0].data().join("__cluster_metadata-0/00000000000000000000.log");

    let theirs = run(jars::metadata_shell(), &log, &["ls", "/"], "");
    let ours = ours(&log, &["ls", "/"], "");

    let directory = cluster.nodes()[0].data();
    let expected =
        format!("Unable to lock {}. Please ensure that no broker or controller", directory.display());
    for output in [theirs, ours] {
        assert!(text(&output.stderr).contains(&expected), "{output:?}");
        assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(1)));
    }
    assert!(cluster.nodes()[0].runs());
}
