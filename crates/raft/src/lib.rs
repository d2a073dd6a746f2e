//! The controller quorum's consensus: KRaft (KIP-595, pre-vote KIP-996), as one driven machine.
//!
//! [`Quorum`] elects a leader among the voters and replicates the metadata log to voters and observers.
//! It decides; it does no I/O: events come in (`handle_*`, each with `now`), [`Effect`]s come out in the
//! order in which the driver must carry them out, and [`Quorum::deadline`] says when to call again. The log
//! is behind [`ReplicatedLog`]; messages are plain values that mirror Kafka's.
//!
//! Who votes is what the configuration says (kraft.version 0), or what the log says (kraft.version 1, KIP-853):
//! then the set changes one voter at a time.
//!
//! What it deliberately does not do: open connections, read and write snapshots (it says which one is needed).
//!
//! ```text
//!                 campaign time           majority of pre-votes       majority of votes
//!   Unattached ------------------> Prospective ------------> Candidate ------------> Leader
//!     ^   ^  ^------------------------'  lost  ^----lost-------'                        |
//!     |   |                                                                             | resigns, or a
//!     |   '---- leader gone or silent ---- Follower <---- a leader is known (any role)  | majority is silent
//!     '--------------- after a while ----------------------------- Resigned <-----------'
//! ```
//!
//! Reading order: [`message`], [`log`], [`effects`], [`quorum_state`], [`quorum`] (the machine and its
//! events), `transition` (how roles change), `role/*` (what each role does), `vote` (who gets ours), `fetch`
//! (the leader's side of replication), `replicate` (the follower's side), `flush` (what is on disk),
//! `silence` (when a leader counts as dead), `history` (which voter set counts), `change` (the leader changes
//! it), `upgrade` (from voters by configuration to voters by the log), [`membership`] (what a node wants to be in
//! it), [`wire`] (Kafka's messages).

pub mod bug;
mod change;
pub mod config;
pub mod describe;
pub mod effects;
pub mod error;
mod fetch;
mod flush;
mod history;
pub mod log;
pub mod membership;
pub mod message;
pub mod quorum;
pub mod quorum_state;
mod replicate;
mod role;
mod silence;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transition;
mod upgrade;
mod vote;
pub mod voters;
pub mod wire;

pub use config::QuorumConfig;
pub use describe::{QuorumDescription, ReplicaStatus};
pub use effects::{CallId, Effect, Effects, RequestId};
pub use error::{AppendError, ErrorCode, QuorumError};
pub use log::{AppendFetchedError, LeaderChange, LogError, ReplicatedLog};
pub use membership::Membership;
pub use message::{
    AddVoterRequest, BeginQuorumEpochRequest, EndQuorumEpochRequest, EpochResponse, FetchRequest,
    FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, LeaderAndEpoch, RemoveVoterRequest, Request,
    Response, UpdateVoterRequest, VoteRequest, VoteResponse, VoterChangeResponse,
};
pub use quorum::Quorum;
pub use quorum_state::{QuorumState, QuorumStateError};
pub use role::RoleName;
pub use silence::SilentLeader;
pub use upgrade::NotUpgraded;
pub use voters::{DuplicateVoter, Endpoint, KRaftVersions, Listener, ReplicaKey, Voter, VoterSet};
