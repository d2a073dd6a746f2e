use super::*;
use crate::controller::Settings;
use ottla_metadata::{ELIGIBLE_LEADER_REPLICAS, MetadataDelta, MetadataImage};
use ottla_protocol::messages::assign_replicas_to_dirs_request as request;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::records::metadata::{
    FeatureLevelRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
};
use ottla_types::{NodeId, Offset};

const TOPIC: Uuid = Uuid::from_u128(7);
const ONE: NodeId = NodeId(1);

/// Directory `number` of broker `id`.
fn directory(id: i32, number: u128) -> Uuid {
    Uuid::from_u128(id as u128 * 1000 + number)
}

/// Two brokers of two directories each, whose epochs are their ids, and a partition of both that broker 1 leads.
fn controller(places: [Uuid; 2]) -> Controller {
    let mut image = MetadataImage::default();
    let mut records: Vec<MetadataRecord> = [1, 2]
        .map(|id| {
            MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker_id: id,
                broker_epoch: i64::from(id),
                fenced: false,
                log_dirs: vec![directory(id, 1), directory(id, 2)],
                ..Default::default()
            })
        })
        .into();
    records.push(MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: ELIGIBLE_LEADER_REPLICAS.to_owned(),
        feature_level: 1,
    }));
    records.push(MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id: TOPIC }));
    records.push(MetadataRecord::Partition(PartitionRecord {
        partition_id: 0,
        topic_id: TOPIC,
        replicas: vec![1, 2],
        isr: vec![1, 2],
        leader: 1,
        directories: places.into(),
        ..Default::default()
    }));
    for record in records {
        image.replay(&record, &mut MetadataDelta::default()).unwrap();
    }
    image.end.offset = Offset(10);
    let settings = Settings { min_insync_replicas: 2, ..Settings::for_tests() };
    Controller::new(settings, image, 1)
}

fn carried_out<T>(controller: &mut Controller, mut decision: Decision<MetadataRecord, T>) -> T {
    for record in &decision.records {
        let end = controller.image.end.offset;
        controller.replay(record, end).unwrap();
    }
    decision.replies.pop().unwrap()
}

/// Broker `id` says where its replica is; how that is answered.
fn assign(controller: &mut Controller, id: i32, epoch: i64, to: Uuid, partition_index: i32) -> (i16, i16) {
    let partitions = vec![request::PartitionData { partition_index }];
    let topics = vec![request::TopicData { topic_id: TOPIC, partitions }];
    let decision = controller.handle_assign_replicas_to_dirs(&AssignReplicasToDirsRequest {
        broker_id: id,
        broker_epoch: epoch,
        directories: vec![request::DirectoryData { id: to, topics }],
    });
    let answer = carried_out(controller, decision);
    let partition = answer.directories.first().map_or(0, |found| found.topics[0].partitions[0].error_code);
    (answer.error_code, partition)
}

fn lose(controller: &mut Controller, id: i32, lost: Uuid) {
    let decision = controller.handle_broker_heartbeat(&BrokerHeartbeatRequest {
        broker_id: id,
        broker_epoch: i64::from(id),
        current_metadata_offset: 9,
        offline_log_dirs: vec![lost],
        ..Default::default()
    });
    assert_eq!(carried_out(controller, decision).error_code, 0);
}

fn partition(controller: &Controller) -> ottla_metadata::PartitionRegistration {
    controller.image.topics.by_id(TOPIC).unwrap().partitions[&0].clone()
}

#[test]
fn a_replica_is_where_its_broker_says() {
    let mut controller = controller([Uuid::UNASSIGNED_DIR, directory(2, 1)]);

    assert_eq!(assign(&mut controller, 1, 1, directory(1, 2), 0), (0, 0));

    let found = partition(&controller);
    assert_eq!(found.directories, [directory(1, 2), directory(2, 1)]);
    assert_eq!((found.leader, found.isr.len()), (Some(ONE), 2), "nothing else changes");

    assert_eq!(assign(&mut controller, 1, 1, directory(1, 1), 0), (0, 0), "and when it moves");
    assert_eq!(partition(&controller).isr.len(), 2);
    let decision = controller.handle_assign_replicas_to_dirs(&AssignReplicasToDirsRequest::default());
    assert_eq!(
        (decision.records.len(), decision.replies[0].error_code),
        (0, ErrorCode::StaleBrokerEpoch.code())
    );
}

#[test]
fn nonsense_is_refused_by_name() {
    let mut controller = controller([directory(1, 1), directory(2, 1)]);
    let stale = ErrorCode::StaleBrokerEpoch.code();
    assert_eq!(assign(&mut controller, 1, 77, directory(1, 2), 0), (stale, 0));
    assert_eq!(assign(&mut controller, 3, 1, directory(1, 2), 0), (stale, 0), "not registered");
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(assign(&mut controller, 1, 1, directory(1, 2), 5), (0, unknown));
    assert_eq!(partition(&controller).directories, [directory(1, 1), directory(2, 1)]);
}

/// The disk failed before the controller knew what was on it.
#[test]
fn a_replica_that_was_lost_unassigned_leaves_the_lead_to_another() {
    let mut controller = controller([Uuid::UNASSIGNED_DIR, directory(2, 1)]);
    lose(&mut controller, 1, directory(1, 2));
    assert_eq!(partition(&controller).leader, Some(ONE), "nobody knows that it was there");

    assert_eq!(assign(&mut controller, 1, 1, Uuid::LOST_DIR, 0), (0, 0));

    let found = partition(&controller);
    assert_eq!((found.leader, found.isr), (Some(NodeId(2)), vec![NodeId(2)]));
    assert_eq!(found.eligible_leader_replicas, vec![]);
}

#[test]
fn a_directory_that_fails_takes_its_replicas_out_of_their_in_sync_sets() {
    let mut other = controller([directory(1, 2), directory(2, 1)]);
    lose(&mut other, 1, directory(1, 1));
    assert_eq!(partition(&other).leader, Some(ONE), "another directory's failure");

    let mut controller = controller([directory(1, 2), directory(2, 1)]);
    lose(&mut controller, 1, directory(1, 2));

    assert_eq!(partition(&controller).leader, Some(NodeId(2)));
    let broker = controller.image.cluster.broker(ONE).unwrap();
    assert_eq!((&broker.directories[..], broker.is_active()), (&[directory(1, 1)][..], true));
    let again = controller.lose_directories(broker, &[directory(1, 2)]);
    assert_eq!(again, vec![], "it is told with each heartbeat");
}

/// ACK-1: it has nothing of what it had acknowledged, and must not lead as the one that went last.
#[test]
fn a_replica_on_a_new_disk_is_not_the_last_known_leader() {
    let mut controller = controller([directory(1, 2), directory(2, 1)]);
    lose(&mut controller, 2, directory(2, 1));
    lose(&mut controller, 1, directory(1, 2));
    let gone = partition(&controller);
    assert_eq!((gone.leader, gone.last_known_elr), (None, vec![ONE]));

    assert_eq!(assign(&mut controller, 1, 1, directory(1, 1), 0), (0, 0));

    let found = partition(&controller);
    assert_eq!((found.leader, found.last_known_elr), (None, vec![]));
    assert_eq!(found.directories[0], directory(1, 1));
}
