use super::*;
use crate::Settings;
use ottla_metadata::{MetadataDelta, MetadataImage};
use ottla_protocol::messages::update_features_request::FeatureUpdateKey;
use ottla_protocol::records::metadata::register_broker_record::{BrokerFeature, RegisterBrokerRecord};
use ottla_protocol::records::metadata::register_controller_record::{
    ControllerFeature, RegisterControllerRecord,
};
use ottla_protocol::records::metadata::{PartitionRecord, TopicRecord};
use ottla_types::{Offset, Uuid};

/// A feature, the level it is to have, and which way that may be.
type Update<'a> = (&'a str, i16, i8);

const UPGRADE: i8 = 1;
const SAFE: i8 = 2;
const UNSAFE: i8 = 3;

fn broker(broker_id: i32, ranges: &[(&str, i16, i16)]) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id,
        broker_epoch: i64::from(broker_id),
        features: ranges
            .iter()
            .map(|&(name, min, max)| BrokerFeature {
                name: name.to_owned(),
                min_supported_version: min,
                max_supported_version: max,
            })
            .collect(),
        ..Default::default()
    })
}

fn controller(controller_id: i32, ranges: &[(&str, i16, i16)]) -> MetadataRecord {
    MetadataRecord::RegisterController(RegisterControllerRecord {
        controller_id,
        features: ranges
            .iter()
            .map(|&(name, min, max)| ControllerFeature {
                name: name.to_owned(),
                min_supported_version: min,
                max_supported_version: max,
            })
            .collect(),
        ..Default::default()
    })
}

const ALL: &[(&str, i16, i16)] = &[
    (METADATA_VERSION, 7, 33),
    (ELIGIBLE_LEADER_REPLICAS, 0, 1),
    (GROUP_VERSION, 0, 1),
    (KRAFT_VERSION, 0, 1),
    (TRANSACTION_VERSION, 0, 2),
];

/// Two brokers and two controllers that support everything.
fn cluster(metadata_version: i16, elr: i16) -> Controller {
    let records = [
        feature_level(METADATA_VERSION, metadata_version),
        feature_level(ELIGIBLE_LEADER_REPLICAS, elr),
        broker(1, ALL),
        broker(2, ALL),
        controller(1, ALL),
        controller(2, ALL),
    ];
    with(&records)
}

fn with(records: &[MetadataRecord]) -> Controller {
    let mut image = MetadataImage::default();
    for record in records {
        image.replay(record, &mut MetadataDelta::default()).unwrap();
    }
    Controller::new(Settings::for_tests(), image, 7)
}

fn quorum(kraft_version: i16) -> QuorumFeatures {
    let voters = vec![NodeId(1), NodeId(2)];
    QuorumFeatures { node_id: NodeId(1), voters, kraft_version, upgrade_refusal: None }
}

fn request(updates: &[Update<'_>]) -> UpdateFeaturesRequest {
    let update = |&(name, level, upgrade_type): &Update<'_>| FeatureUpdateKey {
        feature: name.to_owned(),
        max_version_level: level,
        upgrade_type,
        ..Default::default()
    };
    UpdateFeaturesRequest { feature_updates: updates.iter().map(update).collect(), ..Default::default() }
}

fn refusal(controller: &Controller, updates: &[Update<'_>], quorum: &QuorumFeatures) -> String {
    let update = controller.handle_update_features(&request(updates), quorum);
    assert!(update.decision.records.is_empty() && !update.upgrades_kraft_version);
    let response = &update.decision.replies[0];
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::InvalidUpdateVersion, "{updates:?}");
    let message = response.error_message.clone().unwrap();
    let cause = "The update failed for all features since the following feature had an error: ";
    message.strip_prefix(cause).unwrap().to_owned()
}

