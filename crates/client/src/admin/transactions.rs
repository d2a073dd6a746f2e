//! Transactions and their producers (KIP-664).

use super::Admin;
use crate::client::Topics;
use crate::consumer::group::find_transaction_coordinator;
use crate::error::ClientError;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_producers_request::TopicRequest;
use ottla_protocol::messages::describe_producers_response::ProducerState;
use ottla_protocol::messages::describe_transactions_response::TransactionState as Described;
use ottla_protocol::messages::list_transactions_response::TransactionState as Listed;
use ottla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};
use ottla_types::{NodeId, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;

/// A producer whose transaction is to be aborted in one partition, whatever its coordinator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortSpec {
    /// The partition.
    pub partition: TopicPartition,
    /// The producer.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The epoch of its coordinator: no older than that of its last marker.
    pub coordinator_epoch: i32,
}

impl Admin {
    /// The transactional ids that fit, by the broker that coordinates them.
    ///
    /// # Errors
    /// When a broker does not answer, or refuses.
    pub async fn list_transactions(
        &self,
        request: &ListTransactionsRequest,
    ) -> Result<BTreeMap<NodeId, Vec<Listed>>, ClientError> {
        let attempt = || async {
            let mut found = BTreeMap::new();
            let metadata = self.client.refresh(Topics::Named(&[])).await?;
            for &broker in metadata.brokers.keys() {
                let answer = self.client.call(broker, request).await?;
                let message = format!(
                    "ListTransactions request sent to broker {broker} failed with an unexpected exception"
                );
                ClientError::check(answer.error_code, Some(message))?;
                found.insert(broker, answer.transaction_states);
            }
            Ok(found)
        };
        self.client.retry("listTransactions", attempt).await
    }

    /// A transactional id, and the broker that coordinates it.
    ///
    /// # Errors
    /// When its coordinator does not answer, or refuses: TRANSACTIONAL_ID_NOT_FOUND.
    pub async fn describe_transaction(
        &self,
        transactional_id: &str,
    ) -> Result<(NodeId, Described), ClientError> {
        let request = DescribeTransactionsRequest { transactional_ids: vec![transactional_id.to_owned()] };
        let attempt = || async {
            let coordinator = find_transaction_coordinator(&self.client, transactional_id).await?;
            let answer = self.client.call(coordinator, &request).await?;
            let described = answer.transaction_states.into_iter().next();
            let described = described.ok_or(ClientError::Incomplete("DescribeTransactions"))?;
            ClientError::check(described.error_code, None)?;
            Ok((coordinator, described))
        };
        self.client.retry("describeTransactions", attempt).await
    }

    /// Ends whatever a transactional id has open, and fences its producer.
    ///
    /// # Errors
    /// When its coordinator does not answer, or refuses.
    pub async fn fence_producer(&self, transactional_id: &str, timeout: Duration) -> Result<(), ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.to_owned()),
            transaction_timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let attempt = || async {
            let coordinator = find_transaction_coordinator(&self.client, transactional_id).await?;
            ClientError::check(self.client.call(coordinator, &request).await?.error_code, None)
        };
        self.client.retry("fenceProducer", attempt).await
    }

    /// The producers that a partition knows: at its leader, or at this replica.
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn describe_producers(
        &self,
        partition: &TopicPartition,
        replica: Option<NodeId>,
    ) -> Result<Vec<ProducerState>, ClientError> {
        let topic =
            TopicRequest { name: partition.topic.clone(), partition_indexes: vec![partition.partition] };
        let request = DescribeProducersRequest { topics: vec![topic] };
        let attempt = || async {
            let broker = match replica {
                Some(replica) => {
                    self.client.refresh(Topics::Named(&[])).await?;
                    replica
                }
                None => self.leader(partition).await?,
            };
            let answer = self.client.call(broker, &request).await?;
            let found = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
            let found = found.ok_or(ClientError::Incomplete("DescribeProducers"))?;
            ClientError::check(found.error_code, found.error_message)?;
            Ok(found.active_producers)
        };
        self.client.retry("describeProducers", attempt).await
    }

    /// Aborts a transaction in one partition, behind its coordinator's back.
    ///
    /// # Errors
    /// When the leader does not answer, or refuses.
    pub async fn abort_transaction(&self, spec: &AbortSpec) -> Result<(), ClientError> {
        let AbortSpec { partition, producer_id, producer_epoch, coordinator_epoch } = spec;
        let topic = WritableTxnMarkerTopic {
            name: partition.topic.clone(),
            partition_indexes: vec![partition.partition],
        };
        let marker = WritableTxnMarker {
            producer_id: *producer_id,
            producer_epoch: *producer_epoch,
            transaction_result: false,
            topics: vec![topic],
            coordinator_epoch: *coordinator_epoch,
            transaction_version: 0,
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker] };
        let attempt = || async {
            let leader = self.leader(partition).await?;
            let answer = self.client.call(leader, &request).await?;
            let mut results = answer.markers.iter().flat_map(|marker| &marker.topics);
            let result = results.next().and_then(|topic| topic.partitions.first());
            ClientError::check(result.ok_or(ClientError::Incomplete("WriteTxnMarkers"))?.error_code, None)
        };
        self.client.retry("abortTransaction", attempt).await
    }

    async fn leader(&self, at: &TopicPartition) -> Result<NodeId, ClientError> {
        let names = [at.topic.clone()];
        let metadata = self.client.refresh(Topics::Named(&names)).await?;
        let topic = metadata.topics.get(&at.topic);
        let partition = topic.and_then(|topic| topic.partitions.get(&at.partition));
        let unknown = || ClientError::refused(ErrorCode::UnknownTopicOrPartition, None);
        let leader = partition.ok_or_else(unknown)?.leader;
        leader.ok_or_else(|| ClientError::refused(ErrorCode::LeaderNotAvailable, None))
    }
}
