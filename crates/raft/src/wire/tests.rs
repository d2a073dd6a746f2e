use super::*;
use crate::error::ErrorCode as Code;
use crate::message::*;
use crate::voters::{Endpoint, KRaftVersions, Listener, ReplicaKey, Voter, VoterSet};
use bytes::Bytes;
use ottla_protocol::messages::{begin_quorum_epoch_request, end_quorum_epoch_request};
use ottla_protocol::messages::{fetch_request, fetch_response, vote_request, vote_response};
use ottla_protocol::records::control::voters_record as record;
use ottla_protocol::{Message, decode_all, encode_to_vec};
use ottla_types::{Offset, OffsetAndEpoch, Uuid};
use std::time::Duration;

fn context() -> WireContext {
    WireContext { cluster_id: "AAAAAAAAAAAAAAAAAAAAZA".into(), listener: "CONTROLLER".into() }
}

fn replica(id: i32, directory: u128) -> ReplicaKey {
    ReplicaKey::new(NodeId(id), Uuid::from_u128(directory))
}

fn endpoint() -> Option<Endpoint> {
    Some(Endpoint { host: "c2".into(), port: 9093 })
}

const LEADER: LeaderAndEpoch = LeaderAndEpoch { leader: Some(NodeId(2)), epoch: LeaderEpoch(7) };
const PLACE: OffsetAndEpoch = OffsetAndEpoch { epoch: LeaderEpoch(6), offset: Offset(42) };

/// Encodes and decodes, as between two nodes.
fn sent<M: Message>(message: &M, version: i16) -> M {
    decode_all(encode_to_vec(message, version).unwrap(), version).unwrap()
}

fn vote() -> VoteRequest {
    VoteRequest {
        voter: replica(3, 300),
        candidate: replica(1, 100),
        epoch: LeaderEpoch(7),
        last: PLACE,
        pre_vote: true,
    }
}

fn fetch() -> FetchRequest {
    FetchRequest {
        replica: replica(1, 100),
        epoch: LeaderEpoch(7),
        fetch_offset: Offset(42),
        last_fetched_epoch: LeaderEpoch(6),
        high_watermark: Offset(40),
        max_wait: Duration::from_millis(150),
        bytes_max: 1 << 20,
    }
}

fn fetched() -> FetchResponse {
    FetchResponse {
        error: Code::None,
        leader: LEADER,
        leader_endpoint: endpoint(),
        high_watermark: Offset(40),
        log_start_offset: Offset(3),
        diverging: Some(PLACE),
        snapshot: Some(PLACE),
        records: Bytes::from_static(b"batches"),
    }
}

#[test]
fn a_vote_arrives_as_far_as_its_version_carries_it() {
    let v2 = vote();
    let v1 = VoteRequest { pre_vote: false, ..v2.clone() };
    let v0 = VoteRequest { voter: replica(-1, 0), candidate: replica(1, 0), ..v1.clone() };

    for (version, expected) in [(0, v0), (1, v1), (2, v2)] {
        let wire = sent(&vote_request_to_wire(&vote(), &context()), version);

        assert_eq!(vote_request_from_wire(wire, &context()), Ok(expected), "version {version}");
    }
}

#[test]
fn a_vote_response_arrives_as_far_as_its_version_carries_it() {
    let response = VoteResponse {
        error: Code::FencedLeaderEpoch,
        leader: LEADER,
        leader_endpoint: endpoint(),
        vote_granted: true,
    };
    let without_endpoint = VoteResponse { leader_endpoint: None, ..response.clone() };

    for (version, expected) in [(0, without_endpoint), (1, response.clone()), (2, response.clone())] {
        let wire = sent(&vote_response_to_wire(&response), version);

        assert_eq!(vote_response_from_wire(wire), Ok(expected), "version {version}");
    }
}

