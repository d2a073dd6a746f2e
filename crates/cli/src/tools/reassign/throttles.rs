//! Throttles: set for a plan, and ended after it (KIP-73, KIP-113).

use super::plan::Plan;
use super::{Failure, failed, ids, plural};
use crate::output;
use crate::tools::java_map::in_hash_order;
use crate::tools::options::Parsed;
use ottla_client::Admin;
use ottla_client::admin::configs::ConfigChange;
use ottla_client::admin::topics::Reassignment;
use ottla_types::{NodeId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

const LEADER_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
const DIRECTORIES_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const LEADER_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWER_REPLICAS: &str = "follower.replication.throttled.replicas";

/// What was asked for, in bytes a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    between_brokers: Option<i64>,
    between_directories: Option<i64>,
}

impl Rates {
    /// Reads the options. A rate below zero is none, as in Kafka's tool.
    pub(super) fn read(parsed: &Parsed) -> Result<Rates, Failure> {
        let rate = |name| -> Result<Option<i64>, Failure> {
            Ok(parsed.number::<i64>(name)?.filter(|rate| *rate >= 0))
        };
        Ok(Rates {
            between_brokers: rate("throttle")?,
            between_directories: rate("replica-alter-log-dirs-throttle")?,
        })
    }
}

/// Where a partition comes from and goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Move {
    sources: BTreeSet<NodeId>,
    destinations: BTreeSet<NodeId>,
}

/// Throttles what the plan moves, and what is being moved already: brokers have one rate for both.
pub(super) async fn set(
    admin: &Admin,
    rates: Rates,
    plan: &Plan,
    ongoing: &BTreeMap<TopicPartition, Reassignment>,
    current: &BTreeMap<TopicPartition, Vec<NodeId>>,
) -> Result<(), Failure> {
    let Rates { between_brokers, between_directories } = rates;
    if between_brokers.is_none() && between_directories.is_none() {
        return Ok(());
    }
    output::line(
        "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed.",
    );
    if let Some(rate) = between_brokers {
        let moves = moves(plan, ongoing, current);
        for (topic, changes) in throttled_replicas(&moves) {
            admin.alter_topic_configs(&topic, &changes).await.map_err(failed)?;
        }
        let set = |name: &str| ConfigChange::Set(name.to_owned(), rate.to_string());
        let brokers = moves.values().flat_map(|part| part.sources.union(&part.destinations));
        for broker in brokers.copied().collect::<BTreeSet<NodeId>>() {
            let changes = [set(LEADER_RATE), set(FOLLOWER_RATE)];
            admin.alter_broker_configs(broker, &changes).await.map_err(failed)?;
        }
        output::line(format_args!("The inter-broker throttle limit was set to {rate} B/s"));
    }
    if let Some(rate) = between_directories {
        let brokers: BTreeSet<NodeId> = plan.directories.keys().map(|(node, _)| *node).collect();
        for broker in brokers {
            let change = ConfigChange::Set(DIRECTORIES_RATE.to_owned(), rate.to_string());
            admin.alter_broker_configs(broker, &[change]).await.map_err(failed)?;
        }
        output::line(format_args!("The replica-alter-dir throttle limit was set to {rate} B/s"));
    }
    Ok(())
}

/// A partition that is on its way already keeps the sources of that.
fn moves(
    plan: &Plan,
    ongoing: &BTreeMap<TopicPartition, Reassignment>,
    current: &BTreeMap<TopicPartition, Vec<NodeId>>,
) -> BTreeMap<TopicPartition, Move> {
    let of_ongoing = |reassignment: &Reassignment| {
        let destinations: BTreeSet<NodeId> = reassignment.adding.iter().copied().collect();
        let sources = reassignment.replicas.iter().copied().filter(|node| !destinations.contains(node));
        Move { sources: sources.collect(), destinations }
    };
    let mut moves: BTreeMap<TopicPartition, Move> =
        ongoing.iter().map(|(at, reassignment)| (at.clone(), of_ongoing(reassignment))).collect();
    for (at, target) in &plan.partitions {
        let part = moves.entry(at.clone()).or_insert_with(|| Move {
            sources: current.get(at).into_iter().flatten().copied().collect(),
            destinations: BTreeSet::new(),
        });
        part.destinations = target.iter().copied().filter(|node| !part.sources.contains(node)).collect();
    }
    moves
}

