//! What the members of the quorum say to one another: Kafka's messages as plain values.
//!
//! Each type has the fields of one partition, `__cluster_metadata-0`, of Kafka's message of the same name;
//! the server wraps and unwraps the topic around it, and checks the cluster id and the topic before
//! handing a request in. Where a version of a message lacks a field, the field's documentation says what
//! stands for "not there".

use crate::error::ErrorCode;
use crate::voters::{Endpoint, KRaftVersions, Listener, ReplicaKey};
use bytes::Bytes;
use ottla_types::{LeaderEpoch, NodeId, Offset, OffsetAndEpoch};
use std::time::Duration;

/// A request between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Key 52.
    Vote(VoteRequest),
    /// Key 53.
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    /// Key 54.
    EndQuorumEpoch(EndQuorumEpochRequest),
    /// Key 1, on the controller listener.
    Fetch(FetchRequest),
    /// Key 80.
    AddVoter(AddVoterRequest),
    /// Key 81.
    RemoveVoter(RemoveVoterRequest),
    /// Key 82.
    UpdateVoter(UpdateVoterRequest),
}

/// The response to the request of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Key 52.
    Vote(VoteResponse),
    /// Key 53.
    BeginQuorumEpoch(EpochResponse),
    /// Key 54.
    EndQuorumEpoch(EpochResponse),
    /// Key 1.
    Fetch(FetchResponse),
    /// Key 80.
    AddVoter(VoterChangeResponse),
    /// Key 81.
    RemoveVoter(VoterChangeResponse),
    /// Key 82.
    UpdateVoter(EpochResponse),
}

impl Response {
    /// Why the request was refused, if it was.
    pub fn error(&self) -> ErrorCode {
        match self {
            Response::Vote(response) => response.error,
            Response::BeginQuorumEpoch(response)
            | Response::EndQuorumEpoch(response)
            | Response::UpdateVoter(response) => response.error,
            Response::AddVoter(response) | Response::RemoveVoter(response) => response.error,
            Response::Fetch(response) => response.error,
        }
    }

    /// Whom the answering node takes for the leader.
    pub fn leader(&self) -> LeaderAndEpoch {
        match self {
            Response::Vote(response) => response.leader,
            Response::BeginQuorumEpoch(response)
            | Response::EndQuorumEpoch(response)
            | Response::UpdateVoter(response) => response.leader,
            Response::AddVoter(_) | Response::RemoveVoter(_) => LeaderAndEpoch::UNKNOWN,
            Response::Fetch(response) => response.leader,
        }
    }
}

/// The answering node's epoch, and that epoch's leader if it knows one: `LeaderId` and `LeaderEpoch`, in
/// Fetch `CurrentLeader`.
///
/// A response that carries none (epoch −1) has [`LeaderAndEpoch::UNKNOWN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderAndEpoch {
    /// The leader; on the wire −1 for none.
    pub leader: Option<NodeId>,
    /// The epoch.
    pub epoch: LeaderEpoch,
}

impl LeaderAndEpoch {
    /// Neither is known.
    pub const UNKNOWN: LeaderAndEpoch = LeaderAndEpoch { leader: None, epoch: LeaderEpoch::NONE };
}

/// Asks for a vote, or whether one would be given (KIP-996).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteRequest {
    /// Whom the request is meant for (v1+; before: id −1 and no directory).
    pub voter: ReplicaKey,
    /// Who asks (`ReplicaId`, `ReplicaDirectoryId`).
    pub candidate: ReplicaKey,
    /// `ReplicaEpoch`: the epoch to lead; in a pre-vote the one that the candidate is in.
    pub epoch: LeaderEpoch,
    /// The end of the candidate's log. The epoch of an empty log is 0.
    pub last: OffsetAndEpoch,
    /// Whether this only asks (v2+; before: false).
    pub pre_vote: bool,
}

/// Answers [`VoteRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteResponse {
    /// What is wrong with the request.
    pub error: ErrorCode,
    /// Whom the answering node takes for the leader.
    pub leader: LeaderAndEpoch,
    /// Where that leader listens (v1+).
    pub leader_endpoint: Option<Endpoint>,
    /// Whether the vote is given.
    pub vote_granted: bool,
}

/// A leader announces itself to a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginQuorumEpochRequest {
    /// Whom the request is meant for (v1+; before: id −1 and no directory).
    pub voter: ReplicaKey,
    /// Who leads.
    pub leader: NodeId,
    /// In which epoch.
    pub epoch: LeaderEpoch,
    /// Where the leader listens (v1+).
    pub leader_endpoint: Option<Endpoint>,
}

