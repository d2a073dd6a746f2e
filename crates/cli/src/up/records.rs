//! Records of the metadata log that tests tell stories with: topic `t`, replicated by nodes 1 to 3.

use ottla_protocol::records::metadata::{
    MetadataRecord, broker_registration_change_record::BrokerRegistrationChangeRecord,
    partition_change_record::PartitionChangeRecord, partition_record::PartitionRecord,
    topic_record::TopicRecord,
};
use ottla_types::Uuid;

const TOPIC_ID: Uuid = Uuid::from_u128(7);

/// The topic is there, without partitions.
pub(super) fn topic() -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id: TOPIC_ID })
}

/// A partition of it is there, in sync everywhere.
pub(super) fn partition(partition_id: i32, leader: i32, leader_epoch: i32) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        partition_id,
        topic_id: TOPIC_ID,
        replicas: vec![1, 2, 3],
        isr: vec![1, 2, 3],
        leader,
        leader_epoch,
        ..Default::default()
    })
}

/// A partition of it is led by another node.
pub(super) fn leads(partition_id: i32, leader: i32) -> MetadataRecord {
    MetadataRecord::PartitionChange(PartitionChangeRecord {
        partition_id,
        topic_id: TOPIC_ID,
        leader,
        ..Default::default()
    })
}

/// Node 2 is fenced (1) or unfenced (-1), and begins to leave (1), or neither (0).
pub(super) fn registration_change(epoch: i64, fenced: i8, in_controlled_shutdown: i8) -> MetadataRecord {
    MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: 2,
        broker_epoch: epoch,
        fenced,
        in_controlled_shutdown,
        ..Default::default()
    })
}
