//! A disk that tells what a process wrote from what survives the loss of power.

use super::memory_log::{Batch, MemoryLog};
use crate::quorum_state::QuorumState;
use ottla_types::Random;

/// What one node has on disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The synced part of the log.
    log: Vec<Batch>,
    /// A sync under way: from which batch on it writes which.
    syncing: Option<(usize, Vec<Batch>)>,
    /// The `quorum-state` file, which is replaced as a whole.
    state: QuorumState,
}

impl Disk {
    /// Begins a sync of the log as it is.
    pub fn begin_sync(&mut self, log: &mut MemoryLog) {
        self.syncing = Some(log.take_changes());
    }

    /// The sync is done.
    pub fn end_sync(&mut self) {
        if let Some((from, batches)) = self.syncing.take() {
            self.log.truncate(from);
            self.log.extend(batches);
        }
    }

    /// The `quorum-state` file is replaced.
    pub fn write_state(&mut self, state: QuorumState) {
        self.state = state;
    }

    /// The `quorum-state` file.
    pub fn state(&self) -> &QuorumState {
        &self.state
    }

    /// The part of the log that survives the loss of power.
    pub fn synced(&self) -> &[Batch] {
        &self.log
    }

    /// The process is killed: the log is what it wrote, synced or not.
    pub fn after_kill(&mut self, log: &MemoryLog) -> MemoryLog {
        // What is not synced must be part of the next sync, also what the one under way would have written.
        let unsynced_from = self.unsynced_from(log);
        self.syncing = None;
        let mut survivor = log.with(log.batches().to_vec());
        survivor.mark_changed(unsynced_from);
        survivor
    }

    /// Power is lost: what was not synced is gone; the kernel may have written a part of it by itself.
    pub fn after_power_loss(&mut self, log: &MemoryLog, random: &mut Random) -> MemoryLog {
        let unsynced_from = self.unsynced_from(log);
        self.syncing = None;
        if random.chance(300) {
            let written = random.index(log.batches().len() - unsynced_from + 1);
            self.log = log.batches()[..unsynced_from + written].to_vec();
        }
        let survivor = log.with(self.log.clone());
        self.log = survivor.batches().to_vec();
        survivor
    }

    /// A snapshot was written and synced.
    pub fn write_snapshot(&mut self, contained: &[Batch]) {
        // Its file has them, whatever becomes of the log's.
        if self.log.len() < contained.len() {
            self.log = contained.to_vec();
        }
    }

    /// A snapshot of another node was installed in place of the log.
    pub fn install(&mut self, contained: &[Batch]) {
        self.syncing = None;
        self.log = contained.to_vec();
    }

    fn unsynced_from(&self, log: &MemoryLog) -> usize {
        let syncing = self.syncing.as_ref().map_or(usize::MAX, |(from, _)| *from);
        log.changed_from().min(syncing).min(log.batches().len())
    }
}
