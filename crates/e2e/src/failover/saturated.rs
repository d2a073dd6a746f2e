//! A machine with far more to do than it can: nobody may be taken for dead.

use super::client::{Client, Driver, Place};
use super::run::{INTERVAL_MS, PARTITIONS, TOPIC, await_acknowledgements, create_topic};
use super::verdict::{self, Verdict};
use super::{now, topology};
use crate::{Cluster, eventually};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// *Saturated*: so many busy processes a core.
const BUSY_PER_CORE: usize = 4;

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What controllers said when they fenced somebody.
    pub fenced: Vec<String>,
    /// How often a node noticed that it had been asleep.
    pub stalls: usize,
    /// How often the quorum changed its leader.
    pub elections: usize,
    /// The longest time without an acknowledgement, of any partition, in microseconds.
    pub longest_gap: super::Micros,
    /// Whether anything was lost.
    pub verdict: Verdict,
}

/// Processes that do nothing, as fast as they can. They end with their owner.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Busy {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spin =
            || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh is everywhere");
        Busy((0..cores * BUSY_PER_CORE).map(|_| spin()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It cannot have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Loads a cluster of three in an empty directory, saturates the machine for `how_long`, and looks who was fenced.
pub fn saturate(client: Client, how_long: Duration, directory: &Path) -> Report {
    let mut cluster = Cluster::start_in(directory, 3, "");
    create_topic(&cluster);
    let bootstrap = cluster.bootstrap();
    let place = Place { bootstrap: &bootstrap, topic: TOPIC, settings: &[], directory };
    let mut producer = Driver::produce(client, &place, PARTITIONS, INTERVAL_MS);
    await_acknowledgements(&mut producer);
    let terms = |cluster: &Cluster| topology::said(cluster, ": active controller ").len();
    let before = terms(&cluster);
    let begun = now();
    let until = begun + i64::try_from(how_long.as_micros()).expect("not for ever");
    let busy = Busy::start();
    eventually("time passes", how_long * 2, || (now() >= until).then_some(()));
    drop(busy);
    await_acknowledgements(&mut producer);
    let told = producer.finish();
    let gaps = told.acks.keys().filter_map(|&partition| told.longest_gap(partition, begun, until));
    let longest_gap = gaps.max().unwrap_or(0);
    verdict::wait_for_equal_logs(&cluster, TOPIC, PARTITIONS);
    let report = Report {
        fenced: topology::fenced(&cluster),
        stalls: topology::said(&cluster, "this node was asleep").len(),
        elections: terms(&cluster) - before,
        longest_gap,
        verdict: verdict::judge(&cluster, TOPIC, &[&told], &[]),
    };
    cluster.stop();
    report
}
