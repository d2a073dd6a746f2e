//! What each request does in each state: Kafka's table.

use super::bench::Bench;
use super::client::{Call, Client, GROUP, Phase, commit, subscription};
use crate::{GroupReply, GroupState, Settings};
use ottla_protocol::ErrorCode;
use std::collections::BTreeMap;

/// A request to a group, by somebody.
#[derive(Clone, Copy, Debug)]
enum Act {
    NewMemberJoins,
    LeaderJoins,
    FollowerJoins,
    FollowerJoinsChanged,
    FollowerJoinsForeign,
    StrangerJoins,
    LeaderSyncs,
    FollowerSyncs,
    FollowerSyncsOld,
    FollowerSyncsOtherProtocol,
    StrangerSyncs,
    FollowerBeats,
    FollowerBeatsOld,
    StrangerBeats,
    FollowerLeaves,
    StrangerLeaves,
    FollowerCommits,
    FollowerCommitsOld,
    StrangerCommits,
    LoneReaderCommits,
}

use Act::*;

/// A group with a leader and a follower in the state; in an empty one they are strangers.
fn group_in(state: GroupState) -> (Bench, Client, Client) {
    let mut bench = Bench::new();
    let mut clients = vec![stranger(), stranger()];
    match state {
        GroupState::Dead => {}
        GroupState::Empty => {
            bench.commit(9, &Call::Commit(commit(&BTreeMap::from([(0, 5)]))));
        }
        GroupState::CompletingRebalance => clients = bench.joining(2),
        GroupState::Stable => clients = bench.stable(2),
        GroupState::PreparingRebalance => {
            clients = bench.stable(2);
            bench.enter(&mut Client::new(None));
        }
    }
    assert_eq!(bench.state(), state);
    let [leader, follower] = clients.try_into().unwrap();
    (bench, leader, follower)
}

fn stranger() -> Client {
    Client { member_id: "nobody".into(), generation: 1, ..Client::new(None) }
}

fn call(act: Act, leader: &Client, follower: &Client) -> Call {
    let in_phase = |client: &Client, phase| Client { phase, ..client.clone() }.call();
    let join_with = |change: fn(&mut ottla_protocol::messages::join_group_request::JoinGroupRequest)| {
        let mut request = follower.join();
        change(&mut request);
        Call::Join(request)
    };
    let sync_with = |change: fn(&mut ottla_protocol::messages::sync_group_request::SyncGroupRequest)| {
        let Call::Sync(mut request) = in_phase(follower, Phase::Syncing) else { unreachable!() };
        change(&mut request);
        Call::Sync(request)
    };
    let old = Client { generation: follower.generation - 1, ..follower.clone() };
    match act {
        NewMemberJoins => in_phase(&Client::new(None), Phase::Joining),
        LeaderJoins => in_phase(leader, Phase::Joining),
        FollowerJoins => in_phase(follower, Phase::Joining),
        FollowerJoinsChanged => join_with(|r| r.protocols[0].metadata = subscription(&["other"])),
        FollowerJoinsForeign => join_with(|r| r.protocols[0].name = "foreign".into()).first_protocol_only(),
        StrangerJoins => in_phase(&stranger(), Phase::Joining),
        LeaderSyncs => in_phase(leader, Phase::Syncing),
        FollowerSyncs => in_phase(follower, Phase::Syncing),
        FollowerSyncsOld => in_phase(&old, Phase::Syncing),
        FollowerSyncsOtherProtocol => sync_with(|r| r.protocol_name = Some("roundrobin".into())),
        StrangerSyncs => in_phase(&stranger(), Phase::Syncing),
        FollowerBeats => in_phase(follower, Phase::Reading),
        FollowerBeatsOld => in_phase(&old, Phase::Reading),
        StrangerBeats => in_phase(&stranger(), Phase::Reading),
        FollowerLeaves => follower.leave(),
        StrangerLeaves => stranger().leave(),
        FollowerCommits => commit_of(follower),
        FollowerCommitsOld => commit_of(&old),
        StrangerCommits => commit_of(&stranger()),
        LoneReaderCommits => Call::Commit(commit(&BTreeMap::from([(0, 7)]))),
    }
}

impl Call {
    fn first_protocol_only(mut self) -> Call {
        if let Call::Join(request) = &mut self {
            request.protocols.truncate(1);
        }
        self
    }
}

fn commit_of(client: &Client) -> Call {
    Client { positions: BTreeMap::from([(0, 3)]), ..client.clone() }.read_and_commit(0)
}

