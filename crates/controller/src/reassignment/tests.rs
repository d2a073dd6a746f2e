use super::*;
use crate::Settings;
use crate::brokers::Predecessor;
use ottla_metadata::{ELIGIBLE_LEADER_REPLICAS, MetadataDelta, MetadataImage};
use ottla_protocol::messages::alter_partition_reassignments_request::ReassignableTopic;
use ottla_protocol::messages::alter_partition_request::{self, AlterPartitionRequest, BrokerState};
use ottla_protocol::messages::alter_partition_response;
use ottla_protocol::messages::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
use ottla_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use ottla_protocol::records::metadata::{
    FeatureLevelRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
};
use ottla_types::{BrokerEpoch, LeaderEpoch, PartitionEpoch, Uuid};

const TOPIC: Uuid = Uuid::from_u128(7);

/// A cluster of six brokers, each with one directory, and the topic `t` with one partition.
struct World {
    controller: Controller,
}

impl World {
    /// Brokers 1 to 3 hold the partition, in sync, and 1 leads.
    fn new() -> World {
        World::with(&[1, 2, 3], &[1, 2, 3], 1)
    }

    fn with(replicas: &[i32], isr: &[i32], leader: i32) -> World {
        let mut records: Vec<MetadataRecord> = (1..=6)
            .map(|id| {
                MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                    broker_id: id,
                    broker_epoch: i64::from(id),
                    log_dirs: vec![directory(id)],
                    fenced: false,
                    ..Default::default()
                })
            })
            .collect();
        records.push(MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id: TOPIC }));
        records.push(MetadataRecord::Partition(PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC,
            replicas: replicas.to_vec(),
            directories: replicas.iter().map(|&id| directory(id)).collect(),
            isr: isr.to_vec(),
            leader,
            leader_epoch: 0,
            partition_epoch: 0,
            ..Default::default()
        }));
        let mut image = MetadataImage::default();
        for record in &records {
            image.replay(record, &mut MetadataDelta::default()).unwrap();
        }
        World { controller: Controller::new(Settings::for_tests(), image, 7) }
    }

    /// The same with eligible leader replicas, of a topic that asks for so many in sync.
    fn with_eligible(mut self, min_isr: i32) -> World {
        self.controller.settings.min_insync_replicas = min_isr;
        let level = FeatureLevelRecord { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), feature_level: 1 };
        self.commit(vec![MetadataRecord::FeatureLevel(level)]);
        self
    }

    fn commit(&mut self, records: Vec<MetadataRecord>) {
        for record in &records {
            let end = self.controller.image.end.offset;
            self.controller.replay(record, end).unwrap();
        }
    }

    fn partition(&self) -> PartitionRegistration {
        self.controller.image.topics.partition(TopicIdPartition::new(TOPIC, 0)).unwrap().clone()
    }

    fn ask(&mut self, request: &AlterPartitionReassignmentsRequest) -> (ErrorCode, Option<String>) {
        let mut decision = self.controller.handle_alter_partition_reassignments(request);
        self.commit(decision.records);
        let partition = decision.replies.remove(0).responses.remove(0).partitions.remove(0);
        (ErrorCode::from(partition.error_code), partition.error_message)
    }

    fn reassign(&mut self, target: &[i32]) {
        let (error, message) = self.ask(&request(Some(target)));
        assert_eq!((error, message), (ErrorCode::None, None), "{target:?}");
    }

    fn cancel(&mut self) -> ErrorCode {
        self.ask(&request(None)).0
    }

    /// The leader asks for this in-sync set.
    fn alter_isr(&mut self, isr: &[i32]) -> alter_partition_response::PartitionData {
        let partition = self.partition();
        let leader = partition.leader.unwrap();
        let epoch = |id: i32| self.controller.image.cluster.broker(NodeId(id)).unwrap().epoch.0;
        let request = AlterPartitionRequest {
            broker_id: leader.0,
            broker_epoch: epoch(leader.0),
            topics: vec![alter_partition_request::TopicData {
                topic_id: TOPIC,
                partitions: vec![alter_partition_request::PartitionData {
                    partition_index: 0,
                    leader_epoch: partition.leader_epoch.0,
                    partition_epoch: partition.partition_epoch.0,
                    new_isr_with_epochs: isr
                        .iter()
                        .map(|&id| BrokerState { broker_id: id, broker_epoch: epoch(id) })
                        .collect(),
                    ..Default::default()
                }],
            }],
        };
        let mut decision = self.controller.handle_alter_partition(&request);
        self.commit(decision.records);
        decision.replies.remove(0).topics.remove(0).partitions.remove(0)
    }

    fn fence(&mut self, id: i32) {
        let records = self.controller.fence(NodeId(id), BrokerEpoch(i64::from(id)));
        self.commit(records);
    }

    /// A broker that was fenced is a member again.
    fn return_to_service(&mut self, id: i32) {
        let registration = RegisterBrokerRecord {
            broker_id: id,
            broker_epoch: 100 + i64::from(id),
            log_dirs: vec![directory(id)],
            fenced: false,
            ..Default::default()
        };
        self.commit(vec![MetadataRecord::RegisterBroker(registration)]);
    }

    fn ongoing(&self, topics: Option<Vec<(&str, Vec<i32>)>>) -> Vec<Listed> {
        let topics = topics.map(|topics| {
            let topic = |(name, partition_indexes): (&str, Vec<i32>)| ListPartitionReassignmentsTopics {
                name: name.to_owned(),
                partition_indexes,
            };
            topics.into_iter().map(topic).collect()
        });
        let request = ListPartitionReassignmentsRequest { topics, ..Default::default() };
        let response = self.controller.handle_list_partition_reassignments(&request).replies.remove(0);
        let partitions = response.topics.into_iter().flat_map(|topic| {
            let name = topic.name;
            topic.partitions.into_iter().map(move |p| {
                (format!("{name}-{}", p.partition_index), p.replicas, p.adding_replicas, p.removing_replicas)
            })
        });
        partitions.collect()
    }
}

