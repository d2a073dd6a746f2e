//! The image, and the one way to change it.

use crate::configs::{ConfigResource, ResourceType};
use crate::{
    BrokerRegistration, ClusterImage, ConfigsImage, ControllerRegistration, FeaturesImage, KeptRecords,
    MetadataDelta, MetadataVersion, PartitionRegistration, TopicsImage,
};
use ottla_protocol::records::metadata::{BrokerRegistrationChangeRecord, MetadataRecord};
use ottla_types::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, OffsetAndEpoch, Timestamp, TopicIdPartition, Uuid,
};
use std::sync::Arc;
use thiserror::Error;

/// A record that cannot follow what came before it: the log and this program disagree about what is legal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// The topic is not there.
    #[error("{record} names topic {topic_id}, which does not exist")]
    UnknownTopic {
        /// The record's type.
        record: &'static str,
        /// The topic it names.
        topic_id: Uuid,
    },
    /// The partition is not there.
    #[error("a change names partition {0}, which does not exist")]
    UnknownPartition(TopicIdPartition),
    /// The broker is not registered, or with another epoch.
    #[error("{record} names broker {broker} with epoch {epoch}, which is not registered")]
    UnknownBroker {
        /// The record's type.
        record: &'static str,
        /// The broker it names.
        broker: NodeId,
        /// The epoch it names.
        epoch: BrokerEpoch,
    },
}

/// Everything the metadata log says up to [`MetadataImage::end`].
///
/// Cloning is cheap where nothing changes: the parts are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataImage {
    /// One past the last record replayed, and that record's epoch.
    pub end: OffsetAndEpoch,
    /// When that record was appended; [`Timestamp::NONE`] before the first.
    pub end_time: Timestamp,
    /// Finalized features.
    pub features: Arc<FeaturesImage>,
    /// Registered nodes.
    pub cluster: Arc<ClusterImage>,
    /// Topics.
    pub topics: Arc<TopicsImage>,
    /// Dynamic configuration.
    pub configs: Arc<ConfigsImage>,
    /// The first producer id that no broker has been given.
    pub next_producer_id: i64,
    /// What the log says of features that Ottla does not have.
    pub kept: Arc<KeptRecords>,
    /// What was known before the transaction (KIP-868) that is under way, if one is.
    before_transaction: Option<Arc<MetadataImage>>,
}

impl Default for MetadataImage {
    fn default() -> Self {
        MetadataImage {
            end: OffsetAndEpoch { epoch: LeaderEpoch::NONE, offset: Offset::ZERO },
            end_time: Timestamp::NONE,
            features: Arc::default(),
            cluster: Arc::default(),
            topics: Arc::default(),
            configs: Arc::default(),
            next_producer_id: 0,
            kept: Arc::default(),
            before_transaction: None,
        }
    }
}

