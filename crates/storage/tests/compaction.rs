//! A log that is compacted, against a model of what was written to it: by seed, with every codec, with tombstones and
//! transactions, with kills, and with a power loss at every operation on the disk.

#![expect(clippy::unwrap_used, reason = "a test may")]

use ottla_records::{BatchBuilder, Compression, EndTxnMarker, Origin, batches};
use ottla_storage::{
    AtLeast, CleanError, CleanerOptions, CleanupPolicy, Disk, Log, LogConfig, Recovery, SimDisk,
};
use ottla_types::{LeaderEpoch, Monotonic, Now, Offset, ProducerEpoch, ProducerId, Random, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DELETE_RETENTION_MS: i64 = 3000;
const DIR: &str = "logs/t-0";
const IDEMPOTENT: ProducerId = ProducerId(10);
const TRANSACTIONAL: [ProducerId; 2] = [ProducerId(20), ProducerId(21)];

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 150,
        file_delete_delay_ms: 0,
        retention_ms: -1,
        delete_retention_ms: DELETE_RETENTION_MS,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        producer_id_expiration_ms: i64::MAX,
        ..LogConfig::default()
    }
}

/// A record as it was written, or as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    offset: Offset,
    key: u8,
    value: Option<Vec<u8>>,
    timestamp: Timestamp,
    /// Whose transaction it is part of.
    transaction: Option<ProducerId>,
}

#[derive(Clone, Copy, Debug)]
struct Marker {
    offset: Offset,
    producer: ProducerId,
    committed: bool,
}

#[derive(Default, Debug)]
struct Counts {
    passes: usize,
    partial_passes: usize,
    replaced: usize,
    kills: usize,
    power_losses: usize,
    records_gone: usize,
    tombstones_gone: usize,
    markers_gone: usize,
}

