//! A log against a model of it, on a disk that is killed, loses power and breaks: by seed.
//!
//! The model is the list of batches appended. After a kill the log holds exactly them; after a power loss it
//! holds a prefix of them that reaches at least to the durable end.

use crate::bug::Bug;
use crate::sim_disk::FaultOn;
use crate::{
    AppendError, Disk, FlushTarget, Log, LogConfig, Recovery, RecoveryReport, SimDisk, StorageError,
};
use ottla_records::{BatchBuilder, BatchHeader, EndTxnMarker, Origin, batches};
use ottla_types::{LeaderEpoch, Monotonic, Now, Offset, ProducerEpoch, ProducerId, Random, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PRODUCERS: u64 = 3;

#[derive(Clone)]
struct Written {
    header: BatchHeader,
    marker: Option<EndTxnMarker>,
    bytes: Vec<u8>,
}

/// A log, what it should hold, and what its owner wrote into its checkpoints.
struct World {
    seed: u64,
    random: Random,
    disk: SimDisk,
    log: Option<Log>,
    model: Vec<Written>,
    epoch: LeaderEpoch,
    recovery_point: Offset,
    log_start: Offset,
    flush: Option<FlushTarget>,
    clock_ms: i64,
    bug: Option<Bug>,
    counts: Counts,
}

#[derive(Default, Debug)]
struct Counts {
    kills: usize,
    power_losses: usize,
    lost_batches: usize,
    truncations: usize,
    /// Starts that looked at a part of a segment only.
    begun_within: usize,
    interrupted_starts: usize,
    segments_max: usize,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 150,
        file_delete_delay_ms: 0,
        retention_ms: -1,
        producer_snapshot_bytes: 500,
        ..LogConfig::default()
    }
}

impl World {
    fn new(seed: u64) -> World {
        World::with(seed, None)
    }

    fn with(seed: u64, bug: Option<Bug>) -> World {
        let mut world = World {
            seed,
            random: Random::new(seed),
            disk: SimDisk::new(),
            log: None,
            model: Vec::new(),
            epoch: LeaderEpoch(0),
            recovery_point: Offset(0),
            log_start: Offset(0),
            flush: None,
            clock_ms: 1_000_000,
            bug,
            counts: Counts::default(),
        };
        let logs = Path::new("logs");
        world.disk.create_dir_all(logs).unwrap();
        world.disk.sync_dir(Path::new(".")).unwrap();
        world.open(false);
        world
    }

