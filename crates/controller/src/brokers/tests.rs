use super::*;
use crate::Settings;
use ottla_metadata::{ELIGIBLE_LEADER_REPLICAS, MetadataDelta, MetadataImage};
use ottla_protocol::messages::{broker_registration_request, controller_registration_request};
use ottla_protocol::records::metadata::{FeatureLevelRecord, PartitionRecord, TopicRecord};
use ottla_types::Uuid;

/// A controller that took over a log with two active brokers, whose epochs are their ids.
fn controller() -> Controller {
    let mut image = MetadataImage::default();
    for id in [1, 2] {
        let record = register_broker_record::RegisterBrokerRecord {
            broker_id: id,
            broker_epoch: i64::from(id),
            fenced: false,
            ..Default::default()
        };
        image.replay(&MetadataRecord::RegisterBroker(record), &mut MetadataDelta::default()).unwrap();
    }
    image.end.offset = Offset(10);
    Controller::new(Settings::for_tests(), image, 7)
}

fn heartbeat(controller: &mut Controller, id: i32, replayed: i64, leaves: bool) -> BrokerHeartbeatResponse {
    let mut decision = controller.handle_broker_heartbeat(&BrokerHeartbeatRequest {
        broker_id: id,
        broker_epoch: i64::from(id),
        current_metadata_offset: replayed,
        want_shut_down: leaves,
        ..Default::default()
    });
    for record in &decision.records {
        let end = controller.image.end.offset;
        controller.replay(record, end).unwrap();
    }
    decision.replies.pop().unwrap()
}

#[test]
fn an_offset_beyond_all_logs_is_heard_of_and_survived() {
    let answer = heartbeat(&mut controller(), 1, i64::MAX, false);

    assert_eq!(answer.error_code, ErrorCode::None.code());
}

/// The log's end moves on, and the others' heartbeats are always a little behind it.
#[test]
fn a_broker_that_was_leaving_when_the_controller_changed_may_leave_though_the_log_grows() {
    let mut before = controller();
    heartbeat(&mut before, 2, 9, false);
    assert!(!heartbeat(&mut before, 1, 9, true).should_shut_down);
    let mut after = Controller::new(before.settings.clone(), before.image.clone(), 7);

    let end = after.image.end.offset.0;
    heartbeat(&mut after, 2, end - 2, false);
    assert!(!heartbeat(&mut after, 1, 9, true).should_shut_down);
    let reached = after.image.end.offset.0 - 1;
    after.image.end.offset += 5;
    heartbeat(&mut after, 2, reached, false);

    assert!(heartbeat(&mut after, 1, 9, true).should_shut_down);
}

/// Applies what was decided, and returns the answer.
fn carried_out<T>(controller: &mut Controller, mut decision: Decision<MetadataRecord, T>) -> T {
    for record in &decision.records {
        let end = controller.image.end.offset;
        controller.replay(record, end).unwrap();
    }
    decision.replies.pop().unwrap()
}

/// A new process of a broker registers, and says of which epoch it has everything; the one before is gone.
fn register(controller: &mut Controller, id: i32, previous_broker_epoch: i64) -> BrokerEpoch {
    let feature = |name: &str, max| broker_registration_request::Feature {
        name: name.to_owned(),
        min_supported_version: 0,
        max_supported_version: max,
    };
    let request = BrokerRegistrationRequest {
        broker_id: id,
        cluster_id: "c".to_owned(),
        incarnation_id: Uuid::from_u128(controller.image.end.offset.0 as u128),
        listeners: vec![broker_registration_request::Listener { port: 9092, ..Default::default() }],
        features: vec![feature(METADATA_VERSION, 99), feature(ELIGIBLE_LEADER_REPLICAS, 1)],
        previous_broker_epoch,
        ..Default::default()
    };
    let decision = controller.handle_broker_registration(&request, Predecessor::Gone);
    let answer = carried_out(controller, decision);
    assert_eq!(answer.error_code, ErrorCode::None.code());
    BrokerEpoch(answer.broker_epoch)
}