fn error_of(reply: &GroupReply) -> ErrorCode {
    let code = match reply {
        GroupReply::JoinGroup(response) => response.error_code,
        GroupReply::SyncGroup(response) => response.error_code,
        GroupReply::Heartbeat(response) => response.error_code,
        GroupReply::LeaveGroup(response) => response.members[0].error_code,
        GroupReply::OffsetCommit(response) => response.topics[0].partitions[0].error_code,
        other => panic!("not in the table: {other:?}"),
    };
    ErrorCode::from(code)
}

/// Checks what a request is answered, and the state that it leaves behind.
fn check(state: GroupState, table: &[(Act, &str, GroupState)]) {
    for &(act, answer, after) in table {
        let (mut bench, leader, follower) = group_in(state);

        // Version 3 of JoinGroup takes new members without a round trip.
        let version = if matches!(act, NewMemberJoins) { 3 } else { 4 };
        let call = call(act, &leader, &follower);
        let version = if matches!(call, Call::Join(_)) { version } else { super::bench::newest(&call) };
        let token = bench.call_at(version, &call);

        let actual =
            if bench.is_parked(token) { "parked".into() } else { error_of(&bench.take(token)).to_string() };
        assert_eq!((actual.as_str(), bench.state()), (answer, after), "{act:?} in {state}");
    }
}

#[test]
fn an_empty_group_takes_new_members_and_lone_readers() {
    use GroupState::{Empty, PreparingRebalance};
    check(
        Empty,
        &[
            (NewMemberJoins, "parked", PreparingRebalance),
            (StrangerJoins, "UNKNOWN_MEMBER_ID", Empty),
            (StrangerSyncs, "UNKNOWN_MEMBER_ID", Empty),
            (StrangerBeats, "UNKNOWN_MEMBER_ID", Empty),
            (StrangerLeaves, "UNKNOWN_MEMBER_ID", Empty),
            (StrangerCommits, "UNKNOWN_MEMBER_ID", Empty),
            (LoneReaderCommits, "NONE", Empty),
        ],
    );
}

#[test]
fn a_group_that_prepares_waits_for_its_members() {
    use GroupState::PreparingRebalance;
    check(
        PreparingRebalance,
        &[
            (NewMemberJoins, "parked", PreparingRebalance),
            (LeaderJoins, "parked", PreparingRebalance),
            (FollowerJoins, "parked", PreparingRebalance),
            (FollowerJoinsChanged, "parked", PreparingRebalance),
            (FollowerJoinsForeign, "INCONSISTENT_GROUP_PROTOCOL", PreparingRebalance),
            (StrangerJoins, "UNKNOWN_MEMBER_ID", PreparingRebalance),
            (LeaderSyncs, "REBALANCE_IN_PROGRESS", PreparingRebalance),
            (FollowerSyncs, "REBALANCE_IN_PROGRESS", PreparingRebalance),
            (FollowerSyncsOld, "ILLEGAL_GENERATION", PreparingRebalance),
            (FollowerBeats, "REBALANCE_IN_PROGRESS", PreparingRebalance),
            (FollowerBeatsOld, "ILLEGAL_GENERATION", PreparingRebalance),
            (StrangerBeats, "UNKNOWN_MEMBER_ID", PreparingRebalance),
            (FollowerLeaves, "NONE", PreparingRebalance),
            (StrangerLeaves, "UNKNOWN_MEMBER_ID", PreparingRebalance),
            (FollowerCommits, "NONE", PreparingRebalance),
            (FollowerCommitsOld, "ILLEGAL_GENERATION", PreparingRebalance),
            (LoneReaderCommits, "UNKNOWN_MEMBER_ID", PreparingRebalance),
        ],
    );
}

#[test]
fn a_group_that_completes_waits_for_its_leader() {
    use GroupState::{CompletingRebalance, PreparingRebalance, Stable};
    check(
        CompletingRebalance,
        &[
            (NewMemberJoins, "parked", PreparingRebalance),
            (LeaderJoins, "NONE", CompletingRebalance),
            (FollowerJoins, "NONE", CompletingRebalance),
            (FollowerJoinsChanged, "parked", PreparingRebalance),
            (FollowerJoinsForeign, "INCONSISTENT_GROUP_PROTOCOL", CompletingRebalance),
            (StrangerJoins, "UNKNOWN_MEMBER_ID", CompletingRebalance),
            (LeaderSyncs, "NONE", Stable),
            (FollowerSyncs, "parked", CompletingRebalance),
            (FollowerSyncsOld, "ILLEGAL_GENERATION", CompletingRebalance),
            (FollowerSyncsOtherProtocol, "INCONSISTENT_GROUP_PROTOCOL", CompletingRebalance),
            (StrangerSyncs, "UNKNOWN_MEMBER_ID", CompletingRebalance),
            (FollowerBeats, "NONE", CompletingRebalance),
            (FollowerBeatsOld, "ILLEGAL_GENERATION", CompletingRebalance),
            (FollowerLeaves, "NONE", PreparingRebalance),
            (FollowerCommits, "REBALANCE_IN_PROGRESS", CompletingRebalance),
            (FollowerCommitsOld, "ILLEGAL_GENERATION", CompletingRebalance),
            (LoneReaderCommits, "UNKNOWN_MEMBER_ID", CompletingRebalance),
        ],
    );
}

