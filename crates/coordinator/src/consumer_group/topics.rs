//! The topics of the cluster, as the caller shows them.

use ottla_types::Uuid;

/// What a consumer group must know of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicShape {
    /// Its id: another one when it is deleted and created again.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

/// A view of all topics at one moment.
///
/// A machine must be shown views in the order of their versions; an older one than before is harmless, but what it says
/// lasts until the next.
pub trait Topics {
    /// Another number whenever anything here is different. Equal numbers are equal views.
    fn version(&self) -> i64;
    /// The topic of a name.
    fn by_name(&self, name: &str) -> Option<TopicShape>;
    /// The name of a topic.
    fn name_of(&self, id: Uuid) -> Option<&str>;
    /// The names of all topics, internal ones too.
    fn names(&self) -> Vec<&str>;
}
