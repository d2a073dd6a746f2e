//! What happens to a group of three that share eight partitions.

use super::bench::Bench;
use super::client::{Call, Client, GROUP, PARTITIONS, Phase, protocol};
use crate::{GroupReply, GroupState, ReplyToken};
use ottla_protocol::ErrorCode;
use std::time::Duration;

/// How many partitions each client reads.
fn shares(clients: &[Client]) -> Vec<usize> {
    let mut owned: Vec<i32> = clients.iter().flat_map(|client| client.positions.keys().copied()).collect();
    owned.sort_unstable();
    assert_eq!(owned, (0..i32::from(PARTITIONS)).collect::<Vec<_>>(), "each partition has one owner");
    let mut shares: Vec<usize> = clients.iter().map(|client| client.positions.len()).collect();
    shares.sort_unstable();
    shares
}

/// Everybody hears of the rebalance by a heartbeat, joins again and syncs.
fn rebalance(bench: &mut Bench, clients: &mut [Client]) {
    let mut tokens: Vec<ReplyToken> = Vec::new();
    for client in clients.iter_mut() {
        let error = ErrorCode::from(bench.heartbeat(&client.call()).error_code);
        assert_eq!(error, ErrorCode::RebalanceInProgress);
        client.fail(error);
        tokens.push(bench.enter(client));
    }
    for (client, token) in clients.iter_mut().zip(tokens) {
        client.joined(&bench.joined(token));
    }
    bench.settle(clients);
}

#[test]
fn three_members_share_eight_partitions() {
    let mut bench = Bench::new();

    let clients = bench.stable(3);

    assert_eq!(shares(&clients), [2, 3, 3]);
    assert!(clients.iter().all(|client| client.generation == 1));
    assert_eq!(bench.log.len(), 1, "one record for the whole rebalance");
}

#[test]
fn one_leaves_and_the_others_take_over() {
    let mut bench = Bench::new();
    let mut clients = bench.stable(3);

    let gone = clients.remove(1);
    let response = bench.leave(5, &gone.leave());
    assert_eq!(response.members[0].error_code, 0);
    rebalance(&mut bench, &mut clients);

    assert_eq!(shares(&clients), [4, 4]);
    assert!(clients.iter().all(|client| client.generation == 2));
}

#[test]
fn one_dies_and_the_others_take_over_when_its_session_ends() {
    let mut bench = Bench::new();
    let mut clients = bench.stable(3);
    clients.pop();

    for _ in 0..3 {
        bench.advance_secs(3);
        for client in &clients {
            assert_eq!(bench.heartbeat(&client.call()).error_code, 0);
        }
    }
    bench.advance(Duration::from_millis(999));
    assert_eq!(bench.state(), GroupState::Stable);
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    rebalance(&mut bench, &mut clients);

    assert_eq!(shares(&clients), [4, 4]);
}

#[test]
fn the_leader_dies_and_another_one_assigns() {
    let mut bench = Bench::new();
    let mut clients = bench.stable(3);
    let leader = clients.remove(0);

    bench.leave(5, &leader.leave());
    rebalance(&mut bench, &mut clients);

    assert_eq!(shares(&clients), [4, 4]);
}

#[test]
fn a_leader_that_joins_again_sets_off_a_rebalance() {
    let mut bench = Bench::new();
    let mut clients = bench.stable(2);

    let token = bench.call(&Call::Join(clients[0].join()));
    assert!(bench.is_parked(token));
    let error = bench.heartbeat(&clients[1].call()).error_code;
    clients[1].fail(ErrorCode::from(error));
    let other = bench.enter(&mut clients[1]);
    clients[0].joined(&bench.joined(token));
    clients[1].joined(&bench.joined(other));
    bench.settle(&mut clients);

    assert_eq!(shares(&clients), [4, 4]);
    assert_eq!(clients[0].generation, 2);
}

#[test]
fn a_follower_that_never_syncs_is_removed_and_the_others_start_over() {
    let mut bench = Bench::new();
    let mut clients = bench.joining(3);
    let mut silent = clients.pop().unwrap();
    bench.settle(&mut clients);
    assert_eq!(bench.state(), GroupState::Stable);

    silent.phase = Phase::Reading;
    for _ in 0..7 {
        // It sends heartbeats all the while, so its session does not end.
        bench.advance(Duration::from_millis(2857));
        for client in clients.iter().chain([&silent]) {
            bench.heartbeat(&client.call());
        }
    }
    bench.advance_secs(1);
    rebalance(&mut bench, &mut clients);

    assert_eq!(shares(&clients), [4, 4]);
    let error = bench.heartbeat(&silent.call()).error_code;
    assert_eq!(ErrorCode::from(error), ErrorCode::UnknownMemberId);
}

