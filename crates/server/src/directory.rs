//! The log directories a node starts with: locked, and formatted for this node.

use crate::config::NodeConfig;
use crate::replicas::directories::FoundDirectory;
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
    /// Two belong to different clusters.
    #[error("{path} belongs to cluster {found}, and {other} to cluster {expected}; name directories of one cluster in log.dirs", path = .path.display(), other = .other.display())]
    OtherCluster {
        /// One directory.
        path: PathBuf,
        /// Its cluster.
        found: String,
        /// The directory of the metadata log.
        other: PathBuf,
        /// Its cluster.
        expected: String,
    },
    /// Two are copies of each other.
    #[error("{path} and {other} have the same directory.id={id} in meta.properties; is one a copy of the other?", path = .path.display(), other = .other.display())]
    SameId {
        /// One directory.
        path: PathBuf,
        /// The other.
        other: PathBuf,
        /// The id of both.
        id: Uuid,
    },
    /// Not one of the directories for records can be used.
    #[error("none of the directories in log.dirs can be used")]
    NoneUsable,
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

impl DirectoryError {
    /// Returns whether the disk may be to blame. One that is not mounted looks as if nobody had formatted it.
    fn is_of_disk(&self) -> bool {
        match self {
            DirectoryError::NotFormatted(_) | DirectoryError::Storage(StorageError::Io { .. }) => true,
            DirectoryError::Unusable { source: StorageError::Io { source, .. }, .. } => {
                source.kind() != std::io::ErrorKind::WouldBlock
            }
            _ => false,
        }
    }
}

/// All directories of a node.
#[derive(Debug)]
pub struct NodeDirectories {
    /// Where the metadata log is.
    pub metadata: NodeDirectory,
    /// Where the partitions are; the metadata log's may be among them.
    pub data: Vec<NodeDirectory>,
    /// Where partitions were to be, too: their disks do not work.
    pub unusable: Vec<PathBuf>,
}

impl NodeDirectories {
    /// Locks all directories that `config` names, and checks that they are this node's. One whose disk does not work
    /// or is not there is left out, unless it is the metadata log's: the others' replicas are served without it.
    ///
    /// # Errors
    /// When one is another node's, in use, or holds nonsense; when the metadata log's cannot be used, or none of the
    /// others.
    pub fn open(disk: &Arc<dyn Disk>, config: &NodeConfig) -> Result<NodeDirectories, DirectoryError> {
        let metadata = NodeDirectory::open(disk.clone(), &config.metadata_log_dir, config.node_id)?;
        let (mut data, mut unusable): (Vec<NodeDirectory>, Vec<PathBuf>) = (Vec::new(), Vec::new());
        for path in &config.log_dirs {
            if *path == config.metadata_log_dir {
                data.push(metadata.clone());
                continue;
            }
            match NodeDirectory::open(disk.clone(), path, config.node_id) {
                Ok(directory) => {
                    check_companion(&directory, &metadata, &data)?;
                    data.push(directory);
                }
                Err(error) if error.is_of_disk() => {
                    tracing::error!(%error, "log directory cannot be used; the broker goes on without it");
                    unusable.push(path.clone());
                }
                Err(error) => return Err(error),
            }
        }
        if data.is_empty() && config.roles.broker {
            return Err(DirectoryError::NoneUsable);
        }
        Ok(NodeDirectories { metadata, data, unusable })
    }
}

fn check_companion(
    directory: &NodeDirectory,
    metadata: &NodeDirectory,
    data: &[NodeDirectory],
) -> Result<(), DirectoryError> {
    let path = |directory: &NodeDirectory| directory.directory.path().to_owned();
    if directory.meta.cluster_id != metadata.meta.cluster_id {
        return Err(DirectoryError::OtherCluster {
            path: path(directory),
            found: directory.meta.cluster_id.clone(),
            other: path(metadata),
            expected: metadata.meta.cluster_id.clone(),
        });
    }
    match [metadata].into_iter().chain(data).find(|other| other.id() == directory.id()) {
        None => Ok(()),
        Some(other) => {
            Err(DirectoryError::SameId { path: path(directory), other: path(other), id: other.id() })
        }
    }
}

/// The last incarnation of which everything that it wrote is in these directories: the one that all of them name. A
/// directory that is not among them, or that is new, may be missing something.
pub fn complete_since(data: &[NodeDirectory], is_any_missing: bool) -> Incarnation {
    let mut named = data.iter().map(|directory| directory.complete_since);
    let first = named.next().filter(|first| !is_any_missing && named.all(|other| other == *first));
    first.unwrap_or(Incarnation { epoch: BrokerEpoch::NONE, registering: None })
}

/// One directory of a node, ready for use.
#[derive(Clone, Debug)]
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
        let complete_since = match (in_order, noted) {
            (None, None) => Incarnation { epoch: BrokerEpoch::NONE, registering: None },
            // Apache Kafka may have run here since: it leaves our note as it is.
            (Some(epoch), noted) => {
                let noted = noted.filter(|noted| noted.epoch == epoch);
                Incarnation { epoch, registering: noted.and_then(|noted| noted.registering) }
            }
            (None, Some(noted)) => noted,
        };
        directory.remove_clean_shutdown()?;
        Ok(NodeDirectory { directory: Arc::new(directory), meta, clean_shutdown, complete_since })
    }

    /// The directory's id.
    pub fn id(&self) -> Uuid {
        self.meta.directory_id
    }

    /// The directory for replicas.
    pub fn to_found(&self) -> FoundDirectory {
        let directory = self.directory.clone();
        FoundDirectory { directory, id: self.id(), clean: self.clean_shutdown.is_some() }
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

#[cfg(test)]
mod tests;
