//! What a log does when nothing fails; failures are in `crashes.rs`.

use super::*;
use crate::{AppendError, AtLeast, ReadError, Recovery, SimDisk};
use ottla_records::{BatchBuilder, EndTxnMarker, Origin, batches};
use ottla_types::{ProducerEpoch, Timestamp};

pub(super) const E0: LeaderEpoch = LeaderEpoch(0);

pub(super) fn now() -> Now {
    Now { monotonic: Monotonic(0), wall: Timestamp(1_000_000) }
}

pub(super) fn small() -> LogConfig {
    LogConfig { segment_bytes: 400, index_interval_bytes: 100, ..LogConfig::default() }
}

fn open(disk: &SimDisk, config: LogConfig, clean: bool) -> Log {
    let recovery = Recovery { clean, ..Recovery::UNKNOWN };
    Log::open(Arc::new(disk.clone()), PathBuf::from("topic-0"), config, recovery, now()).unwrap().0
}

fn records(count: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for i in 0..count {
        builder.push(Timestamp(1_000_000), Some(b"key"), Some(format!("value {i}").as_bytes()), &[]);
    }
    builder
}

fn append(log: &mut Log, builder: BatchBuilder) -> Result<crate::AppendInfo, AppendError> {
    log.append_as_leader(&mut builder.build(), E0, Origin::Client, now())
}

/// The (base, last) offsets of all batches in the log.
fn offsets(log: &Log) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let mut from = log.log_start_offset();
    while from < log.log_end_offset() {
        let bytes = log.read_bytes(from, Offset::MAX, 1 << 20).unwrap();
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            found.push((batch.header().base_offset.0, batch.header().last_offset().0));
            from = batch.header().next_offset();
        }
    }
    found
}

#[test]
fn what_is_appended_is_read_across_segments_and_reopening() {
    let disk = SimDisk::new();
    let mut log = open(&disk, small(), true);
    let mut expected = Vec::new();
    for i in 0..40 {
        let info = append(&mut log, records(1 + i % 3)).unwrap();
        expected.push((info.base_offset.0, info.last_offset.0));
    }
    assert!(log.segments_count() > 5);
    assert_eq!(offsets(&log), expected);

    for from in 0..log.log_end_offset().0 {
        let read = log.read(Offset(from), Offset::MAX, 1, AtLeast::OneBatch).unwrap();
        let bytes = read.region.unwrap().read().unwrap();
        let found: Vec<_> = batches(&bytes).map(|batch| *batch.unwrap().header()).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(read.end_offset, found[0].next_offset());
        assert!((found[0].base_offset.0..=found[0].last_offset().0).contains(&from));
    }

    let (size, end) = (log.size_bytes(), log.log_end_offset());
    log.close().unwrap();
    for clean in [true, false] {
        let log = open(&disk, small(), clean);
        assert_eq!((log.size_bytes(), log.log_end_offset()), (size, end));
        assert_eq!(log.durable_end(), if clean { end } else { Offset(0) }, "nobody said what is durable");
        assert_eq!(offsets(&log), expected);
    }
}

#[test]
fn a_read_ends_with_a_whole_batch_below_its_bound() {
    let disk = SimDisk::new();
    let mut log = open(&disk, LogConfig { index_interval_bytes: 200, ..LogConfig::default() }, true);
    for _ in 0..50 {
        append(&mut log, records(2)).unwrap();
    }
    let whole = log.read_bytes(Offset(0), Offset::MAX, usize::MAX).unwrap();
    let ends: Vec<usize> = batches(&whole)
        .scan(0, |end, batch| {
            *end += batch.unwrap().bytes().len();
            Some(*end)
        })
        .collect();
    for max_bytes in (0..whole.len() + 10).step_by(7) {
        for upper in [0, 1, 2, 3, 50, 99, 100] {
            let read = log.read(Offset(0), Offset(upper), max_bytes, AtLeast::Nothing).unwrap();
            let below = upper as usize / 2;
            let fit = ends[..below].iter().take_while(|end| **end <= max_bytes).count();
            let expected = fit.checked_sub(1).map_or(0, |last| ends[last]);
            assert_eq!(read.bytes(), expected, "{max_bytes} bytes below {upper}");
            assert_eq!(read.end_offset, Offset(2 * fit as i64), "{max_bytes} bytes below {upper}");
            let all = below.checked_sub(1).map_or(0, |last| ends[last]);
            assert_eq!(read.is_cut, expected < all, "{max_bytes} bytes below {upper}");
        }
    }
    let nothing = log.read(Offset(5), Offset::MAX, 0, AtLeast::Nothing).unwrap();
    assert_eq!((nothing.end_offset, nothing.bytes()), (Offset(5), 0));
    let first = log.read(Offset(4), Offset::MAX, 0, AtLeast::OneBatch).unwrap();
    assert_eq!((first.base_offset, first.bytes()), (Offset(4), ends[2] - ends[1]));
}

