//! Compaction of the replicas' logs, the filthiest first (`LogCleanerManager`).
//!
//! A pass holds no lock while it reads and writes; the partition's is taken to look, to begin, and for each
//! replacement of segments. A log that cannot be cleaned is named once and left alone until the next start; the
//! others go on.

use super::{Replica, ReplicaManager};
use crate::replicas::directories::Directory;
use ottla_storage::{CleanError, Cleanable, CleanerOptions, CleaningReport, StorageError};
use ottla_types::{TopicIdPartition, TopicPartition};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is being compacted, and how far everything is.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    /// Held for reading by every pass: who stops them waits for it.
    passes: RwLock<()>,
    stopped: AtomicBool,
    /// The logs that a thread has, to compact them or to move them. By name: a topic made anew has the same directory.
    pub(super) busy: Mutex<BTreeSet<TopicPartition>>,
    uncleanable: Mutex<BTreeSet<TopicIdPartition>>,
}

impl ReplicaManager {
    /// Compacts the log that needs it most, blocking. Returns `false` when none does, or none can be now.
    pub fn clean_filthiest(&self, options: &CleanerOptions) -> bool {
        let _pass = self.cleaner.passes.read();
        let Some((replica, cleanable)) = self.claim_filthiest() else { return false };
        let outcome = self.clean(&replica, &cleanable, options);
        self.cleaner.busy.lock().remove(&replica.name);
        let partition = &replica.name;
        match outcome {
            Ok(report) => {
                let CleaningReport { read_bytes, kept_bytes, keys, segments } = report;
                tracing::info!(%partition, read_bytes, kept_bytes, keys, segments, "compacted");
                true
            }
            Err(CleanError::Stopped) => !self.cleaner.stopped.load(Ordering::Acquire),
            // Its directory is gone, and the files in it.
            Err(CleanError::Storage(_)) if replica.is_removed() => true,
            Err(CleanError::Storage(error @ StorageError::Full { .. })) => {
                tracing::warn!(%partition, %error, "not compacted until there is room");
                false
            }
            Err(CleanError::Storage(error @ StorageError::Invalid { .. })) => {
                tracing::error!(%partition, %error, "cannot be compacted, and is left as it is until the next start");
                self.cleaner.uncleanable.lock().insert(replica.id);
                true
            }
            Err(CleanError::Storage(error)) => {
                self.handle_storage_error(&error);
                false
            }
        }
    }

    /// Ends all passes and lets none begin; returns when none is under way.
    pub(super) fn stop_cleaning(&self) {
        self.cleaner.stopped.store(true, Ordering::Release);
        drop(self.cleaner.passes.write());
    }

    fn claim_filthiest(&self) -> Option<(Arc<Replica>, Cleanable)> {
        if self.cleaner.stopped.load(Ordering::Acquire) {
            return None;
        }
        let now = self.options.clock.now().wall;
        let mut busy = self.cleaner.busy.lock();
        let mut filthiest: Option<(Arc<Replica>, Cleanable, (bool, f64))> = None;
        for replica in self.all() {
            let config = replica.log_config();
            if !config.cleanup_policy.compact
                || busy.contains(&replica.name)
                || self.cleaner.uncleanable.lock().contains(&replica.id)
            {
                continue;
            }
            let cleanable = {
                let partition = replica.lock();
                if replica.is_removed() || partition.log().is_failed() {
                    continue;
                }
                partition.log().cleanable(partition.last_stable_offset(), now)
            };
            let Ok(cleanable) = cleanable.inspect_err(|error| self.handle_storage_error(error)) else {
                return None;
            };
            let filth = (cleanable.is_overdue(&config, now), cleanable.dirty_ratio());
            if cleanable.is_due(&config, now) && filthiest.as_ref().is_none_or(|(_, _, most)| filth > *most) {
                filthiest = Some((replica, cleanable, filth));
            }
        }
        let (replica, cleanable, _) = filthiest?;
        busy.insert(replica.name.clone());
        Some((replica, cleanable))
    }

    fn clean(
        &self,
        replica: &Replica,
        cleanable: &Cleanable,
        options: &CleanerOptions,
    ) -> Result<CleaningReport, CleanError> {
        // A record may only go because of one that is sure to stay.
        self.flush(replica)?;
        let is_stopped = || self.cleaner.stopped.load(Ordering::Relaxed) || replica.is_removed();
        let mut cleaning = {
            let partition = replica.lock();
            if replica.is_removed() {
                return Err(CleanError::Stopped);
            }
            partition.log().begin_cleaning(cleanable, self.options.clock.now().wall)?
        };
        cleaning.read_keys(options, &is_stopped)?;
        while let Some(cleaned) = cleaning.clean_next(&is_stopped)? {
            let mut partition = replica.lock();
            if replica.is_removed() {
                return Err(CleanError::Stopped);
            }
            partition.log_mut().replace_segments(&cleaned, self.options.clock.now())?;
        }
        cleaning.sync()?;
        replica.lock().log_mut().finish_cleaning(&cleaning);
        self.checkpoint_first_dirty(&replica.directory())?;
        Ok(cleaning.report())
    }

    fn checkpoint_first_dirty(&self, directory: &Directory) -> Result<(), StorageError> {
        let mut written = directory.first_dirty.lock();
        let checkpoints = self.current(directory);
        checkpoints.write_first_dirty(&directory.files)?;
        *written = checkpoints.first_dirty;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
