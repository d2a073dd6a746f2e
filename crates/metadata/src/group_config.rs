//! The configurations of single groups (KIP-848, `org.apache.kafka.coordinator.group.GroupConfig`): which there are, and what
//! they must be together.
//!
//! What is set for a group beats what its coordinator's file says of all groups. Those of share and streams groups are not
//! there.

use crate::topic_config::{self, InvalidConfig, Kind, Owner, Support, TopicConfigDef, def};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How long a member of a consumer group may be silent.
pub const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
/// How often members of a consumer group are told to be heard of.
pub const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";

/// All that a group can be configured with, in the order of their names.
#[rustfmt::skip]
pub const GROUP_CONFIGS: &[TopicConfigDef] = &[
    def(HEARTBEAT_INTERVAL, Kind::Int(1, i32::MAX as i64), "5000", &["group.consumer.heartbeat.interval.ms"],
        Support::Enforced, "How often members of a consumer group are told to be heard of."),
    def(SESSION_TIMEOUT, Kind::Int(1, i32::MAX as i64), "45000", &["group.consumer.session.timeout.ms"],
        Support::Enforced, "How long a member of a consumer group may be silent before it is removed."),
];

/// What the brokers' files say of all groups, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBounds {
    /// From `group.consumer.min.session.timeout.ms` to `group.consumer.max.session.timeout.ms`.
    pub session: RangeInclusive<i64>,
    /// From `group.consumer.min.heartbeat.interval.ms` to `group.consumer.max.heartbeat.interval.ms`.
    pub heartbeat: RangeInclusive<i64>,
    /// `group.consumer.session.timeout.ms`: of a group that sets none.
    pub session_default: i64,
    /// `group.consumer.heartbeat.interval.ms`: of a group that sets none.
    pub heartbeat_default: i64,
}

impl Default for GroupBounds {
    /// Kafka's.
    fn default() -> GroupBounds {
        GroupBounds {
            session: 45_000..=60_000,
            heartbeat: 5_000..=15_000,
            session_default: 45_000,
            heartbeat_default: 5_000,
        }
    }
}

/// The configuration of groups called `name`.
pub fn group_config(name: &str) -> Option<&'static TopicConfigDef> {
    GROUP_CONFIGS.iter().find(|def| def.name == name)
}

/// Checks all that a group would be configured with.
///
/// # Errors
/// When a name is unknown, a value is not a number or out of its range, or a session would not be longer than the silence
/// between two heartbeats.
pub fn validate(configs: &BTreeMap<String, String>, bounds: &GroupBounds) -> Result<(), InvalidConfig> {
    for (name, value) in configs {
        let def =
            group_config(name).ok_or_else(|| InvalidConfig(format!("Unknown group config name: {name}")))?;
        topic_config::check(def, name, value, Owner::User)?;
    }
    let number = |name: &str| configs.get(name).and_then(|value| value.trim().parse::<i64>().ok());
    let (session, heartbeat) = (number(SESSION_TIMEOUT), number(HEARTBEAT_INTERVAL));
    let ranges = [
        (SESSION_TIMEOUT, session, &bounds.session, "session.timeout.ms"),
        (HEARTBEAT_INTERVAL, heartbeat, &bounds.heartbeat, "heartbeat.interval.ms"),
    ];
    for (name, value, range, broker) in ranges {
        let Some(value) = value else { continue };
        if value < *range.start() {
            return Err(InvalidConfig(format!(
                "{name} must be greater than or equal to group.consumer.min.{broker}"
            )));
        }
        if value > *range.end() {
            return Err(InvalidConfig(format!(
                "{name} must be less than or equal to group.consumer.max.{broker}"
            )));
        }
    }
    if session.unwrap_or(bounds.session_default) <= heartbeat.unwrap_or(bounds.heartbeat_default) {
        return Err(InvalidConfig(format!("{SESSION_TIMEOUT} must be greater than {HEARTBEAT_INTERVAL}")));
    }
    Ok(())
}

/// The milliseconds that are set for a group, of all that is; `None` when none are, or no such number: another program's
/// controller may have let it in.
pub fn millis(configs: &BTreeMap<String, String>, name: &str) -> Option<u64> {
    let value = configs.get(name)?.trim();
    value.parse::<i32>().ok().and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_what_is_wrong_with_its_configuration() {
        let check = |set: &[(&str, &str)]| {
            let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            validate(&set, &GroupBounds::default()).map_err(|why| why.to_string())
        };
        let wrong = |text: &str| Err(text.to_owned());

        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[(SESSION_TIMEOUT, "50000"), (HEARTBEAT_INTERVAL, " 6000 ")]), Ok(()));
        assert_eq!(
            check(&[("share.isolation.level", "x")]),
            wrong("Unknown group config name: share.isolation.level")
        );
        assert_eq!(
            check(&[(SESSION_TIMEOUT, "soon")]),
            wrong(
                "Invalid value soon for configuration consumer.session.timeout.ms: Not a number of type INT"
            )
        );
        assert_eq!(
            check(&[(SESSION_TIMEOUT, "44999")]),
            wrong(
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"
            )
        );
        assert_eq!(
            check(&[(HEARTBEAT_INTERVAL, "15001")]),
            wrong(
                "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms"
            )
        );
        let bounds = GroupBounds { session: 1..=60_000, heartbeat: 1..=60_000, ..GroupBounds::default() };
        let set = BTreeMap::from([(HEARTBEAT_INTERVAL.to_owned(), "45000".to_owned())]);
        let why = validate(&set, &bounds).unwrap_err().to_string();
        assert_eq!(why, "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms");
    }
}