#[test]
fn begin_and_end_arrive_as_far_as_their_version_carries_them() {
    let begin = BeginQuorumEpochRequest {
        voter: replica(3, 300),
        leader: NodeId(2),
        epoch: LeaderEpoch(7),
        leader_endpoint: endpoint(),
    };
    let begin_v0 = BeginQuorumEpochRequest { voter: replica(-1, 0), leader_endpoint: None, ..begin.clone() };
    let end = EndQuorumEpochRequest {
        leader: NodeId(2),
        epoch: LeaderEpoch(7),
        preferred_candidates: vec![replica(3, 300), replica(1, 100)],
        leader_endpoint: endpoint(),
    };
    let end_v0 = EndQuorumEpochRequest {
        preferred_candidates: vec![replica(3, 0), replica(1, 0)],
        leader_endpoint: None,
        ..end.clone()
    };

    for (version, expected) in [(0, begin_v0), (1, begin.clone())] {
        let wire: begin_quorum_epoch_request::BeginQuorumEpochRequest =
            sent(&begin_request_to_wire(&begin, &context()), version);
        assert_eq!(begin_request_from_wire(wire, &context()), Ok(expected), "version {version}");
    }
    for (version, expected) in [(0, end_v0), (1, end.clone())] {
        let wire: end_quorum_epoch_request::EndQuorumEpochRequest =
            sent(&end_request_to_wire(&end, &context()), version);
        assert_eq!(end_request_from_wire(wire, &context()), Ok(expected), "version {version}");
    }
}

#[test]
fn the_responses_to_begin_and_end_arrive_as_far_as_their_version_carries_them() {
    let response = EpochResponse { error: Code::InvalidRequest, leader: LEADER, leader_endpoint: endpoint() };
    let without_endpoint = EpochResponse { leader_endpoint: None, ..response.clone() };

    for (version, expected) in [(0, without_endpoint), (1, response.clone())] {
        let begin = begin_response_from_wire(sent(&begin_response_to_wire(&response), version));
        let end = end_response_from_wire(sent(&end_response_to_wire(&response), version));

        assert_eq!(begin.as_ref(), Ok(&expected), "version {version}");
        assert_eq!(end.as_ref(), Ok(&expected), "version {version}");
    }
}

#[test]
fn a_fetch_arrives_as_far_as_its_version_carries_it() {
    let v18 = fetch();
    let v17 = FetchRequest { high_watermark: Offset::MAX, ..v18.clone() };
    let v12 = FetchRequest { replica: replica(1, 0), ..v17.clone() };

    for (version, expected) in [(12, &v12), (13, &v12), (15, &v12), (16, &v12), (17, &v17), (18, &v18)] {
        let wire: fetch_request::FetchRequest = sent(&fetch_request_to_wire(&fetch(), &context()), version);

        let request = fetch_request_from_wire(wire, version, &context());

        assert_eq!(request.as_ref(), Ok(expected), "version {version}");
    }
}

#[test]
fn a_fetch_response_arrives_as_far_as_its_version_carries_it() {
    let v16 = fetched();
    let v12 = FetchResponse { leader_endpoint: None, ..v16.clone() };

    for (version, expected) in [(12, &v12), (13, &v12), (16, &v16), (18, &v16)] {
        let wire: fetch_response::FetchResponse = sent(&fetch_response_to_wire(&fetched()), version);

        assert_eq!(fetch_response_from_wire(wire, version).as_ref(), Ok(expected), "version {version}");
    }
}

#[test]
fn what_is_not_there_is_not_there() {
    let response = FetchResponse {
        leader: LeaderAndEpoch { leader: None, epoch: LeaderEpoch(7) },
        leader_endpoint: None,
        high_watermark: Offset::UNKNOWN,
        diverging: None,
        snapshot: None,
        records: Bytes::new(),
        ..fetched()
    };

    assert_eq!(fetch_response_from_wire(sent(&fetch_response_to_wire(&response), 18), 18), Ok(response));
}

