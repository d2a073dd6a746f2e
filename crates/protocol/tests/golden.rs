//! Bytes that other programs wrote, or that were put together by hand from the description of the protocol.

#![expect(clippy::unwrap_used, reason = "a test may")]

use bytes::Bytes;
use ottla_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use ottla_protocol::messages::fetch_response::{
    FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::{
    ApiVersionsRequest, ConsumerProtocolSubscription, DefaultPrincipalData, DescribeTopicPartitionsRequest,
};
use ottla_protocol::records::ControlRecord;
use ottla_protocol::records::control::VotersRecord;
use ottla_protocol::records::control::voters_record::{Endpoint, KRaftVersionFeature, Voter};
use ottla_protocol::records::group::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use ottla_protocol::records::metadata::{
    FeatureLevelRecord, MetadataRecord, NoOpRecord, PartitionChangeRecord, UserScramCredentialRecord,
};
use ottla_protocol::records::transaction::{TransactionLogKey, TransactionLogValue, TransactionRecord};
use ottla_protocol::{DecodeErrorKind, Message, decode_all, decode_prefixed, encode_prefixed, encode_to_vec};
use ottla_types::Uuid;
use std::fmt::Debug;

/// Bytes from hexadecimal; `"text"` stands for its bytes, spaces for nothing.
fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, part) in text.split('"').enumerate() {
        if i % 2 == 1 {
            bytes.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: Vec<char> = part.chars().filter(|c| !c.is_whitespace()).collect();
        for pair in digits.chunks(2) {
            bytes.push(u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap());
        }
    }
    bytes
}

fn check<M: Message + PartialEq + Debug>(message: &M, version: i16, bytes: &str) {
    let bytes = hex(bytes);
    assert_eq!(encode_to_vec(message, version).unwrap(), bytes, "{message:?}");
    assert_eq!(&decode_all::<M>(bytes, version).unwrap(), message);
}