/// ACK-1: one machine loses power while the process of the other replica is killed.
#[test]
fn a_broker_that_may_have_lost_records_leaves_the_lead_to_one_that_has_not() {
    let topic_id = Uuid::from_u128(7);
    let mut controller = controller();
    controller.settings.min_insync_replicas = 2;
    let records = [
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: ELIGIBLE_LEADER_REPLICAS.to_owned(),
            feature_level: 1,
        }),
        MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id }),
        MetadataRecord::Partition(PartitionRecord {
            partition_id: 0,
            topic_id,
            replicas: vec![1, 2],
            isr: vec![1, 2],
            leader: 1,
            ..Default::default()
        }),
    ];
    for record in &records {
        let end = controller.image.end.offset;
        controller.replay(record, end).unwrap();
    }
    let partition = |controller: &Controller| {
        let topic = controller.image.topics.by_id(topic_id).unwrap();
        let partition = &topic.partitions[&0];
        (partition.leader, partition.isr.clone(), partition.eligible_leader_replicas.clone())
    };
    let (one, two) = (NodeId(1), NodeId(2));

    let fenced = Decision::write(controller.fence(two, BrokerEpoch(2)), ());
    carried_out(&mut controller, fenced);
    assert_eq!(partition(&controller), (Some(one), vec![one], vec![two]));

    let first = register(&mut controller, 1, BrokerEpoch::NONE.0);
    assert_eq!(partition(&controller), (None, vec![], vec![two]), "it waits for who has everything");
    let caught_up = |controller: &mut Controller, id, epoch: BrokerEpoch| {
        let decision = controller.handle_broker_heartbeat(&BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: epoch.0,
            current_metadata_offset: epoch.0,
            ..Default::default()
        });
        carried_out(controller, decision);
    };
    caught_up(&mut controller, 1, first);
    assert_eq!(partition(&controller), (None, vec![], vec![two]));

    let second = register(&mut controller, 2, 2);
    caught_up(&mut controller, 2, second);
    assert_eq!(partition(&controller), (Some(two), vec![two], vec![]));
}

/// It went while it was eligible, and nobody remembers which incarnation of it had everything.
#[test]
fn a_broker_that_was_unregistered_comes_back_as_one_that_may_have_lost_records() {
    let mut controller = controller();
    let topic_id = Uuid::from_u128(9);
    let partition = |replicas: &[i32], isr: &[i32]| PartitionRecord {
        topic_id,
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
        leader: isr[0],
        directories: vec![Uuid::UNASSIGNED_DIR; replicas.len()],
        ..Default::default()
    };
    for record in [
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: ELIGIBLE_LEADER_REPLICAS.to_owned(),
            feature_level: 1,
        }),
        MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id }),
        MetadataRecord::Partition(PartitionRecord { partition_id: 0, ..partition(&[1, 2], &[1, 2]) }),
        MetadataRecord::Partition(PartitionRecord { partition_id: 1, ..partition(&[1], &[1]) }),
    ] {
        controller.image.replay(&record, &mut MetadataDelta::default()).unwrap();
    }
    let apply = |controller: &mut Controller, records: Vec<MetadataRecord>| {
        for record in records {
            let end = controller.image.end.offset;
            controller.replay(&record, end).unwrap();
        }
    };
    let lists = |controller: &Controller, number: i32| {
        let partition = controller.image.topics.by_id(topic_id).unwrap().partitions[&number].clone();
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<i32>>();
        (ids(&partition.isr), ids(&partition.eligible_leader_replicas), partition.leader)
    };

    let gone = controller.handle_unregister_broker(&UnregisterBrokerRequest { broker_id: 1 });
    apply(&mut controller, gone.records);
    assert_eq!(lists(&controller, 0), (vec![2], vec![], Some(NodeId(2))), "min.insync.replicas is 1");
    assert_eq!(lists(&controller, 1), (vec![], vec![1], None), "it has everything");
    let again = controller.handle_unregister_broker(&UnregisterBrokerRequest { broker_id: 1 });
    assert_eq!(again.replies[0].error_code, ErrorCode::BrokerIdNotRegistered.code());

    let request = BrokerRegistrationRequest {
        broker_id: 1,
        cluster_id: controller.settings.cluster_id.clone(),
        incarnation_id: Uuid::from_u128(77),
        listeners: vec![broker_registration_request::Listener { port: 9092, ..Default::default() }],
        features: vec![broker_registration_request::Feature {
            name: ELIGIBLE_LEADER_REPLICAS.to_owned(),
            min_supported_version: 0,
            max_supported_version: 1,
        }],
        previous_broker_epoch: 1,
        ..Default::default()
    };
    let back = controller.handle_broker_registration(&request, Predecessor::Gone);
    assert_eq!(back.replies[0].error_code, 0);
    apply(&mut controller, back.records);
    assert_eq!(lists(&controller, 1), (vec![], vec![], None), "it may lead as the last leader, recovering");
}

