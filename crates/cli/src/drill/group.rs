//! The group of a drill: members that read, and commit what they have read.
//!
//! What they are told is noted for [`ottla_verify::Commits`]. A member that does not know what became of a commit joins anew
//! before it commits again: the answer might come from a coordinator that stood still, and be carried out later.

use super::workload::Shared;
use ottla_client::consumer::group::GroupConfig;
use ottla_client::consumer::{ConsumerConfig, OffsetReset};
use ottla_client::{Client, ClientError, Consumer};
use ottla_net::CallError;
use ottla_protocol::ErrorCode;
use ottla_types::Offset;
use ottla_verify::Stamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How many members the group has.
pub(super) const MEMBERS: usize = 3;

/// How far apart a member's commits are.
const COMMIT_INTERVAL: Duration = Duration::from_millis(50);

/// How long a member waits for records before it looks whether a commit is due.
const POLL: Duration = Duration::from_millis(20);

/// Records that a member takes at once, at most.
const RECORDS_MAX: usize = 2000;

/// How often a member says that it is there: the others learn as soon when shares change.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// How long a member waits after an error before it goes on.
const PAUSE: Duration = Duration::from_millis(50);

/// A member of the group.
struct Member {
    number: usize,
    shared: Arc<Shared>,
    consumer: Consumer,
    generation: i32,
}

/// Reads and commits until it is told to stop; leaves the group then.
pub(super) async fn run(number: usize, shared: Arc<Shared>, client: Client, mut stop: watch::Receiver<bool>) {
    let config = ConsumerConfig {
        reset: OffsetReset::Earliest,
        // Beside partitions that are silent, others have something to say.
        wait_max: Duration::from_millis(100),
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(client, config);
    consumer.subscribe(
        vec![shared.topic.clone()],
        GroupConfig {
            heartbeat_interval: HEARTBEAT_INTERVAL,
            // What is committed unseen cannot be judged.
            auto_commit: false,
            ..GroupConfig::new(shared.group.clone())
        },
    );
    let mut member = Member { number, shared, consumer, generation: -1 };
    let mut due = member.shared.clock.monotonic();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            read = member.read() => if let Err(error) = read {
                tracing::debug!(%error, number, "not read");
                tokio::time::sleep(PAUSE).await;
            }
        }
        // Not given up halfway: what was tried must be known.
        if member.shared.clock.monotonic() >= due {
            member.commit().await;
            due = member.shared.clock.monotonic() + COMMIT_INTERVAL;
        }
    }
    if let Err(error) = member.consumer.close().await {
        tracing::debug!(%error, number, "not left");
    }
}

/// Waits until the member is told to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody waits for it any more.
    let _ = stop.wait_for(|&stop| stop).await;
}

impl Member {
    async fn read(&mut self) -> Result<(), ClientError> {
        let records = self.consumer.poll(POLL, RECORDS_MAX).await?;
        if self.generation != self.consumer.generation() {
            self.joined();
        }
        let mut history = self.shared.history.lock();
        for record in records {
            let partition = record.partition.partition;
            // What is none of ours, or changed, is found and judged at the end.
            if let Some(Ok(stamp)) = record.value.as_deref().map(Stamp::read) {
                history.saw(partition, record.offset, stamp);
            }
        }
        Ok(())
    }

    /// It has got a share, in a new generation.
    fn joined(&mut self) {
        self.generation = self.consumer.generation();
        let mut commits = self.shared.commits.lock();
        for (at, &committed) in self.consumer.resumed() {
            let member = u32::try_from(self.number).expect("a few members");
            commits.owns(&self.shared.group, at.partition, self.generation, member);
            commits.told(&self.shared.group, at.partition, self.generation, committed);
        }
        drop(commits);
        self.shared.watch.joined(self.generation);
    }

    async fn commit(&mut self) {
        // Nothing is noted of a share that was not looked at yet.
        if self.consumer.consumed().is_empty() || self.generation != self.consumer.generation() {
            return;
        }
        let (group, generation) = (&self.shared.group, self.generation);
        let read: BTreeMap<i32, Offset> =
            self.consumer.consumed().iter().map(|(at, &offset)| (at.partition, offset)).collect();
        for (&partition, &offset) in &read {
            self.shared.commits.lock().tries(group, partition, generation, offset);
        }
        let begun = self.shared.clock.monotonic();
        match self.consumer.commit().await {
            Ok(()) => {
                let now = self.shared.clock.monotonic();
                for (&partition, &offset) in &read {
                    self.shared.commits.lock().acknowledged(group, partition, generation, offset);
                }
                self.shared.note_committed(&read);
                self.shared.watch.committed(self.number, begun, now);
            }
            Err(error) => {
                tracing::debug!(%error, number = self.number, "not committed");
                if must_join_anew(&error) {
                    self.consumer.enforce_rebalance();
                }
            }
        }
    }
}

/// Whether a commit may still be carried out, or is refused because the group has gone on.
fn must_join_anew(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { code, .. } => !matches!(
            code,
            ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress
        ),
        // Whoever has ended, or is not there, carries out nothing any more.
        ClientError::Unreachable { source, .. } | ClientError::Call(source) => {
            !matches!(source, CallError::Closed | CallError::Refused(_) | CallError::Connect { .. })
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_that_a_commit_was_not_carried_out_stays_in_the_generation() {
        let refused = |code| must_join_anew(&ClientError::refused(code, None));

        assert!(!refused(ErrorCode::NotCoordinator));
        assert!(!must_join_anew(&ClientError::Call(CallError::Closed)));
        assert!(refused(ErrorCode::IllegalGeneration));
        assert!(refused(ErrorCode::RebalanceInProgress));
        assert!(must_join_anew(&ClientError::Call(CallError::TimedOut(PAUSE))));
    }
}
