//! The names of a log's files: a 20-digit offset, then what it is.

use ottla_types::Offset;
use std::path::{Path, PathBuf};

pub(crate) const LOG: &str = "log";
pub(crate) const OFFSET_INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const TRANSACTION_INDEX: &str = "txnindex";
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Appended to the names of files that are no longer part of the log and will be removed.
pub(crate) const DELETED: &str = ".deleted";
/// Appended to the names of files that a compaction was writing.
pub(crate) const CLEANED: &str = ".cleaned";
/// Appended to the names of files that a compaction was putting in place of others.
pub(crate) const SWAP: &str = ".swap";
/// Appended to the names of small files that were being replaced.
pub(crate) const TEMPORARY: &str = ".tmp";

/// What every segment has.
pub(crate) const SEGMENT_SUFFIXES: [&str; 4] = [LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX];

/// `dir/00000000000000000012.log`.
pub(crate) fn path(dir: &Path, offset: Offset, suffix: &str) -> PathBuf {
    dir.join(format!("{:020}.{suffix}", offset.0))
}

/// The offset in a file's name, if it has this suffix.
pub(crate) fn offset(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?.strip_suffix('.')?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(Offset))?
}

/// The name with something after it.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_else_is() {
        let path = path(Path::new("d"), Offset(12), LOG);
        assert_eq!(path, Path::new("d/00000000000000000012.log"));
        assert_eq!(offset("00000000000000000012.log", LOG), Some(Offset(12)));
        for name in
            ["12.log", "00000000000000000012.index", "0000000000000000001x.log", "99999999999999999999.log"]
        {
            assert_eq!(offset(name, LOG), None, "{name}");
        }
    }
}
