//! `kafka-configs`: settings that change while the cluster runs (`ConfigCommand`).
//!
//! Users, clients and addresses have no settings here: there are no quotas and no credentials. They are refused by name,
//! and so are options that Kafka's tool takes and ignores.
//!
//! Reading order: [`entity`], [`changes`], [`describe`].

mod changes;
mod describe;
mod entity;

use super::connect::NoClient;
use super::options::{Parsed, Tool, exclude, flag, refused, value};
use super::{Failure, connect, exceptions};
use crate::output;
use entity::{Entity, Kind};
use ottla_client::{Admin, ClientError, Quorum};

const NO_QUOTAS: &str = "there are no quotas, and no credentials";

pub(super) const TOOL: Tool = Tool {
    name: "kafka-configs",
    purpose: "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, \
              client-metrics or group",
    short_purpose: None,
    commands: &[],
    options: &[
        value("add-config", "String", "What is set, as k1=v1,k2=[v1,v2]: brackets keep commas together."),
        value("add-config-file", "String", "A file of properties that are set."),
        flag("all", "Describes also what nobody set."),
        flag("alter", "Changes settings."),
        value("bootstrap-controller", "controller to connect to", "Controllers, as host:port,..."),
        value("bootstrap-server", "server to connect to", "The brokers to begin with, as host:port,..."),
        value("broker", "String", "The broker with this id."),
        flag("broker-defaults", "All brokers."),
        value("broker-logger", "String", "The log lines of the broker with this id."),
        refused("client", NO_QUOTAS),
        refused("client-defaults", NO_QUOTAS),
        value("client-metrics", "String", "The client metrics subscription of this name."),
        value("command-config", "command config property file", "A client's properties."),
        value("delete-config", "String", "What is removed, as k1,k2."),
        flag("describe", "Describes settings."),
        flag("entity-default", "All of the type: --entity-type brokers."),
        value("entity-name", "String", "The name, or the broker's id."),
        value(
            "entity-type",
            "String",
            "Of what the settings are: topics, brokers, broker-loggers, client-metrics or groups.",
        ),
        value("group", "String", "The group with this id."),
        refused("ip", NO_QUOTAS),
        refused("ip-defaults", NO_QUOTAS),
        value("topic", "String", "The topic of this name."),
        refused("user", NO_QUOTAS),
        refused("user-defaults", NO_QUOTAS),
    ],
};

/// Why the tool ends early.
#[derive(Debug)]
enum Trouble {
    /// It was called wrongly, or what it was given has no meaning.
    Told(Failure),
    /// Something failed, as an exception would say it.
    Exception(String),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Told(failure)
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Trouble {
        Trouble::Exception(exceptions::shown(&error))
    }
}

impl From<NoClient> for Trouble {
    fn from(error: NoClient) -> Trouble {
        let class = match error {
            NoClient::Addresses(_) => "org.apache.kafka.common.KafkaException: ",
            NoClient::File(..) => "java.nio.file.NoSuchFileException: ",
            NoClient::Property(_) => "",
        };
        let cause = error.cause().map(|cause| format!("\n{cause}")).unwrap_or_default();
        Trouble::Exception(format!("{class}{error}{cause}"))
    }
}

/// Something that was asked for and has no meaning, in one line.
fn refuse(message: impl Into<String>) -> Failure {
    Failure::Refused(message.into())
}

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let done = check(parsed).map_err(Trouble::Told).and_then(|entity| {
        connect::block_on(async { Ok(act(parsed, &entity).await) })
            .unwrap_or_else(|failed| Err(failed.into()))
    });
    done.map_err(|trouble| match trouble {
        Trouble::Told(failure) => failure,
        Trouble::Exception(message) => {
            refuse(format!("Error while executing config command with args '{}'\n{message}", parsed.line))
        }
    })
}

/// What the settings are of, if the command line is one; the order of the complaints is that of Kafka's tool.
fn check(parsed: &Parsed) -> Result<Entity, Failure> {
    if parsed.has("alter") == parsed.has("describe") {
        let message = "Command must include exactly one action: --describe, --alter";
        return Err(Failure::Usage(message.to_owned()));
    }
    exclude(parsed, "describe", &["add-config", "delete-config", "add-config-file"])?;
    exclude(parsed, "alter", &["all"])?;
    let entity = Entity::named_by(parsed)?;
    if parsed.has("alter") {
        if parsed.has("add-config") && parsed.has("add-config-file") {
            return Err(refuse("Only one of --add-config or --add-config-file must be specified"));
        }
        if !["add-config", "add-config-file", "delete-config"].iter().any(|name| parsed.has(name)) {
            let message = "At least one of --add-config, --add-config-file, or --delete-config must be specified \
                           with --alter";
            return Err(refuse(message));
        }
    }
    Ok(entity)
}

