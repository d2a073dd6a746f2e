//! What the settings of consumer groups must be together (`GroupCoordinatorConfig`).

use super::{ConfigError, Properties};
use ottla_coordinator::consumer_group::{Assignor, MigrationPolicy};

const ASSIGNORS: &str = "group.consumer.assignors";
const MIGRATION: &str = "group.consumer.migration.policy";
const SESSION: &str = "group.consumer.session.timeout.ms";
const HEARTBEAT: &str = "group.consumer.heartbeat.interval.ms";

/// Checks that times are within their bounds, that a session is longer than the silence between two heartbeats, and that
/// there are such assignors and such a policy.
///
/// # Errors
/// The first mistake.
pub(super) fn check(properties: &Properties) -> Result<(), ConfigError> {
    let invalid = |name: &str, reason: String| {
        let value = properties.text(name).unwrap_or_default().to_owned();
        Err(ConfigError::Invalid { name: name.to_owned(), value, reason })
    };
    let bounds = [
        (SESSION, "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
        (HEARTBEAT, "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ];
    for (name, min, max) in bounds {
        let (lowest, highest) = (properties.number(min), properties.number(max));
        if !(lowest..=highest).contains(&properties.number(name)) {
            return invalid(name, format!("must be from {min}={lowest} to {max}={highest}"));
        }
    }
    let heartbeat_ms = properties.number(HEARTBEAT);
    if properties.number(SESSION) <= heartbeat_ms {
        return invalid(SESSION, format!("must be more than {HEARTBEAT}={heartbeat_ms}"));
    }
    let names = properties.list(ASSIGNORS);
    if properties.is_blank(ASSIGNORS)
        || names.is_empty()
        || names.iter().any(|name| Assignor::from_name(name).is_none())
    {
        return invalid(ASSIGNORS, "must name uniform, range or both; there are no classes here".to_owned());
    }
    if properties.text(MIGRATION).is_none_or(|name| MigrationPolicy::from_name(name).is_none()) {
        let names = MigrationPolicy::ALL.map(MigrationPolicy::name).join(", ");
        return invalid(MIGRATION, format!("must be one of {names}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str) -> Result<(), String> {
        let properties = Properties::parse("server.properties", text.as_bytes()).unwrap();
        properties.check().unwrap();
        check(&properties).map_err(|error| error.to_string())
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert_eq!(check_text(""), Ok(()));
        let shorter = "group.consumer.min.session.timeout.ms=1000\ngroup.consumer.session.timeout.ms=6000";
        assert_eq!(check_text(shorter), Ok(()));
        let wrong = [
            "group.consumer.session.timeout.ms=6000",
            "group.consumer.heartbeat.interval.ms=20000",
            "group.consumer.min.session.timeout.ms=5000\ngroup.consumer.session.timeout.ms=5000",
            "group.consumer.assignors=",
            "group.consumer.assignors=uniform,sticky",
            "group.consumer.migration.policy=sideways",
        ];
        for text in wrong {
            assert!(check_text(text).is_err(), "{text}");
        }
    }
}
