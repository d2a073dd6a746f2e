//! Settings described, with where their values come from.

use super::entity::{Entity, Kind};
use super::{Cluster, Trouble, refuse};
use crate::output;
use crate::tools::java_map::in_hash_order;
use ottla_client::admin::configs::ResourceKind;
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use std::collections::BTreeSet;

/// The sources of values by the wire's numbers, from 1 on.
const SOURCES: &[&str] = &[
    "DYNAMIC_TOPIC_CONFIG",
    "DYNAMIC_BROKER_CONFIG",
    "DYNAMIC_DEFAULT_BROKER_CONFIG",
    "STATIC_BROKER_CONFIG",
    "DEFAULT_CONFIG",
    "DYNAMIC_BROKER_LOGGER_CONFIG",
    "DYNAMIC_CLIENT_METRICS_CONFIG",
    "DYNAMIC_GROUP_CONFIG",
];

/// Describes what was named, or each of the type; without `all`, only what is set for itself.
pub(super) async fn describe(cluster: &mut Cluster, entity: &Entity, all: bool) -> Result<(), Trouble> {
    let kind = entity.kind;
    let names = match &entity.name {
        Some(name) => {
            if kind == Kind::Topic {
                ottla_types::validate_topic_name(name).map_err(|error| refuse(error.to_string()))?;
            }
            if !all && !name.is_empty() && !names(cluster, kind).await?.contains(name) {
                output::line(format!(
                    "The {} '{name}' doesn't exist and doesn't have dynamic config.",
                    kind.one()
                ));
                return Ok(());
            }
            vec![name.clone()]
        }
        None => names(cluster, kind).await?,
    };
    for name in names {
        output::line(match name.as_str() {
            "" => format!("Default configs for {} in the cluster are:", kind.many()),
            name => format!("{} configs for {} {name} are:", if all { "All" } else { "Dynamic" }, kind.one()),
        });
        for setting in settings(cluster, kind, &name).await? {
            if all || is_own(kind, &name, &setting) {
                output::line(shown(&setting));
            }
        }
    }
    Ok(())
}

/// All that there are of a kind, in the order of Kafka's tool.
async fn names(cluster: &mut Cluster, kind: Kind) -> Result<Vec<String>, Trouble> {
    Ok(match kind {
        Kind::Topic => {
            let topics = cluster.brokers()?.list_topics().await?;
            in_hash_order(topics.into_keys().collect(), |name: &String| name)
        }
        Kind::Broker | Kind::BrokerLogger => {
            let nodes = match cluster {
                Cluster::Brokers(admin) => admin.broker_endpoints(false).await?,
                Cluster::Controllers(quorum) => quorum.controller_endpoints().await?,
            };
            let ids = nodes.into_iter().map(|node| node.broker_id.to_string());
            ids.chain([String::new()]).collect()
        }
        Kind::ClientMetrics => cluster.brokers()?.list_config_resources(ResourceKind::ClientMetrics).await?,
        Kind::Group => {
            let admin = cluster.brokers()?;
            let configured = admin.list_config_resources(ResourceKind::Group).await?;
            let known = admin.list_groups(&[], &[]).await?.into_iter().map(|group| group.group_id);
            let all: BTreeSet<String> = known.chain(configured).collect();
            in_hash_order(all.into_iter().collect(), |name: &String| name)
        }
    })
}

/// One's settings, sorted.
pub(super) async fn settings(
    cluster: &mut Cluster,
    kind: Kind,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, Trouble> {
    let mut settings = match cluster {
        Cluster::Brokers(admin) => admin.describe_configs(kind.resource(), name).await?,
        Cluster::Controllers(quorum) => quorum.describe_configs(kind.resource(), name).await?,
    };
    settings.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(settings)
}

/// Returns whether a value is set for this one, and comes from nowhere else.
fn is_own(kind: Kind, name: &str, setting: &DescribeConfigsResourceResult) -> bool {
    let own = match kind {
        Kind::Topic => "DYNAMIC_TOPIC_CONFIG",
        Kind::Broker if name.is_empty() => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        Kind::Broker => "DYNAMIC_BROKER_CONFIG",
        // All that a logger has is its level.
        Kind::BrokerLogger => return true,
        Kind::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
        Kind::Group => "DYNAMIC_GROUP_CONFIG",
    };
    source(setting.config_source) == own
}

fn source(number: i8) -> &'static str {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| SOURCES.get(index)).copied().unwrap_or("UNKNOWN")
}

fn shown(setting: &DescribeConfigsResourceResult) -> String {
    let or_null = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonym =
        |name: &str, value: &Option<String>, number| format!("{}:{name}={}", source(number), or_null(value));
    let synonyms: Vec<String> =
        setting.synonyms.iter().map(|one| synonym(&one.name, &one.value, one.source)).collect();
    let value = or_null(&setting.value);
    format!(
        "  {}={value} sensitive={} synonyms={{{}}}",
        setting.name,
        setting.is_sensitive,
        synonyms.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::describe_configs_response::DescribeConfigsSynonym;

    #[test]
    fn a_setting_is_shown_with_its_synonyms_and_a_secret_without_its_value() {
        let synonym = |name: &str, source| DescribeConfigsSynonym {
            name: name.to_owned(),
            value: Some("1000".to_owned()),
            source,
        };
        let setting = DescribeConfigsResourceResult {
            name: "log.retention.ms".to_owned(),
            value: Some("1000".to_owned()),
            config_source: 2,
            synonyms: vec![synonym("log.retention.ms", 2), synonym("log.retention.ms", 3)],
            ..Default::default()
        };
        let secret = DescribeConfigsResourceResult {
            name: "password".to_owned(),
            value: None,
            is_sensitive: true,
            ..Default::default()
        };

        assert_eq!(
            shown(&setting),
            "  log.retention.ms=1000 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.retention.ms=1000, \
             DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=1000}"
        );
        assert_eq!(shown(&secret), "  password=null sensitive=true synonyms={}");
        assert!(is_own(Kind::Broker, "1", &setting) && !is_own(Kind::Broker, "", &setting));
        assert_eq!(source(0), "UNKNOWN");
    }
}
