//! Starts that were once wrong: what a kill, a loss of power or Kafka leaves, and what becomes of it.

use super::tests::{E0, now, small};
use super::*;
use crate::{Recovery, SimDisk};
use ottla_records::{BatchBuilder, EndTxnMarker, Origin};
use ottla_types::{ProducerEpoch, Random, Timestamp};

fn try_open(
    disk: &SimDisk,
    dir: &str,
    config: LogConfig,
    clean: bool,
    rp: i64,
    start: i64,
) -> Result<Log, StorageError> {
    let recovery = Recovery { clean, recovery_point: Offset(rp), log_start: Offset(start) };
    Ok(Log::open(Arc::new(disk.clone()), PathBuf::from(dir), config, recovery, now())?.0)
}

fn open(disk: &SimDisk, dir: &str, config: LogConfig, clean: bool, rp: i64, start: i64) -> Log {
    try_open(disk, dir, config, clean, rp, start).unwrap()
}

fn record(time: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(time), Some(b"key"), Some(b"value"), &[]);
    builder
}

fn append(log: &mut Log, builder: BatchBuilder) {
    log.append_as_leader(&mut builder.build(), E0, Origin::Client, now()).unwrap();
}

/// A log of one aborted transaction and some records more.
fn aborted(disk: &SimDisk, config: LogConfig) -> Log {
    let mut log = open(disk, "t-0", config, true, 0, 0);
    append(&mut log, record(1_000_000).producer(ProducerId(0), ProducerEpoch(0), 0).transactional());
    let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
    let mut batch = marker.batch(ProducerId(0), ProducerEpoch(0), now().wall, E0);
    log.append_as_leader(&mut batch, E0, Origin::Coordinator, now()).unwrap();
    for _ in 0..40 {
        append(&mut log, record(1_000_000));
    }
    log
}

/// The lineage is found anew too, and written with a sync of the directory: not of the file that is made after it.
#[test]
fn aborted_transactions_that_a_start_finds_again_outlive_the_loss_of_power_after_a_flush() {
    let config = LogConfig::default();
    for seed in 0..20 {
        let disk = SimDisk::new();
        drop(aborted(&disk, config));
        // As a loss of power may leave what was never synced.
        for file in ["leader-epoch-checkpoint", "00000000000000000000.txnindex"] {
            disk.remove_file(&Path::new("t-0").join(file)).unwrap();
        }
        let mut log = open(&disk, "t-0", config, false, 0, 0);
        assert_eq!(log.aborted_transactions(Offset(0), Offset::MAX).unwrap().len(), 1);
        let durable = log.flush().unwrap();
        drop(log);

        disk.lose_power(&mut Random::new(seed));
        let log = open(&disk, "t-0", config, false, durable.0, 0);
        assert_eq!(log.aborted_transactions(Offset(0), Offset::MAX).unwrap().len(), 1, "seed {seed}");
    }
}

/// Whoever finds the indexes half made anew believes none of them.
#[test]
fn a_kill_while_indexes_are_made_anew_loses_no_aborted_transaction() {
    let config = LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 100, ..LogConfig::default() };
    let mut bad = Vec::new();
    for later in 0..400 {
        let disk = SimDisk::new();
        let mut log = aborted(&disk, config);
        log.flush().unwrap();
        let rp = log.recovery_point().0;
        assert_eq!(log.aborted_transactions(Offset(0), Offset::MAX).unwrap().len(), 1);
        drop(log);
        // As Kafka, or a loss of power, leaves it.
        let file = disk.open(Path::new("t-0/00000000000000000000.index")).unwrap();
        file.write_all_at(&[0; 80], file.size().unwrap()).unwrap();

        disk.stop_after(later);
        let first = try_open(&disk, "t-0", config, false, rp, 0).is_ok();
        disk.heal();
        let log = open(&disk, "t-0", config, false, rp, 0);
        if log.aborted_transactions(Offset(0), Offset::MAX).unwrap().len() != 1 {
            bad.push(later);
        }
        if first {
            break;
        }
    }
    assert!(bad.is_empty(), "killed after so many operations of the first start: {bad:?}");
}

