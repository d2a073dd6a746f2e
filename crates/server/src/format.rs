//! Prepares log directories for a node's first start, as `kafka-storage format` does.

use crate::config::NodeConfig;
use crate::directory::BOOTSTRAP_CHECKPOINT;
use crate::node::controller_listeners;
use crate::quorum::Snapshots;
use ottla_controller::bootstrap;
use ottla_metadata::{MetadataVersion, checkpoint};
use ottla_protocol::records::control::VotersRecord;
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_raft::wire::{METADATA_PARTITION, METADATA_TOPIC_NAME, voters_to_record};
use ottla_raft::{Endpoint, KRaftVersions, Listener, ReplicaKey, Voter, VoterSet};
use ottla_storage::{Disk, META_PROPERTIES, MetaProperties, StorageError};
use ottla_types::{LeaderEpoch, NodeId, Random, Timestamp, TopicPartition, Uuid};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// The first voters cannot be as they are asked for.
    #[error("{0}")]
    Voters(String),
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

/// Who votes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstVoters {
    /// `controller.quorum.voters`, for as long as the cluster lives (kraft.version 0).
    Configured,
    /// This node alone (`--standalone`). Others are added later.
    Standalone,
    /// These (`--initial-controllers`). All of them must be formatted with the same list.
    Listed(Vec<InitialController>),
    /// The log tells: this node joins a quorum that there is (`--no-initial-controllers`).
    Unknown,
}

/// A controller that votes from the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialController {
    /// Its `node.id`.
    pub id: NodeId,
    /// Where it is reached.
    pub host: String,
    /// Where it is reached.
    pub port: u16,
    /// The id that its metadata directory gets.
    pub directory_id: Uuid,
}

/// What a new cluster, or a new node of one, begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The metadata.version.
    pub level: MetadataVersion,
    /// The kraft.version, where somebody asks for one.
    pub kraft_version: Option<i16>,
    /// Who votes first.
    pub voters: FirstVoters,
}

impl Beginning {
    /// With the voters that the configuration names.
    pub fn at(level: MetadataVersion) -> Beginning {
        Beginning { level, kraft_version: None, voters: FirstVoters::Configured }
    }

    /// Whether the log names the voters, and this node learns them from there.
    fn is_dynamic(&self, config: &NodeConfig) -> bool {
        self.voters != FirstVoters::Configured || config.voters.is_empty()
    }

    /// Checks what does not go together, as `kafka-storage` does.
    fn check(&self, config: &NodeConfig) -> Result<(), FormatError> {
        if !(MetadataVersion::MIN..=MetadataVersion::LATEST).contains(&self.level) {
            return Err(FormatError::UnsupportedVersion(self.level));
        }
        let is_dynamic = self.is_dynamic(config);
        let refuse = |reason: String| Err(FormatError::Voters(reason));
        match self.voters {
            FirstVoters::Configured if config.voters.is_empty() && config.roles.controller => {
                return refuse(
                    "Because controller.quorum.voters is not set on this controller, you must specify one of the \
                     following: --standalone, --initial-controllers, or --no-initial-controllers."
                        .to_owned(),
                );
            }
            FirstVoters::Standalone | FirstVoters::Listed(_) | FirstVoters::Unknown
                if !config.voters.is_empty() =>
            {
                return refuse(format!(
                    "You cannot specify controller.quorum.voters and format the node with {}. If you want to use \
                     dynamic quorum, please remove controller.quorum.voters and specify \
                     controller.quorum.bootstrap.servers instead.",
                    if self.voters == FirstVoters::Unknown {
                        "--no-initial-controllers"
                    } else {
                        "--initial-controllers or --standalone"
                    }
                ));
            }
            FirstVoters::Standalone if !config.roles.controller => {
                return refuse("You can only use --standalone on a controller.".to_owned());
            }
            FirstVoters::Listed(_) if !config.roles.controller => {
                return refuse("You can only use --initial-controllers on a controller.".to_owned());
            }
            _ => {}
        }
        match (self.kraft_version, is_dynamic) {
            (None | Some(1), true) | (None | Some(0), false) => {}
            (Some(version @ 0..=1), _) => {
                let when = if is_dynamic { "if" } else { "unless" };
                return refuse(format!(
                    "Cannot set kraft.version to {version} {when} KIP-853 configuration is present. Try removing \
                     the --feature flag for kraft.version."
                ));
            }
            (Some(other), _) => {
                return refuse(format!("No feature:kraft.version with feature level {other}"));
            }
        }
        if is_dynamic && self.level < KRAFT_VERSION_1_MIN {
            return Err(FormatError::Voters(format!(
                "kraft.version could not be set to 1 because it depends on metadata.version level {}",
                KRAFT_VERSION_1_MIN.0
            )));
        }
        Ok(())
    }

