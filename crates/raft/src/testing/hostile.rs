//! Peers that say anything: whatever comes, a node answers or stops; it never panics.

use super::fixture::Fixture;
use super::memory_log::MemoryLog;
use crate::effects::{CallId, Effects, RequestId};
use crate::error::ErrorCode;
use crate::log::ReplicatedLog;
use crate::message::*;
use crate::testing::fixture::{self, key};
use crate::testing::world::key_of;
use crate::voters::{Endpoint, KRaftVersions, ReplicaKey};
use bytes::Bytes;
use ottla_types::{LeaderEpoch, NodeId, Offset, OffsetAndEpoch, Random};
use std::time::Duration;

/// Numbers that are near what is sensible, or at the ends of what there is.
fn number(random: &mut Random) -> i64 {
    match random.below(12) {
        0 => i64::MIN,
        1 => i64::MAX,
        2 => i64::from(i32::MAX),
        3 => i64::from(i32::MAX) - 1,
        4 => -1,
        _ => random.below(9) as i64,
    }
}

fn epoch(random: &mut Random) -> LeaderEpoch {
    // Mostly low: a node that was sent to the last epoch has nothing more to tell.
    if random.chance(990) {
        LeaderEpoch(random.below(12) as i32 - 1)
    } else {
        LeaderEpoch(number(random) as i32)
    }
}

fn replica(random: &mut Random) -> ReplicaKey {
    key(if random.chance(900) { random.below(5) as i32 } else { number(random) as i32 })
}

/// One whose directory is known, or not.
fn any_replica(random: &mut Random) -> ReplicaKey {
    let replica = replica(random);
    if random.chance(800) { key_of(replica.id) } else { replica }
}

fn endpoint() -> Endpoint {
    Endpoint { host: "anywhere".into(), port: 9093 }
}

fn versions(random: &mut Random) -> KRaftVersions {
    KRaftVersions { min: random.below(3) as i16, max: random.below(3) as i16 }
}

fn place(random: &mut Random) -> OffsetAndEpoch {
    OffsetAndEpoch { epoch: epoch(random), offset: Offset(number(random)) }
}

fn leader(random: &mut Random) -> LeaderAndEpoch {
    LeaderAndEpoch { leader: replica(random).id.some(), epoch: epoch(random) }
}

fn error(random: &mut Random) -> ErrorCode {
    if random.chance(700) { ErrorCode::None } else { ErrorCode::from_code(random.below(130) as i16) }
}

fn records(random: &mut Random, node: &Fixture) -> Bytes {
    let end = node.quorum.log().end();
    let mut source = MemoryLog::default();
    match random.below(4) {
        0 => Bytes::new(),
        1 => Bytes::from(random.next_u64().to_be_bytes().repeat(random.index(9))),
        _ => {
            fixture::fill(&mut source, &[(0, end.offset.0 as usize), (epoch(random).0, random.index(4))]);
            source.read(end.offset, 1000).unwrap()
        }
    }
}

fn request(random: &mut Random) -> Request {
    match random.below(7) {
        4 => Request::AddVoter(AddVoterRequest {
            voter: any_replica(random),
            listeners: Vec::new(),
            endpoint: random.chance(800).then(endpoint),
            ack_when_committed: random.chance(500),
        }),
        5 => Request::RemoveVoter(RemoveVoterRequest { voter: any_replica(random) }),
        6 => Request::UpdateVoter(UpdateVoterRequest {
            epoch: epoch(random),
            voter: any_replica(random),
            listeners: Vec::new(),
            endpoint: random.chance(800).then(endpoint),
            kraft_versions: versions(random),
        }),
        0 => Request::Vote(VoteRequest {
            voter: replica(random),
            candidate: replica(random),
            epoch: epoch(random),
            last: place(random),
            pre_vote: random.chance(500),
        }),
        1 => Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
            voter: replica(random),
            leader: replica(random).id,
            epoch: epoch(random),
            leader_endpoint: random.chance(300).then(endpoint),
        }),
        2 => Request::EndQuorumEpoch(EndQuorumEpochRequest {
            leader: replica(random).id,
            epoch: epoch(random),
            preferred_candidates: (0..random.below(4)).map(|_| replica(random)).collect(),
            leader_endpoint: random.chance(300).then(endpoint),
        }),
        _ => Request::Fetch(FetchRequest {
            replica: replica(random),
            epoch: epoch(random),
            fetch_offset: Offset(number(random)),
            last_fetched_epoch: epoch(random),
            high_watermark: Offset(number(random)),
            max_wait: Duration::from_millis(number(random).unsigned_abs()),
            bytes_max: number(random) as usize,
        }),
    }
}

