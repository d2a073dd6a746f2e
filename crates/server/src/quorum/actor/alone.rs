//! The one controller of a cluster on a simulated disk, for tests.

use super::{Committed, QuorumFailed, SnapshotPolicy, Start};
use crate::config::Properties;
use crate::io_pool::Threads;
use crate::quorum::peers::Peers;
use crate::quorum::state_file::StateFile;
use crate::quorum::{QuorumHandle, QuorumLog, Snapshots};
use ottla_controller::Settings;
use ottla_metadata::MetadataImage;
use ottla_metadata::group_config::GroupBounds;
use ottla_net::{Clock, Task, Tcp};
use ottla_raft::wire::WireContext;
use ottla_raft::{Endpoint, Quorum, QuorumConfig, ReplicaKey, Voter, VoterSet};
use ottla_storage::{Disk, Log, LogConfig, Recovery, SimDisk};
use ottla_types::{NodeId, Uuid};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Of questions to peers, of which there are none.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Of the metadata log, as shipped.
pub(crate) fn log_config() -> LogConfig {
    let properties = Properties::default();
    LogConfig {
        segment_bytes: properties.number("metadata.log.segment.bytes").unsigned_abs(),
        segment_ms: properties.number("metadata.log.segment.ms"),
        ..LogConfig::metadata()
    }
}

/// A controller.
pub(crate) struct Alone {
    pub(crate) handle: QuorumHandle,
    pub(crate) published: watch::Receiver<Arc<MetadataImage>>,
    _quorum: Task<Result<(), QuorumFailed>>,
}

/// How it is set up.
pub(crate) struct Setup {
    pub(crate) clock: Clock,
    pub(crate) snapshot_policy: SnapshotPolicy,
    pub(crate) idle_interval: Duration,
    /// Gets what a broker beside it would get.
    pub(crate) committed: Option<mpsc::Sender<Committed>>,
}

/// Starts it in a directory that exists.
pub(crate) fn start(disk: &SimDisk, dir: &Path, setup: Setup) -> Alone {
    let Setup { clock, snapshot_policy, idle_interval, committed } = setup;
    let id = NodeId(1);
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, _) =
        Log::open(disk.clone(), dir.to_owned(), log_config(), Recovery::UNKNOWN, clock.now()).unwrap();
    let key = ReplicaKey::new(id, Uuid::from_u128(100));
    let endpoint = Endpoint { host: "node-1".to_owned(), port: 9093 };
    let voter = Voter::configured(ReplicaKey::new(id, Uuid::ZERO), endpoint);
    let log = QuorumLog::new(log, None, None, "CONTROLLER".to_owned());
    let state_file = StateFile::new(disk.clone(), dir);
    let state = state_file.load().unwrap();
    let voters = VoterSet::new([voter]).unwrap();
    let quorum = Quorum::new(QuorumConfig::default(), key, voters, state, log, 7);
    let context = WireContext { cluster_id: "alone".to_owned(), listener: "CONTROLLER".to_owned() };
    // Nobody else votes: none is ever dialled.
    let peers = Peers::new(Arc::new(Tcp), Arc::new(context), id, BTreeMap::new(), TIMEOUT);
    let (publish, published) = watch::channel(Arc::default());
    let threads = Threads::Simulated(Arc::new(|| Duration::from_millis(1)));
    let (handle, quorum) = super::start(Start {
        quorum,
        state_file,
        image: MetadataImage::default(),
        snapshots: Snapshots::new(disk, dir),
        snapshot_policy,
        bootstrap: Vec::new(),
        settings: Settings {
            node_id: NodeId(1),
            cluster_id: "alone".to_owned(),
            num_partitions: 1,
            default_replication_factor: 1,
            min_insync_replicas: 1,
            delete_topic_enable: true,
            topic_defaults: BTreeMap::new(),
            group_bounds: GroupBounds::default(),
        },
        idle_interval,
        peers,
        io: threads.pool("io", 1).unwrap(),
        clock,
        committed,
        published: publish,
        seed: 7,
    });
    Alone { handle, published, _quorum: quorum }
}