    /// The id of this node's metadata directory, where the list of voters says so.
    fn directory_id(&self, node_id: NodeId) -> Option<Uuid> {
        let FirstVoters::Listed(listed) = &self.voters else { return None };
        listed.iter().find(|controller| controller.id == node_id).map(|controller| controller.directory_id)
    }

    /// The first voters as a record of the log; `None` where the log or the configuration tells.
    fn voters_record(
        &self,
        config: &NodeConfig,
        directory_id: Uuid,
    ) -> Result<Option<VotersRecord>, FormatError> {
        let voters = match &self.voters {
            FirstVoters::Configured | FirstVoters::Unknown => return Ok(None),
            FirstVoters::Standalone => {
                let listeners = controller_listeners(config);
                vec![voter(config.node_id, directory_id, listeners)]
            }
            FirstVoters::Listed(listed) => {
                let of = |controller: &InitialController| {
                    let endpoint = Endpoint { host: controller.host.clone(), port: controller.port };
                    let name = config.controller_listeners[0].clone();
                    voter(controller.id, controller.directory_id, vec![Listener { name, endpoint }])
                };
                listed.iter().map(of).collect()
            }
        };
        let set = VoterSet::new(voters).map_err(|error| FormatError::Voters(error.to_string()))?;
        Ok(Some(voters_to_record(&set)))
    }
}

fn voter(id: NodeId, directory_id: Uuid, listeners: Vec<Listener>) -> Voter {
    let endpoint = listeners.first().map(|listener| listener.endpoint.clone());
    Voter {
        key: ReplicaKey::new(id, directory_id),
        endpoint: endpoint.expect("a controller has its first listener: the configuration was checked"),
        listeners,
        kraft_versions: KRaftVersions::SUPPORTED,
    }
}