/// A leader gives its epoch up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndQuorumEpochRequest {
    /// Who led.
    pub leader: NodeId,
    /// In which epoch.
    pub epoch: LeaderEpoch,
    /// Who should campaign, the best first (v0: ids only, as `PreferredSuccessors`).
    pub preferred_candidates: Vec<ReplicaKey>,
    /// Where the leader listens (v1+).
    pub leader_endpoint: Option<Endpoint>,
}

/// Answers [`BeginQuorumEpochRequest`], [`EndQuorumEpochRequest`] and [`UpdateVoterRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochResponse {
    /// What is wrong with the request.
    pub error: ErrorCode,
    /// Whom the answering node takes for the leader.
    pub leader: LeaderAndEpoch,
    /// Where that leader listens (v1+).
    pub leader_endpoint: Option<Endpoint>,
}

/// Asks a leader for batches, and acknowledges those before `fetch_offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Who asks; the id is −1 for a reader that is no replica.
    pub replica: ReplicaKey,
    /// `CurrentLeaderEpoch`: the epoch that the asking node is in.
    pub epoch: LeaderEpoch,
    /// The end of the asking node's log. A voter has all that is before it on disk.
    pub fetch_offset: Offset,
    /// The epoch of the last record before `fetch_offset`; 0 when there is none.
    pub last_fetched_epoch: LeaderEpoch,
    /// The high watermark that the asking node knows (KIP-1166, v18+; before: [`Offset::MAX`], which is
    /// never behind). −1 when it knows none.
    pub high_watermark: Offset,
    /// How long the leader may wait for something to say.
    pub max_wait: Duration,
    /// How many bytes of batches, more only when the first batch alone is larger.
    pub bytes_max: usize,
}

/// Answers [`FetchRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchResponse {
    /// What is wrong with the request.
    pub error: ErrorCode,
    /// Whom the answering node takes for the leader.
    pub leader: LeaderAndEpoch,
    /// Where that leader listens (v16+).
    pub leader_endpoint: Option<Endpoint>,
    /// What the leader knows to be committed; −1 when it knows nothing.
    pub high_watermark: Offset,
    /// Where the leader's log begins.
    pub log_start_offset: Offset,
    /// Where the logs part at the latest: the asking node must truncate.
    pub diverging: Option<OffsetAndEpoch>,
    /// The snapshot to fetch instead: what was asked for is no longer in the leader's log.
    pub snapshot: Option<OffsetAndEpoch>,
    /// Whole batches.
    pub records: Bytes,
}

/// Asks the leader to make an observer a voter (KIP-853).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddVoterRequest {
    /// The observer.
    pub voter: ReplicaKey,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// The one of them that the quorum uses, if it is among them.
    pub endpoint: Option<Endpoint>,
    /// Whether to answer once the new set is committed, or already when it is in the leader's log (v1+; before:
    /// true).
    pub ack_when_committed: bool,
}

/// Asks the leader to take a voter out of the set (KIP-853).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveVoterRequest {
    /// The voter.
    pub voter: ReplicaKey,
}

/// Answers [`AddVoterRequest`] and [`RemoveVoterRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterChangeResponse {
    /// Why it was not done.
    pub error: ErrorCode,
    /// The same in words.
    pub message: Option<String>,
}

/// A voter tells the leader that it listens elsewhere, or is another software, than the set says (KIP-853).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateVoterRequest {
    /// `CurrentLeaderEpoch`: the epoch that the voter is in.
    pub epoch: LeaderEpoch,
    /// The voter.
    pub voter: ReplicaKey,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// The one of them that the quorum uses, if it is among them.
    pub endpoint: Option<Endpoint>,
    /// What it can work with.
    pub kraft_versions: KRaftVersions,
}

/// Asks for a piece of a snapshot (KIP-630). The machine sees only who asks: the bytes are the driver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSnapshotRequest {
    /// Who asks; the id is −1 for a reader that is no replica, the directory comes with v1+.
    pub replica: ReplicaKey,
    /// `CurrentLeaderEpoch`: the epoch that the asking node is in.
    pub epoch: LeaderEpoch,
    /// Which snapshot.
    pub id: OffsetAndEpoch,
    /// From which byte of the file on; what is below zero is out of range.
    pub position: i64,
    /// How many bytes at most.
    pub bytes_max: usize,
}

/// Answers [`FetchSnapshotRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSnapshotResponse {
    /// What is wrong with the request.
    pub error: ErrorCode,
    /// Whom the answering node takes for the leader.
    pub leader: LeaderAndEpoch,
    /// Where that leader listens (v1+).
    pub leader_endpoint: Option<Endpoint>,
    /// Which snapshot.
    pub id: OffsetAndEpoch,
    /// The size of the whole file in bytes.
    pub size: i64,
    /// Where `bytes` are in the file.
    pub position: i64,
    /// A piece of the file; it need not end with a batch.
    pub bytes: Bytes,
}