/// The changes by topic: sources serve more slowly, destinations fetch more slowly.
fn throttled_replicas(moves: &BTreeMap<TopicPartition, Move>) -> BTreeMap<String, Vec<ConfigChange>> {
    let mut leaders: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut followers: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (at, part) in moves {
        let replica = |node: &NodeId| format!("{}:{node}", at.partition);
        leaders.entry(&at.topic).or_default().extend(part.sources.iter().map(replica));
        followers.entry(&at.topic).or_default().extend(part.destinations.iter().map(replica));
    }
    let set = |name: &str, replicas: &BTreeSet<String>| {
        let listed = replicas.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        ConfigChange::Set(name.to_owned(), listed)
    };
    let changes = leaders.iter().zip(followers.values()).map(|((topic, leaders), followers)| {
        let changes = vec![set(LEADER_REPLICAS, leaders), set(FOLLOWER_REPLICAS, followers)];
        ((*topic).to_owned(), changes)
    });
    changes.collect()
}

/// Ends all throttles: which brokers took part is not known any more.
pub(super) async fn clear(admin: &Admin, plan: &Plan) -> Result<(), Failure> {
    let delete = |names: &[&str]| -> Vec<ConfigChange> {
        names.iter().map(|name| ConfigChange::Delete((*name).to_owned())).collect()
    };
    let mut brokers = admin.describe_cluster().await.map_err(failed)?.brokers;
    brokers.extend(plan.partitions.iter().flat_map(|(_, replicas)| replicas));
    let brokers: Vec<NodeId> = brokers.into_iter().collect();
    let (count, list) = (brokers.len(), ids(&brokers));
    output::line(format_args!("Clearing broker-level throttles on broker{} {list}", plural(count)));
    for broker in brokers {
        admin
            .alter_broker_configs(broker, &delete(&[LEADER_RATE, FOLLOWER_RATE, DIRECTORIES_RATE]))
            .await
            .map_err(failed)?;
    }
    let topics = in_hash_order(plan.topics(), |topic| topic);
    let (count, list) = (topics.len(), topics.join(","));
    output::line(format_args!("Clearing topic-level throttles on topic{} {list}", plural(count)));
    for topic in &topics {
        admin
            .alter_topic_configs(topic, &delete(&[LEADER_REPLICAS, FOLLOWER_REPLICAS]))
            .await
            .map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_keeps_its_sources() {
        let at = |partition| TopicPartition::new("t", partition);
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let plan =
            Plan { partitions: vec![(at(0), nodes(&[2, 3])), (at(1), nodes(&[1, 5]))], ..Plan::default() };
        let reassignment = |replicas: &[i32], adding: &[i32]| Reassignment {
            replicas: nodes(replicas),
            adding: nodes(adding),
            removing: Vec::new(),
        };
        let ongoing =
            BTreeMap::from([(at(1), reassignment(&[1, 2, 3], &[3])), (at(2), reassignment(&[4, 1], &[4]))]);
        let current = BTreeMap::from([(at(0), nodes(&[1, 2])), (at(1), nodes(&[1, 2, 3]))]);

        let changes = throttled_replicas(&moves(&plan, &ongoing, &current));

        let set = |name: &str, value: &str| ConfigChange::Set(name.to_owned(), value.to_owned());
        let expected =
            vec![set(LEADER_REPLICAS, "0:1,0:2,1:1,1:2,2:1"), set(FOLLOWER_REPLICAS, "0:3,1:5,2:4")];
        assert_eq!(changes, BTreeMap::from([("t".to_owned(), expected)]));
    }
}
