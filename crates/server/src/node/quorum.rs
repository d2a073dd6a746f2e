//! Starts the quorum: opens its log, its latest snapshot and its vote.

use super::{Environment, StartError};
use crate::config::NodeConfig;
use crate::config::Properties;
use crate::directory::NodeDirectory;
use crate::io_pool::IoPool;
use crate::quorum::actor::{self, QuorumFailed, SnapshotPolicy};
use crate::quorum::peers::Peers;
use crate::quorum::state_file::StateFile;
use crate::quorum::{Committed, QuorumHandle, QuorumLog, Snapshots, Start};
use ottla_controller::Settings;
use ottla_metadata::MetadataImage;
use ottla_metadata::group_config::GroupBounds;
use ottla_net::Task;
use ottla_raft::wire::{METADATA_PARTITION, METADATA_TOPIC_NAME, WireContext, voters_from_record};
use ottla_raft::{Endpoint, Listener, Membership, Quorum, QuorumConfig, ReplicaKey, Voter, VoterSet};
use ottla_storage::{Log, LogConfig, Recovery};
use ottla_types::{NodeId, TopicPartition, Uuid};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

pub(super) fn wire_context(config: &NodeConfig, directory: &NodeDirectory) -> WireContext {
    WireContext {
        cluster_id: directory.meta.cluster_id.clone(),
        listener: config.controller_listeners[0].clone(),
    }
}

/// Where the metadata log is.
/// What the configuration of single groups must keep to.
fn group_bounds(properties: &Properties) -> GroupBounds {
    let number = |name: &str| properties.number(&format!("group.consumer.{name}"));
    GroupBounds {
        session: number("min.session.timeout.ms")..=number("max.session.timeout.ms"),
        heartbeat: number("min.heartbeat.interval.ms")..=number("max.heartbeat.interval.ms"),
        session_default: number("session.timeout.ms"),
        heartbeat_default: number("heartbeat.interval.ms"),
    }
}

fn metadata_dir(directory: &NodeDirectory) -> PathBuf {
    directory.directory.partition_path(&TopicPartition::new(METADATA_TOPIC_NAME, METADATA_PARTITION))
}

/// The snapshots of the metadata log, which lie beside it.
pub(super) fn snapshots(environment: &Environment, directory: &NodeDirectory) -> Snapshots {
    Snapshots::new(environment.disk.clone(), &metadata_dir(directory))
}

/// The addresses to ask who leads, under names that no node has.
fn bootstrap(config: &NodeConfig) -> BTreeMap<NodeId, Endpoint> {
    let endpoints = config.bootstrap_servers.iter().map(|server| (server.host.clone(), server.port));
    (2..).zip(endpoints).map(|(i, (host, port))| (NodeId(-i), Endpoint { host, port })).collect()
}

/// This node's listeners for the quorum and for brokers, as others reach them.
pub(crate) fn controller_listeners(config: &NodeConfig) -> Vec<Listener> {
    let listener = |name: &String| {
        let at = config.advertised.get(name)?;
        let endpoint = Endpoint { host: at.host.clone(), port: at.port };
        Some(Listener { name: name.clone(), endpoint })
    };
    // In the order of their names in the setting: the first is the one that the quorum uses.
    config.controller_listeners.iter().filter_map(listener).collect()
}

fn membership(config: &NodeConfig, bootstrap: Vec<NodeId>) -> Membership {
    let listeners = if config.roles.controller { controller_listeners(config) } else { Vec::new() };
    Membership {
        endpoint: listeners.first().map(|listener| listener.endpoint.clone()),
        listeners,
        bootstrap,
        joins: config.properties.switch("controller.quorum.auto.join.enable"),
        syncs: config.roles.controller,
    }
}

