//! What happened between two images of the cluster, as a person would tell it.

use ottla_metadata::{MetadataDelta, MetadataImage, TopicImage};
use ottla_types::{BrokerEpoch, NodeId, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// Partitions that are named one by one; of more, only the count is told.
const NAMED_MAX: usize = 8;

/// The lines that tell what `delta` made of `before`. `cause` knows why a broker was fenced, if anybody does.
pub(super) fn tell(
    before: &MetadataImage,
    after: &MetadataImage,
    delta: &MetadataDelta,
    cause: impl Fn(NodeId, BrokerEpoch) -> Option<String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for &id in &delta.brokers {
        let (was, is) = (before.cluster.broker(id), after.cluster.broker(id));
        let served = was.is_some_and(|broker| !broker.fenced);
        match is {
            Some(broker) if broker.fenced && served => {
                let cause = cause(id, broker.epoch).map_or_else(String::new, |cause| format!(": {cause}"));
                lines.push(format!("node {id} fenced (broker epoch {}){cause}", broker.epoch));
            }
            Some(broker) if !broker.fenced && !served => {
                lines.push(format!("node {id} serves (broker epoch {})", broker.epoch));
            }
            None if was.is_some() => lines.push(format!("node {id} unregistered")),
            _ => {}
        }
    }
    for (_, name) in &delta.removed_topics {
        lines.push(format!("topic {name} deleted"));
    }
    let topics: BTreeSet<Uuid> = delta.partitions.iter().map(|at| at.topic_id).collect();
    for topic in topics.into_iter().filter_map(|id| after.topics.by_id(id)) {
        match before.topics.by_id(topic.id) {
            None => lines.push(created(topic)),
            Some(was) => {
                lines.extend(enlarged(was, topic));
                lines.extend(moved(was, topic));
            }
        }
    }
    lines
}

fn created(topic: &TopicImage) -> String {
    let mut leads: BTreeMap<NodeId, usize> = BTreeMap::new();
    for leader in topic.partitions.values().filter_map(|partition| partition.leader) {
        *leads.entry(leader).or_default() += 1;
    }
    let leads: Vec<String> = leads.iter().map(|(id, count)| format!("{id}:{count}")).collect();
    format!(
        "topic {}: {} partitions x{}, leaders {}",
        topic.name,
        topic.partitions.len(),
        topic.partitions.values().next().map_or(0, |partition| partition.replicas.len()),
        leads.join(" "),
    )
}

fn enlarged(was: &TopicImage, is: &TopicImage) -> Option<String> {
    let (before, after) = (was.partitions.len(), is.partitions.len());
    (after > before).then(|| format!("topic {}: {after} partitions, {before} before", is.name))
}

/// Leaders that moved.
fn moved(was: &TopicImage, is: &TopicImage) -> Option<String> {
    let moved: Vec<String> = is
        .partitions
        .iter()
        .filter(|(number, partition)| {
            was.partitions.get(number).is_some_and(|before| before.leader != partition.leader)
        })
        .map(|(number, partition)| match partition.leader {
            Some(leader) => format!("-{number} -> {leader} (epoch {})", partition.leader_epoch),
            None => format!("-{number} has none"),
        })
        .collect();
    match moved.len() {
        0 => None,
        1..=NAMED_MAX => Some(format!("leaders of {} moved: {}", is.name, moved.join(", "))),
        count => Some(format!("{count} leaders of {} moved", is.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::records::{leads, partition, registration_change, topic};
    use ottla_protocol::records::metadata::{MetadataRecord, RegisterBrokerRecord};

    fn replay(image: &mut MetadataImage, records: Vec<MetadataRecord>) -> Vec<String> {
        let before = image.clone();
        let mut delta = MetadataDelta::default();
        for record in &records {
            image.replay(record, &mut delta).unwrap();
        }
        tell(&before, image, &delta, |_, _| Some("its process ended".to_owned()))
    }

    #[test]
    fn a_topic_and_a_death_are_told() {
        let mut image = MetadataImage::default();
        let broker =
            RegisterBrokerRecord { broker_id: 2, broker_epoch: 41, fenced: false, ..Default::default() };
        assert_eq!(
            replay(&mut image, vec![MetadataRecord::RegisterBroker(broker)]),
            ["node 2 serves (broker epoch 41)"]
        );

        assert_eq!(
            replay(&mut image, vec![topic(), partition(0, 2, 0), partition(1, 3, 0), partition(2, 2, 0)]),
            ["topic t: 3 partitions x3, leaders 2:2 3:1"]
        );

        assert_eq!(
            replay(&mut image, vec![registration_change(41, 1, 0), leads(2, 1)]),
            ["node 2 fenced (broker epoch 41): its process ended", "leaders of t moved: -2 -> 1 (epoch 1)"]
        );
    }
}
