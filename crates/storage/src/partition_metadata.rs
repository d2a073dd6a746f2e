//! `partition.metadata`: the id of the topic whose partition a directory holds (KIP-516). A topic that was
//! deleted and created again has another one, and the old directory is not its.

use crate::disk::{Disk, read_if_exists};
use crate::error::{IoContext, StorageError};
use ottla_types::Uuid;
use std::path::Path;

/// The file's name.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// Reads the topic's id from a partition's directory; `None` when there is no file.
///
/// # Errors
/// What the device says, or that the file is malformed.
pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Uuid>, StorageError> {
    let path = dir.join(PARTITION_METADATA);
    let Some(bytes) = read_if_exists(disk, &path).at("read", &path)? else { return Ok(None) };
    parse(&bytes).map(Some).ok_or_else(|| StorageError::invalid(&path, "it names no topic id of version 0"))
}

/// Writes the topic's id into a partition's directory, durably.
///
/// # Errors
/// What the device says.
pub fn write(disk: &dyn Disk, dir: &Path, topic_id: Uuid) -> Result<(), StorageError> {
    let path = dir.join(PARTITION_METADATA);
    disk.write_atomically(&path, format!("version: 0\ntopic_id: {topic_id}").as_bytes()).at("write", &path)
}

fn parse(bytes: &[u8]) -> Option<Uuid> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    if lines.next()? != "version: 0" {
        return None;
    }
    lines.next()?.strip_prefix("topic_id: ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_disk::SimDisk;

    #[test]
    fn kafkas_file_is_read_and_written_back() {
        let kafka = include_bytes!("../tests/golden/topic1-0/partition.metadata");
        let id = parse(kafka).unwrap();
        let disk = SimDisk::new();

        write(&disk, Path::new("d"), id).unwrap();

        assert_eq!(disk.read(&Path::new("d").join(PARTITION_METADATA)).unwrap(), kafka);
        assert_eq!(read(&disk, Path::new("d")).unwrap(), Some(id));
        assert_eq!(read(&disk, Path::new("e")).unwrap(), None);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAZA", "version: 0\n", "version: 0\ntopic_id: x"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
