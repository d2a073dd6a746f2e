//! What changed between two images.

use crate::ConfigResource;
use ottla_types::{NodeId, TopicIdPartition, Uuid};
use std::collections::BTreeSet;

/// The names of what a run of records touched; the values are in the image.
///
/// Following a leader's election costs what changed, not what exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataDelta {
    /// Partitions created or changed.
    pub partitions: BTreeSet<TopicIdPartition>,
    /// Topics removed, with their names.
    pub removed_topics: BTreeSet<(Uuid, String)>,
    /// Brokers registered, changed or unregistered.
    pub brokers: BTreeSet<NodeId>,
    /// Resources whose configuration changed.
    pub configs: BTreeSet<ConfigResource>,
    /// Whether a feature level changed.
    pub features: bool,
}

impl MetadataDelta {
    /// Returns whether nothing changed that anyone acts on.
    pub fn is_empty(&self) -> bool {
        *self == MetadataDelta::default()
    }

    /// Adds what a later run of records touched.
    pub fn merge(&mut self, later: MetadataDelta) {
        self.partitions.retain(|at| !later.removed_topics.iter().any(|(id, _)| *id == at.topic_id));
        self.partitions.extend(later.partitions);
        self.removed_topics.extend(later.removed_topics);
        self.brokers.extend(later.brokers);
        self.configs.extend(later.configs);
        self.features |= later.features;
    }
}
