//! The log directory a node starts with: locked, and formatted for this node.

use ottla_metadata::{MetadataImage, checkpoint};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_storage::{Disk, Incarnation, LogDirectory, MetaProperties, StorageError};
use ottla_types::{BrokerEpoch, NodeId, Uuid};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// The file that holds a new cluster's first records.
pub const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// Why a log directory cannot be used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Nobody formatted it.
    #[error("{} is not formatted; run: ottla format -t CLUSTER_ID -c FILE.properties", .0.display())]
    NotFormatted(PathBuf),
    /// It belongs to another node.
    #[error("{path} belongs to node {found}, but node.id is {expected}; name this node's own directory in log.dirs", path = .path.display())]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who asks.
        expected: NodeId,
    },
    /// Another process uses it, or it cannot be opened.
    #[error("{path}: {source}; is another node running with the same log.dirs?", path = .path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the disk says.
        source: StorageError,
    },
    /// What it holds cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The first records cannot be read.
    #[error("{path}: {reason}", path = .path.display())]
    Bootstrap {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A node's directory, ready for use.
#[derive(Debug)]
pub struct NodeDirectory {
    /// The directory, locked.
    pub directory: Arc<LogDirectory>,
    /// What it says of itself.
    pub meta: MetaProperties,
    /// The epoch of the incarnation that stopped in order; `None` when the last one did not.
    pub clean_shutdown: Option<BrokerEpoch>,
    /// The last incarnation of which everything that it wrote is here: it stopped in order, or the machine has run ever
    /// since.
    pub complete_since: Incarnation,
}

impl NodeDirectory {
    /// Locks the directory and checks that it is this node's. The marker of an orderly end is removed.
    ///
    /// # Errors
    /// When it is not formatted, another node's, in use, or broken.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, node_id: NodeId) -> Result<NodeDirectory, DirectoryError> {
        let meta = MetaProperties::read(&*disk, path)?
            .ok_or_else(|| DirectoryError::NotFormatted(path.to_owned()))?;
        if meta.node_id != node_id {
            return Err(DirectoryError::OtherNode {
                path: path.to_owned(),
                found: meta.node_id,
                expected: node_id,
            });
        }
        let directory = LogDirectory::open(disk, path.to_owned())
            .map_err(|source| DirectoryError::Unusable { path: path.to_owned(), source })?;
        let clean_shutdown = directory.clean_shutdown()?;
        let noted = directory.incarnation_of_this_boot()?;
        let in_order = clean_shutdown.filter(|&epoch| epoch != BrokerEpoch::NONE);
        let complete_since = Incarnation {
            epoch: in_order.or(noted.map(|noted| noted.epoch)).unwrap_or(BrokerEpoch::NONE),
            registering: noted.and_then(|noted| noted.registering),
        };
        directory.remove_clean_shutdown()?;
        Ok(NodeDirectory { directory: Arc::new(directory), meta, clean_shutdown, complete_since })
    }

    /// The directory's id.
    pub fn id(&self) -> Uuid {
        self.meta.directory_id
    }

    /// What a new cluster begins with; empty when `format` left nothing.
    ///
    /// # Errors
    /// When the file is there and makes no sense.
    pub fn bootstrap_records(&self) -> Result<Vec<MetadataRecord>, DirectoryError> {
        let path = self.directory.path().join(BOOTSTRAP_CHECKPOINT);
        let bad = |reason: String| DirectoryError::Bootstrap { path: path.clone(), reason };
        let bytes = match self.directory.disk().read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(bad(error.to_string())),
        };
        let contents = checkpoint::decode(&bytes).map_err(|error| bad(error.to_string()))?;
        // Replayed here, lest a bad file stop the cluster only once it is in its log.
        contents.image(MetadataImage::default().end).map_err(|error| bad(error.to_string()))?;
        Ok(contents.records)
    }
}