fn apply(controller: &mut Controller, updates: &[Update<'_>]) -> Vec<MetadataRecord> {
    let update = controller.handle_update_features(&request(updates), &quorum(0));
    let response = &update.decision.replies[0];
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    for record in &update.decision.records {
        controller.replay(record, Offset(0)).unwrap();
    }
    update.decision.records
}

#[test]
fn refuses_in_kafkas_words() {
    let mv = METADATA_VERSION;
    let elr = ELIGIBLE_LEADER_REPLICAS;
    let cases: &[(i16, &[Update<'_>], &str)] = &[
        (
            33,
            &[("nope", 1, UPGRADE)],
            "Invalid update version 1 for feature nope. Local controller 1 does not support this feature.",
        ),
        (33, &[("nope", 0, SAFE)], "Invalid update version 0 for feature nope. Feature nope not found."),
        (
            33,
            &[(mv, 40, UPGRADE)],
            "Invalid update version 40 for feature metadata.version. Local controller 1 only supports versions 7-33",
        ),
        (
            33,
            &[(mv, -1, SAFE)],
            "Invalid update version -1 for feature metadata.version. A feature version cannot be less than 0.",
        ),
        (
            33,
            &[(mv, 33, 0)],
            "Invalid update version 33 for feature metadata.version. The controller does not support the given upgrade type.",
        ),
        (
            33,
            &[(mv, 30, UPGRADE)],
            "Invalid update version 30 for feature metadata.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        (
            29,
            &[(mv, 30, SAFE)],
            "Invalid update version 30 for feature metadata.version. Can't downgrade to a newer version.",
        ),
        (
            33,
            &[(mv, 32, SAFE)],
            "Unsupported metadata.version downgrade from 33 to 32. Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        (
            33,
            &[(mv, 30, UNSAFE)],
            "Unsupported metadata.version downgrade from 33 to 30. Unsafe metadata downgrade is not supported in this version.",
        ),
        (
            29,
            &[(mv, 22, SAFE)],
            "Unsupported metadata.version downgrade from 29 to 22. Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        (
            22,
            &[(elr, 1, UPGRADE)],
            "Invalid update version 1 for feature eligible.leader.replicas.version. eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23",
        ),
        (
            33,
            &[(elr, 0, SAFE), (mv, 31, SAFE)],
            "Unsupported metadata.version downgrade from 33 to 31. Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
    ];
    for (level, updates, message) in cases {
        let elr_level = if *level < 23 { 0 } else { 1 };
        assert_eq!(&refusal(&cluster(*level, elr_level), updates, &quorum(0)), message);
    }
}

#[test]
fn every_node_must_support_the_level_and_every_voter_be_registered() {
    let old = &[(METADATA_VERSION, 7, 30)];
    let level = feature_level(METADATA_VERSION, 30);
    let mv = &[(METADATA_VERSION, 33, UPGRADE)];
    let invalid = "Invalid update version 33 for feature metadata.version. ";
    let all = [broker(1, ALL), controller(1, ALL), controller(2, ALL)];
    let base = [std::slice::from_ref(&level), &all[..]].concat();

    let broker_lags = with(&[base.clone(), vec![broker(2, old)]].concat());
    assert_eq!(
        refusal(&broker_lags, mv, &quorum(0)),
        format!("{invalid}Broker 2 only supports versions 7-30")
    );
    let broker_is_older = with(&[base.clone(), vec![broker(2, &[])]].concat());
    assert_eq!(
        refusal(&broker_is_older, mv, &quorum(0)),
        format!("{invalid}Broker 2 does not support this feature.")
    );
    let controller_lags = with(&[base.clone(), vec![controller(2, old)]].concat());
    assert_eq!(
        refusal(&controller_lags, mv, &quorum(0)),
        format!("{invalid}Controller 2 only supports versions 7-30")
    );
    let unknown = with(&[level, broker(1, ALL), controller(1, ALL)]);
    assert_eq!(
        refusal(&unknown, mv, &quorum(0)),
        format!("{invalid}controller 2 has not registered, and may not support this feature")
    );
    // Before controllers register, nobody knows what the others support.
    let mut early = with(&[feature_level(METADATA_VERSION, 14), broker(1, ALL)]);
    apply(&mut early, &[(METADATA_VERSION, 33, UPGRADE)]);
    assert_eq!(early.image.metadata_version(), MetadataVersion(33));
}

#[test]
fn levels_go_up_and_back_as_far_as_no_record_changes() {
    let mut controller = cluster(23, 0);

    apply(&mut controller, &[(METADATA_VERSION, 29, UPGRADE), (ELIGIBLE_LEADER_REPLICAS, 1, UPGRADE)]);
    assert_eq!(controller.image.metadata_version(), MetadataVersion(29));
    assert_eq!(controller.image.features.level(ELIGIBLE_LEADER_REPLICAS), 1);
    apply(&mut controller, &[(METADATA_VERSION, 23, SAFE)]);
    assert_eq!(controller.image.metadata_version(), MetadataVersion(23));
    // What both levels allow is raised in one request, in whichever order the names come.
    let mut old = cluster(22, 0);
    apply(&mut old, &[(ELIGIBLE_LEADER_REPLICAS, 1, UPGRADE), (METADATA_VERSION, 33, UPGRADE)]);
    assert_eq!(old.image.features.level(ELIGIBLE_LEADER_REPLICAS), 1);
}

/// Who is eligible follows from `min.insync.replicas`: all controllers must know the same one.
#[test]
fn what_eligible_leaders_go_by_is_in_the_log_before_them() {
    let mut controller = cluster(33, 0);
    controller.settings.min_insync_replicas = 2;
    let one = ConfigResource::broker(NodeId(1));
    let all = ConfigResource::cluster();
    controller.replay(&configs::record(&one, MIN_ISR, Some("3".to_owned())), Offset(0)).unwrap();
    let elr = |level| feature_level(ELIGIBLE_LEADER_REPLICAS, level);
    let set = configs::record(&all, MIN_ISR, Some("2".to_owned()));

    let records = apply(&mut controller, &[(ELIGIBLE_LEADER_REPLICAS, 1, UPGRADE)]);
    assert_eq!(records, [set.clone(), configs::record(&one, MIN_ISR, None), elr(1)]);

    // What is set stays.
    controller.settings.min_insync_replicas = 1;
    apply(&mut controller, &[(ELIGIBLE_LEADER_REPLICAS, 0, SAFE)]);
    let records = apply(&mut controller, &[(ELIGIBLE_LEADER_REPLICAS, 1, UPGRADE)]);
    assert_eq!(records, [elr(1)]);

    // A new cluster is no other.
    let mut new = with(&[]);
    new.settings.min_insync_replicas = 2;
    assert_eq!(new.first_records(vec![elr(1)]), [elr(1), set]);
    assert_eq!(new.first_records(vec![elr(0)]), [elr(0)]);
}

#[test]
fn a_question_changes_nothing() {
    let controller = cluster(29, 1);
    let asked = [(METADATA_VERSION, 33, UPGRADE), (KRAFT_VERSION, 1, UPGRADE)];
    let request = UpdateFeaturesRequest { validate_only: true, ..request(&asked) };

    let update = controller.handle_update_features(&request, &quorum(0));

    assert_eq!(update.decision, Decision::reply(UpdateFeaturesResponse::default()));
    assert!(!update.upgrades_kraft_version);
}

#[test]
fn the_quorum_raises_its_version_when_it_can_and_never_goes_back() {
    let controller = cluster(33, 1);
    let upgrade = request(&[(KRAFT_VERSION, 1, UPGRADE)]);

    let update = controller.handle_update_features(&upgrade, &quorum(0));
    assert!(update.upgrades_kraft_version);
    assert_eq!(update.decision.records, [MetadataRecord::NoOp(NoOpRecord::default())]);
    assert!(!controller.handle_update_features(&upgrade, &quorum(1)).upgrades_kraft_version);
    let unable = QuorumFeatures { upgrade_refusal: Some("of that".to_owned()), ..quorum(0) };
    assert_eq!(
        refusal(&controller, &[(KRAFT_VERSION, 1, UPGRADE)], &unable),
        "Invalid upgrade of kraft.version to 1 because of that"
    );
    assert_eq!(
        refusal(&controller, &[(KRAFT_VERSION, 0, UNSAFE)], &quorum(1)),
        "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature."
    );
    let same = controller.handle_update_features(&request(&[(KRAFT_VERSION, 0, SAFE)]), &quorum(0));
    assert_eq!(same.decision, Decision::reply(UpdateFeaturesResponse::default()));
}

/// A partition of three replicas, led by 1 if that is in sync.
fn partition(number: i32, isr: &[i32], eligible: &[i32], last_known: &[i32]) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        partition_id: number,
        topic_id: Uuid::from_u128(9),
        replicas: vec![1, 2, 3],
        isr: isr.to_vec(),
        leader: isr.first().copied().unwrap_or(-1),
        eligible_leader_replicas: Some(eligible.to_vec()),
        last_known_elr: Some(last_known.to_vec()),
        ..Default::default()
    })
}

#[test]
fn without_the_feature_in_sync_sets_alone_count() {
    let topic = TopicRecord { name: "t".to_owned(), topic_id: Uuid::from_u128(9) };
    let mut controller = with(&[
        feature_level(METADATA_VERSION, 33),
        feature_level(ELIGIBLE_LEADER_REPLICAS, 1),
        broker(1, ALL),
        controller(1, ALL),
        controller(2, ALL),
        MetadataRecord::Topic(topic),
        partition(0, &[1, 2, 3], &[], &[]),
        partition(1, &[1], &[2], &[]),
        partition(2, &[], &[2, 3], &[2]),
        partition(3, &[], &[], &[3]),
    ]);

    let records = apply(&mut controller, &[(ELIGIBLE_LEADER_REPLICAS, 0, SAFE)]);

    assert_eq!(records.len(), 3, "two partitions and the level: {records:?}");
    let topic = controller.image.topics.by_name("t").unwrap();
    let of = |number: i32| {
        let partition = &topic.partitions[&number];
        let lists = [&partition.isr, &partition.eligible_leader_replicas, &partition.last_known_elr];
        lists.map(|list| list.iter().map(|node| node.0).collect::<Vec<i32>>())
    };
    assert_eq!(of(0), [vec![1, 2, 3], vec![], vec![]]);
    assert_eq!(of(1), [vec![1], vec![], vec![]]);
    assert_eq!(of(2), [vec![2, 3], vec![], vec![]], "they have all that was acknowledged");
    assert_eq!(of(3), [vec![], vec![], vec![3]], "it may go on, recovering");
    assert_eq!(controller.image.features.level(ELIGIBLE_LEADER_REPLICAS), 0);
}

#[test]
fn consumer_groups_are_switched_on_and_off() {
    let mut controller = cluster(33, 1);
    for (level, upgrade_type) in [(1, UPGRADE), (0, SAFE), (1, UPGRADE)] {
        apply(&mut controller, &[(GROUP_VERSION, level, upgrade_type)]);
        assert_eq!(controller.image.features.level(GROUP_VERSION), level);
    }
}

#[test]
fn transactions_go_up_and_down_a_level() {
    let mut controller = cluster(33, 1);
    for (level, upgrade_type) in [(2, UPGRADE), (0, SAFE), (1, UPGRADE)] {
        apply(&mut controller, &[(TRANSACTION_VERSION, level, upgrade_type)]);
        assert_eq!(controller.image.features.level(TRANSACTION_VERSION), level);
    }
}
