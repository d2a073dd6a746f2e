//! What can go wrong between a client and a cluster.

use ottla_net::CallError;
use ottla_protocol::ErrorCode;
use ottla_records::CorruptBatch;
use ottla_types::NodeId;
use std::time::Duration;
use thiserror::Error;

/// Why an operation has no result.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The cluster refuses, and would refuse again.
    #[error("{message}")]
    Refused {
        /// Its reason, as a code.
        code: ErrorCode,
        /// Its reason, in words.
        message: String,
    },
    /// Nobody can be reached.
    #[error("nobody can be reached; the last one tried was {address}: {source}")]
    Unreachable {
        /// The last one tried.
        address: String,
        /// What came of it.
        source: CallError,
    },
    /// The request could not be sent, or its answer not be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Every try failed until the time was over.
    #[error("{what} did not succeed within {after:?}: {last}")]
    TimedOut {
        /// What was to be done.
        what: &'static str,
        /// How long it was tried.
        after: Duration,
        /// What came of the last try.
        last: String,
    },
    /// The answer lacks what was asked for.
    #[error("the answer to {0} lacks what was asked for")]
    Incomplete(&'static str),
    /// Records that came are not what the leader wrote.
    #[error("corrupt records in {partition}: {source}")]
    Corrupt {
        /// Where they are from.
        partition: ottla_types::TopicPartition,
        /// What is wrong.
        source: CorruptBatch,
    },
    /// Nobody could be reached for as long as the call may take. The words are those of Kafka's administrators.
    #[error("Timed out waiting for a node assignment. Call: {what}")]
    NoNode {
        /// What was to be done.
        what: &'static str,
    },
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl ClientError {
    /// The refusal that this code and this message mean.
    pub fn refused(code: ErrorCode, message: Option<String>) -> ClientError {
        ClientError::Refused { code, message: message.unwrap_or_else(|| code.message().to_owned()) }
    }

    /// What comes of asking a node that is not there.
    pub(crate) fn no_such_node(node: NodeId) -> ClientError {
        let message = format!("node {node} is not in the cluster, or does not run");
        ClientError::refused(ErrorCode::BrokerNotAvailable, Some(message))
    }

    /// Fails with a code other than 0.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn check(code: i16, message: Option<String>) -> Result<(), ClientError> {
        match ErrorCode::from(code) {
            ErrorCode::None => Ok(()),
            code => Err(ClientError::refused(code, message)),
        }
    }

    /// The cluster's reason, if it was the cluster that refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Returns whether the same may succeed later or elsewhere.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Refused { code, .. } => code.is_retriable(),
            ClientError::Unreachable { source, .. } | ClientError::Call(source) => {
                !matches!(source, CallError::Unsupported { .. } | CallError::Malformed(_))
            }
            ClientError::TimedOut { .. }
            | ClientError::NoNode { .. }
            | ClientError::Incomplete(_)
            | ClientError::Corrupt { .. }
            | ClientError::Closed => false,
        }
    }
}
