use super::super::tests::{append, directory_id, manager_on_disks};
use super::*;
use ottla_metadata::MetadataDelta;
use ottla_protocol::records::metadata::{MetadataRecord, PartitionRecord, TopicRecord};
use ottla_replication::Outcome;
use ottla_storage::sim_disk::FaultOn;
use ottla_storage::{Disk, SimDisk};
use ottla_types::Offset;
use std::io::ErrorKind;
use std::path::Path;

const TOPIC: Uuid = Uuid::from_u128(71);

fn at(partition: i32) -> TopicIdPartition {
    TopicIdPartition::new(TOPIC, partition)
}

/// A topic whose partitions are led here, in these directories.
pub(in super::super) fn image(directories: &[Uuid]) -> MetadataImage {
    let mut records = vec![MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id: TOPIC })];
    records.extend(directories.iter().zip(0..).map(|(&directory, partition_id)| {
        MetadataRecord::Partition(PartitionRecord {
            partition_id,
            topic_id: TOPIC,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![directory],
            ..Default::default()
        })
    }));
    let mut image = MetadataImage::default();
    for record in records {
        image.replay(&record, &mut MetadataDelta::default()).unwrap();
    }
    image
}

pub(in super::super) fn apply(manager: &ReplicaManager, directories: &[Uuid]) {
    manager.apply(&image(directories), &MetadataDelta::default(), true);
}

/// In which of the directories a replica is.
pub(in super::super) fn place(manager: &ReplicaManager, partition: i32) -> Option<Uuid> {
    manager.get(at(partition)).map(|replica| replica.directory().id)
}

fn disks() -> [SimDisk; 2] {
    [SimDisk::new(), SimDisk::new()]
}

const UNASSIGNED: Uuid = Uuid::UNASSIGNED_DIR;

#[test]
fn new_replicas_go_where_the_fewest_are_and_the_controller_is_told() {
    let manager = manager_on_disks(&disks());
    apply(&manager, &[UNASSIGNED; 4]);

    let places: Vec<_> = (0..4).filter_map(|partition| place(&manager, partition)).collect();
    let (first, second) = (directory_id(0), directory_id(1));
    assert_eq!(places, [first, second, first, second]);
    let misplaced = manager.misplacements(&image(&[UNASSIGNED; 4]));
    assert_eq!(misplaced, [(first, vec![at(0), at(2)]), (second, vec![at(1), at(3)])].into());
    assert_eq!(manager.misplacements(&image(&[first, second, first, second])), BTreeMap::new());
}

#[test]
fn a_log_is_where_it_is_whatever_the_image_says() {
    let disks = disks();
    apply(&manager_on_disks(&disks), &[directory_id(1)]);

    let manager = manager_on_disks(&disks);
    apply(&manager, &[directory_id(0)]);

    assert_eq!(place(&manager, 0), Some(directory_id(1)));
    assert_eq!(manager.misplacements(&image(&[directory_id(0)])).len(), 1);
}

#[test]
fn of_two_logs_of_a_partition_the_one_that_the_image_names_is_it() {
    let disks = disks();
    // In the second, and then, as if somebody had copied it there, in the first too.
    apply(&manager_on_disks(&disks), &[directory_id(1)]);
    let stray = Path::new("/logs-0/t-0");
    disks[0].create_dir_all(stray).unwrap();
    partition_metadata::write(&disks[0], stray, TOPIC).unwrap();

    let manager = manager_on_disks(&disks);
    apply(&manager, &[directory_id(1)]);

    assert_eq!(place(&manager, 0), Some(directory_id(1)));
    let left = manager.directories.all()[0].files.partition_dirs().unwrap();
    assert!(matches!(left[..], [(_, PartitionDir::Stray)]), "{left:?}");
}

/// A start after a kill with thousands of logs on a busy disk would wait for each sync.
#[test]
fn a_start_syncs_nothing_of_a_log_that_is_as_it_was() {
    let disks = disks();
    let manager = manager_on_disks(&disks);
    apply(&manager, &[directory_id(0)]);
    drop(append(&manager, &manager.get(at(0)).unwrap()));
    manager.checkpoint_logs();
    drop(manager);
    let manager = manager_on_disks(&disks);
    for disk in &disks {
        disk.fail(FaultOn::Sync, 0, ErrorKind::Other);
    }

    apply(&manager, &[directory_id(0)]);

    assert_eq!(place(&manager, 0), Some(directory_id(0)));
    assert_eq!(manager.get(at(0)).unwrap().lock().log().log_end_offset(), Offset(1));
}