/// Records are deleted up to within a segment, and written down is where the log starts, not yet what was synced.
#[test]
fn what_is_below_the_log_start_but_was_not_synced_does_not_fail_a_start() {
    let mut bad = 0;
    let mut first = String::new();
    for seed in ottla_types::seeds(200) {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("logs")).unwrap();
        disk.sync_dir(Path::new(".")).unwrap();
        let mut log = open(&disk, "logs/t-0", small(), true, 0, 0);
        for _ in 0..40 {
            append(&mut log, record(1_000_000));
        }
        // DeleteRecords; the log start is written down, the recovery point still says 0.
        log.increment_log_start_offset(Offset(35)).unwrap();
        drop(log); // kill -9
        let mut log = open(&disk, "logs/t-0", small(), false, 0, 35);
        log.flush().unwrap();
        let rp = log.recovery_point().0;
        drop(log);
        disk.lose_power(&mut Random::new(seed));
        match try_open(&disk, "logs/t-0", small(), false, rp, 35) {
            Ok(log) => assert_eq!(log.log_end_offset(), Offset(40)),
            Err(error) => {
                bad += 1;
                first = error.to_string();
            }
        }
    }
    assert_eq!(bad, 0, "starts that failed, of 200; the last: {first}");
}

/// What is below the recovery point was whole.
#[test]
fn a_gap_that_kafkas_compaction_left_below_the_recovery_point_is_no_loss() {
    let disk = SimDisk::new();
    let config = LogConfig::default();
    let mut log = open(&disk, "t-0", config, true, 0, 0);
    for _ in 0..10 {
        append(&mut log, record(1_000_000));
    }
    log.close().unwrap();
    let mut log = open(&disk, "u-0", config, true, 0, 20);
    for _ in 0..5 {
        append(&mut log, record(1_000_000));
    }
    assert_eq!(log.log_end_offset(), Offset(25));
    drop(log);
    for suffix in ["log", "index", "timeindex"] {
        let name = format!("{:020}.{suffix}", 20);
        disk.rename(&Path::new("u-0").join(&name), &Path::new("t-0").join(&name)).unwrap();
    }
    let log = open(&disk, "t-0", config, false, 20, 0);
    assert_eq!(log.log_end_offset(), Offset(25));
}

/// What was durable and is damaged is the disk's doing: cutting would hide it, and take what comes after.
#[test]
fn a_flipped_bit_below_the_recovery_point_takes_nothing_else() {
    let disk = SimDisk::new();
    let config = LogConfig { index_interval_bytes: 1 << 20, ..LogConfig::default() };
    let mut log = open(&disk, "t-0", config, true, 0, 0);
    for _ in 0..10 {
        append(&mut log, record(1_000_000));
    }
    log.roll(now()).unwrap();
    log.flush().unwrap();
    let rp = log.recovery_point().0;
    for _ in 0..5 {
        append(&mut log, record(1_000_000));
    }
    drop(log);
    disk.corrupt(Path::new("t-0/00000000000000000000.log"), 70, &[0xff]).unwrap();
    match try_open(&disk, "t-0", config, false, rp, 0) {
        Ok(log) => assert_eq!((rp, log.log_end_offset()), (10, Offset(15))),
        Err(error) => assert!(matches!(error, StorageError::Invalid { .. }), "{error}"),
    }
}

#[test]
fn after_a_cut_back_to_what_is_flushed_nothing_is_unflushed() {
    let mut log = open(&SimDisk::new(), "t-0", LogConfig::default(), true, 0, 0);
    append(&mut log, record(1_000_000));
    log.flush().unwrap();
    for _ in 0..5 {
        append(&mut log, record(1_000_000));
    }
    log.truncate_to(Offset(1), now()).unwrap();
    log.flush().unwrap();
    assert_eq!(log.unflushed_bytes(), 0);
}