#[test]
fn offsets_outside_the_log_are_refused() {
    let mut log = open(&SimDisk::new(), small(), true);
    append(&mut log, records(2)).unwrap();
    append(&mut log, records(2)).unwrap();
    log.increment_log_start_offset(Offset(1)).unwrap();

    for offset in [0, 5] {
        let refused = log.read(Offset(offset), Offset::MAX, 1, AtLeast::OneBatch);
        assert!(matches!(refused, Err(ReadError::OffsetOutOfRange { .. })), "{offset}");
    }
    assert_eq!(log.read(Offset(4), Offset::MAX, 1, AtLeast::OneBatch).unwrap().bytes(), 0);
    assert!(log.read(Offset(1), Offset::MAX, 1, AtLeast::OneBatch).unwrap().bytes() > 0);
}

#[test]
fn a_repeated_batch_gets_its_first_offsets_and_gaps_are_refused() {
    let disk = SimDisk::new();
    let mut log = open(&disk, small(), true);
    let batch = |sequence| records(2).producer(ProducerId(9), ProducerEpoch(0), sequence);
    for i in 0..7 {
        append(&mut log, batch(i * 2)).unwrap();
    }
    let again = append(&mut log, batch(6)).unwrap();
    assert_eq!((again.duplicate, again.base_offset, again.last_offset), (true, Offset(6), Offset(7)));
    assert!(matches!(append(&mut log, batch(2)), Err(AppendError::Producer(_))), "more than five ago");
    assert!(matches!(append(&mut log, batch(16)), Err(AppendError::Producer(_))), "a gap");
    assert_eq!(log.log_end_offset(), Offset(14));

    log.close().unwrap();
    for clean in [true, false] {
        let mut log = open(&disk, small(), clean);
        assert!(append(&mut log, batch(12)).unwrap().duplicate, "the last batch is known after a restart");
        assert!(matches!(append(&mut log, batch(16)), Err(AppendError::Producer(_))));
    }
}

#[test]
fn an_aborted_transaction_holds_back_and_is_named() {
    let disk = SimDisk::new();
    let mut log = open(&disk, small(), true);
    append(&mut log, records(3)).unwrap();
    let (id, epoch) = (ProducerId(5), ProducerEpoch(1));
    append(&mut log, records(2).producer(id, epoch, 0).transactional()).unwrap();
    append(&mut log, records(1)).unwrap();
    assert_eq!(log.last_stable_offset(Offset(6)), Offset(3));

    let plain = append(&mut log, records(1).producer(id, epoch, 2));
    assert!(matches!(plain, Err(AppendError::Producer(crate::ProducerError::InvalidTxnState { .. }))));

    let marker = EndTxnMarker { committed: false, coordinator_epoch: 3 };
    let mut marker = marker.batch(id, epoch, now().wall, E0);
    log.append_as_leader(&mut marker, E0, Origin::Coordinator, now()).unwrap();
    assert_eq!(log.last_stable_offset(Offset(6)), Offset(3), "the marker is not replicated yet");
    log.advance_high_watermark(Offset(7));
    assert_eq!(log.last_stable_offset(Offset(7)), Offset(7));

    let expected = [crate::AbortedTransaction {
        producer_id: id,
        first_offset: Offset(3),
        last_offset: Offset(6),
        last_stable_offset: Offset(7),
    }];
    assert_eq!(log.aborted_transactions(Offset(0), Offset(7)).unwrap(), expected);
    assert_eq!(log.aborted_transactions(Offset(0), Offset(3)).unwrap(), []);
    log.close().unwrap();
    for clean in [true, false] {
        let log = open(&disk, small(), clean);
        assert_eq!(log.aborted_transactions(Offset(4), Offset(7)).unwrap(), expected, "clean: {clean}");
    }
}

