//! The bytes of Apache Kafka 4.1 and ours, in both directions. `golden/topic1-0` was written by Kafka's own
//! classes: batches of all codecs, an idempotent and a transactional producer, an aborted and a committed
//! transaction, two leader epochs, two segments.

#![expect(clippy::unwrap_used, reason = "a test may")]

use ottla_records::{BatchMut, Origin, batches};
use ottla_storage::{AtLeast, Disk, Log, LogConfig, Recovery, SimDisk, producer_snapshot};
use ottla_types::{LeaderEpoch, Monotonic, Now, Offset, ProducerId, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILES: &[(&str, &[u8])] = &[
    ("00000000000000000000.log", include_bytes!("golden/topic1-0/00000000000000000000.log")),
    ("00000000000000000000.index", include_bytes!("golden/topic1-0/00000000000000000000.index")),
    ("00000000000000000000.timeindex", include_bytes!("golden/topic1-0/00000000000000000000.timeindex")),
    ("00000000000000000000.txnindex", include_bytes!("golden/topic1-0/00000000000000000000.txnindex")),
    ("00000000000000000012.log", include_bytes!("golden/topic1-0/00000000000000000012.log")),
    ("00000000000000000012.index", include_bytes!("golden/topic1-0/00000000000000000012.index")),
    ("00000000000000000012.timeindex", include_bytes!("golden/topic1-0/00000000000000000012.timeindex")),
    ("leader-epoch-checkpoint", include_bytes!("golden/topic1-0/leader-epoch-checkpoint")),
];
const SNAPSHOTS: &[(&str, &[u8])] = &[
    ("00000000000000000012.snapshot", include_bytes!("golden/topic1-0/00000000000000000012.snapshot")),
    ("00000000000000000015.snapshot", include_bytes!("golden/topic1-0/00000000000000000015.snapshot")),
];

fn dir() -> PathBuf {
    PathBuf::from("topic1-0")
}

fn now() -> Now {
    Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_010_000) }
}

fn config() -> LogConfig {
    LogConfig { index_interval_bytes: 100, ..LogConfig::default() }
}

/// A disk that holds what Kafka wrote, but for the files that `without` names.
fn kafkas_disk(without: &[&str]) -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(&dir()).unwrap();
    for (name, bytes) in FILES.iter().chain(SNAPSHOTS) {
        if !without.iter().any(|suffix| name.ends_with(suffix)) {
            disk.write_atomically(&dir().join(name), bytes).unwrap();
        }
    }
    disk
}

fn open(disk: &SimDisk, recovery: Recovery) -> Log {
    Log::open(Arc::new(disk.clone()), dir(), config(), recovery, now()).unwrap().0
}

fn read(disk: &SimDisk, name: &str) -> Vec<u8> {
    disk.read(&dir().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All of the log's bytes, and the log that holds what Kafka's does.
fn check_contents(log: &Log) {
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(0), Offset(15)));
    assert_eq!(log.latest_epoch(), LeaderEpoch(5));
    let mut values = Vec::new();
    let mut from = Offset(0);
    while from < log.log_end_offset() {
        let bytes = log
            .read(from, Offset::MAX, usize::MAX, AtLeast::OneBatch)
            .unwrap()
            .region
            .unwrap()
            .read()
            .unwrap();
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let records = batch.records(1 << 20).unwrap();
            values.extend(records.iter().map(|record| record.unwrap().value.map(<[u8]>::to_vec)));
            from = batch.header().next_offset();
        }
    }
    assert_eq!(values.len(), 15);
    assert_eq!(values[..3], [Some(b"a".to_vec()), Some(b"b".to_vec()), Some(b"c".to_vec())]);
    for compressed in &values[4..7] {
        assert_eq!(*compressed, Some(vec![0; 200]));
    }
    let aborted = log.aborted_transactions(Offset(0), Offset(15)).unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].producer_id, aborted[0].last_offset), (ProducerId(2000), Offset(10)));
    assert_eq!(log.producer(ProducerId(1000)).unwrap().last_sequence(), 1);
    assert_eq!(log.first_unstable_offset(), None);
}

