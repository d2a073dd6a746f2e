//! The error that old clients do not know.

use ottla_protocol::ErrorCode;

/// What a client is told: one that does not know PRODUCER_FENCED, before version `since`, of an invalid epoch.
pub(super) fn error_for<T>(version: i16, since: i16, outcome: Result<T, ErrorCode>) -> Result<T, ErrorCode> {
    match outcome {
        Err(ErrorCode::ProducerFenced) if version < since => Err(ErrorCode::InvalidProducerEpoch),
        outcome => outcome,
    }
}