#[test]
fn records_are_found_by_their_time() {
    let config = LogConfig { message_timestamp_after_max_ms: i64::MAX, ..small() };
    let mut log = open(&SimDisk::new(), config, true);
    for i in 0..30i64 {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(1000 + i * 10), None, Some(b"v"), &[]);
        builder.push(Timestamp(1000 + i * 10 + 5), None, Some(b"v"), &[]);
        append(&mut log, builder).unwrap();
    }
    for timestamp in 990..1300 {
        let found = log.offset_for_timestamp(Timestamp(timestamp)).unwrap();
        let expected = ((timestamp - 1000).max(0) as u64).div_ceil(5) as i64;
        assert_eq!(found.map(|found| found.offset.0), (expected < 60).then_some(expected), "{timestamp}");
    }
    let latest = log.max_timestamp_offset().unwrap().unwrap();
    assert_eq!((latest.offset, latest.timestamp, latest.leader_epoch), (Offset(59), Timestamp(1295), E0));
}

#[test]
fn a_follower_copies_and_refuses_what_does_not_follow() {
    let mut leader = open(&SimDisk::new(), small(), true);
    for _ in 0..10 {
        append(&mut leader, records(2)).unwrap();
    }
    leader.append_as_leader(&mut records(1).build(), LeaderEpoch(4), Origin::Client, now()).unwrap();
    let mut fetched = Vec::new();
    while fetched.len() < leader.size_bytes() as usize {
        let from = batches(&fetched).last().map_or(Offset(0), |batch| batch.unwrap().header().next_offset());
        fetched.extend(leader.read_bytes(from, Offset::MAX, usize::MAX).unwrap());
    }
    let mut follower = open(&SimDisk::new(), small(), true);

    let info = follower.append_as_follower(&fetched[..fetched.len() - 3], LeaderEpoch(4), now()).unwrap();
    assert_eq!((info.base_offset, info.last_offset, info.rolled), (Offset(0), Offset(19), true));
    let newer = follower.append_as_follower(&fetched[info.bytes..], LeaderEpoch(3), now()).unwrap();
    assert_eq!(newer.bytes, 0, "KAFKA-18723");
    follower.append_as_follower(&fetched[info.bytes..], LeaderEpoch(4), now()).unwrap();
    assert_eq!(offsets(&follower), offsets(&leader));
    assert_eq!(follower.epochs(), leader.epochs());

    let again = follower.append_as_follower(&fetched, LeaderEpoch(4), now());
    assert!(matches!(again, Err(AppendError::OffsetsOutOfOrder { .. })));
    let old = records(1).base_offset(Offset(21)).leader_epoch(LeaderEpoch(3)).build();
    let old = follower.append_as_follower(&old, LeaderEpoch(4), now());
    assert!(matches!(old, Err(AppendError::EpochWentBack { .. })));
    let mut flipped = records(1).base_offset(Offset(21)).leader_epoch(LeaderEpoch(4)).build();
    flipped[65] ^= 1;
    assert!(matches!(
        follower.append_as_follower(&flipped, LeaderEpoch(4), now()),
        Err(AppendError::Corrupt(_))
    ));
    assert_eq!(follower.log_end_offset(), Offset(21));
}