    fn now(&self) -> Now {
        Now { monotonic: Monotonic(self.clock_ms as u64 * 1000), wall: Timestamp(self.clock_ms) }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn open(&mut self, clean: bool) {
        if !clean && self.random.chance(100) {
            self.leave_zeros();
        }
        if !clean && self.random.chance(300) {
            // A start that does not come to its end.
            self.disk.stop_after(self.random.below(120));
            if self.try_open(false).is_err() {
                self.counts.interrupted_starts += 1;
            }
            self.disk.heal();
        }
        let opened = self.try_open(clean);
        let (mut log, report) = opened.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        log.bug = self.bug;
        if report.segments_recovered > 0 {
            let known = log.segment_floor(self.recovery_point).map_or(log.log_start, |s| s.base_offset);
            let whole: u64 = log.segments.range(known..).map(|(_, segment)| segment.size()).sum();
            self.counts.begun_within += usize::from(report.checked_bytes < whole);
        }
        self.flush = None;
        self.log = Some(log);
    }

    fn try_open(&self, clean: bool) -> Result<(Log, RecoveryReport), StorageError> {
        let recovery = Recovery { clean, recovery_point: self.recovery_point, log_start: self.log_start };
        let disk = Arc::new(self.disk.clone());
        Log::open(disk, PathBuf::from("logs/t-0"), config(), recovery, self.now())
    }

    /// Zeros behind an index, as Kafka leaves them.
    fn leave_zeros(&self) {
        let dir = Path::new("logs/t-0");
        for entry in self.disk.list(dir).unwrap_or_default() {
            if entry.name.ends_with(".index") || entry.name.ends_with(".timeindex") {
                let file = self.disk.open(&dir.join(entry.name)).unwrap();
                file.write_all_at(&[0; 48], file.size().unwrap()).unwrap();
            }
        }
    }

    fn step(&mut self) {
        self.clock_ms += 1;
        match self.random.below(100) {
            0..55 => self.append(),
            55..60 => self.end_transaction(),
            60..66 => {
                self.log().write_due_producer_snapshot().unwrap();
                self.log().flush().unwrap();
            }
            66..68 => {
                self.log().write_due_producer_snapshot().unwrap();
                self.flush = self.log().flush_target();
            }
            68..70 => self.flush = self.log().records_target(),
            70..74 => {
                if let Some(target) = self.flush.take() {
                    target.sync().unwrap();
                    self.log().mark_durable(&target);
                }
            }
            74..76 => {
                let now = self.now();
                self.log().roll(now).unwrap();
            }
            76..80 => self.checkpoint(),
            80..84 => self.truncate(),
            84..87 => {
                self.epoch = self.epoch.next();
                let epoch = self.epoch;
                self.log().assign_epoch(epoch).unwrap();
            }
            87..90 => self.delete_old(),
            90..94 => self.kill(),
            94..98 => self.lose_power(),
            98 => self.restart(),
            _ => self.start_anew(),
        }
        self.check();
    }

    fn append(&mut self) {
        let mut builder = BatchBuilder::new();
        let choice = self.random.below(PRODUCERS + 2);
        let mut producer = None;
        if choice < PRODUCERS {
            let id = ProducerId(choice as i64);
            // The sequence goes on from what the log says: a follower of the log as it is.
            let sequence = self.log().producer(id).map_or(0, |state| state.last_sequence() + 1);
            builder = builder.producer(id, ProducerEpoch(0), sequence);
            producer = Some(id);
        }
        // The first producer writes in transactions only.
        if producer == Some(ProducerId(0)) {
            builder = builder.transactional();
        }
        for _ in 0..=self.random.below(4) {
            let value = vec![b'v'; self.random.index(150)];
            // Producers' clocks differ.
            let time = Timestamp(self.clock_ms + self.random.below(1000) as i64);
            builder.push(time, Some(b"key"), Some(&value), &[]);
        }
        self.append_bytes(builder.build(), Origin::Client);
    }

    fn end_transaction(&mut self) {
        let open = self.log().producer(ProducerId(0)).is_some_and(|state| state.txn_first_offset.is_some());
        if open {
            let marker = EndTxnMarker { committed: self.random.chance(300), coordinator_epoch: 0 };
            let batch = marker.batch(ProducerId(0), ProducerEpoch(0), self.now().wall, self.epoch);
            self.append_bytes(batch, Origin::Coordinator);
        }
    }

    fn append_bytes(&mut self, mut bytes: Vec<u8>, origin: Origin) {
        let (now, epoch) = (self.now(), self.epoch);
        let info = self.log().append_as_leader(&mut bytes, epoch, origin, now).unwrap();
        assert!(!info.duplicate, "seed {}: taken for a duplicate (IDEM-1)", self.seed);
        self.note(bytes);
    }

    fn note(&mut self, bytes: Vec<u8>) {
        let batch = batches(&bytes).next().unwrap().unwrap();
        let (header, marker) = (*batch.header(), EndTxnMarker::of(&batch));
        self.model.push(Written { header, marker, bytes });
    }

    fn checkpoint(&mut self) {
        self.recovery_point = self.log().recovery_point();
        self.log_start = self.log().log_start_offset();
    }

    fn truncate(&mut self) {
        let (start, end) = (self.log().log_start_offset(), self.log().log_end_offset());
        let offset = start + self.random.below((end - start + 2) as u64) as i64;
        let (now, is_cut) = (self.now(), offset < end);
        let end = self.log().truncate_to(offset, now).unwrap();
        self.recovery_point = self.recovery_point.min(end);
        self.model.retain(|batch| batch.header.last_offset() < end);
        if is_cut && end <= start {
            self.model.clear();
        }
        self.epoch = self.epoch.next();
        self.counts.truncations += 1;
    }

    fn delete_old(&mut self) {
        let (start, end) = (self.log().log_start_offset(), self.log().log_end_offset());
        let offset = start + self.random.below((end - start + 1) as u64) as i64;
        let (now, is_start_alone) = (self.now(), self.random.chance(300));
        let log = self.log();
        log.increment_log_start_offset(offset).unwrap();
        if is_start_alone {
            return;
        }
        log.advance_high_watermark(end);
        log.delete_old_segments(now, end).unwrap();
        log.remove_deleted_files(now.monotonic).unwrap();
    }

    fn start_anew(&mut self) {
        let (now, offset) = (self.now(), self.log().log_end_offset() + 10);
        self.log().truncate_fully_and_start_at(offset, now).unwrap();
        (self.recovery_point, self.log_start) = (offset, offset);
        self.model.clear();
    }

    fn kill(&mut self) {
        self.log = None;
        self.open(false);
        self.counts.kills += 1;
        let end = self.end_of_model();
        assert_eq!(self.log().log_end_offset(), end, "seed {}: a kill takes nothing", self.seed);
    }

    fn restart(&mut self) {
        self.checkpoint();
        let end = self.log().log_end_offset();
        self.log.take().unwrap().close().unwrap();
        self.disk.lose_power(&mut self.random);
        self.open(true);
        assert_eq!(self.log().log_end_offset(), end, "seed {}: an orderly end leaves all", self.seed);
    }

    fn lose_power(&mut self) {
        let durable = self.log().durable_end();
        self.log = None;
        self.disk.lose_power(&mut self.random);
        self.open(false);
        self.counts.power_losses += 1;
        let end = self.log().log_end_offset();
        assert!(end >= durable, "seed {}: durable up to {durable}, found {end}", self.seed);
        let before = self.model.len();
        self.model.retain(|batch| batch.header.last_offset() < end);
        self.counts.lost_batches += before - self.model.len();
        if end == self.log().log_start_offset() && end != self.end_of_model() {
            // Nothing is left that may be read: the log starts anew where it was said to start.
            self.model.clear();
        }
        assert_eq!(end, self.end_of_model(), "seed {}: a prefix of what was written", self.seed);
        // Losing its tail, a replica is led by somebody else before it leads again.
        self.epoch = self.epoch.next();
    }

    fn end_of_model(&self) -> Offset {
        match self.model.last() {
            Some(last) => last.header.next_offset(),
            None => self.log.as_ref().map_or(self.log_start, Log::log_start_offset),
        }
    }

    fn check(&mut self) {
        let seed = self.seed;
        let log = self.log.as_ref().unwrap();
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        assert_eq!(end, self.end_of_model(), "seed {seed}");
        let expected: Vec<&Written> =
            self.model.iter().filter(|batch| batch.header.last_offset() >= start).collect();
        let mut bytes = Vec::new();
        let mut from = start;
        while from < end {
            bytes.extend(log.read_bytes(from, Offset::MAX, usize::MAX).unwrap());
            from = batches(&bytes).last().unwrap().unwrap().header().next_offset();
        }
        let model: Vec<u8> = expected.iter().flat_map(|batch| batch.bytes.clone()).collect();
        assert!(bytes == model, "seed {seed}: the log is not what was written");
        for batch in &expected {
            let at = batch.header.base_offset.max(start);
            assert_eq!(
                log.epochs().epoch_of(at),
                Some(batch.header.leader_epoch),
                "seed {seed}: EPOCH-1 at {at}"
            );
        }
        let latest = expected.iter().map(|batch| batch.header.max_timestamp).max();
        let found = log.segments.values().filter_map(|segment| segment.latest()).map(|l| l.timestamp).max();
        assert!(found >= latest, "seed {seed}: {found:?}, the latest time is {latest:?}");
        self.check_producers();
        self.counts.segments_max = self.counts.segments_max.max(self.log().segments_count());
    }

    fn check_producers(&self) {
        let (seed, log) = (self.seed, self.log.as_ref().unwrap());
        let start = log.log_start_offset();
        let mut last = BTreeMap::new();
        let mut open = None;
        let mut aborted = Vec::new();
        for batch in &self.model {
            let header = &batch.header;
            if !header.producer_id.is_some() {
                continue;
            }
            match batch.marker {
                None => {
                    last.insert(header.producer_id, (header.base_offset, header.last_sequence()));
                    if header.is_transactional() {
                        open = open.or(Some(header.base_offset));
                    }
                }
                Some(marker) => {
                    let first = open.take();
                    if let (false, Some(first)) = (marker.committed, first) {
                        aborted.push((first, header.last_offset()));
                    }
                }
            }
        }
        for (id, (base_offset, sequence)) in last {
            if base_offset >= start {
                assert_eq!(log.producer(id).unwrap().last_sequence(), sequence, "seed {seed}: {id} (IDEM-1)");
            }
        }
        let found = log.aborted_transactions(start, Offset::MAX).unwrap();
        let found: Vec<_> = found.iter().map(|aborted| (aborted.first_offset, aborted.last_offset)).collect();
        for expected in aborted.iter().filter(|(first, _)| *first >= start) {
            assert!(found.contains(expected), "seed {seed}: {expected:?} is not in {found:?} (TXN-1)");
        }
        for (first, last) in found {
            // Of a transaction that began before the log start, what is left is aborted all the same.
            let is_known = |(begin, end): &(Offset, Offset)| *end == last && *begin <= first;
            assert!(aborted.iter().any(is_known), "seed {seed}: {first}..{last} was not aborted");
        }
    }
}

#[test]
fn a_kill_takes_nothing_and_a_power_loss_only_what_was_not_durable() {
    let mut total = Counts::default();
    for seed in ottla_types::seeds(1000) {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step();
        }
        total.kills += world.counts.kills;
        total.power_losses += world.counts.power_losses;
        total.lost_batches += world.counts.lost_batches;
        total.truncations += world.counts.truncations;
        total.begun_within += world.counts.begun_within;
        total.interrupted_starts += world.counts.interrupted_starts;
        total.segments_max = total.segments_max.max(world.counts.segments_max);
    }
    println!("{total:?}");
    // The test is worth its name only if all of this came about.
    assert!(total.kills > 1000 && total.power_losses > 1000 && total.truncations > 1000, "{total:?}");
    assert!(total.begun_within > 1000 && total.interrupted_starts > 1000, "{total:?}");
    assert!(total.lost_batches > 1000 && total.segments_max > 5, "{total:?}");
}