struct World {
    seed: u64,
    random: Random,
    disk: SimDisk,
    log: Option<Log>,
    written: Vec<Written>,
    markers: Vec<Marker>,
    /// The last sequence number of the idempotent producer, by the offset of its record.
    sequences: Vec<(Offset, i32)>,
    /// Where the furthest pass was to end; one that did not get there may have taken something all the same.
    begun: Offset,
    /// When a pass first met a tombstone.
    met: BTreeMap<Offset, i64>,
    recovery_point: Offset,
    first_dirty: Offset,
    clock_ms: i64,
    counts: Counts,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            seed,
            random: Random::new(seed),
            disk: SimDisk::new(),
            log: None,
            written: Vec::new(),
            markers: Vec::new(),
            sequences: Vec::new(),
            begun: Offset(0),
            met: BTreeMap::new(),
            recovery_point: Offset(0),
            first_dirty: Offset(0),
            clock_ms: 1_000_000,
            counts: Counts::default(),
        };
        world.disk.create_dir_all(Path::new("logs")).unwrap();
        world.disk.sync_dir(Path::new(".")).unwrap();
        world.open();
        world
    }

    fn now(&self) -> Now {
        Now { monotonic: Monotonic(self.clock_ms as u64 * 1000), wall: Timestamp(self.clock_ms) }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn try_open(&self) -> Result<Log, ottla_storage::StorageError> {
        let recovery =
            Recovery { clean: false, recovery_point: self.recovery_point, log_start: Offset::ZERO };
        let disk = Arc::new(self.disk.clone());
        Log::open(disk, PathBuf::from(DIR), config(), recovery, self.now()).map(|(log, _)| log)
    }

    fn open(&mut self) {
        let mut log = self.try_open().unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        log.restore_first_dirty_offset(self.first_dirty);
        log.advance_high_watermark(log.log_end_offset());
        self.first_dirty = log.first_dirty_offset();
        self.log = Some(log);
    }

    fn step(&mut self) {
        self.clock_ms += if self.random.chance(50) { 2500 } else { 1 };
        match self.random.below(100) {
            0..70 => self.append(),
            70..80 => self.end_transaction(),
            80..84 => {
                let now = self.now();
                self.log().roll(now).unwrap();
            }
            84..88 => self.flush(),
            88..94 => {
                self.flush();
                self.clean().unwrap();
            }
            94..97 => self.kill(),
            97..99 => self.lose_power(),
            _ => {
                // An orderly end leaves a snapshot of the producers.
                self.flush();
                self.log.take().unwrap().close().unwrap();
                self.open();
            }
        }
        self.check();
    }

    fn flush(&mut self) {
        self.recovery_point = self.log().flush().unwrap();
    }

    fn append(&mut self) {
        let codec = Compression::ALL[self.random.index(5)];
        let mut builder = BatchBuilder::new().compression(codec);
        let mut transaction = None;
        let mut sequence = None;
        match self.random.below(4) {
            0 => {
                let next = self.log().producer(IDEMPOTENT).map_or(0, |state| state.last_sequence() + 1);
                builder = builder.producer(IDEMPOTENT, ProducerEpoch(0), next);
                sequence = Some(next);
            }
            choice @ 1..=2 => {
                let id = TRANSACTIONAL[choice as usize - 1];
                let next = self.log().producer(id).map_or(0, |state| state.last_sequence() + 1);
                builder = builder.producer(id, ProducerEpoch(0), next).transactional();
                transaction = Some(id);
            }
            _ => {}
        }
        let base = self.log().log_end_offset();
        let count = 1 + self.random.below(4) as i64;
        for n in 0..count {
            let key = self.random.below(12) as u8;
            let len = self.random.index(60);
            let value = (!self.random.chance(200)).then(|| vec![key; len]);
            let timestamp = self.now().wall;
            builder.push(timestamp, Some(&[key]), value.as_deref(), &[]);
            self.written.push(Written { offset: base + n, key, value, timestamp, transaction });
        }
        if let Some(first) = sequence {
            self.sequences.push((base, first + count as i32 - 1));
        }
        self.append_bytes(builder.build(), Origin::Client);
    }

    fn end_transaction(&mut self) {
        let producer = TRANSACTIONAL[self.random.index(2)];
        if self.log().producer(producer).is_none_or(|state| state.txn_first_offset.is_none()) {
            return;
        }
        let marker = EndTxnMarker { committed: self.random.chance(500), coordinator_epoch: 0 };
        let bytes = marker.batch(producer, ProducerEpoch(0), self.now().wall, LeaderEpoch(0));
        let offset = self.log().log_end_offset();
        self.markers.push(Marker { offset, producer, committed: marker.committed });
        self.append_bytes(bytes, Origin::Coordinator);
    }

    fn append_bytes(&mut self, mut bytes: Vec<u8>, origin: Origin) {
        let now = self.now();
        let log = self.log();
        let info = log.append_as_leader(&mut bytes, LeaderEpoch(0), origin, now).unwrap();
        assert!(!info.duplicate);
        log.advance_high_watermark(info.next_offset());
    }

    /// A whole pass, as its driver does it.
    fn clean(&mut self) -> Result<(), CleanError> {
        let mut none = |_: &Log| {};
        self.clean_noting(&mut none)
    }

    /// `each` sees the log after every replacement.
    fn clean_noting(&mut self, each: &mut dyn FnMut(&Log)) -> Result<(), CleanError> {
        let now = self.now();
        let map_bytes_max = if self.random.chance(300) { 24 * 7 } else { 1 << 20 };
        let options = CleanerOptions { map_bytes_max, secret: [3; 16] };
        let log = self.log.as_mut().unwrap();
        let committed = log.last_stable_offset(log.log_end_offset());
        let cleanable = log.cleanable(committed, now.wall)?;
        for written in self.written.iter().filter(|written| written.value.is_none()) {
            if written.offset < cleanable.end {
                self.met.entry(written.offset).or_insert(now.wall.0);
            }
        }
        self.begun = self.begun.max(cleanable.end);
        let mut cleaning = log.begin_cleaning(&cleanable, now.wall)?;
        let begun = cleaning.end();
        cleaning.read_keys(&options, &|| false)?;
        while let Some(cleaned) = cleaning.clean_next(&|| false)? {
            assert!(log.replace_segments(&cleaned, now)?);
            log.remove_deleted_files(now.monotonic)?;
            self.counts.replaced += 1;
            each(log);
        }
        cleaning.sync()?;
        log.finish_cleaning(&cleaning);
        self.first_dirty = log.first_dirty_offset();
        self.counts.passes += 1;
        self.counts.partial_passes += usize::from(cleaning.end() < begun);
        Ok(())
    }

    fn kill(&mut self) {
        let end = self.log().log_end_offset();
        self.log = None;
        self.open();
        self.counts.kills += 1;
        assert_eq!(self.log().log_end_offset(), end, "seed {}: a kill takes nothing", self.seed);
    }

    fn lose_power(&mut self) {
        let durable = self.log().durable_end();
        self.log = None;
        self.disk.lose_power(&mut self.random);
        self.open();
        self.counts.power_losses += 1;
        self.forget_lost(durable);
    }

    fn forget_lost(&mut self, durable: Offset) {
        let end = self.log().log_end_offset();
        assert!(end >= durable, "seed {}: durable up to {durable}, found {end}", self.seed);
        self.written.retain(|written| written.offset < end);
        self.markers.retain(|marker| marker.offset < end);
        self.sequences.retain(|(offset, _)| *offset < end);
        self.met.retain(|offset, _| *offset < end);
    }

    /// The marker that ended the transaction of this record.
    fn marker_of(&self, written: &Written) -> Option<Marker> {
        let producer = written.transaction?;
        self.markers.iter().find(|m| m.producer == producer && m.offset > written.offset).copied()
    }

    fn check(&mut self) {
        let seed = self.seed;
        let stable = {
            let log = self.log();
            log.last_stable_offset(log.log_end_offset())
        };
        let log = self.log.as_ref().unwrap();
        let (found, markers) = read(log);
        let by_offset: BTreeMap<Offset, &Written> = self.written.iter().map(|w| (w.offset, w)).collect();
        for (record, _) in &found {
            assert_eq!(Some(&record), by_offset.get(&record.offset), "seed {seed}: changed");
        }
        // What no pass has seen is all there.
        let first_dirty = log.first_dirty_offset();
        let whole_from = first_dirty.max(self.begun);
        let dirty = found.iter().filter(|(record, _)| record.offset >= whole_from).count();
        let expected = self.written.iter().filter(|written| written.offset >= whole_from).count();
        assert_eq!(dirty, expected, "seed {seed}: from {whole_from} on nothing may be missing");

        let mut latest: BTreeMap<u8, &Written> = BTreeMap::new();
        for written in self.written.iter().filter(|written| written.offset < stable) {
            let is_committed =
                written.transaction.is_none() || self.marker_of(written).is_some_and(|m| m.committed);
            if is_committed {
                latest.insert(written.key, written);
            }
        }
        let mut seen: BTreeMap<u8, &Written> = BTreeMap::new();
        for (record, is_aborted) in &found {
            if record.offset >= stable || *is_aborted {
                continue;
            }
            if let Some(earlier) = seen.insert(record.key, record) {
                assert!(
                    record.offset >= first_dirty,
                    "seed {seed}: {earlier:?} and {record:?} are both there"
                );
            }
        }
        for (key, expected) in latest {
            match (seen.get(&key), &expected.value) {
                (Some(found), _) => assert_eq!(*found, expected, "seed {seed}: the latest of its key"),
                (None, Some(_)) => panic!("seed {seed}: {expected:?} is lost"),
                (None, None) => {
                    let met = self.met.get(&expected.offset).copied().unwrap_or(i64::MAX);
                    let due = met.saturating_add(DELETE_RETENTION_MS);
                    assert!(self.clock_ms >= due, "seed {seed}: {expected:?} went too early");
                    self.counts.tombstones_gone += 1;
                }
            }
        }
        self.counts.records_gone = self.counts.records_gone.max(self.written.len() - found.len());
        self.counts.markers_gone = self.counts.markers_gone.max(self.markers.len() - markers);
        if let Some((_, last)) = self.sequences.last() {
            let known = log.producer(IDEMPOTENT).map(|state| state.last_sequence());
            assert_eq!(known, Some(*last), "seed {seed}: IDEM-1");
        }
        for producer in TRANSACTIONAL {
            let open = self
                .written
                .iter()
                .find(|written| written.transaction == Some(producer) && self.marker_of(written).is_none());
            let known = log.producer(producer).and_then(|state| state.txn_first_offset);
            assert_eq!(known, open.map(|written| written.offset), "seed {seed}: {producer} (TXN-1)");
        }
    }
}

