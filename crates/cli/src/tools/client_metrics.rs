//! `kafka-client-metrics`: what clients are asked to measure and to tell (KIP-714, `ClientMetricsCommand`).

use super::options::{Parsed, Tool, exclude, flag, value};
use super::{Failure, connect, java_map};
use crate::format;
use crate::output;
use ottla_client::admin::configs::{ConfigChange, ResourceKind};
use ottla_client::{Admin, ClientError};
use ottla_metadata::client_metrics::{INTERVAL, MATCH, METRICS};
use ottla_types::Random;
use std::time::Duration;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-client-metrics",
    purpose: "This tool helps to manipulate and describe client metrics configurations.",
    short_purpose: None,
    commands: &[],
    options: &[
        flag("alter", "Changes what a subscription says, or makes one."),
        value(
            "bootstrap-server",
            "server to connect to",
            "REQUIRED: the brokers to begin with, as host:port,...",
        ),
        value("command-config", "command config property file", "A client's properties."),
        flag("delete", "Deletes a subscription."),
        flag("describe", "Says what a subscription says, or each of them."),
        flag("generate-name", "Makes up a name."),
        value(
            "interval",
            "push interval",
            "How often clients tell what they measure, in milliseconds; empty: as usual.",
        ),
        flag("list", "Lists subscriptions."),
        value(
            "match",
            "k1=v1,k2=v2",
            "Which clients are meant: regular expressions of client_id, client_instance_id, client_software_name, \
             client_software_version, client_source_address, client_source_port; empty for all.",
        ),
        value("metrics", "m1,m2", "What the names of metrics begin with; * for all, empty for none."),
        value("name", "name", "The subscription."),
    ],
};

/// What each action is about.
const ACTIONS: &[&str] = &["alter", "delete", "describe", "list"];

/// The options that say something of a subscription, and what they set.
const SETTINGS: &[(&str, &str)] = &[("interval", INTERVAL), ("match", MATCH), ("metrics", METRICS)];

/// How long the cluster may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    check(parsed)?;
    let done = connect::block_on(async {
        let admin = connect::admin_within(parsed, TOOL.name, PATIENCE)?;
        act(parsed, &admin).await.map_err(connect::failed("client metrics"))
    })?;
    output::text(&done);
    Ok(())
}

/// The complaints of Kafka's tool, in its order.
fn check(parsed: &Parsed) -> Result<(), Failure> {
    if ACTIONS.iter().filter(|action| parsed.has(action)).count() != 1 {
        let message = "Command must include exactly one action: --alter, --delete, --describe or --list.";
        return Err(Failure::Usage(message.to_owned()));
    }
    let refuse = |message: &str| Err(Failure::Refused(message.to_owned()));
    if !parsed.has("bootstrap-server") {
        return refuse("--bootstrap-server must be specified.");
    }
    let settings = ["generate-name", "interval", "match", "metrics"];
    exclude(parsed, "delete", &settings)?;
    exclude(parsed, "describe", &settings)?;
    exclude(parsed, "list", &["name", "generate-name", "interval", "match", "metrics"])?;
    if parsed.has("alter") && parsed.has("name") == parsed.has("generate-name") {
        return refuse("One of --name or --generate-name must be specified with --alter.");
    }
    if parsed.value("interval").is_some_and(|text| !text.is_empty() && text.parse::<i32>().is_err()) {
        return refuse("Invalid interval value. Enter an integer, or leave empty to reset.");
    }
    if parsed.has("delete") && !parsed.has("name") {
        return refuse("A client metrics resource name must be specified with --delete.");
    }
    Ok(())
}

async fn act(parsed: &Parsed, admin: &Admin) -> Result<String, ClientError> {
    const KIND: ResourceKind = ResourceKind::ClientMetrics;
    let name = match parsed.value("name") {
        Some(name) => name.to_owned(),
        None => Random::new(format::seed()).uuid().to_string(),
    };
    if parsed.has("alter") {
        admin.change_configs(KIND, &name, &changes(parsed)).await?;
        return Ok(format!("Altered client metrics config for {name}.\n"));
    }
    if parsed.has("delete") {
        let set = admin.describe_configs(KIND, &name).await?;
        let changes: Vec<ConfigChange> =
            set.into_iter().map(|setting| ConfigChange::Delete(setting.name)).collect();
        admin.change_configs(KIND, &name, &changes).await?;
        return Ok(format!("Deleted client metrics config for {name}.\n"));
    }
    let names = admin.list_config_resources(KIND).await?;
    if parsed.has("list") {
        return Ok(names.join("\n") + "\n");
    }
    if parsed.has("name") && !names.contains(&name) {
        return Ok(format!(
            "The client metric resource {name} doesn't exist and doesn't have dynamic config.\n"
        ));
    }
    let wanted = if parsed.has("name") { vec![name] } else { names };
    let mut text = String::new();
    for name in wanted {
        text += &format!("Client metrics configs for {name} are:\n");
        let settings = admin.describe_configs(KIND, &name).await?;
        for setting in java_map::in_hash_order(settings, |setting| &setting.name) {
            text += &format!("  {}={}\n", setting.name, setting.value.unwrap_or_default());
        }
    }
    Ok(text)
}

/// What `--alter` changes; what is set to nothing is set no more.
fn changes(parsed: &Parsed) -> Vec<ConfigChange> {
    let change = |(option, name): &(&str, &str)| {
        let name = (*name).to_owned();
        Some(match parsed.value(option)? {
            "" => ConfigChange::Delete(name),
            value => ConfigChange::Set(name, value.to_owned()),
        })
    };
    SETTINGS.iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options;

    fn parsed(words: &[&str]) -> Parsed {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        options::parse(&TOOL, &words).unwrap()
    }

    #[test]
    fn what_is_set_to_nothing_is_set_no_more() {
        let line = ["--alter", "--name", "n", "--interval", "1000", "--match", "", "--metrics", "a,b"];
        assert_eq!(
            changes(&parsed(&line)),
            [
                ConfigChange::Set("interval.ms".to_owned(), "1000".to_owned()),
                ConfigChange::Delete("match".to_owned()),
                ConfigChange::Set("metrics".to_owned(), "a,b".to_owned()),
            ]
        );
    }

    #[test]
    fn an_action_takes_what_it_needs_and_no_more() {
        let check = |words: &[&str]| check(&parsed(&[&["--bootstrap-server", "b:1"], words].concat()));

        assert!(check(&["--list"]).is_ok());
        assert!(check(&["--describe"]).is_ok());
        assert!(check(&["--alter", "--generate-name"]).is_ok());
        for words in [
            &["--name", "n"][..],
            &["--list", "--describe"],
            &["--list", "--name", "n"],
            &["--describe", "--metrics", "m"],
            &["--alter"],
            &["--alter", "--name", "n", "--generate-name"],
            &["--delete"],
            &["--alter", "--name", "n", "--interval", "1s"],
        ] {
            assert!(check(words).is_err(), "{words:?}");
        }
    }
}