#[test]
fn a_stable_group_rebalances_for_news_only() {
    use GroupState::{PreparingRebalance, Stable};
    check(
        Stable,
        &[
            (NewMemberJoins, "parked", PreparingRebalance),
            (LeaderJoins, "parked", PreparingRebalance),
            (FollowerJoins, "NONE", Stable),
            (FollowerJoinsChanged, "parked", PreparingRebalance),
            (FollowerJoinsForeign, "INCONSISTENT_GROUP_PROTOCOL", Stable),
            (StrangerJoins, "UNKNOWN_MEMBER_ID", Stable),
            (LeaderSyncs, "NONE", Stable),
            (FollowerSyncs, "NONE", Stable),
            (FollowerSyncsOld, "ILLEGAL_GENERATION", Stable),
            (StrangerSyncs, "UNKNOWN_MEMBER_ID", Stable),
            (FollowerBeats, "NONE", Stable),
            (FollowerBeatsOld, "ILLEGAL_GENERATION", Stable),
            (StrangerBeats, "UNKNOWN_MEMBER_ID", Stable),
            (FollowerLeaves, "NONE", PreparingRebalance),
            (StrangerLeaves, "UNKNOWN_MEMBER_ID", Stable),
            (FollowerCommits, "NONE", Stable),
            (FollowerCommitsOld, "ILLEGAL_GENERATION", Stable),
            (StrangerCommits, "UNKNOWN_MEMBER_ID", Stable),
            (LoneReaderCommits, "UNKNOWN_MEMBER_ID", Stable),
        ],
    );
}

#[test]
fn a_group_that_does_not_exist_is_made_by_new_members_and_lone_readers_only() {
    use GroupState::{Dead, Empty, PreparingRebalance};
    check(
        Dead,
        &[
            (NewMemberJoins, "parked", PreparingRebalance),
            (StrangerJoins, "UNKNOWN_MEMBER_ID", Dead),
            (StrangerSyncs, "UNKNOWN_MEMBER_ID", Dead),
            (StrangerBeats, "UNKNOWN_MEMBER_ID", Dead),
            (StrangerLeaves, "UNKNOWN_MEMBER_ID", Dead),
            (StrangerCommits, "GROUP_ID_NOT_FOUND", Dead),
            (LoneReaderCommits, "NONE", Empty),
        ],
    );
}

#[test]
fn a_request_without_a_group_or_with_an_odd_session_timeout_is_refused() {
    let mut bench = Bench::new();
    let join = Client::new(None).join();
    let mut refusal = |group: &str, session_timeout_ms| {
        let request = ottla_protocol::messages::join_group_request::JoinGroupRequest {
            group_id: group.into(),
            session_timeout_ms,
            ..join.clone()
        };
        // At every version, as null is not allowed in all of them.
        let errors = (0..=9).map(|version| {
            let token = bench.call_at(version, &Call::Join(request.clone()));
            bench.joined(token).error_code
        });
        ErrorCode::from(errors.max().unwrap())
    };

    assert_eq!(refusal("", 10_000), ErrorCode::InvalidGroupId);
    for timeout in [i32::MIN, -1, 0, 5_999, 1_800_001, i32::MAX] {
        assert_eq!(refusal(GROUP, timeout), ErrorCode::InvalidSessionTimeout, "{timeout}");
    }
    assert!(bench.machine.groups.is_empty(), "a refused request leaves nothing behind");
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut bench = Bench::with(Settings { group_size_max: 2, ..Settings::default() });
    let clients = bench.stable(2);

    let token = bench.call_at(3, &Call::Join(Client::new(None).join()));
    assert_eq!(bench.joined(token).error_code, ErrorCode::GroupMaxSizeReached.code());
    assert_eq!(bench.state(), GroupState::Stable);

    let token = bench.call(&Call::Join(clients[0].join()));
    assert!(bench.is_parked(token), "a member may always join again");
}
