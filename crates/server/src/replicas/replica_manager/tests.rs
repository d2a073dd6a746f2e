use super::*;
use crate::config::Properties;
use crate::io_pool::Threads;
use crate::replicas::directories::FoundDirectory;
use ottla_protocol::records::metadata::{MetadataRecord, PartitionRecord, TopicRecord};
use ottla_replication::Outcome;
use ottla_storage::checkpoints::{self, LOG_START, RECOVERY_POINT};
use ottla_storage::{Disk, LogDirectory, RealDisk, SimDisk};
use ottla_types::{BrokerEpoch, LeaderEpoch, Offset, OffsetAndEpoch};
use std::path::Path;
use tokio::sync::oneshot;

const NODE: NodeId = NodeId(1);

pub(super) fn manager(disk: &SimDisk) -> ReplicaManager {
    disk.release_locks();
    manager_on(Arc::new(disk.clone()), Path::new("/logs"))
}

fn manager_on(disk: Arc<dyn Disk>, path: &Path) -> ReplicaManager {
    manager_of(vec![found(disk, path, Uuid::from_u128(101))])
}

fn found(disk: Arc<dyn Disk>, path: &Path, id: Uuid) -> FoundDirectory {
    let directory = Arc::new(LogDirectory::open(disk, path.to_owned()).unwrap());
    FoundDirectory { directory, id, clean: false }
}

/// With a directory on each disk, `/logs-0` and so on, whose ids are 100, 101, ...
pub(super) fn manager_on_disks(disks: &[SimDisk]) -> ReplicaManager {
    let found = disks.iter().enumerate().map(|(i, disk)| {
        disk.release_locks();
        found(Arc::new(disk.clone()), Path::new(&format!("/logs-{i}")), directory_id(i))
    });
    manager_of(found.collect())
}

/// The id of a directory that [`manager_on_disks`] makes.
pub(super) fn directory_id(number: usize) -> Uuid {
    Uuid::from_u128(100 + number as u128)
}

fn manager_of(directories: Vec<FoundDirectory>) -> ReplicaManager {
    let (isr_changes, _) = mpsc::channel(16);
    ReplicaManager::new(ReplicaManagerOptions {
        node_id: NODE,
        clock: Clock::new(),
        metadata_directory: directories[0].directory.path().to_owned(),
        directories,
        unusable_directories: Vec::new(),
        topic_defaults: Properties::default().topic_defaults().unwrap(),
        replica_lag_time_max: Duration::from_secs(30),
        has_readers_elsewhere: false,
        producer_id_expiration_ms: 86_400_000,
        transaction_verification: true,
        isr_changes,
        seed: 7,
        threads: Threads::System,
    })
    .unwrap()
}

/// An image with one topic of one partition, held here.
fn image(topic_id: Uuid) -> MetadataImage {
    let mut image = MetadataImage::default();
    let topic = TopicRecord { name: "t".to_owned(), topic_id };
    let partition = PartitionRecord {
        partition_id: 0,
        topic_id,
        replicas: vec![NODE.0, 2],
        isr: vec![NODE.0, 2],
        leader: NODE.0,
        leader_epoch: 0,
        partition_epoch: 0,
        ..Default::default()
    };
    for record in [MetadataRecord::Topic(topic), MetadataRecord::Partition(partition)] {
        image.replay(&record, &mut MetadataDelta::default()).unwrap();
    }
    image
}

/// Deletes the topic and makes one of the same name.
fn recreate(manager: &ReplicaManager, before: Uuid, after: Uuid) {
    let delta = MetadataDelta {
        removed_topics: [(before, "t".to_owned())].into(),
        partitions: [TopicIdPartition::new(after, 0)].into(),
        ..Default::default()
    };
    manager.apply(&image(after), &delta, false);
}

#[test]
fn a_topic_of_a_known_name_does_not_begin_where_its_namesake_did() {
    let (first, second) = (Uuid::from_u128(71), Uuid::from_u128(72));
    let disk = SimDisk::new();
    manager(&disk).apply(&image(first), &MetadataDelta::default(), true);
    let starts = BTreeMap::from([(TopicPartition::new("t", 0), Offset(500))]);
    checkpoints::write_offsets(&disk, &Path::new("/logs").join(LOG_START), &starts).unwrap();
    let manager = manager(&disk);
    manager.apply(&image(first), &MetadataDelta::default(), true);
    let start = |id| manager.get(TopicIdPartition::new(id, 0)).unwrap().lock().log().log_start_offset();
    assert_eq!(start(first), Offset(500));

    recreate(&manager, first, second);

    assert_eq!(start(second), Offset::ZERO);
}