#[test]
fn kafkas_log_is_read_as_it_is() {
    let log = open(&kafkas_disk(&[]), Recovery { clean: true, ..Recovery::UNKNOWN });

    check_contents(&log);
    let found = log.offset_for_timestamp(Timestamp(1_700_000_003_001)).unwrap().unwrap();
    assert_eq!(found.offset, Offset(8));
}

#[test]
fn what_kafka_derived_from_its_log_is_derived_from_it_here() {
    let without = [".index", ".timeindex", ".txnindex", ".snapshot", "leader-epoch-checkpoint"];
    let disk = kafkas_disk(&without);

    let mut log = open(&disk, Recovery::UNKNOWN);
    log.advance_high_watermark(Offset(15));
    check_contents(&log);
    log.close().unwrap();

    for (name, bytes) in FILES {
        assert_eq!(hex(&read(&disk, name)), hex(bytes), "{name}");
    }
}

/// Appends what Kafka's log holds, batch by batch as producers and coordinators sent it, and compares all files.
#[test]
fn the_same_appends_leave_the_same_files() {
    let disk = SimDisk::new();
    let mut log = open(&disk, Recovery { clean: true, ..Recovery::UNKNOWN });
    for (segment, name) in ["00000000000000000000.log", "00000000000000000012.log"].into_iter().enumerate() {
        if segment == 1 {
            log.roll(now()).unwrap();
        }
        let (_, bytes) = FILES.iter().find(|(file, _)| *file == name).unwrap();
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            let header = *batch.header();
            let mut sent = batch.bytes().to_vec();
            let mut edit = BatchMut::parse_exactly(&mut sent).unwrap();
            edit.set_base_offset(Offset(0));
            edit.set_leader_epoch(LeaderEpoch::NONE);
            let origin = if header.is_control() { Origin::Coordinator } else { Origin::Client };

            let info = log.append_as_leader(&mut sent, header.leader_epoch, origin, now()).unwrap();

            assert_eq!((info.base_offset, info.last_offset), (header.base_offset, header.last_offset()));
        }
    }
    log.close().unwrap();

    for (name, bytes) in FILES {
        assert_eq!(hex(&read(&disk, name)), hex(bytes), "{name}");
    }
    for (name, bytes) in SNAPSHOTS {
        // Kafka's order of producers is that of a hash map: compared by content.
        let (ours, kafkas) = (read(&disk, name), producer_snapshot::decode_map(bytes));
        assert_eq!(producer_snapshot::decode_map(&ours), kafkas, "{name}");
        assert_eq!(ours.len(), bytes.len(), "{name}");
    }
    assert_eq!(disk.list(Path::new("topic1-0")).unwrap().len(), FILES.len() + SNAPSHOTS.len());
}

#[test]
fn a_tail_of_zeros_as_kafka_preallocates_it_is_cut() {
    let disk = kafkas_disk(&[".snapshot"]);
    disk.open(&dir().join("00000000000000000012.log")).unwrap().truncate(1 << 16).unwrap();
    disk.open(&dir().join("00000000000000000012.index")).unwrap().truncate(1 << 12).unwrap();
    disk.open(&dir().join("00000000000000000012.timeindex")).unwrap().truncate(12 << 8).unwrap();

    let recovery = Recovery { clean: false, recovery_point: Offset(12), log_start: Offset(0) };
    let (log, report) = Log::open(Arc::new(disk), dir(), config(), recovery, now()).unwrap();

    check_contents_after_high_watermark(log);
    assert_eq!((report.segments_recovered, report.truncated_bytes), (2, (1 << 16) - 159));
}

fn check_contents_after_high_watermark(mut log: Log) {
    log.advance_high_watermark(Offset(15));
    check_contents(&log);
}
