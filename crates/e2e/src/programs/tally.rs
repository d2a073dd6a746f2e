//! What is in a topic.

use crate::cluster::binary;
use std::collections::BTreeMap;
use std::process::Command;

/// The values in a topic by their keys, in the order of the log. Keys are not in two partitions.
pub fn by_key(bootstrap: &str, topic: &str, isolation: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in read(bootstrap, topic, isolation, "%k\\t%v\\n").lines() {
        let (key, value) = line.split_once('\t').expect("a key and a value");
        found.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    found
}

/// The values in each partition of a topic, in the order of the log.
pub fn by_partition(bootstrap: &str, topic: &str) -> BTreeMap<i32, Vec<String>> {
    let mut found: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for line in read(bootstrap, topic, "read_committed", "%p %v\\n").lines() {
        let (partition, value) = line.split_once(' ').expect("a partition and a value");
        found.entry(partition.parse().expect("a number")).or_default().push(value.to_owned());
    }
    found
}

/// The values in a topic.
pub fn values(bootstrap: &str, topic: &str) -> Vec<String> {
    read(bootstrap, topic, "read_committed", "%v\\n").lines().map(str::to_owned).collect()
}

/// How many records are in a topic.
pub fn count(bootstrap: &str, topic: &str, isolation: &str) -> usize {
    read(bootstrap, topic, isolation, "%p\\n").lines().count()
}

/// What was there when it began: with records that come in all the time kcat may never see an end.
fn read(bootstrap: &str, topic: &str, isolation: &str, format: &str) -> String {
    let mut command = Command::new("timeout");
    command.arg("60").arg(binary()).args(["consume", topic, "-e", "-b", bootstrap, "-f", format]);
    if isolation == "read_committed" {
        command.arg("--committed");
    }
    let output = command.output().expect("timeout is everywhere");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ottla consume {topic}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).expect("what was produced is text")
}