#[test]
fn what_is_said_of_a_log_that_is_not_opened_yet_outlives_a_checkpoint() {
    let disk = SimDisk::new();
    let starts = BTreeMap::from([(TopicPartition::new("t", 0), Offset(500))]);
    manager(&disk);
    checkpoints::write_offsets(&disk, &Path::new("/logs").join(LOG_START), &starts).unwrap();

    manager(&disk).checkpoint_logs();

    let found = checkpoints::read_offsets(&disk, &Path::new("/logs").join(LOG_START)).unwrap();
    assert_eq!(found, starts);
}

/// Whoever took the replica before it was removed, a fetcher or the task that flushes, works on.
#[test]
fn a_replica_at_hand_when_its_topic_is_deleted_does_not_look_like_a_broken_disk() {
    let first = Uuid::from_u128(71);
    let path = tempfile::tempdir().unwrap();
    let manager = manager_on(Arc::new(RealDisk), path.path());
    manager.apply(&image(first), &MetadataDelta::default(), true);
    let replica = manager.get(TopicIdPartition::new(first, 0)).unwrap();
    let now = manager.clock().now();
    let target = replica.lock().log().flush_target();
    assert!(target.is_some(), "its files' names are to be synced");

    let delta = MetadataDelta { removed_topics: [(first, "t".to_owned())].into(), ..Default::default() };
    manager.apply(&MetadataImage::default(), &delta, false);

    assert!(manager.flush(&replica).is_ok());
    assert_eq!(manager.retain(&replica).unwrap(), 0);
    let epoch = ottla_types::LeaderEpoch(0);
    let appended = replica.lock().append_as_follower(
        &[],
        epoch,
        Offset::ZERO,
        Offset::ZERO,
        now,
        &mut Effects::default(),
    );
    assert!(matches!(appended, Err(ottla_replication::AppendError::NotLeader)));
}

fn recovery_point(disk: &SimDisk) -> Option<Offset> {
    let written = checkpoints::read_offsets(disk, &Path::new("/logs").join(RECOVERY_POINT)).unwrap();
    written.get(&TopicPartition::new("t", 0)).copied()
}

/// Appends a record as `acks=1` does; where its fate is heard.
pub(super) fn append(manager: &ReplicaManager, replica: &Replica) -> oneshot::Receiver<Outcome> {
    let now = manager.clock().now();
    let mut builder = ottla_records::BatchBuilder::new();
    builder.push(now.wall, None, Some(b"value"), &[]);
    let mut bytes = builder.build();
    let rules = replica.log_config().rules(ottla_records::Origin::Client, now.wall);
    let valid = ottla_records::validate(&mut bytes, &rules).unwrap();
    let mut effects = Effects::default();
    let (id, outcome) = manager.waiting().producer();
    {
        let mut partition = replica.lock();
        let info = partition.append(valid, false, now, &mut effects).unwrap();
        if let Some(known) = partition.wait_for_disk(info.next_offset(), id) {
            effects.produced.push((id, known));
        }
    }
    manager.carry_out(effects);
    outcome
}

/// A replica that has led and taken `count` records, all of them on disk and written down to be.
fn with_records(disk: &SimDisk, topic_id: Uuid, count: usize) -> ReplicaManager {
    let manager = manager(disk);
    manager.apply(&image(topic_id), &MetadataDelta::default(), true);
    let replica = manager.get(TopicIdPartition::new(topic_id, 0)).unwrap();
    for _ in 0..count {
        assert_eq!(append(&manager, &replica).try_recv(), Ok(Outcome::Written));
    }
    manager.checkpoint_logs();
    assert_eq!(recovery_point(disk), Some(Offset(count as i64)));
    manager
}

#[test]
fn a_log_that_is_cut_is_checked_from_there_on_after_a_loss_of_power() {
    let (topic_id, disk) = (Uuid::from_u128(71), SimDisk::new());
    let manager = with_records(&disk, topic_id, 10);
    let replica = manager.get(TopicIdPartition::new(topic_id, 0)).unwrap();
    // Another leads now.
    let mut image = image(topic_id);
    let change = ottla_protocol::records::metadata::PartitionChangeRecord {
        topic_id,
        partition_id: 0,
        leader: 2,
        ..Default::default()
    };
    image.replay(&MetadataRecord::PartitionChange(change), &mut MetadataDelta::default()).unwrap();
    manager.apply(&image, &MetadataDelta::default(), true);

    let leaders = OffsetAndEpoch { epoch: LeaderEpoch(0), offset: Offset(4) };
    let end = manager.truncate(&replica, leaders, Offset::ZERO, LeaderEpoch(1)).unwrap();

    assert_eq!(end, Offset(4));
    assert_eq!(recovery_point(&disk), Some(Offset(4)));
}