/// A partition, its replicas, those to come and those to go.
type Listed = (String, Vec<i32>, Vec<i32>, Vec<i32>);

fn directory(id: i32) -> Uuid {
    Uuid::from_u128(1000 + id.unsigned_abs() as u128)
}

fn request(target: Option<&[i32]>) -> AlterPartitionReassignmentsRequest {
    AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: "t".to_owned(),
            partitions: vec![ReassignablePartition {
                partition_index: 0,
                replicas: target.map(<[i32]>::to_vec),
            }],
        }],
        ..Default::default()
    }
}

#[test]
fn replicas_come_first_and_go_when_all_that_come_are_in_sync() {
    let mut world = World::new();

    world.reassign(&[4, 5, 1]);

    let moving = world.partition();
    assert_eq!(moving.replicas, nodes(&[4, 5, 1, 2, 3]));
    assert_eq!((moving.adding_replicas, moving.removing_replicas), (nodes(&[4, 5]), nodes(&[2, 3])));
    assert_eq!(moving.directories, [4, 5, 1, 2, 3].map(directory));
    assert_eq!((moving.leader, moving.isr), (Some(NodeId(1)), nodes(&[1, 2, 3])));
    assert_eq!(moving.leader_epoch, LeaderEpoch(0), "nobody has to do anything anew");

    let answer = world.alter_isr(&[1, 2, 3, 4]);
    assert_eq!((answer.error_code, answer.isr), (0, vec![1, 2, 3, 4]));
    assert!(!world.ongoing(None).is_empty(), "5 has yet to come");

    let answer = world.alter_isr(&[1, 2, 3, 4, 5]);

    assert_eq!((answer.error_code, answer.leader_id, answer.isr), (0, 1, vec![1, 4, 5]));
    let moved = world.partition();
    assert_eq!((&moved.replicas, &moved.isr), (&nodes(&[4, 5, 1]), &nodes(&[1, 4, 5])));
    assert_eq!(moved.directories, [4, 5, 1].map(directory));
    assert_eq!(
        (moved.leader, moved.leader_epoch),
        (Some(NodeId(1)), LeaderEpoch(1)),
        "what 2 and 3 asked for before is of another term"
    );
    assert!(world.ongoing(None).is_empty());
}

#[test]
fn a_leader_that_is_to_go_is_followed_by_one_that_is_to_be_and_told_so() {
    let mut world = World::new();
    world.reassign(&[4, 5]);
    world.alter_isr(&[1, 2, 3, 4]);

    let answer = world.alter_isr(&[1, 2, 3, 4, 5]);

    assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::NewLeaderElected);
    let moved = world.partition();
    assert_eq!((&moved.replicas, &moved.isr), (&nodes(&[4, 5]), &nodes(&[4, 5])));
    assert_eq!((moved.leader, moved.leader_epoch), (Some(NodeId(4)), LeaderEpoch(1)));
}

