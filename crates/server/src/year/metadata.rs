//! `__cluster_metadata` of a controller that decides all year: snapshots take the place of what came before them.

use super::sizes::Sizes;
use super::time::{self, DAY, YEAR_DAYS};
use crate::config::Properties;
use crate::quorum::Snapshots;
use crate::quorum::actor::SnapshotPolicy;
use crate::quorum::actor::alone::{self, Setup};
use ottla_metadata::{MetadataDelta, MetadataImage, snapshot};
use ottla_protocol::records::metadata::{
    BrokerRegistrationChangeRecord, ConfigRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    RegisterBrokerRecord, RemoveTopicRecord, TopicRecord, UnregisterBrokerRecord,
};
use ottla_storage::{AtLeast, Disk, Log, Recovery, SimDisk};
use ottla_types::{Decision, Now, Uuid};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DIR: &str = "/data/__cluster_metadata-0";

/// How often something is decided.
const STEP: Duration = Duration::from_secs(1200);

/// The shipped setting is five seconds: six million records that say nothing, which take a minute. What they are fewer, topics
/// that come and go are more.
const IDLE: Duration = Duration::from_secs(300);

/// How many topics there are at a time.
const TOPICS: usize = 10;

const PARTITIONS: i32 = 20;

/// How many brokers there are at a time.
const BROKERS: usize = 5;

/// What the log and its snapshots may take: two weeks of the log, since a segment lasts for one and must be out of reach before it
/// goes; and a week of snapshots, one an hour.
const BYTES_MAX: u64 = 10 << 20;

/// As many days as it takes until what is not removed is too much.
const MONTHS: usize = 60;

/// The settings that say when snapshots are written and removed.
fn shipped() -> SnapshotPolicy {
    let properties = Properties::default();
    SnapshotPolicy {
        bytes_between: properties.number("metadata.log.max.record.bytes.between.snapshots").unsigned_abs(),
        interval: properties.millis("metadata.log.max.snapshot.interval.ms"),
        retention_bytes: properties.number("metadata.max.retention.bytes"),
        retention_ms: properties.number("metadata.max.retention.ms"),
    }
}

/// Topics and brokers that come, change and go.
#[derive(Default)]
struct Administration {
    steps: u64,
    topics: VecDeque<Uuid>,
    brokers: VecDeque<(i32, i64)>,
}

impl Administration {
    /// What is decided at once.
    fn decide(&mut self) -> Vec<MetadataRecord> {
        self.steps += 1;
        let mut records = self.change_topics();
        if self.steps.is_multiple_of(3) {
            records.extend(self.restart_broker());
        }
        if self.steps.is_multiple_of(72) {
            records.extend(self.replace_broker());
        }
        records
    }

    /// A topic is made, another one changes its leaders, the oldest is deleted.
    fn change_topics(&mut self) -> Vec<MetadataRecord> {
        let topic_id = Uuid::from_u128(1000 + u128::from(self.steps));
        let name = format!("topic-{}", self.steps);
        let config = ConfigRecord {
            resource_type: 2,
            resource_name: name.clone(),
            name: "retention.ms".to_owned(),
            value: Some("1000".to_owned()),
        };
        let partition = |partition_id| {
            MetadataRecord::Partition(PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1, 2, 3],
                isr: vec![1, 2, 3],
                leader: 1,
                ..Default::default()
            })
        };
        let mut records =
            vec![MetadataRecord::Topic(TopicRecord { name, topic_id }), MetadataRecord::Config(config)];
        records.extend((0..PARTITIONS).map(partition));
        if let Some(&topic_id) = self.topics.back() {
            records.extend((0..PARTITIONS).map(|partition_id| {
                MetadataRecord::PartitionChange(PartitionChangeRecord {
                    partition_id,
                    topic_id,
                    isr: Some(vec![2, 3]),
                    leader: 2,
                    ..Default::default()
                })
            }));
        }
        self.topics.push_back(topic_id);
        if self.topics.len() > TOPICS {
            let topic_id = self.topics.pop_front().unwrap();
            records.push(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id }));
        }
        records
    }

    /// The broker that has run longest is fenced and registers anew.
    fn restart_broker(&mut self) -> Vec<MetadataRecord> {
        let Some((broker_id, broker_epoch)) = self.brokers.pop_front() else { return Vec::new() };
        let fenced =
            BrokerRegistrationChangeRecord { broker_id, broker_epoch, fenced: 1, ..Default::default() };
        vec![MetadataRecord::BrokerRegistrationChange(fenced), self.register(broker_id)]
    }

    /// A broker comes under a new id, and the one of the least is taken out for good.
    fn replace_broker(&mut self) -> Vec<MetadataRecord> {
        let newest = self.brokers.iter().map(|&(id, _)| id).max().unwrap_or(0);
        let mut records = vec![self.register(newest + 1)];
        if self.brokers.len() > BROKERS {
            let oldest = (0..self.brokers.len()).min_by_key(|&at| self.brokers[at].0).unwrap();
            let (broker_id, broker_epoch) = self.brokers.remove(oldest).unwrap();
            let record = UnregisterBrokerRecord { broker_id, broker_epoch };
            records.push(MetadataRecord::UnregisterBroker(record));
        }
        records
    }

    fn register(&mut self, broker_id: i32) -> MetadataRecord {
        let broker_epoch = i64::try_from(self.steps).unwrap();
        self.brokers.push_back((broker_id, broker_epoch));
        MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id,
            broker_epoch,
            fenced: false,
            rack: Some("a rack".to_owned()),
            ..Default::default()
        })
    }
}

