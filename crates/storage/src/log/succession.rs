//! A copy of a log takes its place: a replica moves to another directory of its broker.

use super::Log;
use crate::error::StorageError;

impl Log {
    /// How often the log was cut: a copy that was begun before is no copy any more when this has changed.
    pub fn truncations(&self) -> u64 {
        self.truncations
    }

    /// Takes over from `old` what its records do not say: where it begins, up to where it is compacted, and the epoch
    /// that its leader has begun. What was begun with `old`, a sync or a pass of compaction, says nothing about this log.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    pub fn succeed(&mut self, old: &Log) -> Result<(), StorageError> {
        assert_eq!(self.log_end, old.log_end, "LOG-1: only a whole copy takes a log's place");
        self.truncations = old.truncations + 1;
        if old.latest_epoch() > self.latest_epoch() {
            self.assign_epoch(old.latest_epoch())?;
        }
        self.increment_log_start_offset(old.log_start)?;
        self.restore_first_dirty_offset(old.first_dirty);
        Ok(())
    }
}