/// Starts the quorum's task.
///
/// # Errors
/// When the log, its latest snapshot or the vote cannot be read.
pub(super) fn start(
    config: &Arc<NodeConfig>,
    environment: &Environment,
    directory: &NodeDirectory,
    io: IoPool,
    published: watch::Sender<Arc<MetadataImage>>,
    committed: Option<mpsc::Sender<Committed>>,
    seed: u64,
) -> Result<(QuorumHandle, Task<Result<(), QuorumFailed>>), StartError> {
    let dir = metadata_dir(directory);
    let recovery = Recovery { clean: directory.clean_shutdown.is_some(), ..Recovery::UNKNOWN };
    let now = environment.clock.now();
    let disk = environment.disk.clone();
    let properties = &config.properties;
    let log_config = LogConfig {
        segment_bytes: properties.number("metadata.log.segment.bytes").unsigned_abs(),
        segment_ms: properties.number("metadata.log.segment.ms"),
        ..LogConfig::metadata()
    };
    let (mut log, report) = Log::open(disk.clone(), dir.clone(), log_config, recovery, now)?;
    if report.truncated_bytes > 0 {
        tracing::warn!(bytes = report.truncated_bytes, "cut off a torn end of the metadata log");
    }
    let snapshots = snapshots(environment, directory);
    let loaded = snapshots.load_latest(&mut log, now)?;
    let state_file = StateFile::new(disk, &dir);
    let state = state_file.load().map_err(StartError::QuorumState)?;
    let voters = VoterSet::new(config.voters.iter().map(|voter| {
        let endpoint = Endpoint { host: voter.host.clone(), port: voter.port };
        Voter::configured(ReplicaKey::new(voter.id, Uuid::ZERO), endpoint)
    }))?;
    let request_timeout = properties.millis("controller.quorum.request.timeout.ms");
    let quorum_config = QuorumConfig {
        fetch_timeout: properties.millis("controller.quorum.fetch.timeout.ms"),
        election_timeout: properties.millis("controller.quorum.election.timeout.ms"),
        request_timeout,
        ..QuorumConfig::default()
    };
    let wire = Arc::new(wire_context(config, directory));
    let bootstrap = bootstrap(config);
    let membership = membership(config, bootstrap.keys().copied().collect());
    let network = environment.network.clone();
    let peers = Peers::new(network, wire.clone(), config.node_id, bootstrap, request_timeout);
    let identity = ReplicaKey::new(config.node_id, directory.id());
    let first = loaded.voters.map(|record| voters_from_record(record, &wire.listener)).transpose();
    let first = first.map_err(StartError::FirstVoters)?;
    let log = QuorumLog::new(log, loaded.id, first, wire.listener.clone());
    let quorum = Quorum::new(quorum_config, identity, voters, state, log, seed).with_membership(membership);
    let settings = Settings {
        node_id: config.node_id,
        cluster_id: directory.meta.cluster_id.clone(),
        num_partitions: i32::try_from(properties.number("num.partitions")).unwrap_or(i32::MAX),
        default_replication_factor: i16::try_from(properties.number("default.replication.factor"))
            .unwrap_or(i16::MAX),
        min_insync_replicas: i32::try_from(properties.number("min.insync.replicas")).unwrap_or(i32::MAX),
        delete_topic_enable: properties.switch("delete.topic.enable"),
        topic_defaults: config.topic_defaults.clone(),
        group_bounds: group_bounds(properties),
    };
    Ok(actor::start(Start {
        quorum,
        state_file,
        image: loaded.image,
        snapshots,
        snapshot_policy: SnapshotPolicy {
            bytes_between: properties
                .number("metadata.log.max.record.bytes.between.snapshots")
                .unsigned_abs(),
            interval: properties.millis("metadata.log.max.snapshot.interval.ms"),
            retention_bytes: properties.number("metadata.max.retention.bytes"),
            retention_ms: properties.number("metadata.max.retention.ms"),
        },
        published,
        bootstrap: directory.bootstrap_records()?,
        settings,
        idle_interval: properties.millis("metadata.max.idle.interval.ms"),
        peers,
        io,
        clock: environment.clock,
        committed,
        seed,
    }))
}
