//! `ottla topic`: topics listed, described, made, changed, deleted.

use super::advice::explain;
use super::block_on;
use super::connection::Connection;
use super::show::{Done, NONE, Shown, Table, counted, listed, or_none};
use anyhow::{Result, bail, ensure};
use ottla_client::admin::configs::{ConfigChange, ConfigEntry};
use ottla_client::admin::topics::{NewTopic, PartitionDescription, TopicDescription};
use ottla_client::consumer::Isolation;
use ottla_client::consumer::offsets::{EARLIEST, LATEST, list_offsets_each};
use ottla_client::metadata::Topic;
use ottla_client::{Admin, ClientError};
use ottla_protocol::ErrorCode;
use ottla_types::{NodeId, Timestamp, TopicPartition};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Topics: what there are, how they are, and what they are to be.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    shown: Shown,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Lists topics.
    List(List),
    /// Describes topics: where their partitions are, from where to where they reach, and what was set.
    Describe(Names),
    /// Makes topics.
    Create(Create),
    /// Changes a topic: more partitions, other settings.
    Alter(Alter),
    /// Deletes topics with all their records.
    Delete(Delete),
}

#[derive(clap::Args)]
struct List {
    /// Kafka's own topics too.
    #[arg(long)]
    internal: bool,
}

#[derive(clap::Args)]
struct Names {
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

#[derive(clap::Args)]
struct Create {
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// How many partitions each has; the cluster's default if not given.
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas each partition has; the cluster's default if not given.
    #[arg(long, short, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting; may be given more than once.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,
    /// A topic that is there already is left as it is.
    #[arg(long)]
    if_not_exists: bool,
}

#[derive(clap::Args)]
struct Alter {
    /// The topic.
    topic: String,
    /// How many partitions it is to have: more than now.
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// A setting; may be given more than once.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,
    /// A setting that returns to its default; may be given more than once.
    #[arg(long, value_name = "NAME")]
    reset_config: Vec<String>,
}

#[derive(clap::Args)]
struct Delete {
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// A topic that is not there is passed over.
    #[arg(long)]
    if_exists: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` does not have the form NAME=VALUE"))
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let shown = arguments.shown;
    block_on(async {
        let admin = arguments.connection.admin()?;
        match &arguments.command {
            Command::List(list) => self::list(&admin, list, shown).await,
            Command::Describe(names) => describe(&admin, &names.topics, shown).await,
            Command::Create(create) => self::create(&admin, create, shown).await,
            Command::Alter(alter) => self::alter(&admin, alter, shown).await,
            Command::Delete(delete) => self::delete(&admin, delete, shown).await,
        }
    })
}

async fn list(admin: &Admin, list: &List, shown: Shown) -> Result<()> {
    let names = admin.list_topics().await.map_err(|error| explain(admin.client(), error))?;
    let metadata = admin.client().metadata();
    let is_wanted = |topic: &&Topic| list.internal || !names.get(&topic.name).copied().unwrap_or_default();
    let (mut table, mut values) = (Table::new(["NAME", "PARTITIONS", "REPLICAS", "STATE"]), Vec::new());
    for topic in metadata.topics.values().filter(is_wanted) {
        let replicas = topic.partitions.values().map(|partition| partition.replicas.len()).max().unwrap_or(0);
        let health = Health::of(topic.partitions.values().map(|p| (p.leader, p.replicas.len(), p.isr.len())));
        table.row([
            topic.name.clone(),
            topic.partitions.len().to_string(),
            replicas.to_string(),
            health.to_string(),
        ]);
        values.push(json!({
            "name": topic.name,
            "id": topic.id.to_string(),
            "internal": topic.is_internal,
            "partitions": topic.partitions.len(),
            "replication_factor": replicas,
            "offline_partitions": health.offline,
            "under_replicated_partitions": health.under_replicated,
        }));
    }
    shown.print(&Value::Array(values), &table.text(""));
    Ok(())
}

/// How many partitions are not as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) offline: usize,
    pub(super) under_replicated: usize,
}

impl Health {
    /// Of partitions with these leaders, and so many replicas, of which so many are in sync.
    pub(super) fn of(partitions: impl Iterator<Item = (Option<NodeId>, usize, usize)>) -> Health {
        partitions.fold(Health::default(), |health, (leader, replicas, in_sync)| Health {
            offline: health.offline + usize::from(leader.is_none()),
            under_replicated: health.under_replicated + usize::from(in_sync < replicas),
        })
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.offline, self.under_replicated) {
            (0, 0) => f.write_str("ok"),
            (0, lagging) => write!(f, "{lagging} under-replicated"),
            (offline, lagging) => write!(f, "{offline} offline, {lagging} under-replicated"),
        }
    }
}

/// The topics in the order in which they are named; fails when one is not there.
async fn found(admin: &Admin, names: &[String]) -> Result<Vec<TopicDescription>> {
    let described = admin.describe_topics(names).await.map_err(|error| explain(admin.client(), error))?;
    let is_missing = |name: &&String| !described.iter().any(|topic| topic.name == **name);
    let missing: Vec<&str> = names.iter().filter(is_missing).map(String::as_str).collect();
    match missing.as_slice() {
        [] => Ok(described),
        [name] => bail!("there is no topic {name}. `ottla topic list` shows which there are"),
        names => bail!("there are no topics {}. `ottla topic list` shows which there are", names.join(", ")),
    }
}

/// Where a partition begins and ends, as far as its leader tells.
type Reach = BTreeMap<TopicPartition, [Option<i64>; 2]>;

async fn reach(admin: &Admin, topic: &TopicDescription) -> Reach {
    let mut reach = Reach::new();
    // Nobody can tell of a partition without a leader: it is not waited for.
    let led = topic.partitions.iter().filter(|(_, partition)| partition.leader.is_some());
    let led: Vec<TopicPartition> = led.map(|(&number, _)| TopicPartition::new(&topic.name, number)).collect();
    for (place, time) in [EARLIEST, LATEST].into_iter().enumerate() {
        let asked: BTreeMap<TopicPartition, Timestamp> = led.iter().map(|at| (at.clone(), time)).collect();
        let told = list_offsets_each(admin.client(), &asked, Isolation::ReadUncommitted).await;
        for (at, offset) in told {
            reach.entry(at).or_default()[place] = offset.ok().map(|found| found.offset.0);
        }
    }
    reach
}

async fn describe(admin: &Admin, names: &[String], shown: Shown) -> Result<()> {
    let topics = found(admin, names).await?;
    let mut configs =
        admin.describe_topic_configs(names).await.map_err(|error| explain(admin.client(), error))?;
    let (mut values, mut texts) = (Vec::new(), Vec::new());
    for topic in &topics {
        let reach = reach(admin, topic).await;
        let set: Vec<ConfigEntry> = configs.remove(&topic.name).unwrap_or_default();
        let set: Vec<ConfigEntry> = set.into_iter().filter(|config| !config.is_default).collect();
        values.push(described_json(topic, &reach, &set));
        texts.push(described_text(topic, &reach, &set));
    }
    shown.print(&Value::Array(values), &texts.join("\n"));
    Ok(())
}

fn described_json(topic: &TopicDescription, reach: &Reach, set: &[ConfigEntry]) -> Value {
    let nodes = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    let partition = |(&number, partition): (&i32, &PartitionDescription)| {
        let [first, end] = reach.get(&TopicPartition::new(&topic.name, number)).copied().unwrap_or_default();
        json!({
            "partition": number,
            "leader": partition.leader.map(|leader| leader.0),
            "replicas": nodes(&partition.replicas),
            "in_sync": nodes(&partition.isr),
            "eligible": partition.elr.as_deref().map(nodes),
            "first_offset": first,
            "end_offset": end,
        })
    };
    let configs: serde_json::Map<String, Value> =
        set.iter().map(|config| (config.name.clone(), json!(config.value))).collect();
    json!({
        "name": topic.name,
        "id": topic.id.to_string(),
        "internal": topic.is_internal,
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
        "configs": configs,
    })
}

fn described_text(topic: &TopicDescription, reach: &Reach, set: &[ConfigEntry]) -> String {
    let partitions = topic.partitions.values();
    let replicas = partitions.clone().map(|partition| partition.replicas.len()).max().unwrap_or(0);
    let health = Health::of(partitions.map(|p| (p.leader, p.replicas.len(), p.isr.len())));
    let counts = counted(topic.partitions.len(), "partition");
    let mut text = format!("{}  {counts} x{replicas}  id {}  {health}\n", topic.name, topic.id);
    let mut table = Table::new(["PARTITION", "LEADER", "REPLICAS", "IN-SYNC", "FIRST", "END"]);
    for (&number, partition) in &topic.partitions {
        let [first, end] = reach.get(&TopicPartition::new(&topic.name, number)).copied().unwrap_or_default();
        table.row([
            number.to_string(),
            partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            listed(&partition.replicas),
            listed(&partition.isr),
            or_none(first),
            or_none(end),
        ]);
    }
    text += &table.text(" ");
    for config in set {
        text += &format!(" {}={}\n", config.name, config.value.as_deref().unwrap_or(NONE));
    }
    text
}

async fn create(admin: &Admin, create: &Create, shown: Shown) -> Result<()> {
    let mut done = Done::default();
    let outcome = async {
        for name in &create.topics {
            let topic = NewTopic {
                name: name.clone(),
                partitions: create.partitions,
                replication_factor: create.replication_factor,
                assignment: Vec::new(),
                configs: create.config.clone(),
            };
            match admin.create_topic(&topic).await {
                Ok(id) => done.add(
                    json!({ "name": name, "id": id.to_string(), "created": true }),
                    &format!("created {name}"),
                ),
                Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) && create.if_not_exists => {
                    done.add(
                        json!({ "name": name, "id": null, "created": false }),
                        &format!("{name} is there already"),
                    );
                }
                Err(error) => return Err(explain(admin.client(), error)),
            }
        }
        Ok(())
    };
    let outcome = outcome.await;
    done.print(shown);
    outcome
}

async fn alter(admin: &Admin, alter: &Alter, shown: Shown) -> Result<()> {
    let set = alter.config.iter().map(|(name, value)| ConfigChange::Set(name.clone(), value.clone()));
    let reset = alter.reset_config.iter().map(|name| ConfigChange::Delete(name.clone()));
    let changes: Vec<ConfigChange> = set.chain(reset).collect();
    ensure!(
        !changes.is_empty() || alter.partitions.is_some(),
        "nothing is to be changed: say --partitions, --config or --reset-config"
    );
    let refused = |error: ClientError| explain(admin.client(), error);
    let name = &alter.topic;
    found(admin, std::slice::from_ref(name)).await?;
    if !changes.is_empty() {
        admin.alter_topic_configs(name, &changes).await.map_err(refused)?;
    }
    if let Some(count) = alter.partitions {
        admin.create_partitions(name, count, None).await.map_err(refused)?;
    }
    shown.print(&json!({ "name": name, "altered": true }), &format!("altered {name}\n"));
    Ok(())
}

async fn delete(admin: &Admin, delete: &Delete, shown: Shown) -> Result<()> {
    let mut done = Done::default();
    let outcome = async {
        for name in &delete.topics {
            match admin.delete_topic(name).await {
                Ok(()) => done.add(json!({ "name": name, "deleted": true }), &format!("deleted {name}")),
                Err(error)
                    if error.code() == Some(ErrorCode::UnknownTopicOrPartition) && delete.if_exists =>
                {
                    done.add(json!({ "name": name, "deleted": false }), &format!("there is no {name}"));
                }
                Err(error) => {
                    let error = explain(admin.client(), error);
                    return Err(error.context(format!("topic {name} is not deleted")));
                }
            }
        }
        Ok(())
    };
    let outcome = outcome.await;
    done.print(shown);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_described_with_what_is_wrong_with_it() {
        let partition = |leader: Option<i32>, isr: &[i32]| PartitionDescription {
            leader: leader.map(NodeId),
            replicas: vec![NodeId(1), NodeId(2)],
            isr: isr.iter().map(|&id| NodeId(id)).collect(),
            elr: Some(Vec::new()),
            last_known_elr: None,
        };
        let topic = TopicDescription {
            name: "t".to_owned(),
            id: ottla_types::Uuid::ZERO,
            is_internal: false,
            partitions: BTreeMap::from([(0, partition(Some(1), &[1, 2])), (1, partition(None, &[]))]),
        };
        let reach = Reach::from([(TopicPartition::new("t", 0), [Some(5), Some(120)])]);
        let set =
            [ConfigEntry { name: "retention.ms".to_owned(), value: Some("5".to_owned()), is_default: false }];

        assert_eq!(
            described_text(&topic, &reach, &set),
            "t  2 partitions x2  id AAAAAAAAAAAAAAAAAAAAAA  1 offline, 1 under-replicated\n \
             PARTITION  LEADER  REPLICAS  IN-SYNC  FIRST  END\n         \
             0  1       1,2       1,2          5  120\n         \
             1  none    1,2       -            -    -\n \
             retention.ms=5\n"
        );
        assert_eq!(
            described_json(&topic, &reach, &set)["partitions"][1],
            json!({ "partition": 1, "leader": null, "replicas": [1, 2], "in_sync": [], "eligible": [],
                    "first_offset": null, "end_offset": null })
        );
    }

    #[test]
    fn a_setting_has_a_name_and_a_value() {
        assert_eq!(setting("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(setting("a="), Ok(("a".to_owned(), String::new())));
        assert!(setting("a").is_err() && setting("=b").is_err());
    }
}
