//! One node by itself, for tests of what it answers.

use super::memory_log::{MemoryLog, voter_at};
use super::world::key_of;
use crate::config::QuorumConfig;
use crate::effects::{CallId, Effect, Effects, RequestId};
use crate::error::ErrorCode;
use crate::log::ReplicatedLog;
use crate::membership::Membership;
use crate::message::{FetchRequest, LeaderAndEpoch, Request, Response, VoteResponse};
use crate::quorum::Quorum;
use crate::quorum_state::QuorumState;
use crate::role::RoleName;
use crate::voters::{Endpoint, ReplicaKey, Voter, VoterSet};
use bytes::Bytes;
use ottla_types::{LeaderEpoch, Monotonic, NodeId, Now, Offset, Timestamp, Uuid};
use std::time::Duration;

/// Node 1 of the voters 1, 2 and 3.
pub(crate) struct Fixture {
    pub(crate) quorum: Quorum<MemoryLog>,
    effects: Effects,
    now: Now,
    requests: u64,
    last_call: Option<CallId>,
}

/// The replica of a node, its directory not known.
pub(crate) fn key(id: i32) -> ReplicaKey {
    ReplicaKey::new(NodeId(id), Uuid::ZERO)
}

/// A voter that the log names.
pub(crate) fn member(id: i32) -> Voter {
    voter_at(key_of(NodeId(id)), 9093)
}

/// Voters that the log names.
pub(crate) fn dynamic_voters(ids: &[i32]) -> VoterSet {
    VoterSet::new(ids.iter().copied().map(member)).unwrap()
}

/// A fetch of epoch 1 by a node that knows no high watermark.
pub(crate) fn fetch_from(replica: i32, offset: Offset, last_epoch: LeaderEpoch) -> FetchRequest {
    FetchRequest {
        replica: key(replica),
        epoch: LeaderEpoch(1),
        fetch_offset: offset,
        last_fetched_epoch: last_epoch,
        high_watermark: Offset::UNKNOWN,
        max_wait: Duration::from_millis(150),
        bytes_max: 1 << 20,
    }
}

/// The high watermark of a fetch's response.
pub(crate) fn high_watermark(response: &Response) -> Offset {
    match response {
        Response::Fetch(response) => response.high_watermark,
        other => panic!("{other:?}"),
    }
}

/// Appends single records: of each epoch so many.
pub(crate) fn fill(log: &mut MemoryLog, epochs: &[(i32, usize)]) {
    for &(epoch, count) in epochs {
        for _ in 0..count {
            let now = Now { monotonic: Monotonic(0), wall: Timestamp(0) };
            log.append_records(LeaderEpoch(epoch), &[Bytes::from_static(b"record")], now).unwrap();
        }
    }
}

/// Node 1, which can say where it listens.
fn membership() -> Membership {
    Membership {
        endpoint: Some(member(1).endpoint),
        listeners: Vec::new(),
        bootstrap: Vec::new(),
        joins: false,
        syncs: true,
    }
}

impl Fixture {
    /// Node 1 of a quorum that was formatted with these voters, whose log names them.
    pub(crate) fn dynamic(ids: &[i32]) -> Fixture {
        let log = MemoryLog::formatted(dynamic_voters(ids));
        let state = QuorumState::new(LeaderEpoch(0));
        let quorum = Quorum::new(QuorumConfig::default(), member(1).key, VoterSet::default(), state, log, 7);
        Fixture::started(quorum.with_membership(membership()))
    }

    /// The only voter of a quorum whose log names the voters: it leads, and has committed its first records.
    pub(crate) fn alone() -> Fixture {
        let mut node = Fixture::dynamic(&[1]);
        assert_eq!(node.quorum.role(), RoleName::Leader);
        node.flush();
        node.effects();
        node
    }

    /// A voter in epoch 0.
    pub(crate) fn voter(log: MemoryLog) -> Fixture {
        Fixture::voter_in(LeaderEpoch(0), log)
    }

    /// A voter that has just started.
    pub(crate) fn voter_in(epoch: LeaderEpoch, log: MemoryLog) -> Fixture {
        let endpoint = Endpoint { host: "c".into(), port: 9093 };
        let voter = |id| Voter::configured(key(id), endpoint.clone());
        let voters = VoterSet::new([voter(1), voter(2), voter(3)]).unwrap();
        let config = QuorumConfig::default();
        let quorum = Quorum::new(config, key(1), voters, QuorumState::new(epoch), log, 7);
        Fixture::started(quorum)
    }

    fn started(quorum: Quorum<MemoryLog>) -> Fixture {
        let now = Now { monotonic: Monotonic(1_000_000), wall: Timestamp(1_700_000_000_000) };
        let mut node = Fixture { quorum, effects: Effects::new(), now, requests: 0, last_call: None };
        node.quorum.start(now, &mut node.effects).unwrap();
        node
    }

