//! What the client knows of the cluster: brokers, topics, leaders.

use crate::config::HostPort;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};
use ottla_types::{LeaderEpoch, NodeId, TopicPartition, Uuid};
use std::collections::BTreeMap;

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: NodeId,
    /// Where clients reach it.
    pub address: HostPort,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero where the cluster has none.
    pub id: Uuid,
    /// Whether Kafka made it for itself.
    pub is_internal: bool,
    /// Its partitions, by number.
    pub partitions: BTreeMap<i32, Partition>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<NodeId>,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
    /// The brokers that hold it; the preferred leader is the first.
    pub replicas: Vec<NodeId>,
    /// Those that have everything committed.
    pub isr: Vec<NodeId>,
}

/// What was last heard. Replaced as a whole whenever something new is heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// A broker that takes administrators' requests.
    pub controller: Option<NodeId>,
    /// Those alive.
    pub brokers: BTreeMap<NodeId, Broker>,
    /// Those asked about.
    pub topics: BTreeMap<String, Topic>,
    /// Why a topic asked about is not among [`Metadata::topics`].
    pub topic_errors: BTreeMap<String, ErrorCode>,
}

/// Whose topics an answer was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All: what is not in the answer is not there.
    All,
    /// Some: the others stay as they are known.
    Some,
}

impl Metadata {
    /// The name of the topic with this id.
    pub fn topic_name(&self, id: Uuid) -> Option<&str> {
        self.topics.values().find(|topic| topic.id == id).map(|topic| topic.name.as_str())
    }

    /// The topic that an answer is about, which names it by its id in later versions, and leaves the name empty.
    pub fn answered_topic<'a>(&'a self, name: &'a str, id: Uuid) -> Option<&'a str> {
        if name.is_empty() { self.topic_name(id) } else { Some(name) }
    }

    /// What is known after this answer.
    pub fn updated(&self, response: MetadataResponse, scope: Scope) -> Metadata {
        let mut next = Metadata {
            cluster_id: response.cluster_id.or_else(|| self.cluster_id.clone()),
            controller: NodeId(response.controller_id).some(),
            brokers: response
                .brokers
                .into_iter()
                .filter_map(|broker| {
                    let id = NodeId(broker.node_id).some()?;
                    let address = HostPort::new(broker.host, u16::try_from(broker.port).ok()?);
                    Some((id, Broker { id, address, rack: broker.rack }))
                })
                .collect(),
            ..Metadata::default()
        };
        if scope == Scope::Some {
            next.topics = self.topics.clone();
        }
        for topic in response.topics {
            let Some(name) = topic.name.clone() else { continue };
            match ErrorCode::from(topic.error_code) {
                // A topic without a leader somewhere is a topic.
                ErrorCode::None | ErrorCode::LeaderNotAvailable => {
                    let topic = self.newer(&name, topic);
                    next.topics.insert(name, topic);
                }
                error => {
                    next.topics.remove(&name);
                    next.topic_errors.insert(name, error);
                }
            }
        }
        next
    }

    /// The topic in an answer, but with the leaders of a later epoch that are known from elsewhere: a broker
    /// that lags must not undo what a leader said (KIP-951).
    fn newer(&self, name: &str, answer: MetadataResponseTopic) -> Topic {
        let known = self.topics.get(name).filter(|known| known.id == answer.topic_id);
        let partitions = answer.partitions.into_iter().map(|partition| {
            let index = partition.partition_index;
            let nodes = |ids: &[i32]| ids.iter().map(|&id| NodeId(id)).collect::<Vec<_>>();
            let mut new = Partition {
                leader: NodeId(partition.leader_id).some(),
                leader_epoch: LeaderEpoch(partition.leader_epoch),
                replicas: nodes(&partition.replica_nodes),
                isr: nodes(&partition.isr_nodes),
            };
            if let Some(known) = known.and_then(|known| known.partitions.get(&index))
                && known.leader_epoch > new.leader_epoch
            {
                (new.leader, new.leader_epoch) = (known.leader, known.leader_epoch);
            }
            (index, new)
        });
        Topic {
            name: name.to_owned(),
            id: answer.topic_id,
            is_internal: answer.is_internal,
            partitions: partitions.collect(),
        }
    }

    /// What is known after a broker named a partition's leader (KIP-951); `None` when that is no news.
    pub fn with_leader(&self, at: &TopicPartition, leader: NodeId, epoch: LeaderEpoch) -> Option<Metadata> {
        let partition = self.topics.get(&at.topic)?.partitions.get(&at.partition)?;
        if !leader.is_some() || epoch <= partition.leader_epoch || !self.brokers.contains_key(&leader) {
            return None;
        }
        let mut next = self.clone();
        let partition = next.topics.get_mut(&at.topic)?.partitions.get_mut(&at.partition)?;
        (partition.leader, partition.leader_epoch) = (Some(leader), epoch);
        Some(next)
    }

    /// What is known of a partition.
    pub fn partition(&self, at: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&at.topic)?.partitions.get(&at.partition)
    }

    /// The broker that leads a partition, and its term.
    pub fn leader(&self, at: &TopicPartition) -> Option<(NodeId, LeaderEpoch)> {
        let partition = self.partition(at)?;
        let leader = partition.leader.filter(|leader| self.brokers.contains_key(leader))?;
        Some((leader, partition.leader_epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition};

    fn answer(leader_id: i32, leader_epoch: i32) -> MetadataResponse {
        let broker =
            |node_id| MetadataResponseBroker { node_id, host: "h".into(), port: 9092, ..Default::default() };
        MetadataResponse {
            brokers: vec![broker(1), broker(2)],
            topics: vec![MetadataResponseTopic {
                name: Some("t".into()),
                topic_id: Uuid::from_u128(700),
                partitions: vec![MetadataResponsePartition { leader_id, leader_epoch, ..Default::default() }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn a_broker_that_lags_does_not_undo_what_a_leader_said() {
        let at = TopicPartition::new("t", 0);
        let first = Metadata::default().updated(answer(1, 5), Scope::Some);

        let hinted = first.with_leader(&at, NodeId(2), LeaderEpoch(6)).unwrap();
        let lagging = hinted.updated(answer(1, 5), Scope::Some);

        assert_eq!(lagging.leader(&at), Some((NodeId(2), LeaderEpoch(6))));
        assert_eq!(hinted.updated(answer(1, 7), Scope::Some).leader(&at), Some((NodeId(1), LeaderEpoch(7))));
    }

    #[test]
    fn an_old_hint_and_an_unknown_broker_are_no_news() {
        let at = TopicPartition::new("t", 0);
        let metadata = Metadata::default().updated(answer(1, 5), Scope::Some);

        for (leader, epoch) in [(2, 5), (2, 4), (3, 6), (-1, 6)] {
            assert_eq!(metadata.with_leader(&at, NodeId(leader), LeaderEpoch(epoch)), None);
        }
    }

    #[test]
    fn a_topic_that_is_gone_is_forgotten() {
        let metadata = Metadata::default().updated(answer(1, 5), Scope::Some);
        let mut gone = answer(1, 5);
        gone.topics[0].error_code = ErrorCode::UnknownTopicOrPartition.code();

        let after = metadata.updated(gone, Scope::Some);

        assert!(after.topics.is_empty());
        assert_eq!(after.topic_errors["t"], ErrorCode::UnknownTopicOrPartition);
        assert!(metadata.updated(MetadataResponse::default(), Scope::All).topics.is_empty());
    }
}
