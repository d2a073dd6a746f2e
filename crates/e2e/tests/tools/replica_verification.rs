//! `kafka-replica-verification`, Kafka's and ours, of one cluster. It goes on until it is ended, so that no story has it.

use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::process::Killed;
use ottla_e2e::{Cluster, eventually, jars, kcat};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Instant;

/// Where a batch has its checksum.
const CRC_OFFSET: u64 = 17;

/// Three brokers, of which each has each partition of `t`, and what was written there.
fn cluster() -> Cluster {
    let cluster = Cluster::start(3, "");
    let bootstrap = cluster.bootstrap();
    let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"];
    cluster.tool(&[&create[..], &["--replica-assignment", "1:2:3,2:3:1,3:1:2"]].concat());
    for (partition, lines) in [("0", "one\n"), ("1", "two\nthree\n")] {
        kcat::run(&cluster, &["-P", "-t", "t", "-p", partition, "-X", "acks=all"], lines);
    }
    cluster
}

/// What Kafka's tool and ours tell of the topic from its beginning, until they say this; each line once, without its time.
fn told(cluster: &Cluster, until: &str) -> [Vec<String>; 2] {
    let kafkas = || jars::command("ReplicaVerificationTool");
    let ours = || {
        let mut command = Command::new(binary());
        command.arg("kafka-replica-verification");
        command
    };
    // On a loaded machine Kafka's has been seen to say nothing more, for ever.
    let tries = (0..TRIES).find_map(|_| tells(kafkas(), cluster, until).ok());
    [
        tries.expect("Kafka's tool says so"),
        tells(ours(), cluster, until).unwrap_or_else(|told| panic!("{until}: {told}")),
    ]
}

/// How often Kafka's tool is started.
const TRIES: usize = 3;

/// What a tool tells until it says this; or all that it has said, when it has not for a while.
#[expect(clippy::disallowed_methods, reason = "a program that says nothing gives no other sign")]
fn tells(mut tool: Command, cluster: &Cluster, until: &str) -> Result<Vec<String>, String> {
    let directory = tempfile::tempdir().expect("a directory for what it says");
    let path = directory.path().join("told");
    let file = File::create(&path).expect("a file for it");
    let bootstrap = cluster.bootstrap();
    tool.args(["--broker-list", &bootstrap, "--topics-include", "t", "--time", "-2"])
        .args(["--max-wait-ms", "100", "--report-interval-ms", "50"])
        .stdout(file.try_clone().expect("one file"))
        .stderr(file);
    let _running = Killed(tool.spawn().expect("it runs"));
    let begun = Instant::now();
    eventually(until, PATIENCE * 2, || {
        let text = fs::read_to_string(&path).expect("text");
        let lines = text.lines().filter_map(|line| Some(line.split_once(": ")?.1.to_owned()));
        let mut lines: Vec<String> = lines.collect();
        lines.dedup();
        if lines.iter().any(|line| line.starts_with(until)) {
            return Some(Ok(lines));
        }
        (begun.elapsed() > PATIENCE).then_some(Err(text))
    })
}

#[test]
fn both_say_that_replicas_are_the_same() {
    let cluster = cluster();

    let [kafkas, ours] = told(&cluster, "max lag is 0 for partition ");

    assert_eq!(kafkas[0], "verification process is started");
    assert!(kafkas.last().is_some_and(|last| last.ends_with(" among 3 partitions")), "{kafkas:?}");
    assert_eq!((kafkas.first(), kafkas.last()), (ours.first(), ours.last()));
}

#[test]
fn both_find_the_replica_whose_checksum_is_another() {
    let cluster = cluster();
    let log = cluster.nodes()[1].data().join("t-0/00000000000000000000.log");
    let log = File::options().read(true).write(true).open(log).expect("the replica's log");
    let mut crc = [0; 4];
    log.read_exact_at(&mut crc, CRC_OFFSET).expect("a batch");
    let [old, new] = [u32::from_be_bytes(crc), u32::from_be_bytes(crc) ^ 1];
    log.write_all_at(&new.to_be_bytes(), CRC_OFFSET).expect("it is ours");

    let [kafkas, ours] = told(&cluster, "partition t-0 has unmatched checksum");

    let expected = format!(
        "partition t-0 has unmatched checksum at offset 0; replica 1's checksum {old}; replica 2's checksum {new}"
    );
    assert!(kafkas.contains(&expected), "{kafkas:?}");
    assert!(ours.contains(&expected), "{ours:?}");
}
