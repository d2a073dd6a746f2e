//! A coordinator of either kind, and the broker around it: alone, with one partition of its topic on a disk in memory.

use super::sizes::Sizes;
use super::time;
use crate::config::Properties;
use crate::coordination::Machine;
use crate::coordination::loading::Loading;
use crate::coordination::shard::{Shard, Standing, Worker};
use crate::io_pool::Threads;
use crate::replicas::directories::FoundDirectory;
use crate::replicas::replica_manager::ReplicaManagerOptions;
use crate::replicas::{Replica, ReplicaManager};
use ottla_metadata::{MetadataDelta, MetadataImage};
use ottla_net::Task;
use ottla_protocol::records::metadata::{ConfigRecord, MetadataRecord, PartitionRecord, TopicRecord};
use ottla_storage::{CleanerOptions, Disk, LogDirectory, SimDisk};
use ottla_types::{LeaderEpoch, NodeId, TopicIdPartition, Uuid};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const LOGS: &str = "/logs";
const TOPIC_ID: Uuid = Uuid::from_u128(71);

/// What keeps the log small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// As shipped.
    Shipped,
    /// `log.cleaner.enable=false`.
    NothingIsCompacted,
    /// What is to expire does so after more than a year.
    NothingExpires,
}

fn image(topic: &str, segment_bytes: i64) -> MetadataImage {
    let config = |name: &str, value: String| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: 2,
            resource_name: topic.to_owned(),
            name: name.to_owned(),
            value: Some(value),
        })
    };
    let records = [
        MetadataRecord::Topic(TopicRecord { name: topic.to_owned(), topic_id: TOPIC_ID }),
        config("cleanup.policy", "compact".to_owned()),
        config("segment.bytes", segment_bytes.to_string()),
        MetadataRecord::Partition(PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC_ID,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            ..Default::default()
        }),
    ];
    let mut image = MetadataImage::default();
    for record in records {
        image.replay(&record, &mut MetadataDelta::default()).unwrap();
    }
    image
}

fn manager(disk: &SimDisk) -> Arc<ReplicaManager> {
    let directory = Arc::new(LogDirectory::open(Arc::new(disk.clone()), PathBuf::from(LOGS)).unwrap());
    let (isr_changes, _) = mpsc::channel(16);
    let manager = ReplicaManager::new(ReplicaManagerOptions {
        node_id: NodeId(1),
        clock: time::clock(),
        metadata_directory: PathBuf::from(LOGS),
        directories: vec![FoundDirectory { directory, id: Uuid::from_u128(101), clean: false }],
        unusable_directories: Vec::new(),
        topic_defaults: Properties::default().topic_defaults().unwrap(),
        replica_lag_time_max: Duration::from_secs(30),
        has_readers_elsewhere: false,
        transaction_verification: true,
        producer_id_expiration_ms: Properties::default().number("producer.id.expiration.ms"),
        isr_changes,
        seed: 7,
        threads: Threads::default(),
    });
    Arc::new(manager.unwrap())
}

/// What each term of a coordinator stands on.
struct Ground<M: Machine> {
    manager: Arc<ReplicaManager>,
    replica: Arc<Replica>,
    settings: M::Settings,
    commit_timeout: Duration,
    worker: Worker<M>,
}

impl<M: Machine> Ground<M> {
    fn load(&self, term: u64) -> (Arc<Shard<M>>, Task) {
        Shard::start(
            self.manager.clone(),
            self.replica.clone(),
            LeaderEpoch(0),
            Loading::new(self.settings.clone(), term),
            self.commit_timeout,
            self.worker.clone(),
        )
    }
}

/// A coordinator and the broker around it.
pub(super) struct Coordinator<M: Machine> {
    disk: SimDisk,
    ground: Ground<M>,
    pub(super) shard: Arc<Shard<M>>,
    _running: Task,
    /// How often it was loaded.
    terms: u64,
}

impl<M: Machine> Coordinator<M> {
    /// One with an empty log, whose segments are as long as the property `segment_bytes` says.
    pub(super) fn start(settings: M::Settings, segment_bytes: &str, worker: Worker<M>) -> Coordinator<M> {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new(LOGS)).unwrap();
        let manager = manager(&disk);
        let properties = Properties::default();
        let image = image(M::TOPIC, properties.number(segment_bytes));
        manager.apply(&image, &MetadataDelta::default(), true);
        let replica = manager.get(TopicIdPartition::new(TOPIC_ID, 0)).unwrap();
        let commit_timeout = properties.millis("offsets.commit.timeout.ms");
        let ground = Ground { manager, replica, settings, commit_timeout, worker };
        let (shard, running) = ground.load(0);
        Coordinator { disk, ground, shard, _running: running, terms: 0 }
    }

    /// Another one takes over, which knows the log only.
    pub(super) async fn fail_over(&mut self) {
        self.shard.stop();
        self.terms += 1;
        (self.shard, self._running) = self.ground.load(self.terms);
        let mut standing = self.shard.standing();
        standing.wait_for(|standing| *standing == Standing::Active).await.unwrap();
    }

    /// What a broker does with its logs every now and then.
    pub(super) fn look_after_logs(&self, care: Care) {
        self.ground.manager.checkpoint_logs();
        self.ground.manager.handle_retention();
        let properties = Properties::default();
        let options = CleanerOptions {
            map_bytes_max: usize::try_from(properties.number("log.cleaner.dedupe.buffer.size")).unwrap(),
            secret: [7; 16],
        };
        while care != Care::NothingIsCompacted && self.ground.manager.clean_filthiest(&options) {}
    }

    /// Takes note of what the log has on the disk.
    pub(super) fn note_size(&self, sizes: &mut Sizes) {
        sizes.note(&self.disk, &Path::new(LOGS).join(format!("{}-0", M::TOPIC)));
    }
}
