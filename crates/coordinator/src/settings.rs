//! What the broker's configuration says to the coordinator.

use crate::consumer_group::{Assignor, MigrationPolicy};
use std::time::Duration;

/// The group coordinator's part of the configuration. The defaults are Kafka's, where Kafka has the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.min.session.timeout.ms`: a shorter session timeout is refused.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`: a longer session timeout is refused.
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for more
    /// members. Each member that comes meanwhile prolongs it, up to the longest rebalance timeout.
    pub initial_rebalance_delay: Duration,
    /// `group.member.disconnect.grace.ms`: how long a dynamic member may take, at least, to be heard of again after its
    /// side has closed its connection ([`crate::presence`]). Zero: as long as its session.
    pub disconnect_grace: Duration,
    /// `group.max.size`: members of a group, at most.
    pub group_size_max: usize,
    /// `offset.metadata.max.bytes`: of the text committed with an offset, counted as Kafka does: in UTF-16
    /// units.
    pub offset_metadata_len_max: usize,
    /// `offsets.retention.minutes`: how long offsets outlive their group's last member.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`: how often expired offsets are looked for.
    pub offsets_retention_check_interval: Duration,
    /// What concerns consumer groups alone.
    pub consumer_groups: ConsumerGroupSettings,
}

/// What configuration says to consumer groups. The defaults are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupSettings {
    /// `group.consumer.session.timeout.ms`: how long a member may be silent.
    pub session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`: how often members are told to be heard of.
    pub heartbeat_interval: Duration,
    /// `group.consumer.max.size`: members of a group, at most.
    pub size_max: usize,
    /// `group.consumer.assignors`: those that members can ask for; the first is for those that ask for none. Never empty.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`: whether groups may change their protocol while they have members.
    pub migration: MigrationPolicy,
}

impl ConsumerGroupSettings {
    /// The assignor of members that ask for none.
    pub(crate) fn default_assignor(&self) -> Assignor {
        *self.assignors.first().expect("there is an assignor")
    }
}

impl Default for ConsumerGroupSettings {
    fn default() -> ConsumerGroupSettings {
        ConsumerGroupSettings {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            size_max: usize::MAX,
            assignors: Assignor::ALL.to_vec(),
            migration: MigrationPolicy::Bidirectional,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::from_secs(3),
            disconnect_grace: Duration::from_secs(3),
            group_size_max: usize::MAX,
            offset_metadata_len_max: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check_interval: Duration::from_secs(10 * 60),
            consumer_groups: ConsumerGroupSettings::default(),
        }
    }
}