/// What is left of it has no name of a topic in it.
#[test]
fn a_log_that_was_begun_in_vain_is_not_left_lying_about() {
    let disks = disks();
    let bare = Path::new("/logs-0/t-0");
    disks[0].create_dir_all(bare).unwrap();
    let manager = manager_on_disks(&disks);

    apply(&manager, &[directory_id(1)]);

    assert_eq!(place(&manager, 0), Some(directory_id(1)));
    assert_eq!(manager.directories.all()[0].files.partition_dirs().unwrap(), []);
}

/// KIP-112: the rest of the broker goes on.
#[test]
fn a_disk_that_fails_takes_only_its_own_replicas_with_it() {
    let disks = disks();
    let manager = manager_on_disks(&disks);
    apply(&manager, &[directory_id(0), directory_id(1), UNASSIGNED, UNASSIGNED]);
    let failing = manager.get(at(1)).unwrap();
    disks[1].stop_after(0);

    manager.checkpoint_logs();

    assert!(failing.is_removed());
    assert_eq!((0..4).map(|p| place(&manager, p).is_some()).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(manager.is_offline(at(1)) && manager.is_offline(at(3)) && !manager.is_offline(at(0)));
    assert!(!manager.directories.is_given_up());
    assert_eq!(*manager.directories.failed().borrow(), [directory_id(1)].into());
    let replica = manager.get(at(0)).unwrap();
    assert_eq!(append(&manager, &replica).try_recv(), Ok(Outcome::Written));
    // Only this broker knows that the one that was not assigned yet was there.
    let told = image(&[directory_id(0), directory_id(1), directory_id(0), UNASSIGNED]);
    assert_eq!(manager.misplacements(&told), [(Uuid::LOST_DIR, vec![at(3)])].into());

    apply(&manager, &[directory_id(0), directory_id(1), directory_id(0), Uuid::LOST_DIR]);

    assert_eq!(place(&manager, 1), None, "what it had must not be forgotten by beginning anew");
    assert_eq!(place(&manager, 3), None);
}

#[test]
fn without_any_disk_or_without_the_metadata_logs_there_is_no_node() {
    let only = [SimDisk::new()];
    let manager = manager_on_disks(&only);
    apply(&manager, &[UNASSIGNED]);
    only[0].stop_after(0);
    manager.checkpoint_high_watermarks();
    assert!(manager.directories.is_given_up());

    let disks = disks();
    let manager = manager_on_disks(&disks);
    apply(&manager, &[UNASSIGNED; 2]);
    disks[0].stop_after(0);
    manager.checkpoint_high_watermarks();
    assert!(manager.directories.is_given_up());
}

#[test]
fn a_replica_in_a_directory_that_could_not_be_used_at_the_start_is_not_begun_anew() {
    let disks = disks();
    apply(&manager_on_disks(&disks), &[directory_id(0), directory_id(1)]);
    let mut manager = manager_on_disks(&disks[..1]);
    manager.directories.set_unusable(vec!["/logs-1".into()]);

    apply(&manager, &[directory_id(0), directory_id(1)]);

    assert_eq!((place(&manager, 0), place(&manager, 1)), (Some(directory_id(0)), None));
    assert!(manager.is_offline(at(1)));
}

/// A new disk in its place has another id.
#[test]
fn a_replica_whose_directory_was_replaced_begins_anew() {
    let disks = disks();
    apply(&manager_on_disks(&disks), &[directory_id(0), directory_id(1)]);
    let manager = manager_on_disks(&[disks[0].clone(), SimDisk::new()]);

    apply(&manager, &[directory_id(0), Uuid::from_u128(999)]);

    assert_eq!(place(&manager, 1), Some(directory_id(1)));
}

#[test]
fn a_directory_is_clean_when_all_of_its_own_logs_were_closed() {
    let disks = disks();
    let manager = manager_on_disks(&disks);
    apply(&manager, &[directory_id(0), directory_id(1)]);
    let reader = manager.get(at(1)).unwrap();

    manager.close(ottla_types::BrokerEpoch(7)).unwrap();

    let clean = |number: usize| manager.directories.all()[number].files.clean_shutdown().unwrap();
    assert_eq!((clean(0), clean(1)), (Some(ottla_types::BrokerEpoch(7)), None), "somebody still reads");
    drop(reader);
}

#[test]
fn a_deleted_topic_is_no_offline_replica_any_more() {
    let disks = disks();
    let manager = manager_on_disks(&disks);
    apply(&manager, &[directory_id(1)]);
    disks[1].stop_after(0);
    manager.checkpoint_high_watermarks();
    assert_eq!(manager.offline_count(), 1);
    let mut delta = MetadataDelta::default();
    delta.removed_topics.insert((TOPIC, "t".to_owned()));

    manager.apply(&MetadataImage::default(), &delta, false);

    assert_eq!(manager.offline_count(), 0);
}