/// All records with whether they were aborted, and how many markers there are. The batches must follow one another
/// without a gap but for those that compaction took, and reach the log's end.
fn read(log: &Log) -> (Vec<(Written, bool)>, usize) {
    let (mut from, end) = (log.log_start_offset(), log.log_end_offset());
    let aborted = log.aborted_transactions(from, Offset::MAX).unwrap();
    let (mut records, mut markers) = (Vec::new(), 0);
    while from < end {
        let bytes = log.read_bytes(from, Offset::MAX, usize::MAX).unwrap();
        assert!(!bytes.is_empty(), "nothing at {from}, though the log ends at {end}");
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let header = *batch.header();
            assert!(header.base_offset >= from || records.is_empty(), "{} after {from}", header.base_offset);
            from = header.next_offset();
            if header.is_control() {
                markers += usize::from(header.records_count > 0);
                continue;
            }
            let is_aborted = aborted.iter().any(|transaction| {
                header.is_transactional()
                    && transaction.producer_id == header.producer_id
                    && (transaction.first_offset..=transaction.last_offset).contains(&header.base_offset)
            });
            for record in batch.records(1 << 20).unwrap().iter() {
                let record = record.unwrap();
                records.push((
                    Written {
                        offset: record.offset,
                        key: record.key.unwrap()[0],
                        value: record.value.map(<[u8]>::to_vec),
                        timestamp: record.timestamp,
                        transaction: header.is_transactional().then_some(header.producer_id),
                    },
                    is_aborted,
                ));
            }
        }
    }
    assert!(records.is_sorted_by_key(|(record, _)| record.offset), "offsets only grow");
    (records, markers)
}