#[test]
fn a_new_log_is_checked_whole_though_its_namesake_was_on_disk() {
    let (first, second) = (Uuid::from_u128(71), Uuid::from_u128(72));
    let disk = SimDisk::new();
    let manager = with_records(&disk, first, 10);

    recreate(&manager, first, second);

    assert_eq!(recovery_point(&disk), Some(Offset::ZERO));
}

/// The marker says that no log need be checked. One that a kill left open is checked when it is opened.
#[test]
fn a_stop_before_the_logs_were_opened_does_not_call_them_clean() {
    let topic_id = Uuid::from_u128(71);
    let disk = SimDisk::new();
    manager(&disk).apply(&image(topic_id), &MetadataDelta::default(), true);
    let clean = |disk: &SimDisk| {
        disk.release_locks();
        LogDirectory::open(Arc::new(disk.clone()), "/logs".into()).unwrap().clean_shutdown().unwrap()
    };

    manager(&disk).close(BrokerEpoch(3)).unwrap();
    assert_eq!(clean(&disk), None);

    let checked = manager(&disk);
    checked.apply(&image(topic_id), &MetadataDelta::default(), true);
    checked.close(BrokerEpoch(3)).unwrap();
    assert_eq!(clean(&disk), Some(BrokerEpoch(3)));
}

/// A record is appended and waited for as `acks=1` does; power is lost before the sync or after.
#[test]
fn with_flush_messages_1_the_leader_answers_when_its_disk_has_the_record() {
    let topic_id = Uuid::from_u128(71);
    let at = TopicIdPartition::new(topic_id, 0);
    let mut image = image(topic_id);
    let config = ottla_protocol::records::metadata::ConfigRecord {
        resource_type: 2,
        resource_name: "t".to_owned(),
        name: "flush.messages".to_owned(),
        value: Some("1".to_owned()),
    };
    image.replay(&MetadataRecord::Config(config), &mut MetadataDelta::default()).unwrap();
    for synced in [false, true] {
        let disk = SimDisk::new();
        let manager = manager(&disk);
        manager.apply(&image, &MetadataDelta::default(), true);
        let replica = manager.get(at).unwrap();
        let mut answer = append(&manager, &replica);
        assert_eq!(manager.flushes().take(), Some(at), "a sync is asked for");
        assert!(answer.try_recv().is_err(), "the disk does not have it yet");

        if synced {
            manager.flush_records(&replica);
        }
        let answer = answer.try_recv().ok();
        disk.lose_power(&mut Random::new(7));

        assert_eq!(answer, synced.then_some(Outcome::Written));
        if synced {
            let manager = self::manager(&disk);
            manager.apply(&image, &MetadataDelta::default(), true);
            assert_eq!(manager.get(at).unwrap().lock().log().log_end_offset(), Offset(1));
        }
    }
}

#[test]
fn a_brokers_configuration_reaches_replicas_at_hand_and_those_of_a_restart() {
    let (topic_id, disk) = (Uuid::from_u128(71), SimDisk::new());
    let at = TopicIdPartition::new(topic_id, 0);
    let manager_before = manager(&disk);
    let mut image = image(topic_id);
    manager_before.apply(&image, &MetadataDelta::default(), true);
    let mut set = |resource: ConfigResource, name: &str, value: &str| {
        let mut delta = MetadataDelta::default();
        let record = ottla_protocol::records::metadata::ConfigRecord {
            resource_type: resource.resource_type.to_wire(),
            resource_name: resource.name,
            name: name.to_owned(),
            value: Some(value.to_owned()),
        };
        let record = ottla_protocol::records::metadata::MetadataRecord::Config(record);
        image.replay(&record, &mut delta).unwrap();
        manager_before.apply(&image, &delta, false);
        let replica = manager_before.get(at).unwrap();
        (replica.log_config().retention_ms, replica.lock().min_insync_replicas())
    };

    let other = ConfigResource::broker(NodeId(NODE.0 + 1));
    assert_eq!(set(ConfigResource::cluster(), "log.retention.ms", "1000"), (1000, 1));
    assert_eq!(set(ConfigResource::broker(NODE), "log.retention.ms", "2000"), (2000, 1));
    assert_eq!(set(other, "log.retention.ms", "3000"), (2000, 1));
    assert_eq!(set(ConfigResource::cluster(), "min.insync.replicas", "2"), (2000, 2));
    drop(manager_before);
    let manager = manager(&disk);
    manager.apply(&image, &MetadataDelta::default(), true);

    let replica = manager.get(at).unwrap();
    assert_eq!(replica.log_config().retention_ms, 2000);
    assert_eq!(replica.lock().min_insync_replicas(), 2);
}
