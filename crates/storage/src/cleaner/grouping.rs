//! Which segments become one (`Cleaner.groupSegmentsBySize`).

use super::Source;
use crate::config::LogConfig;
use std::collections::VecDeque;

/// Takes the next segments from the front that fit into one: by `segment.bytes`, by `segment.index.bytes`, and by
/// what an index can say of offsets. By their sizes as they are: what they shrink to is not known yet.
/// `None` when there are no more.
pub(super) fn next_group(sources: &mut VecDeque<Source>, config: &LogConfig) -> Option<Vec<Source>> {
    let first = sources.pop_front()?;
    let (mut bytes, mut offset_index, mut time_index) =
        (first.size, first.offset_index_bytes, first.time_index_bytes);
    let mut group = vec![first];
    while let Some(next) = sources.front() {
        bytes += next.size;
        offset_index += next.offset_index_bytes;
        time_index += next.time_index_bytes;
        let fits = bytes <= config.segment_bytes
            && offset_index.max(time_index) <= config.segment_index_bytes
            && next.end - 1 - group[0].base_offset <= i64::from(i32::MAX);
        if !fits {
            break;
        }
        group.extend(sources.pop_front());
    }
    Some(group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::sim_disk::SimDisk;
    use ottla_types::Offset;
    use std::path::PathBuf;

    /// Segments of so many bytes, that many offsets each.
    fn groups(segments: &[(u64, i64)], segment_bytes: u64) -> Vec<usize> {
        let file = SimDisk::new().create(&PathBuf::from("f")).unwrap();
        let mut end = Offset(0);
        let mut sources = VecDeque::new();
        for &(size, offsets) in segments {
            let base_offset = end;
            end += offsets;
            let (path, file) = (PathBuf::new(), file.clone());
            let (offset_index_bytes, time_index_bytes) = (8, 12);
            sources.push_back(Source {
                base_offset,
                end,
                path,
                file,
                size,
                offset_index_bytes,
                time_index_bytes,
            });
        }
        let config = LogConfig { segment_bytes, segment_index_bytes: 48, ..LogConfig::default() };
        std::iter::from_fn(|| next_group(&mut sources, &config)).map(|group| group.len()).collect()
    }

    #[test]
    fn segments_join_as_long_as_they_fit() {
        assert_eq!(groups(&[(40, 1), (60, 1), (1, 1), (99, 1), (101, 1), (5, 1)], 100), [2, 2, 1, 1]);
        assert_eq!(groups(&[(1, 1); 9], 100), [4, 4, 1], "no more than their indexes allow");
        assert_eq!(groups(&[(1, 1 << 30), (1, 1 << 30), (1, 1)], 100), [2, 1], "2^31 offsets at most");
        assert_eq!(groups(&[], 100), [0usize; 0]);
    }
}
