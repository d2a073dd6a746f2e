//! A producer with a transactional id, by plain requests: as clients of before KIP-890 make them, and as those after it.

use crate::node::cluster::wall;
use anyhow::{Result, bail};
use ottla_client::client::Topics;
use ottla_client::consumer::group::{find_coordinator, find_transaction_coordinator};
use ottla_client::{Client, ClientError};
use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest,
};
use ottla_protocol::{ErrorCode, Records, Request};
use ottla_records::BatchBuilder;
use ottla_types::{NodeId, ProducerEpoch, ProducerId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a client takes part in transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// It says which partitions it will write to, and keeps its epoch.
    Told,
    /// Leaders say so when it writes, and each transaction has an epoch of its own (KIP-890).
    Implied,
}

/// How long a transaction may take, in ms, before its coordinator aborts it.
const TRANSACTION_TIMEOUT_MS: i32 = 15_000;

/// What a step may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One process of a producer.
pub struct Transactor<'a> {
    client: &'a Client,
    style: Style,
    transactional_id: &'a str,
    topic: &'a str,
    producer: (i64, i16),
    /// The next sequence of each partition.
    sequences: BTreeMap<i32, i32>,
}

impl<'a> Transactor<'a> {
    /// Begins, and fences whoever had the id before.
    ///
    /// # Errors
    /// When that does not succeed in time, or is refused.
    pub async fn start(
        client: &'a Client,
        style: Style,
        transactional_id: &'a str,
        topic: &'a str,
    ) -> Result<Transactor<'a>> {
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.to_owned()),
            transaction_timeout_ms: TRANSACTION_TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let attempt = || async {
            let coordinator = find_transaction_coordinator(client, transactional_id).await?;
            let response = client.call(coordinator, &request).await?;
            ClientError::check(response.error_code, None)?;
            Ok((response.producer_id, response.producer_epoch))
        };
        let producer = client.retry_within("initProducerId", PATIENCE, attempt).await?;
        Ok(Transactor { client, style, transactional_id, topic, producer, sequences: BTreeMap::new() })
    }

    /// Writes a value to each of these partitions, as a part of the transaction.
    ///
    /// # Errors
    /// When it cannot be known whether all of it is written: then nothing but another process helps.
    pub async fn write(&mut self, partitions: &BTreeSet<i32>, value: &str) -> Result<()> {
        if self.style == Style::Told {
            self.add_partitions(partitions).await?;
        }
        for &partition in partitions {
            let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
            let (id, epoch) = self.producer;
            let mut batch =
                BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), sequence).transactional();
            batch.push(wall(), None, Some(value.as_bytes()), &[]);
            self.produce(partition, batch.build()).await?;
            self.sequences.insert(partition, sequence + 1);
        }
        Ok(())
    }

    async fn add_partitions(&self, partitions: &BTreeSet<i32>) -> Result<()> {
        let topic = AddPartitionsToTxnTopic {
            name: self.topic.to_owned(),
            partitions: partitions.iter().copied().collect(),
        };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.to_owned(),
            v3_and_below_producer_id: self.producer.0,
            v3_and_below_producer_epoch: self.producer.1,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let attempt = || async {
            let response = self.ask_coordinator(&request, 3).await?;
            let mut results =
                response.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
            results.try_for_each(|result| ClientError::check(result.partition_error_code, None))
        };
        Ok(self.client.retry_within("addPartitionsToTxn", PATIENCE, attempt).await?)
    }

    async fn produce(&self, partition: i32, batch: Vec<u8>) -> Result<()> {
        let version = if self.style == Style::Told { 11 } else { 12 };
        let batch = bytes::Bytes::from(batch);
        let attempt = || async {
            let leader = leader(self.client, self.topic, partition).await?;
            let data =
                PartitionProduceData { index: partition, records: Some(Records::Memory(batch.clone())) };
            let request = ProduceRequest {
                transactional_id: Some(self.transactional_id.to_owned()),
                acks: -1,
                timeout_ms: 5000,
                topic_data: vec![TopicProduceData {
                    name: self.topic.to_owned(),
                    partition_data: vec![data],
                    ..Default::default()
                }],
            };
            let connection = self.client.connection(leader).await?;
            let answer =
                connection.call_version(&request, version, self.client.config().request_timeout).await;
            let code = match answer {
                Ok(answer) => answer
                    .responses
                    .first()
                    .and_then(|topic| topic.partition_responses.first())
                    .map_or(ErrorCode::UnknownServerError.code(), |partition| partition.error_code),
                Err(error) => {
                    // It may be gone: who leads now?
                    let _ = self.client.refresh(Topics::Named(&[self.topic.to_owned()])).await;
                    return Err(error.into());
                }
            };
            if ErrorCode::from(code).is_retriable() {
                self.client.refresh(Topics::Named(&[self.topic.to_owned()])).await?;
            }
            ClientError::check(code, None)
        };
        Ok(self.client.retry_within("produce", PATIENCE, attempt).await?)
    }

    /// Commits an offset of a group as a part of the transaction.
    ///
    /// # Errors
    /// As [`Transactor::write`].
    pub async fn commit_offset(&self, group_id: &str, offset: i64) -> Result<()> {
        let version = if self.style == Style::Told { 3 } else { 5 };
        if self.style == Style::Told {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.transactional_id.to_owned(),
                producer_id: self.producer.0,
                producer_epoch: self.producer.1,
                group_id: group_id.to_owned(),
            };
            let attempt =
                || async { ClientError::check(self.ask_coordinator(&request, 3).await?.error_code, None) };
            self.client.retry_within("addOffsetsToTxn", PATIENCE, attempt).await?;
        }
        let request = TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.to_owned(),
            group_id: group_id.to_owned(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            generation_id_or_member_epoch: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: self.topic.to_owned(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    committed_metadata: Some(String::new()),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let attempt = || async {
            let coordinator = find_coordinator(self.client, group_id).await?;
            let response = self.ask(coordinator, &request, version).await?;
            let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.try_for_each(|partition| ClientError::check(partition.error_code, None))
        };
        Ok(self.client.retry_within("txnOffsetCommit", PATIENCE, attempt).await?)
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// When it cannot be known how it ended.
    pub async fn end(&mut self, committed: bool) -> Result<()> {
        let version = if self.style == Style::Told { 4 } else { 5 };
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.to_owned(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            committed,
        };
        let attempt = || async {
            let response = self.ask_coordinator(&request, version).await?;
            ClientError::check(response.error_code, None)?;
            Ok((response.producer_id, response.producer_epoch))
        };
        let next = self.client.retry_within("endTxn", PATIENCE, attempt).await?;
        if self.style == Style::Implied {
            if next.0 < 0 {
                bail!("EndTxn names no producer");
            }
            self.producer = next;
            self.sequences.clear();
        }
        Ok(())
    }

    async fn ask_coordinator<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        let coordinator = find_transaction_coordinator(self.client, self.transactional_id).await?;
        self.ask(coordinator, request, version).await
    }

    async fn ask<R: Request>(
        &self,
        node: NodeId,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        let connection = self.client.connection(node).await?;
        Ok(connection.call_version(request, version, self.client.config().request_timeout).await?)
    }
}

async fn leader(client: &Client, topic: &str, partition: i32) -> Result<NodeId, ClientError> {
    let find = |metadata: &ottla_client::Metadata| {
        metadata.topics.get(topic).and_then(|topic| topic.partitions.get(&partition)?.leader)
    };
    if let Some(leader) = find(&client.metadata()) {
        return Ok(leader);
    }
    let metadata = client.refresh(Topics::Named(&[topic.to_owned()])).await?;
    find(&metadata).ok_or_else(|| ClientError::refused(ErrorCode::LeaderNotAvailable, None))
}