/// The metadata.version that kraft.version 1 needs: 3.9-IV0.
const KRAFT_VERSION_1_MIN: MetadataVersion = MetadataVersion(21);

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
    disk: Arc<dyn Disk>,
    config: &NodeConfig,
    cluster_id: &str,
    beginning: &Beginning,
    formatted: Formatted,
    now: Timestamp,
    random: &mut Random,
) -> Result<Vec<String>, FormatError> {
    beginning.check(config)?;
    let level = beginning.level;
    let (mut fresh, mut taken) = (Vec::new(), Vec::new());
    for dir in config.directories() {
        match MetaProperties::read(&*disk, &dir)? {
            Some(meta) => {
                check_owner(&meta, dir.join(META_PROPERTIES), config, cluster_id)?;
                taken.push(dir);
            }
            None => fresh.push(dir),
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
        let is_metadata = dir == config.metadata_log_dir;
        let mut directory_id = random.uuid();
        if let Some(listed) = beginning.directory_id(config.node_id).filter(|_| is_metadata) {
            directory_id = listed;
        }
        let voters = beginning.voters_record(config, directory_id)?.filter(|_| is_metadata);
        let kind = match (is_metadata, &voters, beginning.is_dynamic(config)) {
            (false, ..) => "data",
            (true, _, false) => "metadata",
            (true, Some(voters), _) if voters.voters.iter().any(|v| v.voter_directory_id == directory_id) => {
                "dynamic metadata voter"
            }
            (true, ..) => "dynamic metadata",
        };
        make_directory(&*disk, &dir)?;
        if let Some(voters) = voters {
            write_first_voters(disk.clone(), &dir, &voters, now)?;
        }
        format_directory(&*disk, &dir, config, cluster_id, level, directory_id)?;
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

/// Makes a directory, and those above it that are not there, so that a loss of power does not take them: without its name what is
/// in it is nowhere.
fn make_directory(disk: &dyn Disk, dir: &Path) -> Result<(), FormatError> {
    let failed = |path: &Path, source| FormatError::Disk { path: path.to_owned(), source };
    let new: Vec<&Path> = dir.ancestors().take_while(|path| is_missing(disk, path)).collect();
    disk.create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for path in new {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        disk.sync_dir(parent).map_err(|error| failed(parent, error))?;
    }
    Ok(())
}

fn is_missing(disk: &dyn Disk, dir: &Path) -> bool {
    let is_name = dir.file_name().is_some();
    is_name && disk.list(dir).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The snapshot at offset 0 that names the first voters. It is there before the directory counts as formatted.
fn write_first_voters(
    disk: Arc<dyn Disk>,
    dir: &Path,
    voters: &VotersRecord,
    now: Timestamp,
) -> Result<(), FormatError> {
    let topic = TopicPartition::new(METADATA_TOPIC_NAME, METADATA_PARTITION);
    let path = dir.join(topic.to_string());
    let failed = |source| FormatError::Disk { path: path.clone(), source };
    disk.create_dir_all(&path).map_err(failed)?;
    Snapshots::new(disk, &path).write_first(voters, now).map_err(failed)
}

fn format_directory(
    disk: &dyn Disk,
    dir: &Path,
    config: &NodeConfig,
    cluster_id: &str,
    level: MetadataVersion,
    directory_id: Uuid,
) -> Result<(), FormatError> {
    let path = dir.join(BOOTSTRAP_CHECKPOINT);
    let failed = |source| FormatError::Disk { path: path.clone(), source };
    disk.write_atomically(&path, &bootstrap_checkpoint(level)).map_err(failed)?;
    // Last: with it the directory counts as formatted.
    let meta = MetaProperties { cluster_id: cluster_id.to_owned(), node_id: config.node_id, directory_id };
    meta.write(disk, dir)?;
    Ok(())
}

/// `bootstrap.checkpoint`: the first records.
fn bootstrap_checkpoint(level: MetadataVersion) -> Vec<u8> {
    checkpoint::encode(&bootstrap::records(level), level, LeaderEpoch(0), Timestamp(0), None)
        .expect("short records fit the wire")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Properties;
    use ottla_storage::SimDisk;

    const SETTINGS: &str = "process.roles=broker,controller\n\
         node.id=1\n\
         listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
         controller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers=localhost:9093\n\
         log.dirs=/srv/ottla/first,/srv/ottla/second\n";

    #[test]
    fn what_is_formatted_outlives_a_loss_of_power() {
        let properties = Properties::parse("server.properties", SETTINGS.as_bytes()).unwrap();
        let config = NodeConfig::new(properties).unwrap();
        for seed in 0..50 {
            let (disk, mut random) = (SimDisk::new(), Random::new(seed));
            let voters = FirstVoters::Standalone;
            let beginning = Beginning { voters, ..Beginning::at(MetadataVersion::LATEST) };
            let on = Arc::new(disk.clone());
            format(on, &config, "c", &beginning, Formatted::Refuse, Timestamp(0), &mut random).unwrap();

            disk.lose_power(&mut random);

            for dir in config.directories() {
                let found = MetaProperties::read(&disk, &dir).unwrap();
                assert!(found.is_some(), "seed {seed}: {}", dir.display());
            }
            let first = Snapshots::new(Arc::new(disk), Path::new("/srv/ottla/first/__cluster_metadata-0"));
            let beginning =
                ottla_types::OffsetAndEpoch { offset: ottla_types::Offset::ZERO, epoch: LeaderEpoch(0) };
            assert!(first.size(beginning) > 0, "seed {seed}");
        }
    }
}