/// A snapshot outlives the records that it tells of, and its removal does not outlive the next loss.
#[test]
fn a_snapshot_of_a_lost_history_is_not_believed_later() {
    let every = LogConfig { producer_snapshot_bytes: 0, ..LogConfig::default() };
    let never = LogConfig { producer_snapshot_bytes: 1 << 30, ..LogConfig::default() };
    let idempotent =
        |id: i64, sequence| record(1_000_000).producer(ProducerId(id), ProducerEpoch(0), sequence);
    let (mut bad, mut came) = (Vec::new(), 0);
    for seed in ottla_types::seeds(5000) {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("logs")).unwrap();
        disk.sync_dir(Path::new(".")).unwrap();
        let mut random = Random::new(seed);
        let mut log = open(&disk, "logs/t-0", never, true, 0, 0);
        for sequence in 0..3 {
            append(&mut log, idempotent(7, sequence));
        }
        log.flush().unwrap();
        assert_eq!(log.recovery_point(), Offset(3));
        log.set_config(every);
        append(&mut log, idempotent(7, 3));
        log.write_due_producer_snapshot().unwrap(); // at 4; the flush that follows does not come to its end
        disk.lose_power(&mut random);
        let mut log = open(&disk, "logs/t-0", never, false, 3, 0);
        if log.log_end_offset() != Offset(3) {
            continue;
        }
        append(&mut log, idempotent(8, 0));
        append(&mut log, idempotent(8, 1));
        drop(log);
        disk.lose_power(&mut random);
        let mut log = open(&disk, "logs/t-0", never, false, 3, 0);
        if log.log_end_offset() < Offset(4) {
            continue;
        }
        came += 1;
        assert_eq!(log.producer(ProducerId(7)).unwrap().last_sequence(), 2);
        log.flush().unwrap();
        let rp = log.recovery_point().0;
        let expected = log.producer(ProducerId(8)).map(|state| state.last_sequence());
        drop(log); // kill -9
        let log = open(&disk, "logs/t-0", never, false, rp, 0);
        let found = (
            log.producer(ProducerId(7)).map(|s| s.last_sequence()),
            log.producer(ProducerId(8)).map(|s| s.last_sequence()),
        );
        if found != (Some(2), expected) {
            bad.push((seed, found, expected));
        }
    }
    assert!(came > 500, "{came} came so far");
    assert!(
        bad.is_empty(),
        "{} of {came}: (seed, (7's, 8's last sequence), 8's should be): {:?}",
        bad.len(),
        bad[0]
    );
}

/// An entry of twelve bytes may lie across two sectors, of which one is lost.
#[test]
fn a_torn_time_index_is_not_believed() {
    let config = LogConfig { index_interval_bytes: 1, ..LogConfig::default() };
    let mut bad = Vec::new();
    for seed in ottla_types::seeds(5000) {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("logs")).unwrap();
        disk.sync_dir(Path::new(".")).unwrap();
        let mut random = Random::new(seed);
        let mut log = open(&disk, "logs/t-0", config, true, 0, 0);
        let flushed = 20 + random.index(24);
        for i in 0..flushed {
            append(&mut log, record(1_000_000 + i as i64));
        }
        log.flush().unwrap();
        let rp = log.recovery_point().0;
        for i in flushed..44 {
            append(&mut log, record(1_000_000 + i as i64));
        }
        drop(log);
        disk.lose_power(&mut random);
        let log = open(&disk, "logs/t-0", config, false, rp, 0);
        let last = log.log_end_offset().0 - 1;
        let found = log.max_timestamp_offset().unwrap().map(|found| found.offset.0);
        if found != Some(last) {
            bad.push((seed, flushed, last, found, log.active().latest()));
        }
    }
    assert!(
        bad.is_empty(),
        "{} of 5000: (seed, flushed, last, ListOffsets(MAX_TIMESTAMP), latest): {:?}",
        bad.len(),
        bad[0]
    );
}

/// What is set aside is freed when the segment ends, not at a start: that takes a turn at the device for each.
#[cfg(target_os = "linux")]
#[test]
fn what_a_killed_writer_had_set_aside_is_freed_when_the_segment_ends() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("t-0");
    let file = dir.join("00000000000000000000.log");
    let open = || {
        let (disk, config) = (Arc::new(crate::RealDisk), LogConfig::default());
        Log::open(disk, dir.clone(), config, Recovery::UNKNOWN, now()).unwrap().0
    };
    let set_aside = || crate::disk::set_aside_bytes(&file);
    let mut log = open();
    let value = vec![b'v'; 64 << 10];
    for _ in 0..20 {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(1_000_000), None, Some(&value), &[]);
        append(&mut log, builder);
    }
    let before = set_aside();
    if before < 1 << 19 {
        eprintln!("the file system sets nothing aside: not tested");
        return;
    }
    drop(log); // kill -9

    let log = open();
    assert_eq!((log.log_end_offset(), set_aside()), (Offset(20), before));

    log.close().unwrap();
    assert!(set_aside() < 1 << 16, "{} bytes stay set aside", set_aside());
}