#[test]
fn a_compacted_log_says_of_each_key_what_the_whole_one_said() {
    let mut total = Counts::default();
    for seed in 0..250 {
        let mut world = World::new(seed);
        for _ in 0..160 {
            world.step();
        }
        let counts = &world.counts;
        total.passes += counts.passes;
        total.partial_passes += counts.partial_passes;
        total.replaced += counts.replaced;
        total.kills += counts.kills;
        total.power_losses += counts.power_losses;
        total.records_gone += counts.records_gone;
        total.tombstones_gone += counts.tombstones_gone;
        total.markers_gone += counts.markers_gone;
    }
    println!("{total:?}");
    // The test is worth its name only if all of this came about.
    assert!(total.passes > 1000 && total.partial_passes > 100 && total.replaced > 1000, "{total:?}");
    assert!(total.kills > 500 && total.power_losses > 300, "{total:?}");
    assert!(total.records_gone > 5000 && total.tombstones_gone > 500, "{total:?}");
    assert!(total.markers_gone > 100, "{total:?}");
}

/// A log with some history that awaits a pass; the same for the same seed.
fn before_a_pass(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..45 {
        world.append();
        world.end_transaction();
    }
    world.flush();
    world.clean().unwrap();
    world.clock_ms += 2 * DELETE_RETENTION_MS;
    for _ in 0..45 {
        world.append();
        world.end_transaction();
    }
    world.flush();
    world
}

fn bytes_of(log: &Log) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut from = log.log_start_offset();
    while from < log.log_end_offset() {
        let read = log.read_bytes(from, Offset::MAX, usize::MAX).unwrap();
        assert!(!read.is_empty(), "nothing at {from}");
        bytes.extend(read);
        from = batches(&bytes).last().unwrap().unwrap().header().next_offset();
    }
    bytes
}

#[test]
fn a_power_loss_at_any_operation_leaves_the_old_segments_or_the_new_ones() {
    let (mut losses, mut completed) = (0, 0);
    for seed in 0..4 {
        let mut world = before_a_pass(seed);
        let mut states = vec![bytes_of(world.log())];
        let started = world.disk.operations();
        // Looking at the log takes operations too: they are counted out.
        let mut looking = 0;
        let disk = world.disk.clone();
        world
            .clean_noting(&mut |log| {
                let before = disk.operations();
                states.push(bytes_of(log));
                looking += disk.operations() - before;
            })
            .unwrap();
        assert!(states.len() > 2, "seed {seed}");
        let operations = world.disk.operations() - started - looking;

        for at in 0..=operations {
            let mut world = before_a_pass(seed);
            let durable = world.log().durable_end();
            world.disk.stop_after(at);
            let outcome = world.clean();
            assert_eq!(outcome.is_ok(), at >= operations, "seed {seed} at {at}: {outcome:?}");
            world.log = None;
            world.random = Random::new(seed ^ at << 32);
            world.disk.lose_power(&mut world.random);
            if world.random.chance(300) {
                // The start is interrupted as well.
                world.disk.stop_after(world.random.below(40));
                drop(world.try_open());
                world.disk.lose_power(&mut world.random);
            }
            world.open();
            losses += 1;
            world.forget_lost(durable);
            let after = bytes_of(world.log());
            let state = states.iter().position(|state| *state == after);
            completed += usize::from(state.expect("one of the states between") > 0);
            world.check();
            world.flush();
            world.clean().unwrap();
            world.check();
        }
    }
    println!("{losses} losses of power, {completed} with a replacement in place");
    assert!(losses > 1500 && completed > 500, "{losses} {completed}");
}