fn response(random: &mut Random, node: &Fixture) -> Response {
    let (error, leader) = (error(random), leader(random));
    let epoch_response = EpochResponse { error, leader, leader_endpoint: None };
    match random.below(5) {
        0 | 1 => Response::Vote(VoteResponse {
            error,
            leader,
            leader_endpoint: random.chance(300).then(endpoint),
            vote_granted: random.chance(700),
        }),
        2 => Response::BeginQuorumEpoch(epoch_response),
        3 => Response::EndQuorumEpoch(epoch_response),
        _ => Response::Fetch(FetchResponse {
            error,
            leader: if random.chance(500) { node.quorum.leader_and_epoch() } else { leader },
            leader_endpoint: random.chance(300).then(endpoint),
            high_watermark: Offset(number(random)),
            log_start_offset: Offset(number(random)),
            diverging: random.chance(200).then(|| place(random)),
            snapshot: random.chance(100).then(|| place(random)),
            records: records(random, node),
        }),
    }
}

#[test]
fn whatever_peers_say_a_node_answers_or_stops() {
    let (mut stopped, mut led, mut followed) = (0, 0, 0);
    for seed in 0..1500 {
        let mut random = Random::new(seed);
        let mut node = match seed % 3 {
            0 => Fixture::dynamic(&[1]),
            1 => Fixture::dynamic(&[1, 2, 3]),
            _ => Fixture::voter(MemoryLog::default()),
        };
        for step in 0..150 {
            let (now, mut effects) = (node.now(), Effects::new());
            let result = match random.below(10) {
                0..3 => node.quorum.handle_request(RequestId(step), request(&mut random), now, &mut effects),
                3..7 => {
                    // Half of the calls are the latest one, the others anything.
                    let latest = node.last_call().filter(|_| random.chance(700));
                    let call = latest.unwrap_or(CallId(random.below(40)));
                    let response = response(&mut random, &node);
                    node.quorum.handle_response(call, response, now, &mut effects)
                }
                7 => {
                    node.pass(Duration::from_millis(random.below(300)));
                    Ok(())
                }
                8 => {
                    node.flush();
                    Ok(())
                }
                _ => match random.below(4) {
                    3 => {
                        let versions = random.chance(800).then(|| versions(&mut random));
                        let call = CallId(random.below(40));
                        node.quorum.handle_kraft_versions(call, versions, now, &mut effects)
                    }
                    0 => node.quorum.handle_connection_closed(replica(&mut random).id, now, &mut effects),
                    1 => node.quorum.handle_connection_refused(replica(&mut random).id, now, &mut effects),
                    _ => node.quorum.handle_call_failed(CallId(random.below(40)), now, &mut effects),
                },
            };
            node.take_over(effects);
            led += u32::from(node.quorum.leader() == Some(NodeId(1)));
            followed += u32::from(node.quorum.leader().is_some_and(|leader| leader != NodeId(1)));
            if result.is_err() {
                stopped += 1;
                break;
            }
        }
    }

    // The peers are hostile, not dumb: they bring nodes everywhere.
    assert!(
        stopped > 10 && led > 1000 && followed > 1000,
        "{stopped} stopped, {led} led, {followed} followed"
    );
}