/// Records are deleted up to any offset, and a leader sends whole batches.
#[test]
fn an_empty_log_that_begins_within_a_batch_takes_the_whole_batch() {
    let mut leader = open(&SimDisk::new(), small(), true);
    append(&mut leader, records(10)).unwrap();
    append(&mut leader, records(2)).unwrap();
    let sent = leader.read_bytes(Offset(7), Offset::MAX, usize::MAX).unwrap();
    let disk = SimDisk::new();
    let mut follower = open(&disk, small(), true);
    follower.truncate_fully_and_start_at(Offset(7), now()).unwrap();

    let info = follower.append_as_follower(&sent, LeaderEpoch(1), now()).unwrap();

    assert_eq!((info.base_offset, info.last_offset), (Offset(0), Offset(11)));
    assert_eq!((follower.log_start_offset(), follower.log_end_offset()), (Offset(7), Offset(12)));
    assert_eq!(follower.read_bytes(Offset(7), Offset::MAX, usize::MAX).unwrap(), sent);
    let again = follower.append_as_follower(&sent, LeaderEpoch(1), now());
    assert!(matches!(again, Err(AppendError::OffsetsOutOfOrder { .. })), "it is not empty: {again:?}");
    drop(follower);
    assert_eq!(open(&disk, small(), false).log_end_offset(), Offset(12), "it is found again");
    let mut beyond = open(&SimDisk::new(), small(), true);
    beyond.truncate_fully_and_start_at(Offset(20), now()).unwrap();
    let refused = beyond.append_as_follower(&sent, LeaderEpoch(1), now());
    assert!(matches!(refused, Err(AppendError::OffsetsOutOfOrder { .. })), "it does not reach: {refused:?}");
}

#[test]
fn truncation_forgets_records_epochs_and_producers() {
    let disk = SimDisk::new();
    let mut log = open(&disk, small(), true);
    for i in 0..20 {
        let batch = records(2).producer(ProducerId(9), ProducerEpoch(0), i * 2);
        log.append_as_leader(&mut batch.build(), LeaderEpoch(i / 5), Origin::Client, now()).unwrap();
    }
    log.flush().unwrap();

    assert_eq!(log.truncate_to(Offset(25), now()).unwrap(), Offset(24), "the batch that holds it goes");
    assert_eq!((log.log_end_offset(), log.durable_end()), (Offset(24), Offset(24)));
    assert_eq!(log.latest_epoch(), LeaderEpoch(2));
    assert_eq!(log.producer(ProducerId(9)).unwrap().last_sequence(), 23);
    assert_eq!(offsets(&log).last(), Some(&(22, 23)));

    log.truncate_to(Offset(20), now()).unwrap();
    log.assign_epoch(LeaderEpoch(9)).unwrap();
    assert_eq!(log.truncate_to(Offset(30), now()).unwrap(), Offset(20));
    assert_eq!(
        log.latest_epoch(),
        LeaderEpoch(1),
        "an epoch without records goes with the records it had not"
    );

    log.truncate_fully_and_start_at(Offset(100), now()).unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset(), log.size_bytes()),
        (Offset(100), Offset(100), 0)
    );
    assert_eq!((log.latest_epoch(), log.producers().count()), (LeaderEpoch::NONE, 0));
    append(&mut log, records(1)).unwrap();
    assert_eq!(offsets(&log), [(100, 100)]);
}

#[test]
fn old_segments_go_by_start_size_and_time_but_not_above_the_high_watermark() {
    let filled = |config| {
        let disk = SimDisk::new();
        let mut log = open(&disk, config, true);
        for _ in 0..40 {
            append(&mut log, records(2)).unwrap();
        }
        (disk, log)
    };
    let later = now().after(std::time::Duration::from_millis(1000));

    let (_, mut log) = filled(small());
    assert_eq!(log.delete_old_segments(later, Offset(80)).unwrap(), 0);

    log.increment_log_start_offset(Offset(30)).unwrap();
    assert!(log.delete_old_segments(later, Offset(80)).unwrap() > 0);
    assert_eq!(log.log_start_offset(), Offset(30));
    assert!(offsets(&log)[0].0 <= 30);

    let (_, mut log) = filled(LogConfig { retention_bytes: 1000, ..small() });
    log.delete_old_segments(later, Offset(80)).unwrap();
    assert!((1000..1400).contains(&log.size_bytes()), "{}", log.size_bytes());

    let (disk, mut log) = filled(LogConfig { retention_ms: 999, file_delete_delay_ms: 1, ..small() });
    log.delete_old_segments(later, Offset(41)).unwrap();
    assert!((30..=41).contains(&log.log_start_offset().0), "{}", log.log_start_offset());
    log.delete_old_segments(later, Offset(80)).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(80), Offset(80)));
    assert_eq!((log.segments_count(), log.epochs().entries().len()), (1, 1));

    let names = |disk: &SimDisk| disk.list(Path::new("topic-0")).unwrap().into_iter().map(|entry| entry.name);
    assert!(names(&disk).any(|name| name.ends_with(".deleted")));
    log.remove_deleted_files(log.deleted_files_due().unwrap()).unwrap();
    assert!(!names(&disk).any(|name| name.ends_with(".deleted")));
    append(&mut log, records(1)).unwrap();
    assert_eq!(offsets(&log), [(80, 80)]);
}

