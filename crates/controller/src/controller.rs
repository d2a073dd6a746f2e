//! The machine itself: its state, and the two ways to move it.

use crate::brokers::Liveness;
use crate::bug::Bug;
use crate::elections::{Brokers, Election, Eligibility};
use ottla_metadata::group_config::GroupBounds;
use ottla_metadata::{
    ConfigResource, ELIGIBLE_LEADER_REPLICAS, MetadataDelta, MetadataImage, PartitionRegistration,
    ReplayError,
};
use ottla_protocol::records::metadata::{MetadataRecord, NoOpRecord};
use ottla_types::{NodeId, Offset, Random, TopicIdPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// What the node's configuration says to the controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub node_id: NodeId,
    /// The cluster's id, which every registration must name.
    pub cluster_id: String,
    /// `num.partitions`: for topics created without a number.
    pub num_partitions: i32,
    /// `default.replication.factor`: for topics created without one.
    pub default_replication_factor: i16,
    /// `min.insync.replicas`: for topics that set none.
    pub min_insync_replicas: i32,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// What this node's file sets in place of topics' own configuration, by the topic configuration's name.
    pub topic_defaults: BTreeMap<String, String>,
    /// What bounds the configuration of single groups.
    pub group_bounds: GroupBounds,
}

#[cfg(test)]
impl Settings {
    /// One of everything.
    pub(crate) fn for_tests() -> Settings {
        Settings {
            node_id: NodeId(1),
            cluster_id: "c".to_owned(),
            num_partitions: 1,
            default_replication_factor: 1,
            min_insync_replicas: 1,
            delete_topic_enable: true,
            topic_defaults: BTreeMap::new(),
            group_bounds: GroupBounds::default(),
        }
    }
}

/// The most partitions one request may create, as in Kafka.
pub const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

/// Decides. One per term of leadership.
#[derive(Debug)]
pub struct Controller {
    pub(crate) settings: Settings,
    /// What the log says, up to the last record appended: not all of it is committed.
    pub(crate) image: MetadataImage,
    pub(crate) liveness: BTreeMap<NodeId, Liveness>,
    /// See [`Controller::set_newcomers`].
    pub(crate) newcomers: BTreeSet<NodeId>,
    pub(crate) random: Random,
    #[cfg(test)]
    pub(crate) bug: Option<Bug>,
}

impl Controller {
    /// A controller that goes on from `image`, which holds every committed record. `seed` decides where
    /// replicas are placed.
    pub fn new(settings: Settings, image: MetadataImage, seed: u64) -> Controller {
        let (liveness, newcomers) = (BTreeMap::new(), BTreeSet::new());
        Controller {
            settings,
            image,
            liveness,
            newcomers,
            random: Random::new(seed),
            #[cfg(test)]
            bug: None,
        }
    }

    /// Applies a record of this controller's own, as soon as it is appended; `offset` is its place.
    ///
    /// # Errors
    /// When the record cannot follow the image: a bug in whatever decided it.
    pub fn replay(&mut self, record: &MetadataRecord, offset: Offset) -> Result<(), ReplayError> {
        self.image.replay(record, &mut MetadataDelta::default())?;
        self.image.end.offset = offset + 1;
        Ok(())
    }

    /// Tells where the next record will stand: the quorum writes records of its own between the
    /// controller's.
    pub fn set_end(&mut self, end: Offset) {
        assert!(end >= self.image.end.offset, "the log does not shrink under its leader");
        self.image.end.offset = end;
    }

    /// Tells which brokers came back a moment ago. When a leader goes, others are preferred to them, which Kafka does
    /// not do: librdkafka dials a broker that was away ever more rarely, up to 10 s apart, and what that one leads is
    /// not served meanwhile. In a rolling restart it is always the broker just restarted that would be next.
    pub fn set_newcomers(&mut self, newcomers: BTreeSet<NodeId>) {
        self.newcomers = newcomers;
    }

    /// What the log says, up to the last record appended.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Records that keep the metadata offset moving while nothing happens (KIP-835), for people who watch it: that
    /// the controller lives, Ottla's nodes know from what it answers. Each is synced on every controller's disk.
    pub fn handle_idle(&self) -> Vec<MetadataRecord> {
        vec![MetadataRecord::NoOp(NoOpRecord::default())]
    }

    /// A change of a partition.
    pub(crate) fn election<'a>(
        &self,
        at: TopicIdPartition,
        partition: &'a PartitionRegistration,
    ) -> Election<'a> {
        let election = Election::new(at, partition, self.eligibility(at.topic_id));
        #[cfg(test)]
        let election = election.with_bug(self.bug);
        election
    }

    /// Returns whether a test asked for this mistake.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only tests make mistakes on purpose"))]
    pub(crate) fn has(&self, bug: Bug) -> bool {
        #[cfg(test)]
        return self.bug == Some(bug);
        #[cfg(not(test))]
        {
            let _ = bug;
            false
        }
    }

    /// Who may lead a partition.
    pub(crate) fn candidates<'a>(&'a self, partition: &'a PartitionRegistration) -> Brokers<'a> {
        Brokers { cluster: &self.image.cluster, newcomers: &self.newcomers, partition }
    }

    fn eligibility(&self, topic_id: Uuid) -> Eligibility {
        match self.image.topics.by_id(topic_id) {
            Some(topic) if self.image.features.level(ELIGIBLE_LEADER_REPLICAS) > 0 => {
                Eligibility::Below(self.min_insync_replicas(&topic.name))
            }
            _ => Eligibility::Off,
        }
    }

    /// `min.insync.replicas` of a topic: its own, else the cluster's, else this node's.
    pub fn min_insync_replicas(&self, topic: &str) -> usize {
        let name = "min.insync.replicas";
        let configs = &self.image.configs;
        let own = configs.value(&ConfigResource::topic(topic), name);
        let min_isr = own
            .or_else(|| configs.value(&ConfigResource::cluster(), name))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(self.settings.min_insync_replicas);
        usize::try_from(min_isr).unwrap_or(1)
    }
}