fn listeners() -> Vec<Listener> {
    let listener =
        |name: &str, port| Listener { name: name.into(), endpoint: Endpoint { host: "c2".into(), port } };
    vec![listener("OTHER", 9094), listener("CONTROLLER", 9093)]
}

#[test]
fn changes_of_the_voters_arrive() {
    let add = AddVoterRequest {
        voter: replica(3, 300),
        listeners: listeners(),
        endpoint: endpoint(),
        ack_when_committed: false,
    };
    let add_v0 = AddVoterRequest { ack_when_committed: true, ..add.clone() };
    let remove = RemoveVoterRequest { voter: replica(3, 300) };
    let update = UpdateVoterRequest {
        epoch: LeaderEpoch(7),
        voter: replica(3, 300),
        listeners: listeners(),
        endpoint: endpoint(),
        kraft_versions: KRaftVersions::SUPPORTED,
    };
    for (version, expected) in [(0, &add_v0), (1, &add)] {
        // What version 0 cannot say is that the sender does not wait.
        let wire = sent(&add_voter_request_to_wire(expected, Duration::from_secs(1), &context()), version);
        assert_eq!(add_voter_request_from_wire(wire, &context()).as_ref(), Ok(expected), "v{version}");
    }
    let wire = sent(&remove_voter_request_to_wire(&remove, &context()), 0);
    assert_eq!(remove_voter_request_from_wire(wire, &context()), Ok(remove.clone()));
    let wire = sent(&update_voter_request_to_wire(&update, &context()), 0);
    assert_eq!(update_voter_request_from_wire(wire, &context()), Ok(update));
    let elsewhere = WireContext { cluster_id: "other".into(), ..context() };
    let wire = remove_voter_request_to_wire(&remove, &elsewhere);
    assert_eq!(remove_voter_request_from_wire(wire, &context()), Err(Refusal::InconsistentClusterId));
    let strange = WireContext { listener: "UNKNOWN".into(), ..context() };
    let wire = add_voter_request_to_wire(&add, Duration::ZERO, &context());
    assert_eq!(add_voter_request_from_wire(wire, &strange).unwrap().endpoint, None);

    let changed = VoterChangeResponse { error: Code::DuplicateVoter, message: Some("why".into()) };
    let wire = sent(&add_voter_response_to_wire(&changed), 1);
    assert_eq!(add_voter_response_from_wire(wire), changed);
    let wire = sent(&remove_voter_response_to_wire(&changed), 0);
    assert_eq!(remove_voter_response_from_wire(wire), changed);
    let updated = EpochResponse { error: Code::VoterNotFound, leader: LEADER, leader_endpoint: endpoint() };
    for updated in [EpochResponse { leader_endpoint: None, ..updated.clone() }, updated] {
        let wire = sent(&update_voter_response_to_wire(&updated), 0);
        assert_eq!(update_voter_response_from_wire(wire), updated);
    }
}

#[test]
fn a_voter_set_is_what_its_record_says() {
    let voter = Voter {
        key: replica(2, 200),
        endpoint: endpoint().unwrap(),
        listeners: listeners(),
        kraft_versions: KRaftVersions::SUPPORTED,
    };
    let set = VoterSet::new([voter.clone()]).unwrap();
    let record = voters_to_record(&set);

    assert_eq!(voters_from_record(record.clone(), "CONTROLLER"), Ok(set));
    let other = voters_from_record(record.clone(), "UNKNOWN").unwrap();
    assert_eq!(other.voter(NodeId(2)).unwrap().endpoint.port, 9094, "the first that it has");
    let broken = |change: fn(&mut record::VotersRecord)| {
        let mut record = record.clone();
        change(&mut record);
        voters_from_record(record, "CONTROLLER")
    };
    assert!(broken(|record| record.voters.clear()).is_err());
    assert!(broken(|record| record.voters[0].endpoints.clear()).is_err());
    assert!(broken(|record| record.voters[0].voter_id = -1).is_err());
    assert!(broken(|record| record.voters[0].voter_directory_id = Uuid::ZERO).is_err());
    assert!(broken(|record| record.voters.push(record.voters[0].clone())).is_err());
}

