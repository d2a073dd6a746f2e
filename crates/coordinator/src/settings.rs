//! What the broker's configuration says to the coordinator.

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
        }
    }
}