/// Whom to ask.
enum Cluster {
    Brokers(Admin),
    Controllers(Box<Quorum>),
}

impl Cluster {
    fn connect(parsed: &Parsed) -> Result<Cluster, NoClient> {
        let Some(addresses) = parsed.value("bootstrap-controller") else {
            return Ok(Cluster::Brokers(connect::admin(parsed, TOOL.name)?));
        };
        let config = connect::config(addresses, parsed.value("command-config"), TOOL.name)?;
        Ok(Cluster::Controllers(Box::new(Quorum::new(config))))
    }

    /// The brokers' administrator, for what controllers do not tell.
    fn brokers(&self) -> Result<&Admin, Trouble> {
        match self {
            Cluster::Brokers(admin) => Ok(admin),
            Cluster::Controllers(_) => {
                let message = "org.apache.kafka.common.errors.UnsupportedEndpointTypeException: This Admin API is not \
                               yet supported when communicating directly with the controller quorum.";
                Err(Trouble::Exception(message.to_owned()))
            }
        }
    }
}

async fn act(parsed: &Parsed, entity: &Entity) -> Result<(), Trouble> {
    let mut cluster = Cluster::connect(parsed)?;
    if parsed.has("describe") {
        return describe::describe(&mut cluster, entity, parsed.has("all")).await;
    }
    if entity.names_given > 1 {
        return Err(refuse("An entity name must be specified for every entity type").into());
    }
    let name = entity.name.as_deref().unwrap_or_default();
    let changes = changes::read(parsed)?;
    if entity.kind == Kind::BrokerLogger {
        let known = describe::settings(&mut cluster, entity.kind, name).await?;
        let unknown: Vec<&str> = changes
            .iter()
            .map(changes::name)
            .filter(|name| !known.iter().any(|logger| logger.name == *name))
            .collect();
        if !unknown.is_empty() {
            return Err(refuse(format!("Invalid broker logger(s): {}", unknown.join(","))).into());
        }
    }
    let resource = entity.kind.resource();
    match &mut cluster {
        Cluster::Brokers(admin) => admin.change_configs(resource, name, &changes).await?,
        Cluster::Controllers(quorum) => quorum.change_configs(resource, name, &changes).await?,
    }
    output::line(match name {
        "" => format!("Completed updating default config for {} in the cluster.", entity.kind.many()),
        name => format!("Completed updating config for {} {name}.", entity.kind.one()),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options;

    fn complaint(line: &str) -> String {
        let checked =
            options::parse_line(&TOOL, line).map_err(Failure::from).and_then(|parsed| check(&parsed));
        match checked {
            Err(Failure::Usage(message) | Failure::Refused(message) | Failure::Failed(message)) => message,
            Err(Failure::Quiet) => String::new(),
            Ok(entity) => format!("{:?} {:?}", entity.kind, entity.name),
        }
    }

    #[test]
    fn what_kafkas_tool_takes_and_ignores_is_refused() {
        let at = "--bootstrap-server a:1 --topic t";
        for (line, expected) in [
            ("--alter --all --add-config a=b", "Option \"[alter]\" can't be used with option \"[all]\""),
            (
                "--describe --add-config-file f",
                "Option \"[describe]\" can't be used with option \"[add-config-file]\"",
            ),
            (
                "--describe --user u",
                "--user is not supported by Ottla: there are no quotas, and no credentials",
            ),
        ] {
            assert_eq!(complaint(&format!("{at} {line}")), expected);
        }
    }

    #[test]
    fn an_entity_may_be_named_in_both_ways() {
        let at = "--bootstrap-server a:1 --describe";
        for (line, expected) in [
            ("--topic t", "Topic Some(\"t\")"),
            ("--entity-type topics --entity-name t", "Topic Some(\"t\")"),
            ("--entity-type topics", "Topic None"),
            ("--broker 1", "Broker Some(\"1\")"),
            ("--broker-defaults", "Broker Some(\"\")"),
            ("--entity-type brokers --entity-default", "Broker Some(\"\")"),
            ("--entity-type brokers", "Broker None"),
            ("--broker-logger 1", "BrokerLogger Some(\"1\")"),
            ("--group g", "Group Some(\"g\")"),
            ("--client-metrics m", "ClientMetrics Some(\"m\")"),
        ] {
            assert_eq!(complaint(&format!("{at} {line}")), expected, "{line}");
        }
    }
}
