//! Topics, by name and by id.

use crate::PartitionRegistration;
use ottla_types::{TopicIdPartition, Uuid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: String,
    /// Its id: another one when it is deleted and created again.
    pub id: Uuid,
    /// Its partitions by number. Without gaps, except while a creation is being replayed.
    pub partitions: BTreeMap<i32, PartitionRegistration>,
}

/// All topics. Cloning shares the topics that do not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsImage {
    by_name: BTreeMap<String, Arc<TopicImage>>,
    names: BTreeMap<Uuid, String>,
}

impl TopicsImage {
    /// Adds a topic without partitions, or replaces the one of that name.
    pub(crate) fn create(&mut self, name: &str, id: Uuid) {
        let topic = TopicImage { name: name.to_owned(), id, partitions: BTreeMap::new() };
        self.by_name.insert(name.to_owned(), Arc::new(topic));
        self.names.insert(id, name.to_owned());
    }

    /// Removes a topic and returns it.
    pub(crate) fn remove(&mut self, id: Uuid) -> Option<Arc<TopicImage>> {
        let name = self.names.remove(&id)?;
        self.by_name.remove(&name)
    }

    /// The topic with this id, to change.
    pub(crate) fn topic_mut(&mut self, id: Uuid) -> Option<&mut TopicImage> {
        self.by_name.get_mut(self.names.get(&id)?).map(Arc::make_mut)
    }

    /// The topic of this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    pub fn by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.by_name.get(self.names.get(&id)?)
    }

    /// One partition of the topic with this id.
    pub fn partition(&self, at: TopicIdPartition) -> Option<&PartitionRegistration> {
        self.by_id(at.topic_id)?.partitions.get(&at.partition)
    }

    /// All topics in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.values()
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Returns whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}
