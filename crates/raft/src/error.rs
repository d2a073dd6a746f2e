//! What is refused, and what stops a node.

use crate::log::LogError;
use ottla_types::{LeaderEpoch, Offset};

/// Kafka's error codes, as far as the quorum's messages use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 0: no error.
    None,
    /// 6: the asked node does not lead the quorum.
    NotLeaderOrFollower,
    /// 7: what was asked for was not done in time, or has to wait for something else to be done.
    RequestTimedOut,
    /// 35: the asked node does not know this version.
    UnsupportedVersion,
    /// 42: the request contradicts itself or what is known.
    InvalidRequest,
    /// 74: the request's epoch is older than the asked node's.
    FencedLeaderEpoch,
    /// 75: the request's epoch is newer than the asked node's.
    UnknownLeaderEpoch,
    /// 98: the snapshot asked for is not there.
    SnapshotNotFound,
    /// 99: the snapshot is not that long.
    PositionOutOfRange,
    /// 104: the request is of another cluster.
    InconsistentClusterId,
    /// 125: the request is meant for another replica.
    InvalidVoterKey,
    /// 126: a voter of this id is in the set already.
    DuplicateVoter,
    /// 127: this replica is no voter.
    VoterNotFound,
    /// Any other code of a peer.
    Other(i16),
}

impl ErrorCode {
    /// The code on the wire.
    pub fn code(self) -> i16 {
        match self {
            ErrorCode::None => 0,
            ErrorCode::NotLeaderOrFollower => 6,
            ErrorCode::RequestTimedOut => 7,
            ErrorCode::UnsupportedVersion => 35,
            ErrorCode::InvalidRequest => 42,
            ErrorCode::FencedLeaderEpoch => 74,
            ErrorCode::UnknownLeaderEpoch => 75,
            ErrorCode::SnapshotNotFound => 98,
            ErrorCode::PositionOutOfRange => 99,
            ErrorCode::InconsistentClusterId => 104,
            ErrorCode::InvalidVoterKey => 125,
            ErrorCode::DuplicateVoter => 126,
            ErrorCode::VoterNotFound => 127,
            ErrorCode::Other(code) => code,
        }
    }

    /// The meaning of a code on the wire.
    pub fn from_code(code: i16) -> ErrorCode {
        match code {
            0 => ErrorCode::None,
            6 => ErrorCode::NotLeaderOrFollower,
            7 => ErrorCode::RequestTimedOut,
            35 => ErrorCode::UnsupportedVersion,
            42 => ErrorCode::InvalidRequest,
            74 => ErrorCode::FencedLeaderEpoch,
            75 => ErrorCode::UnknownLeaderEpoch,
            98 => ErrorCode::SnapshotNotFound,
            99 => ErrorCode::PositionOutOfRange,
            104 => ErrorCode::InconsistentClusterId,
            125 => ErrorCode::InvalidVoterKey,
            126 => ErrorCode::DuplicateVoter,
            127 => ErrorCode::VoterNotFound,
            code => ErrorCode::Other(code),
        }
    }
}

/// What ends a node's part in the quorum: the driver must stop it, loudly, and carry out no further effect.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// The log could not be read or written.
    #[error("the metadata log")]
    Log(#[from] LogError),
    /// The leader's log contradicts what was committed: data was lost somewhere, or the leader is not one.
    #[error(
        "the leader of epoch {epoch} asks to truncate to {offset}, below the high watermark {high_watermark}"
    )]
    TruncationBelowHighWatermark {
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// Where the logs part.
        offset: Offset,
        /// What this node knows to be committed.
        high_watermark: Offset,
    },
}

/// Why records were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// This node does not lead the quorum in that epoch.
    #[error("not the leader of epoch {0}")]
    NotLeader(LeaderEpoch),
    /// The log could not be written: fatal, as [`QuorumError::Log`].
    #[error("the metadata log")]
    Log(#[from] LogError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_itself_after_a_round_trip() {
        for code in i16::MIN..=i16::MAX {
            assert_eq!(ErrorCode::from_code(code).code(), code);
        }
    }
}
