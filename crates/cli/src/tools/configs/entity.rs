//! What the settings are of.

use super::{Failure, NO_QUOTAS, refuse};
use crate::tools::options::Parsed;
use ottla_client::admin::configs::ResourceKind;

/// What has settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

/// The types, by the names that `--entity-type` gives them, in the order in which Kafka's tool lists them; some have no
/// settings here.
const TYPES: &[(&str, Option<Kind>)] = &[
    ("topics", Some(Kind::Topic)),
    ("clients", None),
    ("users", None),
    ("brokers", Some(Kind::Broker)),
    ("ips", None),
    ("client-metrics", Some(Kind::ClientMetrics)),
    ("groups", Some(Kind::Group)),
    ("broker-loggers", Some(Kind::BrokerLogger)),
];

/// The options that name a type and one of it.
const FLAGS: &[(&str, &str)] = &[
    ("topic", "topics"),
    ("broker", "brokers"),
    ("broker-logger", "broker-loggers"),
    ("client-metrics", "client-metrics"),
    ("group", "groups"),
];

impl Kind {
    /// The type's name.
    pub(super) fn many(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == Some(self)).map_or("", |(name, _)| name)
    }

    /// One of the type, as Kafka's tool says it: without the last letter, `client-metric` being one.
    pub(super) fn one(self) -> &'static str {
        let many = self.many();
        &many[..many.len() - 1]
    }

    pub(super) fn resource(self) -> ResourceKind {
        match self {
            Kind::Topic => ResourceKind::Topic,
            Kind::Broker => ResourceKind::Broker,
            Kind::BrokerLogger => ResourceKind::BrokerLogger,
            Kind::ClientMetrics => ResourceKind::ClientMetrics,
            Kind::Group => ResourceKind::Group,
        }
    }
}

/// A type, and perhaps one of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) kind: Kind,
    /// The empty name is all brokers; `None` is each.
    pub(super) name: Option<String>,
    /// How many names the command line has.
    pub(super) names_given: usize,
}

impl Entity {
    /// What a command line names, checked as Kafka's tool does and in its order.
    pub(super) fn named_by(parsed: &Parsed) -> Result<Entity, Failure> {
        let types = types(parsed);
        let repeated: Vec<&str> = types
            .iter()
            .enumerate()
            .filter(|(at, name)| types[..*at].contains(name))
            .map(|(_, n)| *n)
            .collect();
        if !repeated.is_empty() {
            return Err(refuse(format!("Duplicate entity type(s) specified: {}", repeated.join(","))));
        }
        if !parsed.has("bootstrap-server") && !parsed.has("bootstrap-controller") {
            return Err(refuse("Either --bootstrap-server or --bootstrap-controller must be specified."));
        }
        let known: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        if let Some(unknown) = types.iter().find(|name| !known.contains(name)) {
            return Err(refuse(format!(
                "Invalid entity type {unknown}, the entity type must be one of {} with a --bootstrap-server or \
                 --bootstrap-controller argument",
                known.join(", ")
            )));
        }
        let &[name] = types.as_slice() else {
            return Err(refuse(match types.is_empty() {
                true => "At least one entity type must be specified",
                false => "Only 'users' and 'clients' entity types may be specified together",
            }));
        };
        let has_flag = parsed.has("broker-defaults") || FLAGS.iter().any(|(flag, _)| parsed.has(flag));
        let has_general =
            ["entity-name", "entity-type", "entity-default"].iter().any(|name| parsed.has(name));
        if has_flag && has_general {
            let message =
                "--entity-{type,name,default} should not be used in conjunction with specific entity flags";
            return Err(refuse(message));
        }
        if parsed.has("bootstrap-server") && parsed.has("bootstrap-controller") {
            let message = "Only one of --bootstrap-server or --bootstrap-controller can be specified";
            return Err(refuse(message));
        }
        let kind = TYPES.iter().find(|(known, _)| *known == name).and_then(|(_, kind)| *kind);
        let Some(kind) = kind else {
            return Err(refuse(format!("--entity-type {name} is not supported by Ottla: {NO_QUOTAS}")));
        };
        let names = names(parsed);
        check_names(parsed, kind, &names)?;
        Ok(Entity { kind, names_given: names.len(), name: names.into_iter().next() })
    }
}

/// All types that are named, in Kafka's order.
fn types(parsed: &Parsed) -> Vec<&str> {
    let flags = FLAGS.iter().filter(|(flag, _)| parsed.has(flag)).map(|(_, name)| *name);
    let defaults = parsed.has("broker-defaults").then_some("brokers");
    parsed.values("entity-type").chain(flags).chain(defaults).collect()
}

fn names(parsed: &Parsed) -> Vec<String> {
    let named = parsed.values("entity-name").map(str::to_owned);
    let default = |option| parsed.has(option).then(String::new);
    let flags = FLAGS.iter().filter_map(|(flag, _)| parsed.value(flag)).map(str::to_owned);
    named.chain(default("entity-default")).chain(flags).chain(default("broker-defaults")).collect()
}

fn check_names(parsed: &Parsed, kind: Kind, names: &[String]) -> Result<(), Failure> {
    let is_of_broker = matches!(kind, Kind::Broker | Kind::BrokerLogger);
    let many = kind.many();
    let has_name = names.iter().any(|name| !name.is_empty());
    let is_id = |name: &&String| name.parse::<i32>().is_ok() || name.is_empty();
    if let Some(name) = names.iter().find(|name| is_of_broker && !is_id(name)) {
        let message =
            format!("The entity name for {many} must be a valid integer broker id, but it is: {name}");
        return Err(refuse(message));
    }
    if parsed.has("describe") {
        if parsed.has("entity-default") && kind != Kind::Broker {
            return Err(refuse(format!("--entity-default must not be specified with --describe of {many}")));
        }
        if kind == Kind::BrokerLogger && !has_name {
            return Err(refuse(format!("An entity name must be specified with --describe of {many}")));
        }
        return Ok(());
    }
    if kind == Kind::Broker && names.is_empty() {
        let message = "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips";
        return Err(refuse(message));
    }
    if kind != Kind::Broker && !has_name {
        return Err(refuse(format!("An entity name must be specified with --alter of {many}")));
    }
    Ok(())
}
