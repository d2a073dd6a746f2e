//! A driver with a log in memory: it appends, replays, commits and answers, as the server's does.

use super::client::{Call, Client, GROUP, Phase};
use crate::consumer_group::tests::view::View;
use crate::{
    ConnectionToken, GroupCoordinator, GroupDecision, GroupReply, GroupState, ReplyToken, RequestContext,
};
use crate::{Settings, records};
use bytes::Bytes;
use ottla_protocol::messages::heartbeat_response::HeartbeatResponse;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_response::LeaveGroupResponse;
use ottla_protocol::messages::offset_commit_response::OffsetCommitResponse;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponse;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_protocol::records::group::GroupRecord;
use ottla_protocol::{EncodeError, ErrorCode, encode_to_vec};
use ottla_types::{Monotonic, Now, ProducerId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// A record as the log holds it.
pub(super) type Stored = (Vec<u8>, Option<Vec<u8>>);

/// What a log holds.
#[derive(Clone, Debug)]
pub(super) enum Logged {
    Record(Stored),
    /// Of a transactional batch.
    OfTransaction(ProducerId, Stored),
    /// The end of a producer's transaction: whether it is committed.
    Marker(ProducerId, bool),
}

/// Replays as the server's driver does.
pub(super) fn replay(machine: &mut GroupCoordinator, logged: &Logged) {
    match logged {
        Logged::Record(stored) => machine.replay(&decode(stored)),
        Logged::OfTransaction(producer, stored) => machine.replay_transactional(*producer, &decode(stored)),
        Logged::Marker(producer, committed) => machine.replay_marker(*producer, *committed),
    }
}

pub(super) struct Bench {
    pub(super) machine: GroupCoordinator,
    pub(super) log: Vec<Logged>,
    pub(super) now: Now,
    /// By which requests come.
    pub(super) connection: ConnectionToken,
    replies: BTreeMap<ReplyToken, GroupReply>,
    versions: BTreeMap<ReplyToken, i16>,
    machines: u64,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Bench {
        let now = Now { monotonic: Monotonic(0), wall: Timestamp(1_000_000) };
        let mut machine = GroupCoordinator::new(settings, 0);
        assert_eq!(machine.handle_loaded(now), GroupDecision::none());
        let (replies, versions) = (BTreeMap::new(), BTreeMap::new());
        let connection = ConnectionToken(0);
        Bench { machine, log: Vec::new(), now, connection, replies, versions, machines: 1 }
    }

    /// Hands in a request at the newest version.
    pub(super) fn call(&mut self, call: &Call) -> ReplyToken {
        self.call_at(newest(call), call)
    }

    /// Hands in a request; its answer is there for the token, unless it is parked.
    pub(super) fn call_at(&mut self, version: i16, call: &Call) -> ReplyToken {
        let context = self.context(version);
        let decision = handle(&mut self.machine, call, &context, self.now);
        self.carry_out(decision);
        context.token
    }

    pub(super) fn context(&mut self, version: i16) -> RequestContext {
        let token = ReplyToken(self.versions.len() as u64);
        self.versions.insert(token, version);
        let connection = self.connection;
        RequestContext {
            client_id: "app".into(),
            client_host: "/192.0.2.1".into(),
            version,
            connection,
            token,
        }
    }

    /// Appends, replays, commits, answers.
    pub(super) fn carry_out(&mut self, decision: GroupDecision) {
        for record in decision.records {
            self.append(Logged::Record(records::encode(&record).unwrap()));
        }
        self.answer(decision.replies);
    }

    /// The same, of a decision whose records are a producer's.
    pub(super) fn carry_out_for(&mut self, producer_id: ProducerId, decision: GroupDecision) {
        for record in decision.records {
            self.append(Logged::OfTransaction(producer_id, records::encode(&record).unwrap()));
        }
        self.answer(decision.replies);
    }

    pub(super) fn append(&mut self, logged: Logged) {
        replay(&mut self.machine, &logged);
        self.log.push(logged);
    }

    fn answer(&mut self, replies: Vec<(ReplyToken, GroupReply)>) {
        for (token, reply) in replies {
            assert_encodes(&reply, self.versions[&token]);
            assert!(self.replies.insert(token, reply).is_none(), "{token:?} is answered once");
        }
    }

    /// Lets time pass, and everything happen that is due meanwhile.
    pub(super) fn advance(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        while let Some(deadline) = self.machine.deadline()
            && deadline <= end.monotonic
        {
            self.now = self.now.after(deadline - self.now.monotonic);
            let decision = self.machine.handle_timeout(self.now);
            self.carry_out(decision);
        }
        self.now = end;
    }

    pub(super) fn advance_secs(&mut self, secs: u64) {
        self.advance(Duration::from_secs(secs));
    }

    /// Another coordinator takes over, which knows the log only.
    pub(super) fn fail_over(&mut self) {
        let settings = self.machine.settings.clone();
        let machine = GroupCoordinator::new(settings, self.machines);
        self.machines += 1;
        for (token, reply) in std::mem::replace(&mut self.machine, machine).resign() {
            assert_encodes(&reply, self.versions[&token]);
            self.replies.insert(token, reply);
        }
        self.log.iter().for_each(|logged| replay(&mut self.machine, logged));
        let decision = self.machine.handle_loaded(self.now);
        self.carry_out(decision);
    }

    pub(super) fn is_parked(&self, token: ReplyToken) -> bool {
        !self.replies.contains_key(&token)
    }

    pub(super) fn take(&mut self, token: ReplyToken) -> GroupReply {
        self.replies.remove(&token).expect("the request is answered")
    }

    pub(super) fn joined(&mut self, token: ReplyToken) -> JoinGroupResponse {
        let GroupReply::JoinGroup(response) = self.take(token) else { panic!("no JoinGroup") };
        response
    }

    pub(super) fn synced(&mut self, token: ReplyToken) -> SyncGroupResponse {
        let GroupReply::SyncGroup(response) = self.take(token) else { panic!("no SyncGroup") };
        response
    }

    pub(super) fn heartbeat(&mut self, call: &Call) -> HeartbeatResponse {
        let token = self.call(call);
        let GroupReply::Heartbeat(response) = self.take(token) else { panic!("no Heartbeat") };
        response
    }

    pub(super) fn leave(&mut self, version: i16, call: &Call) -> LeaveGroupResponse {
        let token = self.call_at(version, call);
        let GroupReply::LeaveGroup(response) = self.take(token) else { panic!("no LeaveGroup") };
        response
    }

    pub(super) fn commit(&mut self, version: i16, call: &Call) -> OffsetCommitResponse {
        let token = self.call_at(version, call);
        let GroupReply::OffsetCommit(response) = self.take(token) else { panic!("no OffsetCommit") };
        response
    }

    pub(super) fn fetch(&mut self, version: i16, call: &Call) -> OffsetFetchResponse {
        let token = self.call_at(version, call);
        let GroupReply::OffsetFetch(response) = self.take(token) else { panic!("no OffsetFetch") };
        response
    }
}

/// The newest version of a request that this crate answers.
pub(super) fn newest(call: &Call) -> i16 {
    match call {
        Call::Join(_) => 9,
        Call::Sync(_) | Call::Leave(_) => 5,
        Call::Heartbeat(_) => 4,
        // Version 10 has topic ids in place of names.
        Call::Commit(_) | Call::Fetch(_) => 9,
    }
}

pub(super) fn handle(
    machine: &mut GroupCoordinator,
    call: &Call,
    context: &RequestContext,
    now: Now,
) -> GroupDecision {
    match call {
        Call::Join(request) => machine.handle_join_group(request, context, &View::default(), now),
        Call::Sync(request) => machine.handle_sync_group(request, context, &View::default(), now),
        Call::Heartbeat(request) => machine.handle_heartbeat(request, context, &View::default(), now),
        Call::Leave(request) => machine.handle_leave_group(request, context, now),
        Call::Commit(request) => machine.handle_offset_commit(request, context, now),
        Call::Fetch(request) => machine.handle_offset_fetch(request, context),
    }
}

pub(super) fn decode((key, value): &Stored) -> GroupRecord {
    GroupRecord::decode(key.clone(), value.clone().map(Bytes::from)).expect("what was written can be read")
}

/// Every answer can be written at the version of its request.
pub(super) fn assert_encodes(reply: &GroupReply, version: i16) {
    let encoded: Result<Vec<u8>, EncodeError> = match reply {
        GroupReply::JoinGroup(response) => encode_to_vec(response, version),
        GroupReply::SyncGroup(response) => encode_to_vec(response, version),
        GroupReply::Heartbeat(response) => encode_to_vec(response, version),
        GroupReply::LeaveGroup(response) => encode_to_vec(response, version),
        GroupReply::ConsumerGroupHeartbeat(response) => encode_to_vec(response, version),
        GroupReply::ConsumerGroupDescribe(response) => encode_to_vec(response, version),
        GroupReply::OffsetCommit(response) => encode_to_vec(response, version),
        GroupReply::TxnOffsetCommit(response) => encode_to_vec(response, version),
        GroupReply::OffsetFetch(response) => encode_to_vec(response, version),
        GroupReply::OffsetDelete(response) => encode_to_vec(response, version),
        GroupReply::DescribeGroups(response) => encode_to_vec(response, version),
        GroupReply::ListGroups(response) => encode_to_vec(response, version),
        GroupReply::DeleteGroups(response) => encode_to_vec(response, version),
    };
    assert!(encoded.is_ok(), "{reply:?} at version {version}: {encoded:?}");
}

/// Groups that form by themselves.
impl Bench {
    /// A client asks for an id if it has none, and joins with it.
    pub(super) fn enter(&mut self, client: &mut Client) -> ReplyToken {
        if client.member_id.is_empty() && client.instance_id.is_none() {
            let token = self.call(&client.call());
            let response = self.joined(token);
            assert_eq!(response.error_code, ErrorCode::MemberIdRequired.code());
            client.joined(&response);
        }
        self.call(&client.call())
    }

    /// Clients that join a group which is empty.
    pub(super) fn joining(&mut self, count: usize) -> Vec<Client> {
        let mut clients: Vec<Client> = (0..count).map(|_| Client::new(None)).collect();
        let tokens: Vec<ReplyToken> = clients.iter_mut().map(|client| self.enter(client)).collect();
        while tokens.iter().any(|&token| self.is_parked(token)) {
            self.advance_secs(1);
        }
        for (client, token) in clients.iter_mut().zip(tokens) {
            client.joined(&self.joined(token));
        }
        // The leader first.
        clients.sort_by_key(|client| !self.machine.groups[GROUP].is_leader(&client.member_id));
        clients
    }

    /// Clients that have joined hand in the assignment, and read where they left off.
    pub(super) fn settle(&mut self, clients: &mut [Client]) {
        let tokens: Vec<ReplyToken> = clients.iter().map(|client| self.call(&client.call())).collect();
        for (client, token) in clients.iter_mut().zip(tokens) {
            client.synced(&self.synced(token));
            assert_eq!(client.phase, Phase::Fetching);
            client.phase = Phase::Reading;
        }
    }

    /// Clients of a group that is stable.
    pub(super) fn stable(&mut self, count: usize) -> Vec<Client> {
        let mut clients = self.joining(count);
        self.settle(&mut clients);
        clients
    }

    pub(super) fn state(&self) -> GroupState {
        self.machine.groups.get(GROUP).map_or(GroupState::Dead, |group| group.state)
    }
}
