//! Plans: which brokers are to hold which partitions, and in which directories; as JSON.

use super::{Failure, error};
use ottla_client::admin::reassignments::ReplicaAt;
use ottla_types::{NodeId, TopicPartition};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The word that leaves the directory to the broker.
const ANY: &str = "any";

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The brokers that are to hold each partition, in the order of the file.
    pub(super) partitions: Vec<(TopicPartition, Vec<NodeId>)>,
    /// The directories that some replicas are to be in.
    pub(super) directories: BTreeMap<ReplicaAt, String>,
}

/// Reads a file.
pub(super) fn text(path: &str) -> Result<String, Failure> {
    // Java's exception says no more than the name.
    std::fs::read_to_string(path).map_err(|_| error(path))
}

impl Plan {
    /// Reads a plan.
    pub(super) fn read(text: &str) -> Result<Plan, Failure> {
        let json = parse(text)?;
        let mut plan = Plan::default();
        for entry in list(json.get("partitions"), "partitions")? {
            let topic = string(entry.get("topic"), "topic")?;
            let at = TopicPartition::new(topic, number(entry.get("partition"), "partition")?);
            let replicas = list(entry.get("replicas"), "replicas")?;
            let replicas =
                replicas.iter().map(|id| number(Some(id), "replicas")).collect::<Result<Vec<_>, _>>()?;
            let directories = match entry.get("log_dirs") {
                None => vec![ANY.to_owned(); replicas.len()],
                some => {
                    let all = list(some, "log_dirs")?;
                    all.iter().map(|path| string(Some(path), "log_dirs")).collect::<Result<_, _>>()?
                }
            };
            if replicas.len() != directories.len() {
                return Err(error(format_args!(
                    "Size of replicas list {replicas:?} is different from size of log dirs list [{}] for \
                     partition {at}",
                    directories.join(", ")
                )));
            }
            let replicas: Vec<NodeId> = replicas.into_iter().map(NodeId).collect();
            for (&node, directory) in replicas.iter().zip(directories).filter(|(_, path)| path != ANY) {
                plan.directories.insert((node, at.clone()), directory);
            }
            plan.partitions.push((at, replicas));
        }
        Ok(plan)
    }

    /// Fails when the plan cannot be carried out by any cluster.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.partitions.is_empty() {
            return Err(error("Partition reassignment list cannot be empty"));
        }
        if self.partitions.iter().any(|(_, replicas)| replicas.is_empty()) {
            return Err(error("Partition replica list cannot be empty"));
        }
        let twice = twice(self.partitions.iter().map(|(at, _)| at));
        if !twice.is_empty() {
            let names = super::names(twice.into_iter());
            return Err(error(format_args!(
                "Partition reassignment contains duplicate topic partitions: {names}"
            )));
        }
        let entries: Vec<String> = self
            .partitions
            .iter()
            .map(|(at, replicas)| (at, self::twice(replicas.iter()).into_iter().copied().collect::<Vec<_>>()))
            .filter(|(_, twice)| !twice.is_empty())
            .map(|(at, twice)| format!("{at} contains multiple entries for {}", super::ids(&twice)))
            .collect();
        if !entries.is_empty() {
            return Err(error(format_args!(
                "Partition replica lists may not contain duplicate entries: {}",
                entries.join(". ")
            )));
        }
        Ok(())
    }

    /// The topics of the plan.
    pub(super) fn topics(&self) -> Vec<String> {
        let topics: BTreeSet<&String> = self.partitions.iter().map(|(at, _)| &at.topic).collect();
        topics.into_iter().cloned().collect()
    }
}

/// The topics that a file names for `--generate`.
pub(super) fn topics(text: &str) -> Result<Vec<String>, Failure> {
    let json = parse(text)?;
    let topics: Vec<String> = list(json.get("topics"), "topics")?
        .iter()
        .map(|entry| string(entry.get("topic"), "topic"))
        .collect::<Result<_, _>>()?;
    let twice = twice(topics.iter());
    if !twice.is_empty() {
        let names: Vec<&str> = twice.into_iter().map(String::as_str).collect();
        return Err(error(format_args!(
            "List of topics to reassign contains duplicate entries: [{}]",
            names.join(", ")
        )));
    }
    Ok(topics)
}