#[test]
fn who_reads_an_old_segment_is_not_disturbed() {
    let mut world = before_a_pass(3);
    let log = world.log();
    let read = log.read(log.log_start_offset(), Offset::MAX, usize::MAX, AtLeast::OneBatch).unwrap();
    let region = read.region.unwrap();
    let before = region.read().unwrap();
    let size = log.size_bytes();

    world.clean().unwrap();

    assert!(world.log().size_bytes() < size);
    assert_eq!(region.read().unwrap(), before);
    let entries = world.disk.list(Path::new(DIR)).unwrap();
    assert!(!entries.iter().any(|entry| entry.name.ends_with(".deleted")), "its name is gone: {entries:?}");
}

#[test]
fn a_log_that_was_cut_meanwhile_keeps_its_segments() {
    let mut world = before_a_pass(5);
    let now = world.now();
    let log = world.log();
    let end = log.log_end_offset();
    let cleanable = log.cleanable(log.last_stable_offset(end), now.wall).unwrap();
    let mut cleaning = log.begin_cleaning(&cleanable, now.wall).unwrap();
    let options = CleanerOptions { map_bytes_max: 1 << 20, secret: [0; 16] };
    cleaning.read_keys(&options, &|| false).unwrap();
    let cleaned = cleaning.clean_next(&|| false).unwrap().unwrap();
    let cut = log.truncate_to(Offset(20), now).unwrap();
    let before = bytes_of(log);

    assert!(!log.replace_segments(&cleaned, now).unwrap());
    log.finish_cleaning(&cleaning);

    assert_eq!(bytes_of(log), before);
    assert!(log.first_dirty_offset() <= cut, "what is written next is dirty");
    let entries = world.disk.list(Path::new(DIR)).unwrap();
    assert!(!entries.iter().any(|entry| entry.name.ends_with(".cleaned")), "{entries:?}");
}

#[test]
fn a_pass_that_is_stopped_leaves_nothing_behind() {
    let mut world = before_a_pass(7);
    let now = world.now();
    let log = world.log();
    let before = bytes_of(log);
    let cleanable = log.cleanable(log.last_stable_offset(log.log_end_offset()), now.wall).unwrap();
    let mut cleaning = log.begin_cleaning(&cleanable, now.wall).unwrap();
    let options = CleanerOptions { map_bytes_max: 1 << 20, secret: [0; 16] };
    cleaning.read_keys(&options, &|| false).unwrap();
    assert!(matches!(cleaning.clean_next(&|| true), Err(CleanError::Stopped)));
    assert_eq!(bytes_of(log), before);
    let entries = world.disk.list(Path::new(DIR)).unwrap();
    assert!(!entries.iter().any(|entry| entry.name.contains(".cleaned")), "{entries:?}");
}

