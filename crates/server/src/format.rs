//! Prepares log directories for a node's first start, as `kafka-storage format` does.

use crate::config::NodeConfig;
use crate::directory::BOOTSTRAP_CHECKPOINT;
use ottla_controller::bootstrap;
use ottla_metadata::{MetadataVersion, checkpoint};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_storage::{Disk, META_PROPERTIES, MetaProperties, StorageError};
use ottla_types::{LeaderEpoch, NodeId, Random, Timestamp, Uuid};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why nothing is formatted.
#[derive(Debug, Error)]
pub enum FormatError {
    /// It would be overwritten.
    #[error("Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the others.", .0.display())]
    AlreadyFormatted(PathBuf),
    /// It belongs to another cluster.
    #[error("Invalid cluster.id in: {path}. Expected {expected}, but read {found}", path = .path.display())]
    OtherCluster {
        /// Its `meta.properties`.
        path: PathBuf,
        /// The cluster's id.
        expected: String,
        /// The id that is in the file.
        found: String,
    },
    /// It belongs to another node.
    #[error("Stored node id {found} doesn't match previous node id {expected} in {path}. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories.", path = .path.display())]
    OtherNode {
        /// Its `meta.properties`.
        path: PathBuf,
        /// The node's id.
        expected: NodeId,
        /// The id that is in the file.
        found: NodeId,
    },
    /// The level cannot be written.
    #[error("metadata.version {0} is not supported; the levels are {min} to {max}", min = MetadataVersion::MIN, max = MetadataVersion::LATEST)]
    UnsupportedVersion(MetadataVersion),
    /// The disk refuses.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The disk refuses.
    #[error("{path}: {source}", path = .path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the disk says.
        source: std::io::Error,
    },
}

/// What to do about directories that are formatted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formatted {
    /// Refuse.
    Refuse,
    /// Leave them as they are.
    Ignore,
}

/// Formats every log directory of `config`; returns what there is to say of it: a line for the first records, and one
/// for each directory.
///
/// # Errors
/// When one belongs to another cluster or node, or is formatted already and that is not allowed, or the disk refuses.
pub fn format(
    disk: &dyn Disk,
    config: &NodeConfig,
    cluster_id: &str,
    level: MetadataVersion,
    formatted: Formatted,
    random: &mut Random,
) -> Result<Vec<String>, FormatError> {
    if !(MetadataVersion::MIN..=MetadataVersion::LATEST).contains(&level) {
        return Err(FormatError::UnsupportedVersion(level));
    }
    let mut dirs = config.log_dirs.clone();
    if !dirs.contains(&config.metadata_log_dir) {
        dirs.push(config.metadata_log_dir.clone());
    }
    let (mut fresh, mut taken) = (Vec::new(), Vec::new());
    for dir in &dirs {
        match MetaProperties::read(disk, dir)? {
            Some(meta) => {
                check_owner(&meta, dir.join(META_PROPERTIES), config, cluster_id)?;
                taken.push(dir.clone());
            }
            None => fresh.push(dir.clone()),
        }
    }
    if let (Some(dir), Formatted::Refuse) = (taken.into_iter().next(), formatted) {
        return Err(FormatError::AlreadyFormatted(dir));
    }
    if fresh.is_empty() {
        return Ok(vec!["All of the log directories are already formatted.".to_owned()]);
    }
    let mut lines = vec![describe(level)];
    for dir in fresh {
        format_directory(disk, &dir, config, cluster_id, level, random.uuid())?;
        let kind = if dir == config.metadata_log_dir { "metadata" } else { "data" };
        lines.push(format!("Formatting {kind} directory {} with metadata.version {level}.", dir.display()));
    }
    Ok(lines)
}

/// Fails when a directory that is formatted already belongs to somebody else.
fn check_owner(
    meta: &MetaProperties,
    path: PathBuf,
    config: &NodeConfig,
    cluster_id: &str,
) -> Result<(), FormatError> {
    if meta.cluster_id != cluster_id {
        let (expected, found) = (cluster_id.to_owned(), meta.cluster_id.clone());
        return Err(FormatError::OtherCluster { path, expected, found });
    }
    if meta.node_id != config.node_id {
        return Err(FormatError::OtherNode { path, expected: config.node_id, found: meta.node_id });
    }
    Ok(())
}

/// The first records, in the words of `kafka-storage`.
fn describe(level: MetadataVersion) -> String {
    let records = bootstrap::records(level).into_iter().map(|record| match record {
        MetadataRecord::FeatureLevel(feature) => format!(
            "ApiMessageAndVersion(FeatureLevelRecord(name='{}', featureLevel={}) at version 0)",
            feature.name, feature.feature_level
        ),
        other => format!("{other:?}"),
    });
    let records: Vec<String> = records.collect();
    format!(
        "Bootstrap metadata: BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)",
        records.join(", "),
        level.0
    )
}

fn format_directory(
    disk: &dyn Disk,
    dir: &Path,
    config: &NodeConfig,
    cluster_id: &str,
    level: MetadataVersion,
    directory_id: Uuid,
) -> Result<(), FormatError> {
    let failed = |path: &Path, source| FormatError::Disk { path: path.to_owned(), source };
    disk.create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let path = dir.join(BOOTSTRAP_CHECKPOINT);
    disk.write_atomically(&path, &bootstrap_checkpoint(level)).map_err(|error| failed(&path, error))?;
    // Last: with it the directory counts as formatted.
    let meta = MetaProperties { cluster_id: cluster_id.to_owned(), node_id: config.node_id, directory_id };
    meta.write(disk, dir)?;
    Ok(())
}

/// `bootstrap.checkpoint`: the first records.
fn bootstrap_checkpoint(level: MetadataVersion) -> Vec<u8> {
    checkpoint::encode(&bootstrap::records(level), level, LeaderEpoch(0), Timestamp(0))
        .expect("short records fit the wire")
}