impl MetadataImage {
    /// Applies one record and notes in `delta` what it touched.
    ///
    /// Records of features that Ottla does not have (access control, quotas, credentials, tokens) are kept as they are: a
    /// cluster that uses them is served without them being lost.
    ///
    /// Ottla's controllers decide in single batches. Those of Apache Kafka's begin a cluster in a transaction, and what is in one
    /// that is aborted was never there.
    ///
    /// # Errors
    /// When the record cannot follow what came before; the image is then unchanged.
    pub fn replay(&mut self, record: &MetadataRecord, delta: &mut MetadataDelta) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::RegisterBroker(record) => {
                let broker = BrokerRegistration::from_record(record);
                delta.brokers.insert(broker.id);
                Arc::make_mut(&mut self.cluster).brokers.insert(broker.id, broker);
            }
            MetadataRecord::UnregisterBroker(record) => {
                let id =
                    self.check_broker("UnregisterBrokerRecord", record.broker_id, record.broker_epoch)?;
                Arc::make_mut(&mut self.cluster).brokers.remove(&id);
                delta.brokers.insert(id);
            }
            MetadataRecord::BrokerRegistrationChange(record) => {
                self.change_broker(record)?;
                delta.brokers.insert(NodeId(record.broker_id));
            }
            MetadataRecord::FenceBroker(record) => {
                self.set_fenced("FenceBrokerRecord", record.id, record.epoch, true)?;
                delta.brokers.insert(NodeId(record.id));
            }
            MetadataRecord::UnfenceBroker(record) => {
                self.set_fenced("UnfenceBrokerRecord", record.id, record.epoch, false)?;
                delta.brokers.insert(NodeId(record.id));
            }
            MetadataRecord::RegisterController(record) => {
                let controller = ControllerRegistration::from_record(record);
                Arc::make_mut(&mut self.cluster).controllers.insert(controller.id, controller);
            }
            MetadataRecord::UnregisterController(record) => {
                Arc::make_mut(&mut self.cluster).controllers.remove(&NodeId(record.controller_id));
            }
            MetadataRecord::Topic(record) => {
                Arc::make_mut(&mut self.topics).create(&record.name, record.topic_id);
            }
            MetadataRecord::RemoveTopic(record) => self.remove_topic(record.topic_id, delta)?,
            MetadataRecord::Partition(record) => {
                let at = TopicIdPartition::new(record.topic_id, record.partition_id);
                let topic = Arc::make_mut(&mut self.topics).topic_mut(record.topic_id).ok_or(
                    ReplayError::UnknownTopic { record: "PartitionRecord", topic_id: record.topic_id },
                )?;
                topic.partitions.insert(record.partition_id, PartitionRegistration::from_record(record));
                delta.partitions.insert(at);
            }
            MetadataRecord::PartitionChange(record) => {
                let at = TopicIdPartition::new(record.topic_id, record.partition_id);
                let partition = Arc::make_mut(&mut self.topics)
                    .topic_mut(record.topic_id)
                    .and_then(|topic| topic.partitions.get_mut(&record.partition_id))
                    .ok_or(ReplayError::UnknownPartition(at))?;
                *partition = partition.merge(record);
                delta.partitions.insert(at);
            }
            MetadataRecord::Config(record) => {
                if let Some(resource_type) = ResourceType::from_wire(record.resource_type) {
                    let resource = ConfigResource { resource_type, name: record.resource_name.clone() };
                    Arc::make_mut(&mut self.configs).set(
                        resource.clone(),
                        &record.name,
                        record.value.as_deref(),
                    );
                    delta.configs.insert(resource);
                }
            }
            MetadataRecord::FeatureLevel(record) => {
                Arc::make_mut(&mut self.features).set(&record.name, record.feature_level);
                delta.features = true;
            }
            MetadataRecord::ProducerIds(record) => self.next_producer_id = record.next_producer_id,
            MetadataRecord::ClearElr(record) => self.clear_elr(&record.topic_name, delta),
            MetadataRecord::DelegationToken(_)
            | MetadataRecord::RemoveDelegationToken(_)
            | MetadataRecord::UserScramCredential(_)
            | MetadataRecord::RemoveUserScramCredential(_)
            | MetadataRecord::ClientQuota(_)
            | MetadataRecord::AccessControlEntry(_)
            | MetadataRecord::RemoveAccessControlEntry(_) => Arc::make_mut(&mut self.kept).replay(record),
            MetadataRecord::BeginTransaction(_) => self.before_transaction = Some(Arc::new(self.clone())),
            MetadataRecord::EndTransaction(_) => self.before_transaction = None,
            MetadataRecord::AbortTransaction(_) => self.abort_transaction(delta),
            MetadataRecord::NoOp(_) | MetadataRecord::ZkMigrationState(_) => {}
        }
        Ok(())
    }

    /// Whether a transaction is under way: what the image says may yet be taken back.
    pub fn is_in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    /// What is known for good: without what was replayed since a transaction under way began.
    pub fn outside_transaction(&self) -> &MetadataImage {
        self.before_transaction.as_deref().unwrap_or(self)
    }

    /// Takes back what was replayed since the transaction began.
    fn abort_transaction(&mut self, delta: &mut MetadataDelta) {
        let Some(before) = self.before_transaction.take() else { return };
        let restored = MetadataImage { end: self.end, end_time: self.end_time, ..(*before).clone() };
        delta.merge(MetadataDelta::between(self, &restored));
        *self = restored;
    }

    /// The finalized metadata.version, or the lowest before one is finalized.
    pub fn metadata_version(&self) -> MetadataVersion {
        self.features.metadata_version().unwrap_or(MetadataVersion::MIN)
    }

    fn check_broker(&self, record: &'static str, id: i32, epoch: i64) -> Result<NodeId, ReplayError> {
        let (broker, epoch) = (NodeId(id), BrokerEpoch(epoch));
        match self.cluster.broker(broker) {
            Some(registered) if registered.epoch == epoch => Ok(broker),
            _ => Err(ReplayError::UnknownBroker { record, broker, epoch }),
        }
    }

    fn broker_mut(&mut self, id: NodeId) -> &mut BrokerRegistration {
        let cluster = Arc::make_mut(&mut self.cluster);
        cluster.brokers.get_mut(&id).expect("looked up by check_broker")
    }

    fn set_fenced(
        &mut self,
        record: &'static str,
        id: i32,
        epoch: i64,
        fenced: bool,
    ) -> Result<(), ReplayError> {
        let id = self.check_broker(record, id, epoch)?;
        self.broker_mut(id).fenced = fenced;
        Ok(())
    }

    fn change_broker(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<(), ReplayError> {
        let id =
            self.check_broker("BrokerRegistrationChangeRecord", record.broker_id, record.broker_epoch)?;
        let broker = self.broker_mut(id);
        match record.fenced {
            1 => broker.fenced = true,
            -1 => broker.fenced = false,
            _ => {}
        }
        if record.in_controlled_shutdown == 1 {
            broker.in_controlled_shutdown = true;
        }
        if !record.log_dirs.is_empty() {
            broker.directories.clone_from(&record.log_dirs);
        }
        if record.cordoned_log_dirs.is_some() {
            broker.cordoned_directories.clone_from(&record.cordoned_log_dirs);
        }
        Ok(())
    }

    fn remove_topic(&mut self, topic_id: Uuid, delta: &mut MetadataDelta) -> Result<(), ReplayError> {
        let topic = Arc::make_mut(&mut self.topics)
            .remove(topic_id)
            .ok_or(ReplayError::UnknownTopic { record: "RemoveTopicRecord", topic_id })?;
        Arc::make_mut(&mut self.configs).remove(&ConfigResource::topic(&topic.name));
        delta.partitions.retain(|at| at.topic_id != topic_id);
        delta.removed_topics.insert((topic_id, topic.name.clone()));
        Ok(())
    }

    /// Forgets eligible leaders after `min.insync.replicas` changed (KIP-966); an empty name is every topic.
    fn clear_elr(&mut self, topic_name: &str, delta: &mut MetadataDelta) {
        let chosen: Vec<Uuid> = self
            .topics
            .iter()
            .filter(|topic| topic_name.is_empty() || topic.name == topic_name)
            .map(|topic| topic.id)
            .collect();
        let topics = Arc::make_mut(&mut self.topics);
        for id in chosen {
            let topic = topics.topic_mut(id).expect("listed above");
            for (&number, partition) in &mut topic.partitions {
                partition.eligible_leader_replicas.clear();
                partition.last_known_elr.clear();
                delta.partitions.insert(TopicIdPartition::new(id, number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot;
    use ottla_protocol::records::metadata::{
        AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, TopicRecord,
    };

    fn topic(id: u128) -> MetadataRecord {
        MetadataRecord::Topic(TopicRecord { name: format!("topic-{id}"), topic_id: Uuid::from_u128(id) })
    }

    #[test]
    fn what_was_in_a_transaction_that_is_aborted_was_never_there() {
        let begin = MetadataRecord::BeginTransaction(BeginTransactionRecord::default());
        let end = MetadataRecord::EndTransaction(EndTransactionRecord::default());
        let abort = MetadataRecord::AbortTransaction(AbortTransactionRecord::default());
        let mut image = MetadataImage::default();
        let mut replay = |record: &MetadataRecord| {
            let mut delta = MetadataDelta::default();
            image.replay(record, &mut delta).unwrap();
            let for_good = snapshot::records(image.outside_transaction());
            (image.is_in_transaction(), for_good, delta)
        };

        replay(&begin);
        assert_eq!(replay(&topic(1)).1, []);
        assert_eq!(replay(&end), (false, vec![topic(1)], MetadataDelta::default()));
        replay(&begin);
        assert!(replay(&topic(2)).0);
        let (is_in_transaction, left, delta) = replay(&abort);

        assert_eq!((is_in_transaction, left), (false, vec![topic(1)]));
        assert!(delta.removed_topics.contains(&(Uuid::from_u128(2), "topic-2".to_owned())));
    }
}
