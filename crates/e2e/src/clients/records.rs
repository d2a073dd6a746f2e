//! Records that a library has written and read, for `ottla-verify`.

use super::driver::Driver;
use super::library::Library;
use crate::Cluster;
use crate::failover::verdict;
use ottla_types::Offset;
use ottla_verify::judge::Partition;
use ottla_verify::{History, Outcome, Stamp};
use std::collections::BTreeMap;
use std::path::Path;

/// The run of every stamp.
const RUN: u64 = 1;

/// How long a record's value is.
const VALUE_BYTES: usize = 200;

/// One cluster, one library on it, and where what its programs say is kept.
pub struct Scene<'a> {
    /// The nodes.
    pub cluster: &'a mut Cluster,
    /// The library.
    pub library: Library,
    /// Where to keep what programs say.
    pub directory: &'a Path,
    /// Records to each partition, in each step.
    pub records: usize,
    /// How often a leader is killed.
    pub kills: usize,
}

impl Scene<'_> {
    /// Starts the library's program: its command, the cluster's addresses, and more words.
    pub fn start(&self, command: &str, words: &[&str]) -> Driver {
        let bootstrap = self.cluster.bootstrap();
        Driver::start(self.library, self.directory, &[&[command, &bootstrap], words].concat())
    }

    /// Creates a topic of three replicas.
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        let (bootstrap, partitions) = (self.cluster.bootstrap(), partitions.to_string());
        let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", topic];
        self.cluster
            .tool(&[&create[..], &["--partitions", &partitions, "--replication-factor", "3"]].concat());
    }

    /// Reads a topic by a client that is neither ours nor this library.
    pub fn read_by_another(&self, topic: &str) -> BTreeMap<i32, Partition> {
        verdict::read_topic(self.cluster, topic)
    }

    /// Reads a topic by the library, until it has given so many records; then to where it is when it is told to end.
    pub fn read(&self, topic: &str, isolation: &str, count: usize) -> BTreeMap<i32, Partition> {
        let mut consumer = self.start("consume", &[topic, isolation]);
        consumer.wait_for(&format!("{count} records of {topic}"), |said| (said.len() >= count).then_some(()));
        let mut found: BTreeMap<i32, Partition> = BTreeMap::new();
        for line in consumer.finish() {
            let (partition, offset, value) = read(&line).unwrap_or_else(|| panic!("no record: {line}"));
            found.entry(partition).or_default().push((Offset(offset), Stamp::read(value.as_bytes())));
        }
        found
    }
}

/// What is sent to a topic by one producer, and what it is told.
pub struct Sent {
    history: History,
    producer: u32,
    count: usize,
}

impl Sent {
    /// Nothing yet.
    pub fn new(library: Library) -> Sent {
        let mut history = History::new(RUN);
        let producer = history.add_producer(library.guarantee());
        Sent { history, producer, count: 0 }
    }

    /// Has a driver send the next record to a partition.
    pub fn send(&mut self, driver: &mut Driver, partition: i32) -> Stamp {
        let stamp = self.history.send(self.producer, partition);
        let value = stamp.value(VALUE_BYTES);
        self.count += 1;
        driver.tell(&format!("{partition} {}", String::from_utf8_lossy(&value)));
        stamp
    }

    /// As [`Sent::send`], so many to each of so many partitions.
    pub fn send_all(&mut self, driver: &mut Driver, partitions: i32, count: usize) {
        for _ in 0..count {
            (0..partitions).for_each(|partition| {
                self.send(driver, partition);
            });
        }
    }

    /// Takes what the driver was told about them.
    ///
    /// # Panics
    /// When it was told nothing about one of them, or gave it up.
    pub fn acknowledge(&mut self, said: &[String]) {
        for line in said {
            let (partition, offset, value) = acknowledged(line).unwrap_or_else(|| panic!("not kept: {line}"));
            let stamp = Stamp::read(value.as_bytes()).expect("an acknowledgement is of what was sent");
            assert_eq!(stamp.partition, partition, "{line}");
            self.history.told(stamp, Outcome::Acknowledged(Offset(offset)));
        }
        assert_eq!(self.history.acknowledged(), self.count, "not everything was acknowledged");
    }

    /// Compares with what is there: all of it, once, in order, where it was said to be.
    pub fn judge(&self, found: &BTreeMap<i32, Partition>) {
        let verdict = ottla_verify::judge(&self.history, found);
        assert!(verdict.holds(), "{:?}", verdict.violations);
        assert_eq!(verdict.kept, self.count, "{verdict:?}");
        // What is not ours is passed over by the judge.
        let all: usize = found.values().map(Vec::len).sum();
        assert_eq!(all, self.count + verdict.repeated, "records of others are there");
    }

    /// How many were sent.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// Whether a line says that a record was acknowledged: its partition, its offset and its value.
pub fn acknowledged(line: &str) -> Option<(i32, i64, &str)> {
    record(line.strip_prefix("ack ")?)
}

/// Whether a line says that a record was read: its partition, its offset and its value.
pub fn read(line: &str) -> Option<(i32, i64, &str)> {
    record(line.strip_prefix("read ")?)
}

fn record(words: &str) -> Option<(i32, i64, &str)> {
    let mut words = words.splitn(3, ' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?))
}
