//! What must never happen.

use super::memory_log::{Batch, MemoryLog};
use crate::log::ReplicatedLog;
use ottla_types::{LeaderEpoch, NodeId, Offset};
use std::collections::BTreeMap;

/// Something that must never happen has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {detail}")]
pub struct Violation {
    /// Which invariant, by its id where it has one.
    pub invariant: &'static str,
    /// Where and how.
    pub detail: String,
}

fn ensure(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, detail: detail() }) }
}

/// Remembers what was promised, to see that it is kept.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    /// Every batch that any node ever took for committed.
    committed: Vec<Batch>,
    /// The epoch of the leader that took it for committed first, by the same index.
    committed_in: Vec<LeaderEpoch>,
    leaders: BTreeMap<LeaderEpoch, NodeId>,
    votes: BTreeMap<(NodeId, LeaderEpoch), NodeId>,
    /// For every running node its high watermark, and how many of its batches were compared.
    marks: BTreeMap<NodeId, (Offset, usize)>,
}

impl Checker {
    /// Everything that was ever committed.
    pub fn committed(&self) -> &[Batch] {
        &self.committed
    }

    /// How many epochs had a leader.
    pub fn leaders_count(&self) -> usize {
        self.leaders.len()
    }

    /// A node gave its vote, and somebody heard it.
    ///
    /// # Errors
    /// When it gave it to another before.
    pub fn voted(&mut self, voter: NodeId, epoch: LeaderEpoch, candidate: NodeId) -> Result<(), Violation> {
        let first = *self.votes.entry((voter, epoch)).or_insert(candidate);
        ensure(first == candidate, "RAFT-VOTE", || {
            format!("{voter} voted for {first} and for {candidate} in epoch {epoch}")
        })
    }

    /// A node leads.
    ///
    /// # Errors
    /// When another led in that epoch, or when its log, before it began the epoch, lacks something that
    /// was committed in an earlier one.
    pub fn leads(
        &mut self,
        node: NodeId,
        epoch: LeaderEpoch,
        start: Offset,
        log: &MemoryLog,
    ) -> Result<(), Violation> {
        let first = *self.leaders.entry(epoch).or_insert(node);
        ensure(first == node, "RAFT-1", || format!("{first} and {node} lead in epoch {epoch}"))?;
        let count = self.committed_in.partition_point(|&committed_in| committed_in < epoch);
        let Some(last) = count.checked_sub(1).and_then(|index| self.committed.get(index)) else {
            return Ok(());
        };
        let same = log.batches().get(count - 1) == Some(last);
        ensure(same && last.end <= start, "RAFT-COMPLETE", || {
            format!("{node} leads in epoch {epoch} from {start} without the committed {}", last.end)
        })
    }

    /// A node, which is in `epoch`, raised its high watermark. `synced` are the voters' logs, as far as they are on disk.
    ///
    /// # Errors
    /// When it did not rise, when the node's log differs from what others took for committed, or when what
    /// is committed first here is not on the disks of a majority.
    pub fn committed_to(
        &mut self,
        node: NodeId,
        epoch: LeaderEpoch,
        mark: Offset,
        log: &MemoryLog,
        synced: &[&[Batch]],
    ) -> Result<(), Violation> {
        let (previous, compared) = self.marks.get(&node).copied().unwrap_or((Offset::ZERO, 0));
        ensure(mark >= previous, "HW-1", || format!("{node} went back from {previous} to {mark}"))?;
        let mut index = compared;
        while let Some(batch) = log.batches().get(index).filter(|batch| batch.end <= mark) {
            match self.committed.get(index) {
                Some(committed) => ensure(committed == batch, "RAFT-COMMIT", || {
                    format!("{node} has {batch:?} where {committed:?} was committed")
                })?,
                None => {
                    let copies = synced.iter().filter(|log| log.get(index) == Some(batch)).count();
                    ensure(copies > synced.len() / 2, "HW-2", || {
                        format!("{node} committed {batch:?}, which {copies} of {} disks have", synced.len())
                    })?;
                    self.committed.push(batch.clone());
                    self.committed_in.push(epoch);
                }
            }
            index += 1;
        }
        self.marks.insert(node, (mark, index));
        Ok(())
    }

    /// A node did something.
    ///
    /// # Errors
    /// When its log no longer reaches its high watermark.
    pub fn stepped(&self, node: NodeId, log: &MemoryLog) -> Result<(), Violation> {
        let Some(&(mark, _)) = self.marks.get(&node) else { return Ok(()) };
        let end = log.end().offset;
        ensure(mark <= end, "LOG-3", || format!("{node} ends at {end}, below its high watermark {mark}"))
    }

    /// A node stopped: its high watermark begins anew.
    pub fn stopped(&mut self, node: NodeId) {
        self.marks.remove(&node);
    }

    /// Everyone had time to catch up to `end`.
    ///
    /// # Errors
    /// When a log lacks something committed before it.
    pub fn finished(&self, node: NodeId, end: Offset, log: &MemoryLog) -> Result<(), Violation> {
        let count = self.committed.partition_point(|batch| batch.end <= end);
        ensure(log.batches().starts_with(&self.committed[..count]), "RAFT-COMMIT", || {
            format!("{node} lacks something of {count} committed batches")
        })
    }
}