#[test]
fn refuses_another_cluster_and_another_log() {
    let mut other_cluster = vote_request_to_wire(&vote(), &context());
    other_cluster.cluster_id = Some("other".into());
    let mut no_cluster = vote_request_to_wire(&vote(), &context());
    no_cluster.cluster_id = None;
    let mut other_topic = vote_request_to_wire(&vote(), &context());
    other_topic.topics[0].topic_name = "x".into();
    let mut other_partition = vote_request_to_wire(&vote(), &context());
    other_partition.topics[0].partitions[0].partition_index = 1;
    let mut two = vote_request_to_wire(&vote(), &context());
    two.topics.push(two.topics[0].clone());

    let result = |wire: vote_request::VoteRequest| vote_request_from_wire(wire, &context());

    assert_eq!(result(other_cluster), Err(Refusal::InconsistentClusterId));
    assert_eq!(result(no_cluster), Ok(vote()));
    for wire in [other_topic, other_partition, two, vote_request::VoteRequest::default()] {
        assert_eq!(result(wire), Err(Refusal::NotTheMetadataLog));
    }
    let mut other_id = fetch_request_to_wire(&fetch(), &context());
    other_id.topics[0].topic_id = Uuid::from_u128(2);
    assert_eq!(fetch_request_from_wire(other_id, 18, &context()), Err(Refusal::NotTheMetadataLog));
}

#[test]
fn a_refusal_says_why_at_the_top() {
    let wire: vote_response::VoteResponse =
        sent(&vote_response_to_wire_refused(Refusal::InconsistentClusterId), 2);

    let response = vote_response_from_wire(wire).unwrap();

    assert_eq!(response.error, Code::InconsistentClusterId);
    assert!(!response.vote_granted);
    let wire: fetch_response::FetchResponse =
        sent(&fetch_response_to_wire_refused(Refusal::NotTheMetadataLog), 18);
    assert_eq!(fetch_response_from_wire(wire, 18).unwrap().error, Code::InvalidRequest);
}

#[test]
fn a_piece_of_a_snapshot_is_asked_for_and_comes() {
    let asked = FetchSnapshotRequest {
        replica: replica(1, 100),
        epoch: LeaderEpoch(7),
        id: PLACE,
        position: 4096,
        bytes_max: 1 << 20,
    };
    let answer = FetchSnapshotResponse {
        error: Code::None,
        leader: LEADER,
        leader_endpoint: endpoint(),
        id: PLACE,
        size: 5000,
        position: 4096,
        bytes: Bytes::from_static(b"904 bytes"),
    };
    for version in 0..=1 {
        let mut without = asked.clone();
        let mut brought = answer.clone();
        if version == 0 {
            without.replica.directory_id = Uuid::ZERO;
            brought.leader_endpoint = None;
        }

        let request = sent(&fetch_snapshot_request_to_wire(&asked, &context()), version);
        let response = sent(&fetch_snapshot_response_to_wire(&answer), version);

        assert_eq!(fetch_snapshot_request_from_wire(request, &context()), Ok(without), "v{version}");
        assert_eq!(fetch_snapshot_response_from_wire(response), Ok(brought), "v{version}");
    }
    let elsewhere = WireContext { cluster_id: "other".into(), ..context() };
    let request = fetch_snapshot_request_to_wire(&asked, &elsewhere);
    assert_eq!(fetch_snapshot_request_from_wire(request, &context()), Err(Refusal::InconsistentClusterId));
    let refused = fetch_snapshot_response_to_wire_refused(Refusal::NotTheMetadataLog);
    assert_eq!(fetch_snapshot_response_from_wire(sent(&refused, 1)).unwrap().error, Code::InvalidRequest);
}