/// A plan as Kafka's tool writes it, in the order of the partitions.
pub(super) fn write(
    partitions: &BTreeMap<TopicPartition, Vec<NodeId>>,
    directory: impl Fn(NodeId, &TopicPartition) -> Option<String>,
) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let partition = |(at, replicas): (&TopicPartition, &Vec<NodeId>)| {
        let directories: Vec<String> =
            replicas.iter().map(|&node| quoted(directory(node, at).as_deref().unwrap_or(ANY))).collect();
        format!(
            "{{\"topic\":{},\"partition\":{},\"replicas\":[{}],\"log_dirs\":[{}]}}",
            quoted(&at.topic),
            at.partition,
            super::ids(replicas),
            directories.join(",")
        )
    };
    let partitions: Vec<String> = partitions.iter().map(partition).collect();
    format!("{{\"version\":1,\"partitions\":[{}]}}", partitions.join(","))
}

/// What comes more than once, once.
pub(super) fn twice<'a, T: Ord>(items: impl Iterator<Item = &'a T>) -> Vec<&'a T> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for item in items {
        if !seen.insert(item) {
            twice.insert(item);
        }
    }
    twice.into_iter().collect()
}

fn parse(text: &str) -> Result<Value, Failure> {
    let json: Value = serde_json::from_str(text)
        .map_err(|why| error(format_args!("The input string is not a valid JSON: {why}")))?;
    match json.get("version").map(Value::as_i64) {
        None | Some(Some(1)) => Ok(json),
        Some(Some(version)) => Err(error(format_args!("Not supported version field value {version}"))),
        Some(None) => Err(error("version is not a number")),
    }
}

fn list<'a>(value: Option<&'a Value>, name: &str) -> Result<&'a [Value], Failure> {
    match value {
        // Kafka's tool takes a file without partitions for an empty plan.
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(error(format_args!("{name} is not a list"))),
    }
}

fn string(value: Option<&Value>, name: &str) -> Result<String, Failure> {
    let text = value.and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| error(format_args!("{name} is missing, or is no text")))
}

fn number(value: Option<&Value>, name: &str) -> Result<i32, Failure> {
    let number = value.and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| error(format_args!("{name} is missing, or is no number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let at = TopicPartition::new("t", 1);
        let partitions = BTreeMap::from([(at.clone(), vec![NodeId(2), NodeId(1)])]);
        let text = write(&partitions, |node, _| (node == NodeId(1)).then(|| "/a \"b\"".to_owned()));

        assert_eq!(
            text,
            r#"{"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[2,1],"log_dirs":["any","/a \"b\""]}]}"#
        );
        let plan = Plan::read(&text).unwrap();
        assert_eq!(plan.partitions, [(at.clone(), vec![NodeId(2), NodeId(1)])]);
        assert_eq!(plan.directories, BTreeMap::from([((NodeId(1), at), "/a \"b\"".to_owned())]));
        assert_eq!(plan.topics(), ["t"]);
    }

    #[test]
    fn a_file_that_is_no_plan_is_refused() {
        for text in [
            "{",
            r#"{"version":2}"#,
            r#"{"version":"1"}"#,
            r#"{"partitions":{}}"#,
            r#"{"partitions":[{"partition":0,"replicas":[1]}]}"#,
            r#"{"partitions":[{"topic":"t","replicas":[1]}]}"#,
            r#"{"partitions":[{"topic":"t","partition":0,"replicas":["1"]}]}"#,
            r#"{"partitions":[{"topic":"t","partition":0,"replicas":[1],"log_dirs":[]}]}"#,
        ] {
            assert!(Plan::read(text).is_err(), "{text}");
        }
        for text in [
            r#"{"partitions":[]}"#,
            r#"{"partitions":[{"topic":"t","partition":0,"replicas":[]}]}"#,
            r#"{"partitions":[{"topic":"t","partition":0,"replicas":[1,1]}]}"#,
        ] {
            assert!(Plan::read(text).unwrap().check().is_err(), "{text}");
        }
    }
}