#[test]
fn a_leader_that_never_syncs_is_removed_and_waiting_followers_are_sent_back() {
    let mut bench = Bench::new();
    let mut clients = bench.joining(3);
    let mut leader = clients.remove(0);
    let tokens: Vec<ReplyToken> = clients.iter().map(|client| bench.call(&client.call())).collect();
    assert!(tokens.iter().all(|&token| bench.is_parked(token)));

    leader.phase = Phase::Reading;
    for _ in 0..6 {
        bench.advance_secs(3);
        bench.heartbeat(&leader.call());
    }
    bench.advance_secs(2);

    for (client, token) in clients.iter_mut().zip(tokens) {
        let response = bench.synced(token);
        assert_eq!(response.error_code, ErrorCode::RebalanceInProgress.code());
        client.synced(&response);
        client.phase = Phase::Reading;
    }
    rebalance(&mut bench, &mut clients);
    assert_eq!(shares(&clients), [4, 4]);
}

#[test]
fn a_follower_that_waited_longer_than_its_session_has_a_new_one_and_no_more() {
    let mut bench = Bench::new();
    let clients = bench.joining(2);
    let waiting = bench.call(&clients[1].call());
    let leader = Client { phase: Phase::Reading, ..clients[0].clone() };
    for _ in 0..2 {
        bench.advance_secs(6);
        bench.heartbeat(&leader.call());
    }

    bench.call(&clients[0].call());
    assert_eq!(bench.synced(waiting).error_code, 0);
    bench.advance_secs(9);
    assert_eq!(bench.heartbeat(&leader.call()).error_code, 0);
    bench.advance_secs(1);
    assert_eq!(bench.heartbeat(&leader.call()).error_code, ErrorCode::RebalanceInProgress.code());
}

#[test]
fn members_who_do_not_come_back_in_time_are_left_behind() {
    let mut bench = Bench::new();
    let mut clients = bench.stable(3);
    let late = clients.pop().unwrap();
    bench.leave(5, &clients.pop().unwrap().leave());

    clients[0].fail(ErrorCode::RebalanceInProgress);
    let token = bench.enter(&mut clients[0]);
    for _ in 0..19 {
        bench.advance_secs(1);
        let error = bench.heartbeat(&late.call()).error_code;
        assert_eq!(ErrorCode::from(error), ErrorCode::RebalanceInProgress);
    }
    assert!(bench.is_parked(token), "the rebalance timeout is 20 s");
    bench.advance_secs(1);
    clients[0].joined(&bench.joined(token));
    bench.settle(&mut clients);

    assert_eq!(shares(&clients), [8]);
    let error = bench.heartbeat(&late.call()).error_code;
    assert_eq!(ErrorCode::from(error), ErrorCode::UnknownMemberId);
}

#[test]
fn after_a_failover_members_go_on_without_a_rebalance() {
    let mut bench = Bench::new();
    let mut clients = bench.stable(3);
    let commit = clients[0].read_and_commit(7);
    bench.commit(9, &commit);

    bench.advance_secs(8);
    bench.fail_over();
    bench.advance_secs(9);

    for client in &mut clients {
        assert_eq!(bench.heartbeat(&client.call()).error_code, 0, "a fresh session, the same generation");
        let commit = client.read_and_commit(1);
        assert_eq!(bench.commit(9, &commit).topics[0].partitions[0].error_code, 0);
    }
    let assigned = |client: &Client| client.positions.keys().map(|&p| p as u8).collect::<Vec<u8>>();
    for client in &clients {
        let token = bench.call(&Client { phase: Phase::Syncing, ..client.clone() }.call());
        assert_eq!(bench.synced(token).assignment, assigned(client));
    }
}

#[test]
fn who_died_with_the_coordinator_is_given_up_by_the_next_one() {
    let mut bench = Bench::new();
    let mut clients = bench.stable(3);
    clients.pop();

    bench.fail_over();
    for _ in 0..5 {
        bench.advance_secs(2);
        for client in &clients {
            bench.heartbeat(&client.call());
        }
    }
    rebalance(&mut bench, &mut clients);

    assert_eq!(shares(&clients), [4, 4]);
}

#[test]
fn after_a_failover_in_a_rebalance_members_join_again() {
    let mut bench = Bench::new();
    let mut clients = bench.stable(2);
    let mut third = Client::new(None);
    let parked = bench.enter(&mut third);

    bench.fail_over();

    let response = bench.joined(parked);
    assert_eq!(response.error_code, ErrorCode::NotCoordinator.code());
    let token = bench.call(&third.call());
    let response = bench.joined(token);
    assert_eq!(response.error_code, ErrorCode::UnknownMemberId.code());
    third.joined(&response);
    let token = bench.enter(&mut third);
    for client in &mut clients {
        client.fail(ErrorCode::from(bench.heartbeat(&client.call()).error_code));
    }
    let tokens: Vec<ReplyToken> = clients.iter_mut().map(|client| bench.enter(client)).collect();
    clients.push(third);
    for (client, token) in clients.iter_mut().zip(tokens.into_iter().chain([token])) {
        client.joined(&bench.joined(token));
    }
    bench.settle(&mut clients);
    assert_eq!(shares(&clients), [2, 3, 3]);
}