#[test]
fn what_needs_nobody_new_is_done_at_once() {
    let cases: [(&[i32], &[i32], i32, i32); 4] = [
        // The target; the in-sync set, the leader and its epoch afterwards.
        (&[3, 2, 1], &[1, 2, 3], 1, 0),
        (&[1, 3], &[1, 3], 1, 1),
        (&[3, 2], &[2, 3], 3, 1),
        (&[1, 2, 3], &[1, 2, 3], 1, 0),
    ];
    for (target, isr, leader, epoch) in cases {
        let mut world = World::new();
        world.reassign(target);

        let moved = world.partition();
        assert_eq!((moved.replicas, moved.isr), (nodes(target), nodes(isr)));
        assert_eq!(moved.directories, target.iter().map(|&id| directory(id)).collect::<Vec<_>>());
        assert_eq!((moved.leader, moved.leader_epoch.0), (Some(NodeId(leader)), epoch), "{target:?}");
        assert!(moved.adding_replicas.is_empty() && moved.removing_replicas.is_empty());
        let nothing_changed = moved.partition_epoch == PartitionEpoch(0);
        assert_eq!(nothing_changed, target == [1, 2, 3]);
    }
}

#[test]
fn one_that_is_not_in_sync_is_waited_for_even_if_nobody_comes() {
    let mut world = World::with(&[1, 2, 3], &[1, 2], 1);
    world.reassign(&[1, 3]);
    assert_eq!(world.ongoing(None), [("t-0".to_owned(), vec![1, 3, 2], vec![], vec![2])]);

    world.alter_isr(&[1, 2, 3]);

    assert_eq!((world.partition().replicas, world.partition().isr), (nodes(&[1, 3]), nodes(&[1, 3])));
}

#[test]
fn what_is_taken_back_is_as_it_was() {
    let mut world = World::new();
    world.reassign(&[4, 5, 1]);
    world.alter_isr(&[1, 2, 3, 4]);

    assert_eq!(world.cancel(), ErrorCode::None);

    let back = world.partition();
    assert_eq!((&back.replicas, &back.isr), (&nodes(&[1, 2, 3]), &nodes(&[1, 2, 3])));
    assert_eq!(back.directories, [1, 2, 3].map(directory));
    assert_eq!((back.leader, back.leader_epoch), (Some(NodeId(1)), LeaderEpoch(1)), "4 is no replica now");
    assert!(world.ongoing(None).is_empty());
    assert_eq!(world.cancel(), ErrorCode::NoReassignmentInProgress);
}

#[test]
fn taken_back_while_one_that_came_leads_it_is_led_by_one_that_was_there() {
    let mut world = World::new();
    world.reassign(&[4, 5, 6]);
    world.alter_isr(&[1, 2, 3, 4]);
    for id in [1, 2] {
        world.fence(id);
    }
    world.controller.set_newcomers(BTreeSet::from([NodeId(3)]));
    world.fence(3);
    assert_eq!((world.partition().leader, world.partition().isr), (Some(NodeId(4)), nodes(&[4])));

    assert_eq!(world.ask(&request(None)), (
        ErrorCode::InvalidReplicaAssignment,
        Some(
            "Unable to revert partition assignment for t:0 because it would require an unclean leader election."
                .to_owned()
        ),
    ));

    let mut world = World::with(&[1, 2], &[2, 1], 1);
    world.reassign(&[4, 5]);
    world.alter_isr(&[1, 2, 4]);
    world.fence(1);
    assert_eq!(world.partition().leader, Some(NodeId(4)), "those to be come first");

    assert_eq!(world.cancel(), ErrorCode::None);

    let back = world.partition();
    assert_eq!((back.replicas, back.isr, back.leader), (nodes(&[1, 2]), nodes(&[2]), Some(NodeId(2))));
}

#[test]
fn one_reassignment_takes_the_place_of_another() {
    let mut world = World::new();
    world.reassign(&[2, 3, 4]);
    world.alter_isr(&[1, 2, 3]);

    world.reassign(&[2, 3, 5]);
    assert_eq!(world.ongoing(None), [("t-0".to_owned(), vec![2, 3, 5, 1, 4], vec![4, 5], vec![1, 4])]);

    assert_eq!(world.cancel(), ErrorCode::None);
    assert_eq!(world.partition().replicas, nodes(&[2, 3, 1]));
}

