//! A log directory that a crash left: whatever the files hold, opening it gives a log that takes records, or an
//! error.
//!
//! The first byte says how many bytes of the rest are the offset index and the time index, by sixteens; then come
//! the segment's bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_records::{BatchBuilder, Origin};
use ottla_storage::{AtLeast, Disk, Log, LogConfig, Recovery, SimDisk};
use ottla_types::{LeaderEpoch, Monotonic, Now, Offset, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NOW: Now = Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_000_000) };

fuzz_target!(|data: &[u8]| {
    let Some((sizes, rest)) = data.split_first() else { return };
    let (index, rest) = rest.split_at((usize::from(sizes & 15) * 16).min(rest.len()));
    let (time_index, log) = rest.split_at((usize::from(sizes >> 4) * 16).min(rest.len()));
    let disk = SimDisk::new();
    let dir = Path::new("t-0");
    disk.create_dir_all(dir).expect("a disk in memory");
    for (suffix, bytes) in [("log", log), ("index", index), ("timeindex", time_index)] {
        let path = dir.join(format!("{:020}.{suffix}", 0));
        disk.write_atomically(&path, bytes).expect("a disk in memory");
    }
    for clean in [false, true] {
        let recovery = Recovery { clean, ..Recovery::UNKNOWN };
        let opened =
            Log::open(Arc::new(disk.clone()), PathBuf::from(dir), LogConfig::default(), recovery, NOW);
        let Ok((mut log, _)) = opened else { continue };
        let _ = log.read(Offset::ZERO, log.log_end_offset(), 1 << 20, AtLeast::OneBatch);
        let mut builder = BatchBuilder::new();
        builder.push(NOW.wall, None, Some(b"value"), &[]);
        let epoch = log.latest_epoch().max(LeaderEpoch(0));
        let end = log.log_end_offset();
        if end.0 < i64::MAX - 1 && epoch.0 < i32::MAX {
            let appended = log.append_as_leader(&mut builder.build(), epoch, Origin::Client, NOW);
            if let Ok(info) = appended {
                assert_eq!(info.next_offset(), end + 1);
            }
        }
    }
});