#[test]
fn the_first_rebalance_waits_for_more_members_but_not_for_ever() {
    let mut bench = Bench::new();
    let first = bench.call_at(3, &Call::Join(Client::new(None).join()));

    // Somebody comes in each of the waits of 3 s, so they go on to the rebalance timeout of 20 s.
    let mut others = Vec::new();
    for _ in 0..9 {
        bench.advance(Duration::from_millis(2100));
        assert!(bench.is_parked(first));
        others.push(bench.call_at(3, &Call::Join(Client::new(None).join())));
    }
    bench.advance(Duration::from_millis(1100));

    assert!(!bench.is_parked(first));
    assert!(others.into_iter().all(|token| bench.joined(token).generation_id == 1));
}

#[test]
fn a_member_that_was_told_its_id_and_never_comes_is_forgotten_with_its_group() {
    let mut bench = Bench::new();
    let token = bench.call(&Call::Join(Client::new(None).join()));
    assert_eq!(bench.joined(token).error_code, ErrorCode::MemberIdRequired.code());
    assert_eq!(bench.state(), GroupState::Empty);

    bench.advance_secs(10);

    assert_eq!(bench.state(), GroupState::Dead);
    assert!(bench.log.is_empty());
}

#[test]
fn a_group_waits_for_members_that_were_told_their_ids() {
    let mut bench = Bench::new();
    let clients = bench.stable(1);
    let token = bench.call(&Call::Join(Client::new(None).join()));
    bench.joined(token);

    let token = bench.call(&Call::Join(clients[0].join()));
    bench.advance_secs(9);
    assert!(bench.is_parked(token));
    bench.advance_secs(1);
    assert_eq!(bench.joined(token).generation_id, 2);
}

#[test]
fn a_join_that_is_sent_again_replaces_the_one_that_waits() {
    let mut bench = Bench::new();
    let mut client = Client::new(None);
    let first = bench.enter(&mut client);

    let second = bench.enter(&mut client);
    bench.advance_secs(10);

    assert_eq!(bench.joined(first).error_code, ErrorCode::RebalanceInProgress.code());
    assert_eq!(bench.joined(second).error_code, 0);
}

#[test]
fn the_last_member_leaves_an_empty_group_behind_in_the_log() {
    let mut bench = Bench::new();
    let clients = bench.stable(1);

    // Version 2 names the member outside of a list, and carries the error there.
    let mut leave = clients[0].leave();
    let Call::Leave(request) = &mut leave else { unreachable!() };
    request.member_id.clone_from(&clients[0].member_id);
    assert_eq!(bench.leave(2, &leave).error_code, 0);
    assert_eq!(bench.leave(2, &leave).error_code, ErrorCode::UnknownMemberId.code());

    assert_eq!(bench.state(), GroupState::Empty);
    bench.fail_over();
    assert_eq!(bench.state(), GroupState::Empty);
    assert_eq!(bench.machine.groups[GROUP].generation, 2);
}

#[test]
fn the_protocol_is_what_most_members_prefer_of_those_that_all_support() {
    let mut bench = Bench::new();
    let prefers = [["a", "b", "c"], ["c", "b", "x"], ["b", "c", "y"], ["c", "y", "b"]];
    let tokens = prefers.map(|names| {
        let mut request = Client::new(None).join();
        request.protocols = names.map(protocol).to_vec();
        bench.call_at(3, &Call::Join(request))
    });

    bench.advance_secs(20);

    // Candidates are b and c; two vote for each: the tie goes to the first by name.
    for token in tokens {
        assert_eq!(bench.joined(token).protocol_name.as_deref(), Some("b"));
    }
}

#[test]
fn only_the_leader_learns_of_the_others() {
    let mut bench = Bench::new();
    let tokens = [0; 3].map(|_| bench.call_at(3, &Call::Join(Client::new(None).join())));

    bench.advance_secs(20);

    let responses = tokens.map(|token| bench.joined(token));
    for response in &responses {
        let expected = if response.leader == response.member_id { 3 } else { 0 };
        assert_eq!(response.members.len(), expected);
    }
    assert_eq!(responses.iter().filter(|response| !response.members.is_empty()).count(), 1);
}

#[test]
fn what_is_parked_is_answered_when_the_coordinator_resigns() {
    let mut bench = Bench::new();
    let clients = bench.joining(2);
    let token = bench.call(&clients[1].call());

    bench.fail_over();

    let GroupReply::SyncGroup(response) = bench.take(token) else { panic!("no SyncGroup") };
    assert_eq!(response.error_code, ErrorCode::NotCoordinator.code());
}