#[test]
fn a_producer_snapshot_of_a_truncated_history_is_noticed() {
    let noticed = |seed| {
        let run = || {
            let mut world = World::with(seed, Some(Bug::SnapshotPastTruncation));
            (0..120).for_each(|_| world.step());
        };
        let violation = std::panic::catch_unwind(run).err()?;
        violation.downcast::<String>().ok()
    };

    let (seeds, violation) = (0..200).find_map(|seed| Some((seed + 1, noticed(seed)?))).expect("unnoticed");

    println!("{:?}: noticed after {seeds} seeds: {violation}", Bug::SnapshotPastTruncation);
    assert!(violation.contains("IDEM-1"), "{violation}");
}

#[test]
fn the_same_seed_is_the_same_history() {
    let trace = |seed| {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
        (world.disk.operations(), world.model.len(), world.log().size_bytes())
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

#[test]
fn a_disk_that_breaks_leaves_what_was_acknowledged() {
    let mut failed = 0;
    for seed in ottla_types::seeds(300) {
        let mut world = World::new(seed);
        for _ in 0..30 {
            world.append();
        }
        let on = [FaultOn::Write, FaultOn::Name][world.random.index(2)];
        world.disk.fail(on, world.random.below(40), std::io::ErrorKind::StorageFull);
        let mut refused = None;
        for _ in 0..30 {
            let mut builder = BatchBuilder::new();
            builder.push(world.now().wall, None, Some(&vec![b'v'; world.random.index(150)]), &[]);
            let (now, epoch, mut bytes) = (world.now(), world.epoch, builder.build());
            match world.log().append_as_leader(&mut bytes, epoch, Origin::Client, now) {
                Ok(_) => world.note(bytes),
                Err(AppendError::Storage(_)) => {
                    refused.get_or_insert(bytes);
                    assert!(world.log().is_failed());
                }
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
        failed += usize::from(refused.is_some());
        world.disk.heal();
        world.log = None;
        world.open(false);
        // What was refused may be there all the same: its bytes were written before an index failed.
        if let Some(bytes) = refused
            && world.log().log_end_offset() > world.end_of_model()
        {
            world.note(bytes);
        }
        world.check();
    }
    assert!(failed > 100, "{failed}");
}

#[test]
fn any_corruption_of_what_was_not_durable_is_cut() {
    for seed in ottla_types::seeds(300) {
        let mut world = World::new(seed);
        for _ in 0..30 {
            world.append();
        }
        let active = world.log().active_segment_base_offset();
        let path = PathBuf::from(format!("logs/t-0/{:020}.log", active.0));
        world.log = None;
        let size = world.disk.read(&path).unwrap().len();
        let at = world.random.index(size);
        let flipped = world.disk.read(&path).unwrap()[at] ^ (1 << world.random.below(8));
        world.disk.corrupt(&path, at, &[flipped]).unwrap();
        world.recovery_point = active;
        world.open(false);

        let end = world.log().log_end_offset();
        let mut position = 0;
        let mut intact = active;
        for batch in world.model.iter().filter(|batch| batch.header.base_offset >= active) {
            position += batch.bytes.len();
            if position > at {
                break;
            }
            intact = batch.header.next_offset();
        }
        // Offset and leader epoch are not under the crc: a flip there may pass for another batch.
        assert!(end >= intact, "seed {seed}: cut at {end}, intact up to {intact}");
        world.model.retain(|batch| batch.header.last_offset() < intact);
        let bytes = world.log().read_bytes(Offset(0), intact, usize::MAX);
        assert!(bytes.is_ok(), "seed {seed}");
        world.append_after_corruption(intact);
    }
}

impl World {
    fn append_after_corruption(&mut self, intact: Offset) {
        let now = self.now();
        let end = self.log().truncate_to(intact, now).unwrap();
        assert!(end <= intact, "seed {}", self.seed);
        self.epoch = LeaderEpoch(i32::MAX - 1);
        self.append();
        self.check();
    }
}