#[test]
fn who_comes_and_fails_is_waited_for_and_who_goes_and_fails_is_not() {
    let mut world = World::new();
    world.reassign(&[4, 2, 3]);
    world.fence(1);
    let moving = world.partition();
    assert_eq!((moving.leader, moving.isr), (Some(NodeId(2)), nodes(&[2, 3])));
    assert_eq!(moving.removing_replicas, nodes(&[1]));

    world.fence(4);
    assert_eq!(world.partition().adding_replicas, nodes(&[4]));
    let refused = world.alter_isr(&[2, 3, 4]);
    assert_eq!(ErrorCode::from(refused.error_code), ErrorCode::IneligibleReplica);

    let mut world = World::new();
    world.reassign(&[4, 2, 3]);
    world.fence(1);
    world.alter_isr(&[2, 3, 4]);
    assert_eq!((world.partition().replicas, world.partition().leader), (nodes(&[4, 2, 3]), Some(NodeId(2))));
}

#[test]
fn who_is_no_replica_any_more_is_not_eligible_either() {
    let mut world = World::new().with_eligible(3);
    world.fence(3);
    world.fence(1);
    assert_eq!(world.partition().eligible_leader_replicas, nodes(&[1, 3]));

    world.reassign(&[2, 3]);

    // 3 is not in sync: 1 is to go, and does not yet.
    assert_eq!(world.partition().eligible_leader_replicas, nodes(&[3, 1]));
    world.return_to_service(3);
    world.alter_isr(&[2, 3]);
    let moved = world.partition();
    assert_eq!((moved.replicas, moved.isr), (nodes(&[2, 3]), nodes(&[2, 3])));
    assert_eq!(moved.eligible_leader_replicas, nodes(&[]));
}

/// ACK-1: what was acknowledged is on 1 and 4 alone, and 4 would go. (Seed 1481 of the simulated clusters: 1 lost power.)
#[test]
fn what_holds_the_second_copy_is_not_taken_back() {
    let mut world = World::with(&[1, 2], &[1, 2], 1).with_eligible(2);
    world.reassign(&[4, 1, 2]);
    world.fence(2);
    assert_eq!(world.partition().eligible_leader_replicas, nodes(&[2]), "two of three are asked for");
    world.alter_isr(&[1, 4]);
    assert_eq!(world.partition().eligible_leader_replicas, nodes(&[]), "2 may lack what 1 and 4 have");

    let before = world.partition();
    assert_eq!(
        world.ask(&request(None)),
        (
            ErrorCode::InvalidReplicaAssignment,
            Some(
                "Unable to revert partition assignment for t:0 because 1 replica(s) would be in sync, and \
             min.insync.replicas is 2."
                    .to_owned()
            ),
        )
    );
    assert_eq!(world.partition(), before);

    world.return_to_service(2);
    world.alter_isr(&[1, 2]);
    assert_eq!(world.cancel(), ErrorCode::None);
    let back = world.partition();
    assert_eq!((back.replicas, back.isr), (nodes(&[1, 2]), nodes(&[1, 2])));
}

#[test]
fn what_loses_no_copy_is_taken_back_however_few_are_in_sync() {
    let mut world = World::with(&[1, 2], &[1, 2], 1).with_eligible(2);
    world.reassign(&[4, 1, 2]);
    world.fence(2);

    assert_eq!(world.cancel(), ErrorCode::None);

    let back = world.partition();
    assert_eq!((back.isr, back.leader), (nodes(&[1]), Some(NodeId(1))));
    assert_eq!(back.eligible_leader_replicas, nodes(&[2]));
}

#[test]
fn what_cannot_be_is_refused_in_kafkas_words() {
    let mut world = World::new();
    let mut refused = |request: &AlterPartitionReassignmentsRequest| {
        let before = world.partition();
        let (error, message) = world.ask(request);
        assert_eq!(world.partition(), before);
        (error, message.unwrap_or_default())
    };
    let assignment = ErrorCode::InvalidReplicaAssignment;
    let cases: [(&[i32], &str); 3] = [
        (&[], "The manual partition assignment includes an empty replica list."),
        (&[1, 7], "The manual partition assignment includes broker 7, but no such broker is registered."),
        (&[1, 2, 1], "The manual partition assignment includes the broker 1 more than once."),
    ];
    for (target, message) in cases {
        assert_eq!(refused(&request(Some(target))), (assignment, message.to_owned()));
    }

    let mut unknown = request(Some(&[1]));
    unknown.topics[0].partitions[0].partition_index = 5;
    let message = "Unable to find partition t:5.".to_owned();
    assert_eq!(refused(&unknown), (ErrorCode::UnknownTopicOrPartition, message));
    unknown.topics[0].name = "u".to_owned();
    let message = "Unable to find a topic named u.".to_owned();
    assert_eq!(refused(&unknown), (ErrorCode::UnknownTopicOrPartition, message));

    for (target, from, to) in [(&[1, 2][..], 3, 2), (&[1, 2, 3, 4], 3, 4)] {
        let mut request = request(Some(target));
        request.allow_replication_factor_change = false;
        let message = format!("The replication factor is changed from {from} to {to}");
        assert_eq!(refused(&request), (ErrorCode::InvalidReplicationFactor, message));
    }
    assert_eq!(refused(&request(None)).0, ErrorCode::NoReassignmentInProgress);
}

