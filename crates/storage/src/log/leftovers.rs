//! What an interrupted change left in a log's directory, put right before the log is opened (`LogLoader`).
//!
//! | left | what was going on | what is done |
//! |---|---|---|
//! | `.tmp` | a small file was being replaced | removed |
//! | `.deleted` | a segment had been taken out | removed |
//! | `.cleaned` | compaction was writing a segment | removed |
//! | `.log.swap` | it was putting the segment in the place of others | completed |
//! | an index without its log | a segment was being removed | removed |

use crate::disk::{Disk, remove_if_exists};
use crate::error::{IoContext, StorageError};
use crate::file_names::{self, CLEANED, DELETED, LOG, SEGMENT_SUFFIXES, SWAP, TEMPORARY};
use crate::scan;
use ottla_types::Offset;
use std::collections::BTreeSet;
use std::path::Path;

/// Removes what is unfinished and completes what was decided.
///
/// # Errors
/// [`StorageError::Invalid`] when a cleaned segment that was durable is not what was written.
pub(super) fn put_right(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    let names = names(disk, dir)?;
    let with = |suffix: &'static str| {
        names.iter().filter_map(move |name| file_names::offset(name.strip_suffix(suffix)?, LOG))
    };
    // Kafka splits a segment into several; until the first has lost this name, none of them counts.
    let unfinished = with(CLEANED).min();
    let swaps: Vec<Offset> =
        with(SWAP).filter(|base| unfinished.is_none_or(|unfinished| *base < unfinished)).collect();
    for base_offset in swaps {
        complete_swap(disk, dir, base_offset)?;
    }
    remove_leftovers(disk, dir)
}

fn names(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, StorageError> {
    let entries = disk.list(dir).at("list", dir)?;
    Ok(entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect())
}

/// Removes the segments that a cleaned one stands for and gives it its name. Its indexes may be theirs or its
/// own by now: they are made anew when the log is opened.
///
/// The cleaned log file keeps the name that says so until the end: whenever this is interrupted, the
/// next start does it again.
fn complete_swap(disk: &dyn Disk, dir: &Path, base_offset: Offset) -> Result<(), StorageError> {
    let plain = file_names::path(dir, base_offset, LOG);
    let swap = file_names::with_suffix(&plain, SWAP);
    let file = disk.open(&swap).at("open", &swap)?;
    let size = file.size().at("stat", &swap)?;
    let mut end = base_offset + 1;
    for found in scan::headers(&file, 0, size) {
        end = found.map_err(|error| error.at(&swap))?.header.next_offset();
    }
    for old in names(disk, dir)?.iter().filter_map(|name| file_names::offset(name, LOG)) {
        if base_offset <= old && old < end {
            remove_segment_files(disk, dir, old)?;
        }
    }
    remove_segment_files(disk, dir, base_offset)?;
    disk.rename(&swap, &plain).at("rename", &swap)?;
    disk.sync_dir(dir).at("sync", dir)
}

fn remove_segment_files(disk: &dyn Disk, dir: &Path, base_offset: Offset) -> Result<(), StorageError> {
    for suffix in SEGMENT_SUFFIXES {
        let path = file_names::path(dir, base_offset, suffix);
        remove_if_exists(disk, &path).at("remove", &path)?;
    }
    Ok(())
}

fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    let names = names(disk, dir)?;
    let logs: BTreeSet<Offset> = names.iter().filter_map(|name| file_names::offset(name, LOG)).collect();
    for name in names {
        let index_of = |suffix: &&str| file_names::offset(&name, suffix);
        let is_orphan = SEGMENT_SUFFIXES.iter().find_map(index_of).is_some_and(|base| !logs.contains(&base));
        let is_left = [CLEANED, SWAP, DELETED, TEMPORARY].iter().any(|suffix| name.ends_with(suffix));
        if is_orphan || is_left {
            let path = dir.join(&name);
            remove_if_exists(disk, &path).at("remove", &path)?;
        }
    }
    Ok(())
}
