//! `quorum-state`: the epoch, and whom this node voted for in it.

use ottla_raft::{QuorumState, VoterSet};
use ottla_storage::Disk;
use ottla_types::LeaderEpoch;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file, in the directory of the metadata log.
#[derive(Debug)]
pub struct StateFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl StateFile {
    /// The file in `dir`.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> StateFile {
        StateFile { disk, path: dir.join("quorum-state") }
    }

    /// What the file says; epoch 0 and no vote when there is no file.
    ///
    /// # Errors
    /// When it cannot be read or makes no sense: this node might vote twice, and must not start.
    pub fn load(&self) -> io::Result<QuorumState> {
        match self.disk.read(&self.path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                QuorumState::decode(&text).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", self.path.display()))
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(QuorumState::new(LeaderEpoch(0))),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file; on return it is on disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn store(&self, state: &QuorumState, kraft_version: i16, voters: &VoterSet) -> io::Result<()> {
        let text = if kraft_version == 0 { state.encode_v0(voters) } else { state.encode_v1() };
        self.disk.write_atomically(&self.path, text.as_bytes())
    }
}
