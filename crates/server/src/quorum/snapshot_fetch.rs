//! Fetches a snapshot from the quorum's leader, piece by piece (KIP-630).

use super::snapshots::{Loaded, Snapshots};
use crate::io_pool::IoPool;
use ottla_metadata::checkpoint;
use ottla_net::{CallError, Network, Outgoing};
use ottla_raft::wire::{self, WireContext};
use ottla_raft::{Endpoint, ErrorCode, FetchSnapshotRequest, ReplicaKey};
use ottla_types::{LeaderEpoch, OffsetAndEpoch};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Bytes asked for at once.
const PIECE_BYTES: usize = 4 << 20;

/// A snapshot larger than this is not loaded: it is held in memory while it is checked.
const SNAPSHOT_BYTES_MAX: u64 = 2 << 30;

/// Why a snapshot did not come. It is asked for again.
#[derive(Debug, Error)]
pub enum SnapshotFetchError {
    /// The leader cannot be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It refuses.
    #[error("the leader refuses it with error {0}")]
    Refused(i16),
    /// What it sends is no piece of that snapshot.
    #[error("the leader's answer makes no sense: {0}")]
    Nonsense(String),
    /// What came is no snapshot.
    #[error(transparent)]
    Unreadable(#[from] ottla_metadata::Unreadable),
    /// It could not be written.
    #[error("it cannot be written: {0}")]
    Disk(#[from] std::io::Error),
    /// The process is stopping.
    #[error("the disk's threads have ended")]
    Stopping,
}

/// What to fetch, for whom and where from.
pub(super) struct SnapshotFetch {
    pub network: Arc<dyn Network>,
    pub context: Arc<WireContext>,
    pub replica: ReplicaKey,
    pub leader: Endpoint,
    pub epoch: LeaderEpoch,
    pub id: OffsetAndEpoch,
    pub timeout: Duration,
    pub snapshots: Snapshots,
    pub io: IoPool,
}

impl SnapshotFetch {
    /// Fetches the snapshot, writes it to disk, and returns what to start from.
    pub(super) async fn run(self) -> Result<Loaded, SnapshotFetchError> {
        let bytes = self.fetch().await?;
        let (id, snapshots) = (self.id, self.snapshots);
        let loading = self.io.run(move || {
            let contents = checkpoint::decode(&bytes)?;
            let image = contents.image(id)?;
            snapshots.write(id, &bytes)?;
            Ok(Loaded { id: Some(id), image, voters: contents.voters })
        });
        loading.await.unwrap_or(Err(SnapshotFetchError::Stopping))
    }

    async fn fetch(&self) -> Result<Vec<u8>, SnapshotFetchError> {
        let client_id = format!("raft-client-{}", self.replica.id);
        let (host, port) = (&self.leader.host, self.leader.port);
        let connecting = Outgoing::connect(&*self.network, host, port, client_id.into(), self.timeout);
        let connection = connecting.await?;
        let mut file = Vec::new();
        loop {
            let request = FetchSnapshotRequest {
                replica: self.replica,
                epoch: self.epoch,
                id: self.id,
                position: file.len() as i64,
                bytes_max: PIECE_BYTES,
            };
            let request = wire::fetch_snapshot_request_to_wire(&request, &self.context);
            let answer = connection.call(&request, self.timeout).await?;
            let answer = wire::fetch_snapshot_response_from_wire(answer)
                .map_err(|error| SnapshotFetchError::Nonsense(error.to_string()))?;
            if answer.error != ErrorCode::None {
                return Err(SnapshotFetchError::Refused(answer.error.code()));
            }
            let size = u64::try_from(answer.size).unwrap_or(0);
            if answer.id != self.id || answer.position != file.len() as i64 || answer.bytes.is_empty() {
                let what = format!("{} bytes at {} of {}", answer.bytes.len(), answer.position, answer.id);
                return Err(SnapshotFetchError::Nonsense(what));
            }
            file.extend_from_slice(&answer.bytes);
            if size > SNAPSHOT_BYTES_MAX || file.len() as u64 > size {
                return Err(SnapshotFetchError::Nonsense(format!("{} bytes of {size}", file.len())));
            }
            if file.len() as u64 == size {
                return Ok(file);
            }
        }
    }
}
