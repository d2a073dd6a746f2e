//! The topics of the metadata image, as consumer groups want to see them.

use ottla_coordinator::consumer_group::{GroupTimes, TopicShape, Topics};
use ottla_metadata::{ConfigResource, MetadataImage, TopicImage, group_config};
use ottla_types::Uuid;
use std::time::Duration;

/// A view of an image's topics.
#[derive(Clone, Copy)]
pub struct ImageTopics<'a>(pub &'a MetadataImage);

impl Topics for ImageTopics<'_> {
    /// The image's end: it changes more often than the topics do, which costs a look at them.
    fn version(&self) -> i64 {
        self.0.end.offset.0
    }

    fn by_name(&self, name: &str) -> Option<TopicShape> {
        self.0.topics.by_name(name).map(|topic| shape(topic))
    }

    fn name_of(&self, id: Uuid) -> Option<&str> {
        self.0.topics.by_id(id).map(|topic| topic.name.as_str())
    }

    fn names(&self) -> Vec<&str> {
        self.0.topics.iter().map(|topic| topic.name.as_str()).collect()
    }

    fn group_times(&self, group_id: &str) -> GroupTimes {
        let set = self.0.configs.get(&ConfigResource::group(group_id));
        let millis = |name| set.and_then(|set| group_config::millis(set, name)).map(Duration::from_millis);
        GroupTimes {
            session_timeout: millis(group_config::SESSION_TIMEOUT),
            heartbeat_interval: millis(group_config::HEARTBEAT_INTERVAL),
        }
    }
}

fn shape(topic: &TopicImage) -> TopicShape {
    // Partitions are numbered without gaps, and there are never as many as that.
    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    TopicShape { id: topic.id, partitions }
}
