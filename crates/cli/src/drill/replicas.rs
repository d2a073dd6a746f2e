//! Whether the replicas of each partition are the same, byte for byte, in the nodes' directories.

use ottla_types::NodeId;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What a comparison has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Replicas {
    /// How many partitions have replicas that are the same, and which have not.
    Compared {
        /// Partitions whose replicas are the same.
        equal: usize,
        /// The others.
        unequal: Vec<i32>,
    },
    /// Where they are is not known.
    Unknown,
}

impl Replicas {
    /// Whether none differs from another.
    pub(super) fn are_equal(&self) -> bool {
        !matches!(self, Replicas::Compared { unequal, .. } if !unequal.is_empty())
    }
}

/// Compares the replicas of a topic's partitions, each of which is on these nodes. The directories of those nodes that
/// are not in `data` are not known.
pub(super) fn compare(
    topic: &str,
    partitions: &BTreeMap<i32, Vec<NodeId>>,
    data: &BTreeMap<NodeId, PathBuf>,
) -> Replicas {
    let (mut equal, mut unequal) = (0, Vec::new());
    for (&partition, replicas) in partitions {
        let name = format!("{topic}-{partition}");
        let known: Option<Vec<PathBuf>> =
            replicas.iter().map(|node| Some(data.get(node)?.join(&name))).collect();
        let Some(known) = known else { return Replicas::Unknown };
        let mut logs = known.iter().map(|directory| log(directory));
        let first = logs.next().transpose().ok().flatten();
        if first.is_some_and(|first| logs.all(|log| log.is_ok_and(|log| log == first))) {
            equal += 1;
        } else {
            unequal.push(partition);
        }
    }
    Replicas::Compared { equal, unequal }
}

/// All segments of a log, one after the other: they may be cut differently.
fn log(directory: &Path) -> io::Result<Vec<u8>> {
    let mut segments: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        segments.push(entry?.path());
    }
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    let mut bytes = Vec::new();
    for segment in segments {
        bytes.extend(std::fs::read(segment)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_may_be_cut_differently_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let write = |node: i32, segment: &str, text: &str| {
            let log = directory.path().join(node.to_string()).join("t-0");
            std::fs::create_dir_all(&log).unwrap();
            std::fs::write(log.join(segment), text).unwrap();
        };
        write(1, "00.log", "abcd");
        write(1, "00.index", "x");
        write(2, "00.log", "ab");
        write(2, "02.log", "cd");
        let mut data: BTreeMap<NodeId, PathBuf> =
            [1, 2].map(|node| (NodeId(node), directory.path().join(node.to_string()))).into();
        let partitions = [(0, vec![NodeId(1), NodeId(2)])].into();

        assert_eq!(compare("t", &partitions, &data), Replicas::Compared { equal: 1, unequal: vec![] });

        write(2, "02.log", "ce");
        let found = compare("t", &partitions, &data);
        assert_eq!(found, Replicas::Compared { equal: 0, unequal: vec![0] });
        assert!(!found.are_equal());

        std::fs::remove_dir_all(directory.path().join("2/t-0")).unwrap();
        assert!(!compare("t", &partitions, &data).are_equal(), "one is missing");
        data.remove(&NodeId(2));
        assert_eq!(compare("t", &partitions, &data), Replicas::Unknown);
    }
}
