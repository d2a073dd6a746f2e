//! A cluster at work: a producer and a group that commits, of one client library, and judged at the end.

use super::client::{Client, Driver, Manner, Place};
use super::run::{INTERVAL_MS, PARTITIONS, TOPIC, create_topic};
use super::verdict::{self, Verdict};
use super::{Micros, history::History, now, topology};
use crate::Cluster;
use std::path::Path;
use std::time::Duration;

/// The group that commits.
const GROUP: &str = "at-work";

/// Its members.
const MEMBERS: usize = 2;

/// How far apart a member's commits are.
const COMMIT_INTERVAL_MS: u32 = 50;

/// A member may be waited for until its session is over, 45 s: librdkafka 2.0.2 can lose its way when no broker could be reached for
/// a while. Told that there is no coordinator yet by the one that it knew, it puts its next question to a broker without an
/// address, and waits there until its session ends.
const SESSION_PATIENCE: Duration = Duration::from_secs(75);

/// Clients at work on a topic of twelve partitions: an idempotent producer with `acks=all`, 2,400 records a second;
/// and a group of two, whose members commit twenty times a second.
pub struct Load {
    producer: Driver,
    group: Driver,
}

impl Load {
    /// Creates the topic and starts everybody, with their library's defaults. Returns when each partition has
    /// acknowledged something and each member has committed. What clients say is kept in `directory`.
    pub fn start(cluster: &Cluster, client: Client, directory: &Path) -> Load {
        Load::start_with(cluster, client, directory, &[])
    }

    /// As [`Load::start`]; these settings of the client library differ from its defaults.
    pub fn start_with(cluster: &Cluster, client: Client, directory: &Path, settings: &[&str]) -> Load {
        create_topic(cluster);
        let bootstrap = cluster.bootstrap();
        let place = Place { bootstrap: &bootstrap, topic: TOPIC, settings: &[], directory };
        let manner = Manner { settings, ..Manner::default() };
        let producer = Driver::produce_as(client, &place, PARTITIONS, INTERVAL_MS, &manner);
        let group = Driver::group_as(client, &place, GROUP, MEMBERS, COMMIT_INTERVAL_MS, &manner);
        let mut load = Load { producer, group };
        load.goes_on();
        load
    }

    /// Waits until each partition has acknowledged, and each member has committed, something that was begun after this
    /// call; returns how long that took.
    ///
    /// # Panics
    /// When it does not come to that in half a minute, or for the members in [`SESSION_PATIENCE`].
    pub fn goes_on(&mut self) -> Micros {
        let begun = now();
        self.producer.wait_for("every partition acknowledges", |told| {
            partitions().all(|partition| told.silence(partition, begun).is_some()).then_some(())
        });
        self.group.wait_long_for("every member commits", SESSION_PATIENCE, |told| {
            (0..MEMBERS).all(|member| told.commit_silence(member, begun).is_some()).then_some(())
        });
        now() - begun
    }

    /// The partitions in which a record was acknowledged that was sent after this moment.
    pub fn acknowledging_since(&self, moment: Micros) -> Vec<i32> {
        let told = self.producer.history();
        partitions().filter(|&partition| told.silence(partition, moment).is_some()).collect()
    }

    /// Ends the clients in order, and compares what they were told with what is there: every acknowledged record once,
    /// in order, where it was said to be; offsets as they were committed; logs that are equal, byte for byte. All
    /// nodes must run.
    ///
    /// # Panics
    /// When it is not so.
    pub fn judge(self, cluster: &Cluster) -> Verdict {
        let mut group = self.group.finish();
        let told = self.producer.finish();
        topology::wait_until_in_sync(cluster);
        verdict::wait_for_equal_logs(cluster, TOPIC, PARTITIONS);
        let verdict = verdict::judge(cluster, TOPIC, &[&told], &[]);
        assert!(verdict.is_clean(), "{} lost: {verdict:?}", verdict.lost());
        assert!(verdict.acknowledged > 0, "nothing was acknowledged");
        judge_offsets(cluster, &mut group);
        verdict
    }
}

fn judge_offsets(cluster: &Cluster, group: &mut History) {
    assert_eq!(group.set_back, [], "commits went back");
    let partitions = i32::try_from(PARTITIONS).expect("a few");
    let violations = verdict::judge_commits(cluster, GROUP, group, partitions);
    assert!(violations.is_empty(), "{violations:?}");
}

fn partitions() -> impl Iterator<Item = i32> {
    0..i32::try_from(PARTITIONS).expect("a few")
}
