use super::super::tests::manager;
use super::*;
use ottla_metadata::{MetadataDelta, MetadataImage};
use ottla_protocol::records::metadata::{
    ConfigRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord, TopicRecord,
};
use ottla_records::{BatchBuilder, Origin};
use ottla_replication::Effects;
use ottla_storage::checkpoints::{self, FIRST_DIRTY};
use ottla_storage::{CleanerOptions, SimDisk};
use ottla_types::{LeaderEpoch, Offset, OffsetAndEpoch, Uuid};
use std::path::Path;

const TOPIC: Uuid = Uuid::from_u128(71);
const OPTIONS: CleanerOptions = CleanerOptions { map_bytes_max: 1 << 20, secret: [7; 16] };

/// A compacted topic of two partitions, led here.
fn image() -> MetadataImage {
    let mut image = MetadataImage::default();
    let config = ConfigRecord {
        resource_type: 2,
        resource_name: "t".to_owned(),
        name: "cleanup.policy".to_owned(),
        value: Some("compact".to_owned()),
    };
    let mut records = vec![
        MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id: TOPIC }),
        MetadataRecord::Config(config),
    ];
    records.extend((0..2).map(|partition_id| {
        MetadataRecord::Partition(PartitionRecord {
            partition_id,
            topic_id: TOPIC,
            replicas: vec![1, 2],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            ..Default::default()
        })
    }));
    for record in records {
        image.replay(&record, &mut MetadataDelta::default()).unwrap();
    }
    image
}

fn partition(manager: &ReplicaManager, number: i32) -> Arc<Replica> {
    manager.get(TopicIdPartition::new(TOPIC, number)).unwrap()
}

/// Ten records of one key, in a segment that has ended.
fn fill(manager: &ReplicaManager, replica: &Replica) {
    let now = manager.clock().now();
    for _ in 0..10 {
        let mut builder = BatchBuilder::new();
        builder.push(now.wall, Some(b"key"), Some(b"value"), &[]);
        let mut bytes = builder.build();
        let rules = replica.log_config().rules(Origin::Client, now.wall);
        let valid = ottla_records::validate(&mut bytes, &rules).unwrap();
        replica.lock().append(valid, false, now, &mut Effects::default()).unwrap();
    }
    replica.lock().log_mut().roll(now).unwrap();
}

fn first_dirty(disk: &SimDisk, number: i32) -> Option<Offset> {
    let written = checkpoints::read_offsets(disk, &Path::new("/logs").join(FIRST_DIRTY)).unwrap();
    written.get(&TopicPartition::new("t", number)).copied()
}

#[test]
fn what_is_compacted_is_written_down_and_taken_back_when_the_log_is_cut() {
    let disk = SimDisk::new();
    let manager = manager(&disk);
    let mut image = image();
    manager.apply(&image, &MetadataDelta::default(), true);
    let replica = partition(&manager, 0);
    fill(&manager, &replica);
    let before = replica.lock().log().size_bytes();

    assert!(manager.clean_filthiest(&OPTIONS));
    assert!(!manager.clean_filthiest(&OPTIONS), "there is nothing more to do");

    assert!(replica.lock().log().size_bytes() < before / 5);
    assert_eq!(first_dirty(&disk, 0), Some(Offset(10)));

    // Another leads now, without the last five.
    let change = PartitionChangeRecord {
        topic_id: TOPIC,
        partition_id: 0,
        isr: Some(vec![2]),
        leader: 2,
        ..Default::default()
    };
    image.replay(&MetadataRecord::PartitionChange(change), &mut MetadataDelta::default()).unwrap();
    manager.apply(&image, &MetadataDelta::default(), true);
    let leaders = OffsetAndEpoch { epoch: LeaderEpoch(0), offset: Offset(5) };
    manager.truncate(&replica, leaders, Offset::ZERO, LeaderEpoch(1)).unwrap();

    assert!(first_dirty(&disk, 0) <= Some(Offset(5)), "{:?}", first_dirty(&disk, 0));
    assert!(replica.lock().log().first_dirty_offset() <= Offset(5));
}

#[test]
fn a_log_that_cannot_be_compacted_is_left_alone_and_the_others_are_not() {
    let disk = SimDisk::new();
    let manager = manager(&disk);
    manager.apply(&image(), &MetadataDelta::default(), true);
    for number in 0..2 {
        fill(&manager, &partition(&manager, number));
    }
    disk.corrupt(Path::new("/logs/t-0/00000000000000000000.log"), 70, &[0xff]).unwrap();

    while manager.clean_filthiest(&OPTIONS) {}

    assert_eq!(first_dirty(&disk, 0), Some(Offset(0)));
    assert_eq!(first_dirty(&disk, 1), Some(Offset(10)));
    assert!(!manager.directories().is_given_up(), "the directory goes on");
    fill(&manager, &partition(&manager, 0));
}

#[test]
fn nothing_is_compacted_once_the_broker_stops() {
    let disk = SimDisk::new();
    let manager = manager(&disk);
    manager.apply(&image(), &MetadataDelta::default(), true);
    fill(&manager, &partition(&manager, 0));

    manager.stop_cleaning();

    assert!(!manager.clean_filthiest(&OPTIONS));
    assert_eq!(first_dirty(&disk, 0), None);
}