    /// The leader of epoch 1, elected by node 2.
    pub(crate) fn leader() -> Fixture {
        Fixture::leader_with(MemoryLog::default())
    }

    /// The same, with a log that it had before.
    pub(crate) fn leader_with(log: MemoryLog) -> Fixture {
        Fixture::voter(log).elected()
    }

    /// A leader in epoch 1 of voters that the configuration names, whose log may name them one day.
    pub(crate) fn configured_leader() -> Fixture {
        let voter = |id| Voter::configured(key(id), member(id).endpoint);
        let voters = VoterSet::new([voter(1), voter(2), voter(3)]).unwrap();
        let (state, log) = (QuorumState::new(LeaderEpoch(0)), MemoryLog::default());
        let quorum = Quorum::new(QuorumConfig::default(), member(1).key, voters, state, log, 7);
        Fixture::started(quorum.with_membership(membership())).elected()
    }

    /// The node, once 2 has given it its vote.
    fn elected(self) -> Fixture {
        let mut node = self;
        node.pass(Duration::from_millis(10));
        for role in [RoleName::Prospective, RoleName::Candidate] {
            assert_eq!(node.quorum.role(), role);
            let call = node.call_to(2).expect("a request for a vote");
            let response = VoteResponse {
                error: ErrorCode::None,
                leader: LeaderAndEpoch { leader: None, epoch: node.quorum.epoch() },
                leader_endpoint: None,
                vote_granted: true,
            };
            node.respond(call, Response::Vote(response));
        }
        assert_eq!(node.quorum.role(), RoleName::Leader);
        node.effects();
        node
    }

    pub(crate) fn now(&self) -> Now {
        self.now
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        self.quorum.handle_timeout(self.now, &mut self.effects).unwrap();
    }

    pub(crate) fn request(&mut self, request: Request) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.quorum.handle_request(id, request, self.now, &mut self.effects).unwrap();
    }

    /// Hands in a fetch.
    pub(crate) fn answer_to(&mut self, request: FetchRequest) {
        self.request(Request::Fetch(request));
    }

    pub(crate) fn respond(&mut self, call: CallId, response: Response) {
        self.quorum.handle_response(call, response, self.now, &mut self.effects).unwrap();
    }

    pub(crate) fn closed(&mut self, peer: i32) {
        self.quorum.handle_connection_closed(NodeId(peer), self.now, &mut self.effects).unwrap();
    }

    pub(crate) fn refused(&mut self, peer: i32) {
        self.quorum.handle_connection_refused(NodeId(peer), self.now, &mut self.effects).unwrap();
    }

    pub(crate) fn connected(&mut self, peer: i32) {
        self.quorum.handle_connected(NodeId(peer), self.now, &mut self.effects).unwrap();
    }

    /// Appends one batch of so many records.
    pub(crate) fn append(&mut self, count: usize) {
        let records = vec![Bytes::from_static(b"record"); count];
        self.quorum.append(self.quorum.epoch(), &records, self.now, &mut self.effects).unwrap();
    }

    /// Completes every sync that was asked for.
    pub(crate) fn flush(&mut self) {
        let end = self.quorum.log().end().offset;
        while self.quorum.durable_end() < end {
            self.quorum.handle_flushed(end, self.now, &mut self.effects).unwrap();
        }
    }

    /// Adds what was asked for in an event that a test handed in by itself.
    pub(crate) fn take_over(&mut self, mut effects: Effects) {
        for effect in effects.drain() {
            self.effects.push(effect);
        }
    }

    /// Takes what was asked for since the last look.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        let effects: Vec<Effect> = self.effects.drain().collect();
        for effect in &effects {
            if let Effect::Send { call, .. } = effect {
                self.last_call = Some(*call);
            }
        }
        effects
    }

    /// The latest request that this node sent.
    pub(crate) fn last_call(&mut self) -> Option<CallId> {
        self.effects();
        self.last_call
    }

    /// The latest request that this node sent to a peer, among what was not looked at.
    pub(crate) fn call_to(&mut self, peer: i32) -> Option<CallId> {
        self.effects().into_iter().rev().find_map(|effect| match effect {
            Effect::Send { to, call, .. } if to == NodeId(peer) => Some(call),
            _ => None,
        })
    }

    /// Takes what was asked for, and returns the answers among it.
    pub(crate) fn answers(&mut self) -> Vec<Response> {
        let answer = |effect| match effect {
            Effect::Reply { response, .. } => Some(response),
            _ => None,
        };
        self.effects().into_iter().filter_map(answer).collect()
    }
}