#[test]
fn api_versions_request_names_the_client_from_version_3() {
    let request = ApiVersionsRequest {
        client_software_name: "kcat".to_owned(),
        client_software_version: "1.7".to_owned(),
        ..Default::default()
    };

    check(&ApiVersionsRequest::default(), 0, "");
    check(&request, 3, r#"05 "kcat" 04 "1.7" 00"#);
    check(&request, 5, r#"05 "kcat" 04 "1.7" 00 ffffffff 00"#);
}

#[test]
fn metadata_request_for_all_topics_is_null_from_version_1() {
    let all = MetadataRequest { topics: None, ..Default::default() };
    let one = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some("a".to_owned()), ..Default::default() }]),
        ..Default::default()
    };

    check(&all, 1, "ffffffff");
    check(&one, 0, r#"00000001 0001 "a""#);
    check(&one, 9, r#"02 02 "a" 00 01 00 00 00"#);
    check(&one, 12, r#"02 00000000000000000000000000000000 02 "a" 00 01 00 00"#);
    assert!(encode_to_vec(&all, 0).is_err());
    let null = decode_all::<MetadataRequest>(hex("ffffffff"), 0).unwrap_err();
    assert_eq!(null.kind, DecodeErrorKind::Null);
}

#[test]
fn fetch_response_tells_the_leader_in_a_tagged_field() {
    let partition = PartitionData {
        error_code: 6,
        high_watermark: -1,
        current_leader: LeaderIdAndEpoch { leader_id: 3, leader_epoch: 7 },
        aborted_transactions: None,
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "t".to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };

    let head = r#"00000000 0000 00000000 02 02 "t" 02 00000000 0006"#;
    let offsets = "ffffffffffffffff ffffffffffffffff ffffffffffffffff";
    check(&response, 12, &format!("{head} {offsets} 00 ffffffff 00 01 01 09 00000003 00000007 00 00 00"));
}

#[test]
fn a_nullable_struct_begins_with_its_presence() {
    let first = DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: "t".to_owned() }],
        ..Default::default()
    };
    let next = DescribeTopicPartitionsRequest {
        cursor: Some(Cursor { topic_name: "t".to_owned(), partition_index: 5 }),
        ..first.clone()
    };

    check(&first, 0, r#"02 02 "t" 00 000007d0 ff 00"#);
    check(&next, 0, r#"02 02 "t" 00 000007d0 01 02 "t" 00000005 00 00"#);
}

#[test]
fn an_unknown_tagged_field_is_passed_over() {
    let expected = ApiVersionsRequest { client_software_name: "kcat".to_owned(), ..Default::default() };

    let request = decode_all::<ApiVersionsRequest>(hex(r#"05 "kcat" 01 02 05 01 ff c801 02 0102"#), 3);

    assert_eq!(request, Ok(expected));
}

#[test]
fn a_known_tagged_field_must_fill_its_size() {
    // FetchRequest v15, tag 1: a replica state of 13 bytes that says it has 14.
    let head = "00000000 00000000 00000000 00 00000000 00000000 01 01 01";

    let right = hex(&format!("{head} 01 01 0d 00000001 0000000000000002 00"));
    let wrong = hex(&format!("{head} 01 01 0e 00000001 0000000000000002 00 00"));

    let request = decode_all::<ottla_protocol::messages::FetchRequest>(right, 15).unwrap();
    assert_eq!((request.replica_state.replica_id, request.replica_state.replica_epoch), (1, 2));
    let error = decode_all::<ottla_protocol::messages::FetchRequest>(wrong, 15).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Trailing(1));
}

fn check_frame(record: MetadataRecord, version: i16, bytes: &str) {
    let bytes = hex(bytes);
    assert_eq!(record.encode_frame(version).unwrap(), bytes, "{record:?}");
    assert_eq!(MetadataRecord::decode_frame(bytes), Ok(record));
}

/// The first and last are from a `bootstrap.checkpoint` that Kafka 4.1.0 wrote.
#[test]
fn metadata_records_are_framed() {
    let feature = FeatureLevelRecord { name: "metadata.version".to_owned(), feature_level: 27 };
    check_frame(feature.into(), 0, r#"01 0c 00 11 "metadata.version" 001b 00"#);
    check_frame(NoOpRecord {}.into(), 0, "01 14 00 00");
    let change = PartitionChangeRecord {
        partition_id: 1,
        topic_id: Uuid::from_u128(2),
        isr: Some(vec![3]),
        leader: 3,
        ..Default::default()
    };
    let id = "00000000000000000000000000000002";
    check_frame(change.into(), 0, &format!("01 05 00 00000001 {id} 02 00 05 02 00000003 01 04 00000003"));
    let scram = UserScramCredentialRecord {
        name: "alice".to_owned(),
        mechanism: 1,
        salt: Bytes::from("770mmjv4nrgeg9vmwsmidpy27"),
        stored_key: Bytes::from(hex("fbebb152f1574b46bb6152a76a38393f869492d676dfff0da4777856def8ecbc")),
        server_key: Bytes::from(hex("57862900bbb2b6214c2601f6b26e8a4404f763a5b011d54daabaea0fb28bfc87")),
        iterations: 4096,
    };
    let salt = r#"1a "770mmjv4nrgeg9vmwsmidpy27""#;
    let stored = "21 fbebb152f1574b46bb6152a76a38393f869492d676dfff0da4777856def8ecbc";
    let server = "21 57862900bbb2b6214c2601f6b26e8a4404f763a5b011d54daabaea0fb28bfc87";
    check_frame(scram.into(), 0, &format!(r#"01 0b 00 06 "alice" 01 {salt} {stored} {server} 00001000 00"#));
}

#[test]
fn what_is_no_metadata_record_is_refused() {
    let cases = [
        ("02 14 00 00", DecodeErrorKind::FrameVersion(2)),
        ("01 06 00 00", DecodeErrorKind::UnknownRecord { family: "metadata", id: 6 }),
        ("01 14 01 00", DecodeErrorKind::UnsupportedVersion { name: "NoOpRecord", version: 1 }),
        ("01 14 00 00 00", DecodeErrorKind::Trailing(1)),
        ("01 14 808004 00", DecodeErrorKind::Length { len: 65536, max: 32767 }),
        ("01 14 ffffffff1f 00", DecodeErrorKind::Varint),
        ("01 14", DecodeErrorKind::Truncated { needed: 1, remaining: 0 }),
    ];
    for (bytes, kind) in cases {
        assert_eq!(MetadataRecord::decode_frame(hex(bytes)).unwrap_err().kind, kind, "{bytes}");
    }
}

/// The value is from a `00000000000000000000-0000000000.checkpoint` that Kafka 4.1.0 wrote.
#[test]
fn voters_are_those_of_a_formatted_directory() {
    let voters = VotersRecord {
        version: 0,
        voters: vec![Voter {
            voter_id: 1,
            voter_directory_id: Uuid::from_u128(100),
            endpoints: vec![Endpoint {
                name: "CONTROLLER".to_owned(),
                host: "localhost".to_owned(),
                port: 9093,
            }],
            kraft_version_feature: KRaftVersionFeature { min_supported_version: 0, max_supported_version: 1 },
        }],
    };

    let id = "00000000000000000000000000000064";
    let value =
        format!(r#"0000 02 00000001 {id} 02 0b "CONTROLLER" 0a "localhost" 2385 00 0000 0001 00 00 00"#);

    let record = ControlRecord::KRaftVoters(voters);
    assert_eq!(record.encode_value().unwrap(), hex(&value));
    assert_eq!(ControlRecord::decode(hex("0000 0006"), hex(&value)), Ok(Some(record)));
}

#[test]
fn a_committed_offset_is_a_key_and_a_value() {
    let key = OffsetCommitKey { group: "g".to_owned(), topic: "t".to_owned(), partition: 2 };
    let value = OffsetCommitValue { offset: 5, leader_epoch: 3, commit_timestamp: 9, ..Default::default() };
    let record = GroupRecord::OffsetCommit(key.clone(), Some(value));
    let tombstone = GroupRecord::OffsetCommit(key, None);

    let key = hex(r#"0001 0001 "g" 0001 "t" 00000002"#);
    let v3 = hex("0003 0000000000000005 00000003 0000 0000000000000009");
    let v4 = hex("0004 0000000000000005 00000003 01 0000000000000009 00");

    assert_eq!(record.encode_key().unwrap(), key);
    assert_eq!(record.encode_value(3).unwrap(), Some(v3.clone()));
    assert_eq!(record.encode_value(4).unwrap(), Some(v4.clone()));
    assert_eq!(tombstone.encode_value(4).unwrap(), None);
    assert_eq!(GroupRecord::decode(key.clone(), Some(v3.into())), Ok(record.clone()));
    assert_eq!(GroupRecord::decode(key.clone(), Some(v4.into())), Ok(record));
    assert_eq!(GroupRecord::decode(key, None), Ok(tombstone));
    let unknown = GroupRecord::decode(hex("0009 0001"), None).unwrap_err();
    assert_eq!(unknown.kind, DecodeErrorKind::UnknownRecord { family: "group", id: 9 });
}

#[test]
fn a_transactions_tagged_fields_are_in_the_order_of_their_tags() {
    let value = TransactionLogValue {
        producer_id: 1,
        previous_producer_id: 2,
        next_producer_id: -1,
        producer_epoch: 3,
        next_producer_epoch: 4,
        transaction_timeout_ms: 5,
        transaction_status: 6,
        transaction_partitions: None,
        transaction_last_update_timestamp_ms: 7,
        transaction_start_timestamp_ms: 8,
        client_transaction_version: 2,
    };
    let record = TransactionRecord::TransactionLog(
        TransactionLogKey { transactional_id: "x".to_owned() },
        Some(value),
    );

    let head = "0001 0000000000000001 0003 00000005 06 00 0000000000000007 0000000000000008";
    let tags = "03 00 08 0000000000000002 02 02 0002 03 02 0004";

    let bytes = hex(&format!("{head} {tags}"));
    assert_eq!(record.encode_value(1).unwrap(), Some(bytes.clone()));
    assert_eq!(TransactionRecord::decode(hex(r#"0000 0001 "x""#), Some(bytes.into())), Ok(record));
}

#[test]
fn blobs_inside_messages_begin_with_their_version() {
    let subscription = ConsumerProtocolSubscription { topics: vec!["t".to_owned()], ..Default::default() };
    let bytes = hex(r#"0001 00000001 0001 "t" ffffffff 00000000"#);
    assert_eq!(encode_prefixed(&subscription, 1).unwrap(), bytes);
    assert_eq!(decode_prefixed(bytes), Ok((1, subscription)));

    let principal = DefaultPrincipalData {
        r#type: "User".to_owned(),
        name: "alice".to_owned(),
        token_authenticated: false,
    };
    let bytes = hex(r#"0000 05 "User" 06 "alice" 00 00"#);
    assert_eq!(encode_prefixed(&principal, 0).unwrap(), bytes);
    assert_eq!(decode_prefixed(bytes), Ok((0, principal)));
}
