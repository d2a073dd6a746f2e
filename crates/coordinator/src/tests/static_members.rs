//! Static members (KIP-345) come back without disturbing the others.

use super::bench::Bench;
use super::client::{Call, Client, GROUP, Phase, protocol};
use crate::{GroupState, ReplyToken};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};

/// Two static members of a stable group; the leader first.
fn stable() -> (Bench, Client, Client) {
    let mut bench = Bench::new();
    let mut clients: Vec<Client> = ["a", "b"].map(|id| Client::new(Some(id.to_owned()))).to_vec();
    let tokens: Vec<ReplyToken> = clients.iter_mut().map(|client| bench.enter(client)).collect();
    bench.advance_secs(6);
    for (client, token) in clients.iter_mut().zip(tokens) {
        client.joined(&bench.joined(token));
    }
    clients.sort_by_key(|client| !bench.machine.groups[GROUP].is_leader(&client.member_id));
    bench.settle(&mut clients);
    let [leader, follower] = clients.try_into().unwrap();
    (bench, leader, follower)
}

/// The process ends, and another one takes its place.
fn restarted(client: &Client) -> Client {
    Client::new(client.instance_id.clone())
}

fn sync(bench: &mut Bench, client: &mut Client) {
    let token = bench.call(&client.call());
    let response = bench.synced(token);
    client.synced(&response);
    client.phase = Phase::Reading;
}

#[test]
fn get_an_id_without_a_round_trip_named_after_their_instance() {
    let (_, leader, follower) = stable();

    for client in [leader, follower] {
        let instance_id = client.instance_id.unwrap();
        let uuid = client.member_id.strip_prefix(&format!("{instance_id}-")).unwrap();
        let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
    }
}

#[test]
fn a_follower_comes_back_and_nobody_notices() {
    let (mut bench, leader, old) = stable();
    let mut new = restarted(&old);

    let token = bench.enter(&mut new);
    new.joined(&bench.joined(token));
    sync(&mut bench, &mut new);

    assert_ne!(new.member_id, old.member_id);
    assert_eq!((new.generation, &new.positions), (old.generation, &old.positions));
    assert_eq!(bench.heartbeat(&leader.call()).error_code, 0);
    assert_eq!(bench.heartbeat(&new.call()).error_code, 0);
    assert_eq!(bench.heartbeat(&old.call()).error_code, ErrorCode::FencedInstanceId.code());

    bench.fail_over();
    assert_eq!(bench.heartbeat(&new.call()).error_code, 0, "the new id is in the log");
}

#[test]
fn a_leader_comes_back_and_is_told_not_to_assign() {
    for version in [5, 8, 9] {
        let (mut bench, old, follower) = stable();
        let mut new = restarted(&old);

        let token = bench.call_at(version, &new.call());
        let response = bench.joined(token);
        assert_eq!(response.skip_assignment, version >= 9);
        // An older client takes itself for a follower, as its old id is the leader's.
        assert_eq!(response.leader == response.member_id, version >= 9);
        assert_eq!(response.members.len(), if version >= 9 { 2 } else { 0 });
        new.joined(&response);
        sync(&mut bench, &mut new);

        assert_eq!((new.generation, &new.positions), (old.generation, &old.positions));
        assert_eq!(bench.heartbeat(&follower.call()).error_code, 0);
        assert!(bench.machine.groups[GROUP].is_leader(&new.member_id));
    }
}

#[test]
fn a_change_of_the_protocol_needs_a_rebalance_all_the_same() {
    let (mut bench, _, old) = stable();
    let mut request = restarted(&old).join();
    request.protocols = vec![protocol("roundrobin")];

    let token = bench.call(&Call::Join(request));

    assert!(bench.is_parked(token));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
}

#[test]
fn one_that_comes_back_while_its_old_request_waits_fences_it() {
    let (mut bench, leader, old) = stable();
    bench.call(&Call::Join(leader.join()));
    let waiting = bench.call(&Call::Join(old.join()));
    // All have joined; the generation completes, and the follower waits for its assignment.
    let response = bench.joined(waiting);
    let mut old = old;
    old.joined(&response);
    let waiting = bench.call(&old.call());
    assert!(bench.is_parked(waiting));

    let token = bench.enter(&mut restarted(&old));

    assert_eq!(bench.synced(waiting).error_code, ErrorCode::FencedInstanceId.code());
    assert!(bench.is_parked(token));
    assert_eq!(bench.state(), GroupState::PreparingRebalance, "the leader assigns to the old id");
}

#[test]
fn requests_of_a_fenced_member_are_refused_whatever_they_are() {
    let (mut bench, _, old) = stable();
    bench.enter(&mut restarted(&old));

    let token = bench.call(&Call::Join(old.join()));
    assert_eq!(bench.joined(token).error_code, ErrorCode::FencedInstanceId.code());
    let token = bench.call(&Client { phase: Phase::Syncing, ..old.clone() }.call());
    assert_eq!(bench.synced(token).error_code, ErrorCode::FencedInstanceId.code());
    let commit = old.clone().read_and_commit(1);
    let response = bench.commit(9, &commit);
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::FencedInstanceId.code());
    let response = bench.leave(5, &old.leave());
    assert_eq!(response.members[0].error_code, ErrorCode::FencedInstanceId.code());
}

#[test]
fn an_administrator_removes_members_by_their_instance() {
    let (mut bench, leader, follower) = stable();
    let identity = |instance: &str| MemberIdentity {
        group_instance_id: Some(instance.to_owned()),
        ..Default::default()
    };
    let members = ["a", "nobody", "b"].map(identity).to_vec();
    let request = LeaveGroupRequest { group_id: GROUP.into(), members, ..Default::default() };

    let response = bench.leave(3, &Call::Leave(request));

    let errors: Vec<i16> = response.members.iter().map(|member| member.error_code).collect();
    assert_eq!(errors, [0, ErrorCode::UnknownMemberId.code(), 0]);
    assert_eq!(bench.state(), GroupState::Empty);
    for client in [leader, follower] {
        assert_eq!(bench.heartbeat(&client.call()).error_code, ErrorCode::UnknownMemberId.code());
    }
}

#[test]
fn one_that_is_away_during_a_rebalance_is_kept() {
    let (mut bench, mut leader, follower) = stable();
    let token = bench.call(&Call::Join(leader.join()));
    for _ in 0..20 {
        bench.advance_secs(1);
        bench.heartbeat(&follower.call());
    }

    leader.joined(&bench.joined(token));
    assert_eq!(leader.assignments.len(), 2, "the follower is assigned to, though it has not joined");
}
