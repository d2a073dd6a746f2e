//! The clients of a drill, and what they share.

use super::cluster::{PARTITIONS, Topic, client_config};
use super::watch::Watch;
use super::{group, load};
use anyhow::{Context, Result};
use ottla_client::producer::ProducerConfig;
use ottla_client::{Client, HostPort, Producer};
use ottla_net::{Clock, Task, task};
use ottla_types::{Offset, Random};
use ottla_verify::{Commits, Guarantee, History};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long records may take to be answered at the end, beyond what they may take in any case.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);

/// What clients share, and what they note.
pub(super) struct Shared {
    /// The drill's clock.
    pub(super) clock: Clock,
    /// The topic.
    pub(super) topic: String,
    /// Its partitions.
    pub(super) partitions: Vec<i32>,
    /// The group.
    pub(super) group: String,
    /// The producer's number in the history.
    pub(super) producer: u32,
    /// What was sent, acknowledged and read.
    pub(super) history: Mutex<History>,
    /// What was committed.
    pub(super) commits: Mutex<Commits>,
    /// When that was.
    pub(super) watch: Watch,
    /// The largest offset that was committed of each partition.
    committed: Mutex<BTreeMap<i32, Offset>>,
}

impl Shared {
    /// These offsets were committed.
    pub(super) fn note_committed(&self, offsets: &BTreeMap<i32, Offset>) {
        let mut committed = self.committed.lock();
        for (&partition, &offset) in offsets {
            let known = committed.entry(partition).or_insert(offset);
            *known = (*known).max(offset);
        }
        drop(committed);
        self.watch.tell();
    }

    /// Whether the group has committed up to these offsets.
    pub(super) fn has_committed(&self, ends: &BTreeMap<i32, Offset>) -> bool {
        let committed = self.committed.lock();
        ends.iter().all(|(partition, &end)| committed.get(partition).is_some_and(|&offset| offset >= end))
    }
}

/// Clients at work.
pub(super) struct Workload {
    /// What they share.
    pub(super) shared: Arc<Shared>,
    stop_load: watch::Sender<bool>,
    stop_group: watch::Sender<bool>,
    load: Task,
    members: Vec<Task>,
}

impl Workload {
    /// Starts a producer and a group.
    pub(super) fn start(clock: Clock, bootstrap: &[HostPort], topic: &Topic, rate: u32) -> Workload {
        let mut history = History::new(Random::new(crate::format::seed()).next_u64());
        let producer = history.add_producer(Guarantee::FULL);
        let shared = Arc::new(Shared {
            clock,
            topic: topic.name.clone(),
            partitions: (0..PARTITIONS).collect(),
            group: topic.name.clone(),
            producer,
            history: Mutex::new(history),
            commits: Mutex::default(),
            watch: Watch::new(),
            committed: Mutex::default(),
        });
        let (stop_load, load_stops) = watch::channel(false);
        let (stop_group, group_stops) = watch::channel(false);
        // Each client has connections of its own.
        let client = |name: &str| Client::new(client_config(bootstrap, name));
        let producer = Producer::new(client("ottla-drill-producer"), ProducerConfig::default());
        let load = task::spawn("load", load::run(shared.clone(), producer, rate, load_stops));
        let members = (0..group::MEMBERS)
            .map(|number| {
                let member =
                    group::run(number, shared.clone(), client("ottla-drill-member"), group_stops.clone());
                task::spawn("member", member)
            })
            .collect();
        Workload { shared, stop_load, stop_group, load, members }
    }

    /// Stops sending, and waits until everything that was sent has its answer.
    ///
    /// # Errors
    /// When that takes longer than it may.
    pub(super) async fn stop_sending(&mut self) -> Result<()> {
        self.stop_load.send_replace(true);
        let patience = ProducerConfig::default().delivery_timeout + FLUSH_PATIENCE;
        let ending = std::mem::replace(&mut self.load, task::spawn("load", std::future::ready(())));
        tokio::time::timeout(patience, ending.join()).await.context("records are still without an answer")?;
        Ok(())
    }

    /// Has the members leave the group.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn stop_group(self) -> Result<Arc<Shared>> {
        self.stop_group.send_replace(true);
        for member in self.members {
            let ended = tokio::time::timeout(FLUSH_PATIENCE, member.join()).await;
            ended.context("a member does not leave the group")?;
        }
        Ok(self.shared)
    }
}
