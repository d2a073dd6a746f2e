//! A member of a classic group.

use crate::consumer_group::member::{ClassicMember, Subscription};
use crate::presence::Presence;
use crate::reply::{ReplyToken, RequestContext};
use bytes::Bytes;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::records::group::group_metadata::MemberMetadata;
use ottla_types::Monotonic;
use std::collections::BTreeSet;
use std::time::Duration;

/// A request that waits: whom to answer, and at which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) token: ReplyToken,
    pub(crate) version: i16,
}

impl From<&RequestContext> for Parked {
    fn from(context: &RequestContext) -> Parked {
        Parked { token: context.token, version: context.version }
    }
}

/// A way to assign partitions that a member knows (`range`, `cooperative-sticky`, ...), and what it says to
/// whoever assigns: for consumers, its subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    pub(crate) metadata: Bytes,
}

/// A member, from its JoinGroup or from the log.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    /// What it supports, the preferred one first; each name once.
    pub(crate) protocols: Vec<Protocol>,
    /// What the last stored generation assigned to it. Only the log sets it.
    pub(crate) assignment: Bytes,
    /// It has not had an answer to its first JoinGroup, so it cannot know its id, nor send heartbeats.
    pub(crate) is_new: bool,
    /// When it is given up unless it is heard of. `None` while it waits for others.
    pub(crate) session_deadline: Option<Monotonic>,
    /// By which connection it was heard of, and how often.
    pub(crate) presence: Presence,
    /// When it is given up because its connection has closed, unless it is heard of.
    pub(crate) gone_deadline: Option<Monotonic>,
    /// Its JoinGroup, waiting for the other members.
    pub(crate) parked_join: Option<Parked>,
    /// Its SyncGroup, waiting for the leader's.
    pub(crate) parked_sync: Option<Parked>,
}

impl Member {
    /// A member that joins.
    pub(crate) fn from_request(id: String, request: &JoinGroupRequest, context: &RequestContext) -> Member {
        Member {
            id,
            instance_id: request.group_instance_id.clone(),
            client_id: context.client_id.clone(),
            client_host: context.client_host.clone(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: rebalance_timeout_ms(request),
            protocols: protocols(&request.protocols),
            is_new: true,
            ..Member::default()
        }
    }

    /// A member that the log knows, of a generation that settled on `protocol`.
    pub(crate) fn from_record(record: &MemberMetadata, protocol: &str) -> Member {
        let timeout = |ms| if ms < 0 { record.session_timeout } else { ms };
        Member {
            id: record.member_id.clone(),
            instance_id: record.group_instance_id.clone(),
            client_id: record.client_id.clone(),
            client_host: record.client_host.clone(),
            session_timeout_ms: record.session_timeout,
            rebalance_timeout_ms: timeout(record.rebalance_timeout),
            protocols: vec![Protocol { name: protocol.to_owned(), metadata: record.subscription.clone() }],
            assignment: record.assignment.clone(),
            ..Member::default()
        }
    }

    /// A member of a consumer group that becomes a classic one.
    pub(crate) fn from_consumer_group(id: &str, said: &Subscription, classic: &ClassicMember) -> Member {
        Member {
            id: id.to_owned(),
            instance_id: said.instance_id.clone(),
            client_id: said.client_id.clone(),
            client_host: said.client_host.clone(),
            session_timeout_ms: classic.session_timeout_ms,
            rebalance_timeout_ms: said.rebalance_timeout_ms,
            protocols: classic.protocols.clone(),
            ..Member::default()
        }
    }

    /// Takes over what a later JoinGroup of this member says.
    pub(crate) fn update(&mut self, request: &JoinGroupRequest) {
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms = rebalance_timeout_ms(request);
        self.protocols = protocols(&request.protocols);
    }

    /// Takes over from `live`, the same member as this machine knows it, what the log does not hold: its
    /// session, its parked requests, and the protocols that were not chosen.
    pub(crate) fn keep_alive(&mut self, live: Member, protocol: &str) {
        if live.metadata(protocol) == self.metadata(protocol) {
            self.protocols = live.protocols;
        }
        self.is_new = live.is_new;
        self.session_deadline = live.session_deadline;
        self.presence = live.presence;
        self.gone_deadline = live.gone_deadline;
        self.parked_join = live.parked_join;
        self.parked_sync = live.parked_sync;
    }

    /// How long it may stay silent.
    pub(crate) fn session_timeout(&self) -> Duration {
        millis(self.session_timeout_ms)
    }

    /// How long it may take to join again.
    pub(crate) fn rebalance_timeout(&self) -> Duration {
        millis(self.rebalance_timeout_ms)
    }

    /// What it says to whoever assigns by `protocol`.
    pub(crate) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|known| known.name == protocol).map(|known| &known.metadata)
    }

    /// Returns whether a JoinGroup with these protocols tells nothing new.
    pub(crate) fn matches(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        self.protocols.len() == protocols.len()
            && self.protocols.iter().zip(protocols).all(|(mine, new)| {
                let Protocol { name, metadata } = mine;
                *name == new.name && *metadata == new.metadata
            })
    }

    /// Returns whether it has its say by waiting for others: it cannot send heartbeats meanwhile. A new
    /// member is not excused, as its client may be gone and come back under another id.
    pub(crate) fn is_excused(&self) -> bool {
        !self.is_new && (self.parked_join.is_some() || self.parked_sync.is_some())
    }
}

/// A length of time in a request; negative ones are none.
pub(crate) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Version 0 has no rebalance timeout: the session timeout serves for both.
fn rebalance_timeout_ms(request: &JoinGroupRequest) -> i32 {
    match request.rebalance_timeout_ms {
        ms if ms < 0 => request.session_timeout_ms,
        ms => ms,
    }
}

/// Copies, as a slice would keep the whole request in memory. Of two protocols with one name, the first.
fn protocols(requested: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let mut seen = BTreeSet::new();
    let first = requested.iter().filter(|protocol| seen.insert(&protocol.name));
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    first
        .map(|protocol| Protocol { name: protocol.name.clone(), metadata: copy(&protocol.metadata) })
        .collect()
}
