//! The topics of the cluster, as the caller shows them.

use ottla_types::Uuid;
use std::time::Duration;

/// What a consumer group must know of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicShape {
    /// Its id: another one when it is deleted and created again.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

/// What is configured for one group; what is not is as for all groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupTimes {
    /// `consumer.session.timeout.ms`: how long a member may be silent.
    pub session_timeout: Option<Duration>,
    /// `consumer.heartbeat.interval.ms`: how often members are told to be heard of.
    pub heartbeat_interval: Option<Duration>,
}

/// A view of all topics at one moment, and of what is configured for groups.
///
/// A machine must be shown views in the order of their versions; an older one than before is harmless, but what it says
/// lasts until the next.
pub trait Topics {
    /// Another number whenever any topic is different. Equal numbers are equal views.
    fn version(&self) -> i64;
    /// The topic of a name.
    fn by_name(&self, name: &str) -> Option<TopicShape>;
    /// The name of a topic.
    fn name_of(&self, id: Uuid) -> Option<&str>;
    /// The names of all topics, internal ones too.
    fn names(&self) -> Vec<&str>;
    /// What is configured for a group.
    fn group_times(&self, group_id: &str) -> GroupTimes;
}