#[test]
fn a_partition_is_moved_once_in_a_request() {
    let mut world = World::new();
    let mut twice = request(Some(&[4, 2, 3]));
    let again = ReassignablePartition { partition_index: 0, replicas: Some(vec![5, 2, 3]) };
    twice.topics[0].partitions.push(again);

    let mut decision = world.controller.handle_alter_partition_reassignments(&twice);

    assert_eq!(decision.records.len(), 1);
    let answers = decision.replies.remove(0).responses.remove(0).partitions;
    assert_eq!([answers[0].error_code, answers[1].error_code], [0, ErrorCode::InvalidRequest.code()]);
    world.commit(decision.records);
    assert_eq!(world.partition().adding_replicas, nodes(&[4]));
}

#[test]
fn the_factor_that_must_not_change_is_that_to_be() {
    let mut world = World::new();
    world.reassign(&[4, 5, 6]);
    let mut request = request(Some(&[4, 5, 1]));
    request.allow_replication_factor_change = false;

    assert_eq!(world.ask(&request), (ErrorCode::None, None));
}

#[test]
fn brokers_that_are_fenced_may_be_asked_for() {
    let mut world = World::new();
    world.fence(4);
    world.reassign(&[4, 2, 3]);
    assert_eq!(world.partition().adding_replicas, nodes(&[4]));
}

#[test]
fn only_what_is_asked_about_and_under_way_is_listed() {
    let mut world = World::new();
    assert!(world.ongoing(None).is_empty());
    world.reassign(&[4, 2, 3]);

    let listed = [("t-0".to_owned(), vec![4, 2, 3, 1], vec![4], vec![1])];
    assert_eq!(world.ongoing(None), listed);
    assert_eq!(world.ongoing(Some(vec![("u", vec![0]), ("t", vec![1, 0])])), listed);
    assert!(world.ongoing(Some(vec![("t", vec![1])])).is_empty());

    let topic_names = vec!["t".to_owned()];
    let mut deletion =
        world.controller.handle_delete_topics(&DeleteTopicsRequest { topic_names, ..Default::default() });
    // Tests run without the setting's default.
    assert_eq!(deletion.replies.remove(0).responses[0].error_code, 0);
    world.commit(deletion.records);
    assert!(world.ongoing(None).is_empty());
}

#[test]
fn a_new_partition_has_as_many_replicas_as_the_others_will() {
    let mut world = World::new();
    world.reassign(&[4, 5, 6]);
    assert_eq!(world.partition().replicas.len(), 6);
    let topic = CreatePartitionsTopic { name: "t".to_owned(), count: 2, assignments: None };

    let decision = world
        .controller
        .handle_create_partitions(&CreatePartitionsRequest { topics: vec![topic], ..Default::default() });
    world.commit(decision.records);

    let new = world.controller.image.topics.partition(TopicIdPartition::new(TOPIC, 1)).unwrap().clone();
    assert_eq!(new.replicas.len(), 3);
}

/// A broker that lost its page cache comes back while it is being added or removed.
#[test]
fn a_broker_that_comes_back_with_less_leaves_the_set_and_stays_a_replica() {
    let mut world = World::new().with_eligible(2);
    world.reassign(&[4, 2, 3]);
    let registration = BrokerRegistrationRequest {
        broker_id: 2,
        cluster_id: "c".to_owned(),
        incarnation_id: Uuid::from_u128(99),
        listeners: vec![Listener { port: 9092, ..Listener::default() }],
        log_dirs: vec![directory(2)],
        features: vec![Feature {
            name: ELIGIBLE_LEADER_REPLICAS.to_owned(),
            min_supported_version: 0,
            max_supported_version: 1,
        }],
        previous_broker_epoch: -1,
        ..Default::default()
    };
    let decision = world.controller.handle_broker_registration(&registration, Predecessor::Gone);
    assert_eq!(decision.replies[0].error_code, 0);
    world.commit(decision.records);

    let moving = world.partition();
    assert_eq!((moving.isr, moving.replicas), (nodes(&[1, 3]), nodes(&[4, 2, 3, 1])));
    world.alter_isr(&[1, 3, 4]);
    assert!(!world.ongoing(None).is_empty(), "2 is to stay, and is not in sync");
}