#[test]
fn a_missing_or_implausible_index_is_built_again() {
    let disk = SimDisk::new();
    let mut log = open(&disk, small(), true);
    for _ in 0..20 {
        append(&mut log, records(2)).unwrap();
    }
    let expected = offsets(&log);
    log.close().unwrap();
    let first = file_names::path(Path::new("topic-0"), Offset(0), file_names::OFFSET_INDEX);
    disk.remove_file(&first).unwrap();
    let time = file_names::path(Path::new("topic-0"), Offset(0), file_names::TIME_INDEX);
    disk.open(&time).unwrap().truncate(120).unwrap();

    let recovery = Recovery { clean: true, ..Recovery::UNKNOWN };
    let dir = PathBuf::from("topic-0");
    let (log, report) = Log::open(Arc::new(disk.clone()), dir, small(), recovery, now()).unwrap();

    assert_eq!((report.indexes_rebuilt, report.truncated_bytes), (1, 0));
    assert_eq!(offsets(&log), expected);
}

#[test]
fn a_start_looks_only_at_what_was_not_durable_and_waits_for_no_disk() {
    let disk = SimDisk::new();
    let config = LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 100, ..LogConfig::default() };
    let mut log = open(&disk, config, true);
    for _ in 0..1000 {
        append(&mut log, records(2)).unwrap();
    }
    log.flush().unwrap();
    let recovery_point = log.recovery_point();
    assert_eq!(recovery_point, Offset(2000));
    let info = append(&mut log, records(2)).unwrap();
    append(&mut log, records(2)).unwrap();
    let expected = offsets(&log);
    drop(log);

    disk.fail(crate::sim_disk::FaultOn::Sync, 0, std::io::ErrorKind::Other);
    let recovery = Recovery { clean: false, recovery_point, log_start: Offset(0) };
    let dir = PathBuf::from("topic-0");
    let (mut log, report) = Log::open(Arc::new(disk.clone()), dir, config, recovery, now()).unwrap();
    disk.heal();

    assert_eq!((report.segments_recovered, report.truncated_bytes, report.indexes_rebuilt), (1, 0, 0));
    let batch = info.bytes as u64;
    assert!((2 * batch..=4 * batch).contains(&report.checked_bytes), "{report:?}, of {batch} bytes a batch");
    assert_eq!((log.durable_end(), log.unflushed_bytes()), (recovery_point, report.checked_bytes));
    assert_eq!(offsets(&log), expected);
    log.flush().unwrap();
    assert_eq!((log.recovery_point(), log.unflushed_bytes()), (Offset(2004), 0));
}

