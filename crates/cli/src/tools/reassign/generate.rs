//! `--generate`: a plan by which topics come to lie on some brokers, as new topics would.

use super::{Failure, error, failed, plan, replicas};
use crate::format;
use crate::output;
use crate::tools::java_map::in_hash_order;
use crate::tools::options::Parsed;
use ottla_client::Admin;
use ottla_client::admin::cluster::ClusterDescription;
use ottla_controller::placement;
use ottla_metadata::{BrokerRegistration, ClusterImage};
use ottla_protocol::records::metadata::RegisterBrokerRecord;
use ottla_types::{NodeId, Random, TopicPartition};
use std::collections::BTreeMap;

pub(super) async fn generate(admin: &Admin, parsed: &Parsed) -> Result<(), Failure> {
    let text = plan::text(parsed.value("topics-to-move-json-file").unwrap_or_default())?;
    let brokers = brokers(parsed.value("broker-list").unwrap_or_default())?;
    let topics = plan::topics(&text)?;
    let current = replicas(admin, &topics).await?;
    let cluster = admin.describe_cluster().await.map_err(failed)?;
    let image = image(&cluster, &brokers, !parsed.has("disable-rack-aware"))?;
    let proposed = propose(&current, &image, &mut Random::new(format::seed()))?;
    let directories = super::directories::of(admin, &current).await?;
    output::line(format_args!(
        "Current partition replica assignment\n{}\n",
        plan::write(&current, |node, at| directories.get(&(node, at.clone())).cloned())
    ));
    output::line(format_args!(
        "Proposed partition reassignment configuration\n{}",
        plan::write(&proposed, |_, _| None)
    ));
    Ok(())
}

fn brokers(list: &str) -> Result<Vec<NodeId>, Failure> {
    let id = |text: &str| {
        text.parse().map(NodeId).map_err(|_| error(format_args!("For input string: \"{text}\"")))
    };
    let brokers: Vec<NodeId> = list.split(',').map(id).collect::<Result<_, _>>()?;
    let twice: Vec<String> = plan::twice(brokers.iter()).into_iter().map(NodeId::to_string).collect();
    if !twice.is_empty() {
        return Err(error(format_args!("Broker list contains duplicate entries: [{}]", twice.join(", "))));
    }
    Ok(brokers)
}

/// The brokers that may be used, as the placement sees a cluster.
fn image(cluster: &ClusterDescription, brokers: &[NodeId], use_racks: bool) -> Result<ClusterImage, Failure> {
    let mut image = ClusterImage::default();
    for &node in brokers.iter().filter(|node| cluster.brokers.contains(node)) {
        let rack = cluster.racks.get(&node).cloned().filter(|_| use_racks);
        let record = RegisterBrokerRecord { broker_id: node.0, fenced: false, rack, ..Default::default() };
        image.brokers.insert(node, BrokerRegistration::from_record(&record));
    }
    let without = image.brokers.values().filter(|broker| broker.rack.is_none()).count();
    if use_racks && without != 0 && without != image.brokers.len() {
        return Err(error(
            "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica \
             assignment without rack information.",
        ));
    }
    Ok(image)
}

/// As many partitions of each topic as there are, with as many replicas as the first has.
fn propose(
    current: &BTreeMap<TopicPartition, Vec<NodeId>>,
    image: &ClusterImage,
    random: &mut Random,
) -> Result<BTreeMap<TopicPartition, Vec<NodeId>>, Failure> {
    let mut topics: BTreeMap<&String, Vec<&Vec<NodeId>>> = BTreeMap::new();
    for (at, replicas) in current {
        topics.entry(&at.topic).or_default().push(replicas);
    }
    let mut proposed = BTreeMap::new();
    for (topic, partitions) in in_hash_order(topics.into_iter().collect(), |(topic, _)| topic.as_str()) {
        let factor = partitions.first().map_or(0, |replicas| replicas.len());
        let placed = placement::place(image, partitions.len(), factor, random).map_err(error)?;
        let numbered = (0..).zip(placed);
        proposed.extend(numbered.map(|(number, replicas)| (TopicPartition::new(topic, number), replicas)));
    }
    Ok(proposed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn cluster(racks: &[(i32, &str)]) -> ClusterDescription {
        ClusterDescription {
            cluster_id: "c".to_owned(),
            brokers: [1, 2, 3, 4].map(NodeId).into(),
            racks: racks.iter().map(|&(id, rack)| (NodeId(id), rack.to_owned())).collect(),
        }
    }

    #[test]
    fn a_plan_uses_the_brokers_that_are_named_and_their_racks() {
        let cluster = cluster(&[(1, "a"), (2, "a"), (3, "b"), (4, "b")]);
        let named = [1, 2, 3].map(NodeId);
        let current = BTreeMap::from([
            (TopicPartition::new("t", 0), vec![NodeId(1), NodeId(2)]),
            (TopicPartition::new("t", 1), vec![NodeId(2), NodeId(1)]),
        ]);

        let plan = propose(&current, &image(&cluster, &named, true).unwrap(), &mut Random::new(3)).unwrap();

        assert!(plan.keys().eq(current.keys()));
        for replicas in plan.values() {
            assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 2);
            assert!(replicas.contains(&NodeId(3)), "the only one of rack b: {replicas:?}");
        }
    }

    #[test]
    fn racks_of_some_brokers_only_are_refused() {
        let cluster = cluster(&[(1, "a")]);
        assert!(image(&cluster, &[NodeId(1), NodeId(2)], true).is_err());
        assert!(image(&cluster, &[NodeId(1), NodeId(2)], false).is_ok());
        assert!(image(&cluster, &[NodeId(1)], true).is_ok());
    }
}
