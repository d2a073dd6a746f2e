//! Topics that tests make up.

use crate::consumer_group::{GroupTimes, TopicShape, Topics};
use ottla_types::Uuid;
use std::collections::BTreeMap;

/// Topics by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    version: i64,
    created: u128,
    pub(crate) topics: BTreeMap<String, TopicShape>,
    pub(crate) times: GroupTimes,
}

impl View {
    /// Creates a topic, or lets it grow.
    pub(crate) fn set(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        self.created += 1;
        let id = self.topics.get(name).map_or(Uuid::from_u128(self.created), |topic| topic.id);
        self.topics.insert(name.to_owned(), TopicShape { id, partitions });
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.version += 1;
        self.topics.remove(name);
    }
}

impl Topics for View {
    fn version(&self) -> i64 {
        self.version
    }

    fn by_name(&self, name: &str) -> Option<TopicShape> {
        self.topics.get(name).copied()
    }

    fn name_of(&self, id: Uuid) -> Option<&str> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.as_str())
    }

    fn names(&self) -> Vec<&str> {
        self.topics.keys().map(String::as_str).collect()
    }

    fn group_times(&self, _: &str) -> GroupTimes {
        self.times
    }
}