#[test]
fn a_registration_that_cannot_be_one_is_refused_as_kafka_does() {
    let mut controller = controller();
    let level =
        FeatureLevelRecord { name: METADATA_VERSION.to_owned(), feature_level: MetadataVersion::LATEST.0 };
    let other = register_broker_record::RegisterBrokerRecord {
        broker_id: 2,
        broker_epoch: 9,
        log_dirs: vec![Uuid::from_u128(200)],
        ..Default::default()
    };
    for record in [MetadataRecord::FeatureLevel(level), MetadataRecord::RegisterBroker(other)] {
        let end = controller.image.end.offset;
        controller.replay(&record, end).unwrap();
    }
    let listener = broker_registration_request::Listener { port: 9092, ..Default::default() };
    let right = BrokerRegistrationRequest {
        broker_id: 3,
        cluster_id: controller.settings.cluster_id.clone(),
        incarnation_id: Uuid::from_u128(77),
        listeners: vec![listener.clone()],
        log_dirs: vec![Uuid::from_u128(300), Uuid::from_u128(301)],
        features: vec![broker_registration_request::Feature {
            name: METADATA_VERSION.to_owned(),
            min_supported_version: 1,
            max_supported_version: 99,
        }],
        ..Default::default()
    };
    let mut error = |change: &dyn Fn(&mut BrokerRegistrationRequest)| {
        let mut request = right.clone();
        change(&mut request);
        let decision = controller.handle_broker_registration(&request, Predecessor::Gone);
        ErrorCode::from(decision.replies[0].error_code)
    };
    let ids = |ids: &[u128]| ids.iter().map(|id| Uuid::from_u128(*id)).collect::<Vec<Uuid>>();

    assert_eq!(error(&|_| {}), ErrorCode::None);
    assert_eq!(error(&|r| r.is_migrating_zk_broker = true), ErrorCode::BrokerIdNotRegistered);
    assert_eq!(error(&|r| r.cluster_id.push('x')), ErrorCode::InconsistentClusterId);
    assert_eq!(error(&|r| r.features.clear()), ErrorCode::UnsupportedVersion);
    let invalid: [&dyn Fn(&mut BrokerRegistrationRequest); 8] = [
        &|r| r.listeners.clear(),
        &|r| r.listeners[0].port = 0,
        &|r| r.listeners[0].security_protocol = 4,
        &|r| r.incarnation_id = Uuid::ZERO,
        &|r| r.log_dirs.clear(),
        &|r| r.log_dirs = ids(&[300, 300]),
        &|r| r.log_dirs = ids(&[300, 99]),
        &|r| r.log_dirs = ids(&[300, 200]),
    ];
    for (number, change) in invalid.into_iter().enumerate() {
        assert_eq!(error(change), ErrorCode::InvalidRegistration, "{number}");
    }
}

/// Kafka's nodes end where they read an address that cannot be one.
#[test]
fn a_controller_without_an_address_is_not_registered() {
    let mut controller = controller();
    let level =
        FeatureLevelRecord { name: METADATA_VERSION.to_owned(), feature_level: MetadataVersion::LATEST.0 };
    let end = controller.image.end.offset;
    controller.replay(&MetadataRecord::FeatureLevel(level), end).unwrap();
    for (port, security_protocol, expected) in [
        (9093, 0, ErrorCode::None),
        (0, 0, ErrorCode::InvalidRegistration),
        (9093, -1, ErrorCode::InvalidRegistration),
    ] {
        let request = ControllerRegistrationRequest {
            controller_id: 1,
            listeners: vec![controller_registration_request::Listener {
                port,
                security_protocol,
                ..Default::default()
            }],
            ..Default::default()
        };

        let decision = controller.handle_controller_registration(&request);

        assert_eq!(ErrorCode::from(decision.replies[0].error_code), expected, "{port} {security_protocol}");
        assert_eq!(decision.records.len(), usize::from(expected == ErrorCode::None));
    }
}
