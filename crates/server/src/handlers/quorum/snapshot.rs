//! FetchSnapshot (key 59, versions 0–1), controller listener.
//!
//! A piece of a snapshot of the metadata log (KIP-630), for whoever lacks what is no longer in the log.
//!
//! - Differs from Kafka: nothing known.

use crate::io_pool::IoPool;
use crate::quorum::snapshots::Piece;
use crate::quorum::{QuorumHandle, Snapshots};
use crate::request::Answer;
use bytes::Bytes;
use ottla_protocol::ErrorCode as Code;
use ottla_protocol::messages as m;
use ottla_raft::wire::{self, WireContext};
use ottla_raft::{ErrorCode, FetchSnapshotRequest, FetchSnapshotResponse};
use std::io;
use std::sync::Arc;

/// The most that is answered at once, whatever is asked for, in bytes.
const PIECE_BYTES_MAX: usize = 8 << 20;

/// Reads a piece of a snapshot.
pub fn fetch_snapshot(
    quorum: &QuorumHandle,
    snapshots: &Snapshots,
    io: &IoPool,
    context: &Arc<WireContext>,
    request: m::FetchSnapshotRequest,
) -> Answer<m::FetchSnapshotResponse> {
    let request = match wire::fetch_snapshot_request_from_wire(request, context) {
        Ok(request) => request,
        Err(refusal) => return Answer::Now(wire::fetch_snapshot_response_to_wire_refused(refusal)),
    };
    let (quorum, snapshots, io) = (quorum.clone(), snapshots.clone(), io.clone());
    Answer::later(async move {
        let Some(answer) = quorum.fetch_snapshot(request.clone()).await else {
            let error_code = Code::BrokerNotAvailable.code();
            return m::FetchSnapshotResponse { error_code, ..Default::default() };
        };
        if answer.error != ErrorCode::None {
            return wire::fetch_snapshot_response_to_wire(&answer);
        }
        let FetchSnapshotRequest { id, position, bytes_max, .. } = request;
        let reading = io.run(move || snapshots.read_piece(id, position, bytes_max.min(PIECE_BYTES_MAX)));
        let piece = reading.await.unwrap_or_else(|_| Err(io::Error::other("the disk's threads have ended")));
        wire::fetch_snapshot_response_to_wire(&with_piece(answer, piece, position))
    })
}

fn with_piece(
    answer: FetchSnapshotResponse,
    piece: io::Result<Piece>,
    position: i64,
) -> FetchSnapshotResponse {
    match piece {
        Ok(Piece::Bytes { size, bytes }) => FetchSnapshotResponse {
            size: i64::try_from(size).unwrap_or(i64::MAX),
            position,
            bytes: Bytes::from(bytes),
            ..answer
        },
        Ok(Piece::NoSnapshot) => FetchSnapshotResponse { error: ErrorCode::SnapshotNotFound, ..answer },
        Ok(Piece::OutOfRange) => FetchSnapshotResponse { error: ErrorCode::PositionOutOfRange, ..answer },
        Err(error) => {
            tracing::error!(snapshot = %answer.id, %error, "a snapshot cannot be read");
            FetchSnapshotResponse { error: ErrorCode::Other(Code::KafkaStorageError.code()), ..answer }
        }
    }
}