#[test]
fn what_is_too_young_or_not_committed_is_not_cleaned() {
    let mut world = World::new(1);
    while world.clock_ms < 1_000_600 {
        world.clock_ms += 10;
        world.append();
        world.end_transaction();
    }
    let now = world.now();
    let log = world.log();
    let (end, active) = (log.log_end_offset(), log.active_segment_base_offset());
    let cleanable = |log: &Log, committed| log.cleanable(committed, now.wall).unwrap();
    assert_eq!(cleanable(log, end).end, active);
    let some = cleanable(log, active - 1);
    assert!(some.end < active - 1 && some.dirty_bytes > 0, "whole segments only: {some:?}");
    let none = cleanable(log, Offset(1));
    assert_eq!((none.end, none.dirty_bytes), (Offset(0), 0));
    assert!(!none.is_due(log.config(), now.wall), "a pass would come to nothing, again and again");
    assert!(cleanable(log, end).is_due(log.config(), now.wall), "all of it is dirty");

    log.set_config(LogConfig { min_compaction_lag_ms: 300, ..config() });
    let limited = cleanable(log, end);
    assert!(Offset(0) < limited.end && limited.end < active, "{limited:?}");

    let lazy = LogConfig { min_cleanable_dirty_ratio: 1.0, max_compaction_lag_ms: 500, ..config() };
    log.set_config(lazy);
    assert!(cleanable(log, end).is_due(&lazy, now.wall), "the first record is 600 ms old");
    assert!(!cleanable(log, end).is_due(&lazy, Timestamp(now.wall.0 - 200)));
}

#[test]
fn a_corrupt_batch_ends_the_pass_and_nothing_else() {
    let mut world = before_a_pass(9);
    let before = world.log().size_bytes();
    let path = Path::new(DIR).join("00000000000000000000.log");
    world.disk.corrupt(&path, 70, &[0xff, 0xff]).unwrap();
    let error = world.clean().unwrap_err();
    assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
    assert!(!world.log().is_failed());
    assert_eq!(world.log().size_bytes(), before);
}

/// A hundred consumers commit every five minutes, for a year; the offsets of a tenth of them are dropped in the end.
#[test]
fn a_year_of_commits_leaves_the_offsets_log_small() {
    const MINUTE_MS: i64 = 60_000;
    const SEGMENT_BYTES: u64 = 256 << 10;
    let year = LogConfig {
        segment_bytes: SEGMENT_BYTES,
        delete_retention_ms: 24 * 60 * MINUTE_MS,
        index_interval_bytes: 4096,
        ..config()
    };
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("logs")).unwrap();
    let opened = Log::open(
        Arc::new(disk.clone()),
        PathBuf::from(DIR),
        year,
        Recovery::UNKNOWN,
        Now { monotonic: Monotonic(0), wall: Timestamp(0) },
    );
    let mut log = opened.unwrap().0;
    let options = CleanerOptions { map_bytes_max: 1 << 20, secret: [1; 16] };
    let (mut size_max, mut files_max, mut passes, mut written) = (0, 0, 0, 0);
    let mut clock_ms = 0;
    while clock_ms < 365 * 24 * 60 * MINUTE_MS {
        clock_ms += 5 * MINUTE_MS;
        let now = Now { monotonic: Monotonic(clock_ms as u64 * 1000), wall: Timestamp(clock_ms) };
        let mut batch = BatchBuilder::new();
        for consumer in 0..100u8 {
            let value = [&clock_ms.to_be_bytes()[..], &[consumer; 16]].concat();
            batch.push(now.wall, Some(format!("group {consumer}").as_bytes()), Some(&value), &[]);
        }
        let mut bytes = batch.build();
        written += bytes.len() as u64;
        log.append_as_leader(&mut bytes, LeaderEpoch(0), Origin::Client, now).unwrap();
        let end = log.log_end_offset();
        log.advance_high_watermark(end);
        let cleanable = log.cleanable(end, now.wall).unwrap();
        if cleanable.is_due(&year, now.wall) {
            log.flush().unwrap();
            passes += 1;
            let mut cleaning = log.begin_cleaning(&cleanable, now.wall).unwrap();
            cleaning.read_keys(&options, &|| false).unwrap();
            while let Some(cleaned) = cleaning.clean_next(&|| false).unwrap() {
                assert!(log.replace_segments(&cleaned, now).unwrap());
            }
            cleaning.sync().unwrap();
            log.finish_cleaning(&cleaning);
            log.remove_deleted_files(now.monotonic).unwrap();
        }
        size_max = size_max.max(log.size_bytes());
        files_max = files_max.max(disk.list(Path::new(DIR)).unwrap().len());
    }
    println!("{written} bytes written, {passes} passes, at most {size_max} bytes in {files_max} files");
    assert!(written > 400_000_000 && passes > 500);
    assert!(size_max < 3 * SEGMENT_BYTES, "{size_max} bytes");
    assert!(files_max < 20, "{files_max} files");
}
