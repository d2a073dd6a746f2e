//! The levels of this node's log lines: the resource BROKER_LOGGER of the configuration APIs (KIP-412).

use crate::log_levels::{Level, LogLevels, ROOT};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_types::NodeId;
use std::collections::BTreeMap;

/// The wire's number of the resource type.
pub(super) const BROKER_LOGGER: i8 = 8;

/// The wire's number of the source of its values.
const DYNAMIC_BROKER_LOGGER: i8 = 6;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Refusal = (ErrorCode, String);

/// The loggers of the node that is asked for, which must be this one.
pub(super) fn describe(
    levels: &dyn LogLevels,
    node_id: NodeId,
    resource: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    if resource.is_empty() {
        return Err(invalid("Broker id must not be empty".to_owned()));
    }
    if resource != node_id.to_string() {
        let message = format!("Unexpected broker id, expected {node_id} but received {resource}");
        return Err(invalid(message));
    }
    let described = |(name, level): (String, Level)| DescribeConfigsResourceResult {
        name,
        value: Some(level.to_string()),
        config_source: DYNAMIC_BROKER_LOGGER,
        ..Default::default()
    };
    Ok(levels.all().into_iter().map(described).collect())
}

/// Sets levels, all or none.
pub(super) fn alter(
    levels: &dyn LogLevels,
    node_id: NodeId,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let name = &resource.resource_name;
    match name.parse::<i32>() {
        Err(_) => return Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
        Ok(id) if id != node_id.0 => {
            return Err(invalid(format!("Unexpected node id. Expected {node_id}, but received {id}")));
        }
        Ok(_) => {}
    }
    let known = levels.all();
    let changes: Vec<(&str, Option<Level>)> =
        resource.configs.iter().map(|config| change(&known, config)).collect::<Result<_, _>>()?;
    if validate_only {
        return Ok(());
    }
    for (logger, level) in changes {
        match level {
            Some(level) => levels.set(logger, level),
            None => levels.unset(logger),
        }
        let level = level.map_or_else(|| "that of the logger above".to_owned(), |level| level.to_string());
        tracing::info!(logger, level, "log level changed");
    }
    Ok(())
}

/// What a change comes to: a logger's level, or none of its own.
fn change<'a>(
    known: &BTreeMap<String, Level>,
    config: &'a AlterableConfig,
) -> Result<(&'a str, Option<Level>), Refusal> {
    let logger = config.name.as_str();
    let refused = |operation: &str| {
        invalid(format!("{operation} operation is not allowed for the BROKER_LOGGER resource"))
    };
    let check_known = || match known.contains_key(logger) {
        true => Ok(()),
        false => Err((ErrorCode::InvalidConfig, format!("Logger {logger} does not exist!"))),
    };
    match config.config_operation {
        SET => {
            check_known()?;
            let text = config.value.as_deref().unwrap_or_default();
            let level = Level::from_name(text).ok_or_else(|| {
                let names: Vec<&str> = Level::names().collect();
                let message = format!(
                    "Cannot set the log level of {logger} to {text} as it is not a supported log level. \
                     Valid log levels are {}",
                    names.join(", ")
                );
                (ErrorCode::InvalidConfig, message)
            })?;
            Ok((logger, Some(level)))
        }
        DELETE => {
            check_known()?;
            if logger == ROOT {
                let message = format!("Removing the log level of the {ROOT} logger is not allowed");
                return Err(invalid(message));
            }
            Ok((logger, None))
        }
        APPEND => Err(refused("APPEND")),
        SUBTRACT => Err(refused("SUBTRACT")),
        other => Err(refused(&format!("Unknown operation type {other}"))),
    }
}

fn invalid(message: String) -> Refusal {
    (ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Default)]
    struct Levels(Mutex<BTreeMap<String, Level>>);

    impl LogLevels for Levels {
        fn all(&self) -> BTreeMap<String, Level> {
            self.0.lock().clone()
        }

        fn set(&self, logger: &str, level: Level) {
            self.0.lock().insert(logger.to_owned(), level);
        }

        fn unset(&self, logger: &str) {
            self.0.lock().remove(logger);
        }
    }

    fn levels() -> Levels {
        let levels = Levels::default();
        levels.set(ROOT, Level::Info);
        levels.set("ottla_server", Level::Info);
        levels
    }

    fn resource(node: &str, changes: &[(&str, i8, &str)]) -> AlterConfigsResource {
        let config = |&(name, config_operation, value): &(&str, i8, &str)| AlterableConfig {
            name: name.to_owned(),
            config_operation,
            value: Some(value.to_owned()),
        };
        AlterConfigsResource {
            resource_type: BROKER_LOGGER,
            resource_name: node.to_owned(),
            configs: changes.iter().map(config).collect(),
        }
    }

    #[test]
    fn levels_are_set_and_unset_unless_it_is_only_asked_whether_they_could() {
        let levels = levels();
        let change = resource("1", &[(ROOT, SET, "ERROR"), ("ottla_server", DELETE, "")]);

        assert_eq!(alter(&levels, NodeId(1), &change, true), Ok(()));
        assert_eq!(levels.all(), self::levels().all());
        assert_eq!(alter(&levels, NodeId(1), &change, false), Ok(()));
        assert_eq!(levels.all(), BTreeMap::from([(ROOT.to_owned(), Level::Error)]));
        let described = describe(&levels, NodeId(1), "1").unwrap();
        assert_eq!(described.len(), 1);
        assert_eq!(described[0].value.as_deref(), Some("ERROR"));
    }

    #[test]
    fn what_is_refused_is_refused_in_kafkas_words_and_nothing_beside_it_is_done() {
        use ErrorCode::{InvalidConfig, InvalidRequest};
        let only = "operation is not allowed for the BROKER_LOGGER resource";
        for (node, name, operation, value, error, message) in [
            (
                "2",
                ROOT,
                SET,
                "INFO",
                InvalidRequest,
                "Unexpected node id. Expected 1, but received 2".to_owned(),
            ),
            (
                "one",
                ROOT,
                SET,
                "INFO",
                InvalidRequest,
                "Node id must be an integer, but it is: one".to_owned(),
            ),
            ("1", "nope", SET, "INFO", InvalidConfig, "Logger nope does not exist!".to_owned()),
            ("1", "nope", DELETE, "", InvalidConfig, "Logger nope does not exist!".to_owned()),
            (
                "1",
                ROOT,
                DELETE,
                "",
                InvalidRequest,
                "Removing the log level of the root logger is not allowed".to_owned(),
            ),
            ("1", ROOT, APPEND, "INFO", InvalidRequest, format!("APPEND {only}")),
            ("1", ROOT, SUBTRACT, "INFO", InvalidRequest, format!("SUBTRACT {only}")),
            ("1", ROOT, 7, "INFO", InvalidRequest, format!("Unknown operation type 7 {only}")),
            (
                "1",
                ROOT,
                SET,
                "debug",
                InvalidConfig,
                "Cannot set the log level of root to debug as it is not a supported log level. \
              Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
                    .to_owned(),
            ),
        ] {
            let levels = levels();
            let change = resource(node, &[("ottla_server", SET, "TRACE"), (name, operation, value)]);

            assert_eq!(alter(&levels, NodeId(1), &change, false), Err((error, message)));
            assert_eq!(levels.all(), self::levels().all());
        }
        assert!(describe(&levels(), NodeId(1), "").is_err());
        assert!(describe(&levels(), NodeId(1), "2").is_err());
    }
}
