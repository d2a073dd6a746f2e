//! What must hold, whatever happens.

use crate::Leader;
use ottla_types::{LeaderEpoch, NodeId, Offset};
use std::collections::BTreeMap;

/// A record: who wrote it, and what.
pub(super) type Entry = (LeaderEpoch, u64);

/// Where the numbers of idempotent producers begin in a value.
const PRODUCER_BIT: u32 = 32;

/// The value of an idempotent producer's record.
pub(super) fn value(producer: u64, sequence: u64) -> u64 {
    ((producer + 1) << PRODUCER_BIT) | sequence
}

/// Whose record a value is, and which of his; `None` when nobody keeps count.
pub(super) fn producer(value: u64) -> Option<(u64, u64)> {
    let producer = (value >> PRODUCER_BIT).checked_sub(1)?;
    Some((producer, value & u64::from(u32::MAX)))
}

/// Everything that was ever seen, to hold the present against.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// What every log holds, kept when its node is killed.
    logs: BTreeMap<NodeId, Vec<Entry>>,
    /// What leaders wrote.
    written: BTreeMap<(Offset, LeaderEpoch), u64>,
    /// What was below some replica's high watermark: what consumers may have seen.
    committed: Vec<Entry>,
    /// How many of them each idempotent producer has sent. Above the high watermark there may be gaps: a leader that has
    /// been deposed and does not know the producer takes what another one has acknowledged the predecessor of.
    counts: BTreeMap<u64, u64>,
    /// What producers were told is safe.
    acknowledged: BTreeMap<Offset, u64>,
    /// The high watermark of each leader, by its node, incarnation and term.
    high_watermarks: BTreeMap<(NodeId, u64, LeaderEpoch), Offset>,
    /// How many records went with their hosts' power.
    lost: usize,
}

impl Judge {
    /// A log's end was read: it is this long, and these entries are new since its last reading.
    pub(super) fn log(&mut self, node: NodeId, len: usize, new: &[Entry]) -> Result<(), String> {
        let log = self.logs.entry(node).or_default();
        log.truncate(len);
        for &(epoch, value) in new {
            let offset = Offset(log.len() as i64);
            if log.last().is_some_and(|&(before, _)| before > epoch) {
                return Err(format!("EPOCH-1: {epoch} goes back at {offset} on {node}"));
            }
            let known = *self.written.entry((offset, epoch)).or_insert(value);
            if known != value {
                return Err(format!("EPOCH-1: {value} and {known} both at {offset} in epoch {epoch}"));
            }
            log.push((epoch, value));
        }
        if log.len() != len {
            return Err(format!("node {node} says it has {len} records and has {}", log.len()));
        }
        Ok(())
    }

    /// How many records a log was known to have.
    pub(super) fn known_len(&self, node: NodeId) -> usize {
        self.logs.get(&node).map_or(0, Vec::len)
    }

    /// A host has lost power: of its log this is left.
    pub(super) fn lost(&mut self, node: NodeId, end: Offset) {
        let log = self.logs.entry(node).or_default();
        assert!(log.len() >= end.0 as usize, "{node} has more than before");
        self.lost += log.len() - end.0 as usize;
        log.truncate(end.0 as usize);
    }

    /// How many records went with their hosts' power.
    pub(super) fn lost_count(&self) -> usize {
        self.lost
    }

    /// A replica's high watermark is this.
    pub(super) fn high_watermark(&mut self, node: NodeId, high_watermark: Offset) -> Result<(), String> {
        let log = &self.logs[&node];
        let below = &log[..high_watermark.0 as usize];
        let common = below.len().min(self.committed.len());
        if let Some(at) = (0..common).find(|&at| below[at] != self.committed[at]) {
            let (is, was) = (below[at], self.committed[at]);
            return Err(format!("HW-2: {is:?} at {at} below the high watermark of {node}, and once {was:?}"));
        }
        for (index, &(_, value)) in below.iter().enumerate().skip(common) {
            let Some((producer, sequence)) = producer(value) else { continue };
            let count = self.counts.entry(producer).or_default();
            if sequence != *count {
                return Err(format!(
                    "IDEM-1: record {sequence} of producer {producer} at {index}, after {count}"
                ));
            }
            *count += 1;
        }
        self.committed.extend_from_slice(&below[common..]);
        Ok(())
    }

    /// A leader's high watermark is this.
    pub(super) fn leader(
        &mut self,
        node: NodeId,
        incarnation: u64,
        epoch: LeaderEpoch,
        high_watermark: Offset,
    ) -> Result<(), String> {
        let before = self.high_watermarks.insert((node, incarnation, epoch), high_watermark);
        if before.is_some_and(|before| before > high_watermark) {
            return Err(format!("HW-1: {high_watermark} on {node} after {before:?} in {epoch}"));
        }
        Ok(())
    }

    /// What a leader believes of its in-sync set.
    pub(super) fn isr(&self, node: NodeId, leader: &Leader) -> Result<(), String> {
        let sets = leader.isr.pending.iter().chain([&leader.isr.committed]);
        for set in sets {
            let is_subset = set.iter().all(|member| leader.replicas.contains(member));
            if !set.contains(&node) || !is_subset {
                return Err(format!("ISR-1: {node} leads {:?} with {set:?} in sync", leader.replicas));
            }
        }
        Ok(())
    }

    /// A producer was told that its records are safe.
    pub(super) fn acknowledged(&mut self, base_offset: Offset, values: &[u64]) {
        for (index, &value) in values.iter().enumerate() {
            self.acknowledged.insert(base_offset + index as i64, value);
        }
    }

    /// Whoever may be elected has everything that consumers have seen and producers were told of.
    pub(super) fn in_sync(&self, isr: &[NodeId]) -> Result<(), String> {
        for node in isr {
            let log = self.logs.get(node).map_or(&[][..], Vec::as_slice);
            if log.get(..self.committed.len()) != Some(&self.committed[..]) {
                let (has, all) = (log.len(), self.committed.len());
                return Err(format!("HW-2: {node} is in sync with {has} records, {all} were committed"));
            }
            for (&offset, &value) in &self.acknowledged {
                if log.get(offset.0 as usize).map(|&(_, value)| value) != Some(value) {
                    return Err(format!("ACK-1: {value} at {offset} is not on {node}, which is in sync"));
                }
            }
        }
        Ok(())
    }

    /// All logs are one.
    pub(super) fn equal(&self) -> Result<(), String> {
        let mut logs = self.logs.iter();
        let Some((first, expected)) = logs.next() else { return Ok(()) };
        match logs.find(|(_, log)| *log != expected) {
            Some((node, log)) => {
                Err(format!("LIVE-1: {node} has {} records, {first} has {}", log.len(), expected.len()))
            }
            None => Ok(()),
        }
    }

    /// How many records were acknowledged.
    pub(super) fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }
}
