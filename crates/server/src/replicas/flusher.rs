//! Group commit: logs whose topic asks for it (`flush.messages`, `flush.ms`) are synced while appends go on. And all of them
//! now and then, that a start need not look at much.
//!
//! A log has one sync under way at most. It covers everything that was appended before it began; what comes meanwhile
//! waits for the next one, together. Syncs have threads of their own: the data threads never wait for a disk, and
//! the metadata log waits behind no other.

use super::ReplicaManager;
use crate::io_pool::IoPool;
use ottla_types::TopicIdPartition;
use parking_lot::Mutex;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

/// How many logs are synced at a time. A disk with a journal takes several syncs in one go.
pub const SYNCS_MAX: usize = 4;

/// How many bytes of all logs together may lie above the recovery points that are written down: as much as a start
/// after a kill checks in less than a second.
const UNFLUSHED_BYTES_MAX: u64 = 1 << 30;

/// How often it is looked whether there are more.
const UNFLUSHED_PERIOD: Duration = Duration::from_secs(1);

/// The logs that wait for a sync, first come, first served.
#[derive(Debug, Default)]
pub struct FlushQueue {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<TopicIdPartition>,
    /// What is in `waiting`.
    listed: BTreeSet<TopicIdPartition>,
    syncing: BTreeSet<TopicIdPartition>,
    /// Logs that are to be synced once more when the sync under way is over.
    again: BTreeSet<TopicIdPartition>,
}

impl State {
    fn list(&mut self, at: TopicIdPartition) {
        if self.listed.insert(at) {
            self.waiting.push_back(at);
        }
    }
}

impl FlushQueue {
    /// Asks for a sync of what a log holds now.
    pub fn request(&self, at: TopicIdPartition) {
        let mut state = self.state.lock();
        if state.syncing.contains(&at) {
            state.again.insert(at);
        } else {
            state.list(at);
            drop(state);
            self.woken.notify_one();
        }
    }

    /// Waits for a log to sync. Whoever takes it says when it is [`FlushQueue::done`].
    pub async fn next(&self) -> TopicIdPartition {
        loop {
            if let Some(at) = self.take() {
                return at;
            }
            self.woken.notified().await;
        }
    }

    pub(super) fn take(&self) -> Option<TopicIdPartition> {
        let mut state = self.state.lock();
        let at = state.waiting.pop_front()?;
        state.listed.remove(&at);
        state.syncing.insert(at);
        if !state.waiting.is_empty() {
            // Of several that came at once only one may have been heard.
            self.woken.notify_one();
        }
        Some(at)
    }

    /// The sync is over, well or not.
    pub fn done(&self, at: TopicIdPartition) {
        let mut state = self.state.lock();
        state.syncing.remove(&at);
        if state.again.remove(&at) {
            state.list(at);
            self.woken.notify_one();
        }
    }
}

/// Syncs one log after the other, for ever. [`SYNCS_MAX`] of these run.
pub async fn run(replicas: Arc<ReplicaManager>, io: IoPool) {
    loop {
        let at = replicas.flushes().next().await;
        if let Some(replica) = replicas.get(at) {
            let manager = replicas.clone();
            if io.run(move || manager.flush_records(&replica)).await.is_err() {
                tracing::error!(partition = %at, "a sync ended in a panic");
            }
        }
        replicas.flushes().done(at);
    }
}

/// Syncs all logs and writes down up to where every so often, as Kafka does (`log.flush.offset.checkpoint.interval.ms`), and,
/// unlike Kafka, when a start after a kill would have more than [`UNFLUSHED_BYTES_MAX`] to look at.
pub async fn run_recovery_points(replicas: Arc<ReplicaManager>, io: IoPool, every: Duration) {
    let mut by_time = tokio::time::interval(every);
    let mut by_bytes = tokio::time::interval(UNFLUSHED_PERIOD);
    by_bytes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes at once, and there is nothing to do yet.
    by_time.tick().await;
    by_bytes.tick().await;
    loop {
        let is_due = tokio::select! {
            _ = by_time.tick() => true,
            _ = by_bytes.tick() => replicas.unflushed_bytes() > UNFLUSHED_BYTES_MAX,
        };
        if is_due {
            let manager = replicas.clone();
            if io.run(move || manager.checkpoint_logs()).await.is_err() {
                tracing::error!("a checkpoint of the logs ended in a panic; it is tried again");
            }
        }
    }
}

/// Looks, every so often, for logs whose `flush.ms` has passed.
pub async fn run_scheduler(replicas: Arc<ReplicaManager>, period: Duration) {
    let mut ticks = tokio::time::interval(period);
    // The first comes at once, and there is nothing to do yet.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        replicas.request_overdue_flushes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::Uuid;

    fn at(partition: i32) -> TopicIdPartition {
        TopicIdPartition::new(Uuid::from_u128(7), partition)
    }

    #[test]
    fn what_is_asked_for_during_a_sync_is_synced_once_more_afterwards() {
        let queue = FlushQueue::default();
        queue.request(at(0));
        queue.request(at(0));
        assert_eq!(queue.take(), Some(at(0)));
        for _ in 0..3 {
            queue.request(at(0));
        }
        assert_eq!(queue.take(), None, "one sync at a time");

        queue.done(at(0));

        assert_eq!(queue.take(), Some(at(0)));
        queue.done(at(0));
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn a_busy_log_does_not_come_before_those_that_waited_longer() {
        let queue = FlushQueue::default();
        queue.request(at(0));
        queue.request(at(1));
        assert_eq!(queue.take(), Some(at(0)));
        queue.request(at(0));
        queue.done(at(0));

        assert_eq!((queue.take(), queue.take(), queue.take()), (Some(at(1)), Some(at(0)), None));
    }
}
