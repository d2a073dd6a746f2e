//! The log on the machine's own disk.

#![expect(clippy::unwrap_used, reason = "a test may")]

use ottla_records::{BatchBuilder, Origin, batches};
use ottla_storage::{AtLeast, DirLock, Log, LogConfig, LogDirectory, RealDisk, Recovery};
use ottla_types::{BrokerEpoch, LeaderEpoch, Monotonic, Now, Offset, Timestamp, TopicPartition};
use std::path::Path;
use std::sync::Arc;

fn now() -> Now {
    Now { monotonic: Monotonic(0), wall: Timestamp(1_000_000) }
}

fn open(dir: &Path, recovery: Recovery) -> Log {
    let config = LogConfig { segment_bytes: 8 << 20, ..LogConfig::default() };
    Log::open(Arc::new(RealDisk), dir.to_owned(), config, recovery, now()).unwrap().0
}

fn append(log: &mut Log) {
    let mut builder = BatchBuilder::new();
    builder.push(now().wall, None, Some(&vec![7; 100_000]), &[]);
    log.append_as_leader(&mut builder.build(), LeaderEpoch(0), Origin::Client, now()).unwrap();
}

#[test]
fn a_log_is_written_sent_by_descriptor_and_opened_again() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = LogDirectory::open(Arc::new(RealDisk), temporary.path().join("logs")).unwrap();
    assert_eq!(directory.clean_shutdown().unwrap(), None);
    let dir = directory.partition_path(&TopicPartition::new("t", 0));
    let mut log = open(&dir, Recovery::UNKNOWN);
    // Enough to preallocate, to roll and to give back what was preallocated.
    for _ in 0..200 {
        append(&mut log);
    }
    log.flush().unwrap();
    assert_eq!((log.durable_end(), log.segments_count()), (Offset(200), 3));

    let region = log.read(Offset(150), Offset(180), 1 << 20, AtLeast::OneBatch).unwrap().region.unwrap();
    assert!(region.file.sendable().is_some());
    let bytes = region.read().unwrap();
    let offsets: Vec<_> = batches(&bytes).map(|batch| batch.unwrap().header().base_offset.0).collect();
    assert_eq!(offsets, (150..160).collect::<Vec<_>>());

    log.close().unwrap();
    directory.write_clean_shutdown(BrokerEpoch(4)).unwrap();
    assert_eq!(directory.clean_shutdown().unwrap(), Some(BrokerEpoch(4)));
    let sizes: u64 =
        std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    for clean in [true, false] {
        let log = open(&dir, Recovery { clean, ..Recovery::UNKNOWN });
        assert_eq!(log.log_end_offset(), Offset(200));
        assert!(sizes >= log.size_bytes() && sizes < log.size_bytes() + 20_000, "no tail of zeros");
    }
}

#[test]
fn a_second_process_does_not_get_the_directory() {
    fn assert_send<T: Send + Sync + ?Sized>() {}
    assert_send::<dyn DirLock>();
    assert_send::<Log>();
    let temporary = tempfile::tempdir().unwrap();

    let held = LogDirectory::open(Arc::new(RealDisk), temporary.path().to_owned()).unwrap();

    assert!(LogDirectory::open(Arc::new(RealDisk), temporary.path().to_owned()).is_err());
    drop(held);
    LogDirectory::open(Arc::new(RealDisk), temporary.path().to_owned()).unwrap();
}
