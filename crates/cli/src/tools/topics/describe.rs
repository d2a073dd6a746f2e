//! What `kafka-topics --describe` prints (`TopicCommand`).

use crate::tools::java_map::in_hash_order;
use ottla_client::admin::configs::ConfigEntry;
use ottla_client::admin::topics::{PartitionDescription, Reassignment, TopicDescription};
use ottla_types::{NodeId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) under_replicated: bool,
    pub(super) unavailable: bool,
    pub(super) under_min_isr: bool,
    pub(super) at_min_isr: bool,
    pub(super) with_overrides: bool,
}

impl Filter {
    fn is_of_partitions(&self) -> bool {
        self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr
    }
}

/// What is known beside the topic itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) filter: Filter,
    pub(super) live: &'a BTreeSet<NodeId>,
    pub(super) reassignments: &'a BTreeMap<TopicPartition, Reassignment>,
}

/// Appends the lines of one topic.
pub(super) fn describe(
    out: &mut String,
    topic: &TopicDescription,
    configs: &[ConfigEntry],
    context: Context<'_>,
) {
    let Context { filter, reassignments, .. } = context;
    let reassignment = |index| reassignments.get(&TopicPartition::new(&topic.name, index));
    let overridden = configs.iter().any(|config| !config.is_default);
    if !filter.is_of_partitions() && (!filter.with_overrides || overridden) {
        let first = topic.partitions.get(&0);
        let replication_factor = first.map_or(0, |first| replication_factor(first, reassignment(0)));
        writeln!(
            out,
            "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {replication_factor}\tConfigs: {}",
            topic.name,
            topic.id,
            topic.partitions.len(),
            overrides(configs),
        )
        .expect("a String takes everything");
    }
    if filter.with_overrides {
        return;
    }
    for (&index, partition) in &topic.partitions {
        if is_wanted(partition, reassignment(index), configs, context) {
            describe_partition(out, &topic.name, index, partition, reassignment(index));
        }
    }
}

/// The settings that somebody set.
fn overrides(configs: &[ConfigEntry]) -> String {
    let set: Vec<String> = in_hash_order(configs.iter().collect(), |config| &config.name)
        .into_iter()
        .filter(|config| !config.is_default)
        .map(|config| format!("{}={}", config.name, config.value.as_deref().unwrap_or("null")))
        .collect();
    set.join(",")
}

/// How many replicas there are to be: those on their way are not counted while others are to go.
fn replication_factor(partition: &PartitionDescription, reassignment: Option<&Reassignment>) -> usize {
    let adding = reassignment.map_or(0, |reassignment| reassignment.adding.len());
    partition.replicas.len() - adding.min(partition.replicas.len())
}

fn is_wanted(
    partition: &PartitionDescription,
    reassignment: Option<&Reassignment>,
    configs: &[ConfigEntry],
    context: Context<'_>,
) -> bool {
    let filter = context.filter;
    if !filter.is_of_partitions() {
        return true;
    }
    let isr = partition.isr.len();
    let min_isr = configs
        .iter()
        .find(|config| config.name == "min.insync.replicas")
        .and_then(|config| config.value.as_deref()?.parse::<usize>().ok())
        .unwrap_or(1);
    filter.under_replicated && replication_factor(partition, reassignment) > isr
        || filter.unavailable && partition.leader.is_none_or(|leader| !context.live.contains(&leader))
        || filter.under_min_isr && isr < min_isr
        || filter.at_min_isr && isr == min_isr
}

fn describe_partition(
    out: &mut String,
    topic: &str,
    index: i32,
    partition: &PartitionDescription,
    reassignment: Option<&Reassignment>,
) {
    let leader = partition.leader.map_or("none".to_owned(), |leader| leader.to_string());
    let mut line = format!(
        "\tTopic: {topic}\tPartition: {index}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
        list(&partition.replicas),
        list(&partition.isr),
    );
    if let Some(reassignment) = reassignment {
        line += &format!("\tAdding Replicas: {}", list(&reassignment.adding));
        line += &format!("\tRemoving Replicas: {}", list(&reassignment.removing));
    }
    let eligible = |nodes: &Option<Vec<NodeId>>| nodes.as_deref().map_or("N/A".to_owned(), list);
    line += &format!("\tElr: {}", eligible(&partition.elr));
    line += &format!("\tLastKnownElr: {}", eligible(&partition.last_known_elr));
    out.push_str(&line);
    out.push('\n');
}

fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::Uuid;

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().map(|&id| NodeId(id)).collect()
    }

    fn topic() -> TopicDescription {
        let partition = |leader: Option<i32>, isr: &[i32]| PartitionDescription {
            leader: leader.map(NodeId),
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(isr),
            elr: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
        };
        TopicDescription {
            name: "failsafe-test-topic".into(),
            id: Uuid::from_u128(100),
            is_internal: false,
            partitions: [
                (0, partition(Some(2), &[2, 3, 1])),
                (1, partition(Some(3), &[2, 3])),
                (2, partition(None, &[])),
            ]
            .into(),
        }
    }

    fn config(name: &str, value: &str, is_default: bool) -> ConfigEntry {
        ConfigEntry { name: name.into(), value: Some(value.into()), is_default }
    }

    fn shown(filter: Filter) -> String {
        let configs = [config("min.insync.replicas", "2", true), config("retention.ms", "1000", false)];
        let mut out = String::new();
        let context = Context {
            filter,
            live: &nodes(&[2]).into_iter().collect(),
            reassignments: &BTreeMap::from([(
                TopicPartition::new("failsafe-test-topic", 1),
                Reassignment { adding: nodes(&[3]), ..Reassignment::default() },
            )]),
        };
        describe(&mut out, &topic(), &configs, context);
        out
    }

    const HEADER: &str = "Topic: failsafe-test-topic\tTopicId: AAAAAAAAAAAAAAAAAAAAZA\tPartitionCount: 3\tReplicationFactor: 3\tConfigs: retention.ms=1000\n";
    const P0: &str = "\tTopic: failsafe-test-topic\tPartition: 0\tLeader: 2\tReplicas: 1,2,3\tIsr: 2,3,1\tElr: \tLastKnownElr: \n";
    const P1: &str = "\tTopic: failsafe-test-topic\tPartition: 1\tLeader: 3\tReplicas: 1,2,3\tIsr: 2,3\tAdding Replicas: 3\tRemoving Replicas: \tElr: \tLastKnownElr: \n";
    const P2: &str = "\tTopic: failsafe-test-topic\tPartition: 2\tLeader: none\tReplicas: 1,2,3\tIsr: \tElr: \tLastKnownElr: \n";

    #[test]
    fn a_topic_is_described_as_kafka_does() {
        assert_eq!(shown(Filter::default()), [HEADER, P0, P1, P2].concat());
    }

    #[test]
    fn filters_leave_out_the_header_and_what_is_well() {
        let only = |filter: Filter, lines: &[&str]| assert_eq!(shown(filter), lines.concat(), "{filter:?}");
        only(Filter { under_replicated: true, ..Filter::default() }, &[P2]);
        only(Filter { unavailable: true, ..Filter::default() }, &[P1, P2]);
        only(Filter { under_min_isr: true, ..Filter::default() }, &[P2]);
        only(Filter { at_min_isr: true, ..Filter::default() }, &[P1]);
        only(Filter { with_overrides: true, ..Filter::default() }, &[HEADER]);
    }

    #[test]
    fn a_cluster_that_knows_no_eligible_leaders_says_so() {
        let mut topic = topic();
        topic.partitions.retain(|&index, partition| {
            partition.elr = None;
            partition.last_known_elr = None;
            index == 0
        });
        let mut out = String::new();
        let context =
            Context { filter: Filter::default(), live: &BTreeSet::new(), reassignments: &BTreeMap::new() };

        describe(&mut out, &topic, &[], context);

        assert!(out.ends_with("\tElr: N/A\tLastKnownElr: N/A\n"), "{out}");
        assert!(out.contains("\tConfigs: \n"), "{out}");
    }
}
