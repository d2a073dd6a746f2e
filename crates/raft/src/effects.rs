//! What the driver must do.

use crate::message::{Request, Response};
use crate::quorum_state::QuorumState;
use crate::voters::Endpoint;
use ottla_types::{LeaderEpoch, NodeId, Offset, OffsetAndEpoch};

/// Names a request that this node received and has not answered; chosen by the driver, opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a request that this node sent; chosen by the machine, and handed back with the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this to the `quorum-state` file and sync it. Nothing that follows, of this event or a later
    /// one, may be carried out before it is on disk. Events may be handled meanwhile.
    Persist(QuorumState),
    /// Send a request, dialling if need be; `endpoint_of` says where. Then, as it turns out: `handle_response`,
    /// `handle_call_failed`, or one of `handle_connection_{closed,refused}` for the peer.
    Send {
        /// Whom to.
        to: NodeId,
        /// To be handed back with the response.
        call: CallId,
        /// The request.
        request: Request,
    },
    /// Ask a node which kraft.versions it can work with (ApiVersions), and call `handle_kraft_versions` with the
    /// answer, or that there is none.
    AskKRaftVersions {
        /// Whom to ask. It is no voter yet: its endpoint is here.
        to: NodeId,
        /// Where it listens.
        endpoint: Endpoint,
        /// To be handed back with the answer.
        call: CallId,
    },
    /// Answer a request.
    Reply {
        /// Which one.
        id: RequestId,
        /// The response.
        response: Response,
    },
    /// Sync the log, in the background, then call `handle_flushed` with this end. The sync must begin
    /// after this effect was taken. There is one at a time.
    Flush {
        /// The log's end when the effect was made.
        end: Offset,
    },
    /// Everything before this offset is committed, for ever. Never goes back.
    HighWatermark(Offset),
    /// The epoch or its leader changed, as far as this node knows.
    LeaderChanged {
        /// The leader; `None` while it is not known.
        leader: Option<NodeId>,
        /// The epoch.
        epoch: LeaderEpoch,
    },
    /// This node leads from now on. It has committed nothing in this epoch before the high watermark
    /// exceeds `start`.
    BecameLeader {
        /// Its epoch.
        epoch: LeaderEpoch,
        /// The offset of the record that opens the epoch.
        start: Offset,
    },
    /// This node, which led in `epoch`, does no more. What it appended and was not committed may be lost.
    Resigned {
        /// The epoch it led in.
        epoch: LeaderEpoch,
    },
    /// The leader no longer has what this node lacks. Fetch that snapshot from it (FetchSnapshot), install
    /// it into the log, then call `handle_snapshot_installed`, or `handle_snapshot_failed`. Abandon it on
    /// [`Effect::LeaderChanged`].
    InstallSnapshot {
        /// Whom to ask.
        from: NodeId,
        /// Which one.
        id: OffsetAndEpoch,
    },
}

/// What an event led to, in the order in which it must be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    list: Vec<Effect>,
}

impl Effects {
    /// Nothing to do.
    pub fn new() -> Effects {
        Effects::default()
    }

    /// Takes everything out, the first first; what is left is empty and may be used again.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.list.drain(..)
    }

    /// The effects, the first first.
    pub fn as_slice(&self) -> &[Effect] {
        &self.list
    }

    #[cfg(test)]
    pub(crate) fn of(list: Vec<Effect>) -> Effects {
        Effects { list }
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }
}