#[test]
fn a_start_reads_little_of_a_long_segment_to_know_its_producers() {
    let disk = SimDisk::new();
    let config = LogConfig {
        segment_bytes: 1 << 20,
        index_interval_bytes: 100,
        producer_snapshot_bytes: 2000,
        ..LogConfig::default()
    };
    let mut log = open(&disk, config, true);
    for sequence in 0..400 {
        let builder = records(1).producer(ProducerId(7), ProducerEpoch(0), sequence);
        append(&mut log, builder).unwrap();
        if sequence % 50 == 0 {
            log.write_due_producer_snapshot().unwrap();
            log.flush().unwrap();
        }
    }
    assert_eq!(log.snapshot_offsets().unwrap(), [Offset(301), Offset(351)], "the last two");
    let recovery = Recovery { clean: false, recovery_point: log.recovery_point(), log_start: Offset(0) };
    drop(log);

    // What is before the last is not looked at: there a lie goes unnoticed.
    disk.corrupt(&file_names::path(Path::new("topic-0"), Offset(0), file_names::LOG), 70, &[0xff]).unwrap();
    let dir = PathBuf::from("topic-0");
    let (log, _) = Log::open(Arc::new(disk.clone()), dir, config, recovery, now()).unwrap();

    assert_eq!(log.producer(ProducerId(7)).unwrap().last_sequence(), 399);
    assert!(log.bytes_since_snapshot < 50 * 100, "{}", log.bytes_since_snapshot);
}

#[test]
fn the_indexes_of_records_that_alone_were_synced_are_not_believed() {
    let mut log = open(&SimDisk::new(), LogConfig::default(), true);
    append(&mut log, records(2)).unwrap();
    let target = log.records_target().unwrap();
    target.sync().unwrap();
    log.mark_durable(&target);

    assert_eq!((log.durable_end(), log.recovery_point()), (Offset(2), Offset(0)));
    log.flush().unwrap();
    assert_eq!(log.recovery_point(), Offset(2));
}

#[test]
fn corruption_of_what_was_durable_is_not_hidden() {
    let disk = SimDisk::new();
    let mut log = open(&disk, small(), true);
    for _ in 0..20 {
        append(&mut log, records(2)).unwrap();
    }
    log.close().unwrap();
    let first = file_names::path(Path::new("topic-0"), Offset(0), file_names::LOG);
    disk.corrupt(&first, 70, &[0xff]).unwrap();
    let index = file_names::path(Path::new("topic-0"), Offset(0), file_names::OFFSET_INDEX);
    disk.remove_file(&index).unwrap();

    let recovery = Recovery { clean: false, recovery_point: Offset(40), log_start: Offset(0) };
    let opened = Log::open(Arc::new(disk), PathBuf::from("topic-0"), small(), recovery, now());

    assert!(matches!(opened, Err(StorageError::Invalid { .. })));
}

#[test]
fn a_flush_that_a_truncation_overtook_proves_nothing() {
    let mut log = open(&SimDisk::new(), small(), true);
    append(&mut log, records(5)).unwrap();
    let target = log.flush_target().unwrap();
    target.sync().unwrap();
    log.truncate_to(Offset(0), now()).unwrap();
    append(&mut log, records(9)).unwrap();

    log.mark_durable(&target);
    assert_eq!(log.durable_end(), Offset(0));
    assert_eq!(log.flush().unwrap(), Offset(9));
    assert_eq!((log.durable_end(), log.flush_target().is_none()), (Offset(9), true));
}

#[test]
fn a_log_on_a_broken_disk_takes_no_more() {
    let disk = SimDisk::new();
    let mut log = open(&disk, small(), true);
    append(&mut log, records(1)).unwrap();
    disk.fail(crate::sim_disk::FaultOn::Sync, 0, std::io::ErrorKind::Other);
    assert!(log.flush().is_err());
    disk.heal();

    assert!(log.is_failed());
    assert!(matches!(append(&mut log, records(1)), Err(AppendError::Storage(StorageError::Failed { .. }))));
    assert_eq!(offsets(&log), [(0, 0)]);
}

#[test]
fn the_segment_is_rolled_by_time_too() {
    let mut log = open(&SimDisk::new(), LogConfig { segment_ms: 1000, ..LogConfig::default() }, true);
    let at = |timestamp| {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(timestamp), None, None, &[]);
        builder
    };
    for (timestamp, expected) in [(5000, 0), (6000, 0), (6001, 2), (5500, 2), (7002, 4)] {
        append(&mut log, at(timestamp)).unwrap();
        assert_eq!(log.active_segment_base_offset(), Offset(expected), "{timestamp}");
    }
}