/// What the log and its snapshots had on the disk each day, what is on it at the end, and what the node knew then.
fn pass(days: usize, policy: SnapshotPolicy) -> (Sizes, SimDisk, Arc<MetadataImage>, Now) {
    time::runtime().block_on(async {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new(DIR)).unwrap();
        let setup =
            Setup { clock: time::clock(), snapshot_policy: policy, idle_interval: IDLE, committed: None };
        let node = alone::start(&disk, Path::new(DIR), setup);
        let mut administration = Administration::default();
        let mut sizes = Sizes::default();
        for _ in 0..days {
            for _ in 0..DAY.as_secs() / STEP.as_secs() {
                tokio::time::sleep(STEP).await;
                let records = administration.decide();
                node.handle.decide(move |_, _| Decision::write(records, ())).await.unwrap();
            }
            sizes.note(&disk, Path::new(DIR));
        }
        let image = node.published.borrow().clone();
        (sizes, disk, image, time::clock().now())
    })
}

/// Begins as a process that is started does: with the latest snapshot, and what the log has after it.
fn restart(disk: &SimDisk, now: Now) -> MetadataImage {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let dir = Path::new(DIR);
    let (mut log, _) =
        Log::open(disk.clone(), dir.to_owned(), alone::log_config(), Recovery::UNKNOWN, now).unwrap();
    let mut image = Snapshots::new(disk, dir).load_latest(&mut log, now).unwrap().image;
    let end = log.log_end_offset();
    while image.end.offset < end {
        let read = log.read(image.end.offset, end, 1 << 20, AtLeast::OneBatch).unwrap();
        let bytes = read.region.unwrap().read().unwrap();
        image.replay_batches(&bytes, end, &mut MetadataDelta::default()).unwrap();
    }
    image
}

#[test]
fn the_metadata_log_stays_bounded_over_a_year() {
    let (sizes, disk, image, now) = pass(YEAR_DAYS, shipped());

    println!("at most {} bytes", sizes.peak());
    assert_eq!(sizes.check(BYTES_MAX), Ok(()));
    assert_eq!(image.topics.iter().count(), TOPICS);
    assert_eq!(image.cluster.brokers.len(), BROKERS);
    assert_eq!(snapshot::records(&restart(&disk, now)), snapshot::records(&image));
}

#[test]
fn notices_a_metadata_log_of_which_no_snapshots_are_made() {
    let policy = SnapshotPolicy { bytes_between: u64::MAX, interval: Duration::ZERO, ..shipped() };

    assert!(pass(MONTHS, policy).0.check(BYTES_MAX).is_err());
}

#[test]
fn notices_a_metadata_log_of_which_every_snapshot_is_kept() {
    let policy = SnapshotPolicy { retention_bytes: -1, retention_ms: -1, ..shipped() };

    assert!(pass(MONTHS, policy).0.check(BYTES_MAX).is_err());
}
