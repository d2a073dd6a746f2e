//! `ottla perf transactions`: producers that write a record to some partitions and commit, one transaction after the other.
//!
//! As clients of transaction version 2 do (KIP-890): what is written makes its partition part of the transaction, and every
//! end tells the next epoch.

use super::cluster::Target;
use super::processes::Brokers;
use super::report::Report;
use anyhow::{Context, Result, bail};
use ottla_client::client::Topics;
use ottla_client::consumer::group::find_transaction_coordinator;
use ottla_client::{Client, Metadata};
use ottla_net::{Clock, Task, clock, task};
use ottla_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::messages::{EndTxnRequest, InitProducerIdRequest};
use ottla_protocol::{ErrorCode, Records};
use ottla_records::BatchBuilder;
use ottla_types::{Monotonic, NodeId, ProducerEpoch, ProducerId, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    brokers: Brokers,
    /// Producers, each with a transactional id and connections of its own.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    producers: u16,
    /// Partitions that each transaction writes to.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    partitions_each: u16,
    /// How long the load lasts before measuring begins.
    #[arg(long, default_value_t = 2.0)]
    warm_up_seconds: f64,
    /// How long is measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// How long a transaction may stay open, in milliseconds.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;

/// How long a broker may take to replicate, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;

/// How soon is tried again what comes while the transaction before is being ended.
const CONCURRENT_PAUSE: Duration = Duration::from_millis(1);

/// The size of each record's value.
const VALUE: [u8; 100] = [b'x'; 100];

pub(crate) async fn run(arguments: &Arguments) -> Result<Report> {
    let processes = arguments.brokers.find().await?;
    let led = arguments.target.leaders().await?;
    let count: usize = led.iter().map(|led| led.partitions.len()).sum();
    let each = usize::from(arguments.partitions_each);
    if each > count {
        bail!("--partitions-each {each}: topic {} has {count} partitions", arguments.target.topic);
    }
    let clock = Clock::new();
    let micros = |seconds: f64| (seconds * 1e6) as u64;
    let mut producing: Vec<Task<Result<Vec<u64>>>> = Vec::new();
    let mut producers = Vec::new();
    for number in 0..usize::from(arguments.producers) {
        // Those of neighbours overlap, so that all partitions have about as much to do.
        let partitions = (0..each).map(|own| ((number * each + own) % count) as i32).collect();
        producers.push(Producer::begin(&arguments.target, number, partitions).await?);
    }
    let from = clock.monotonic() + Duration::from_micros(micros(arguments.warm_up_seconds));
    let until = from + Duration::from_micros(micros(arguments.seconds));
    for producer in producers {
        producing.push(task::spawn("transactions", producer.run(clock, from, until)));
    }
    clock.sleep_until(Some(from)).await;
    let cpu_before = processes.cpu_seconds()?;
    clock.sleep_until(Some(until)).await;
    let cpu = processes.cpu_since(cpu_before)?;

    let mut all = Vec::new();
    for task in producing {
        all.extend(task.join().await.unwrap_or_else(|| bail!("a producer's task panicked"))?);
    }
    let committed = all.len() as f64;
    let mut report = Report::default();
    report.add("transactions_per_s", "transactions", committed / arguments.seconds, "/s");
    report.add("cpu_ms_per_transaction", "brokers' CPU per transaction", cpu * 1e3 / committed, "ms");
    report.add_latencies(["p50_ms", "p99_ms", "max_ms"], all);
    Ok(report)
}

/// A producer and its partitions.
struct Producer {
    client: Client,
    metadata: Arc<Metadata>,
    topic: String,
    transactional_id: String,
    coordinator: NodeId,
    id: ProducerId,
    epoch: ProducerEpoch,
    /// The next sequence number of each of its partitions, in this epoch.
    sequences: BTreeMap<i32, i32>,
}

impl Producer {
    async fn begin(target: &Target, number: usize, partitions: Vec<i32>) -> Result<Producer> {
        let client = target.client()?;
        let metadata = client.refresh(Topics::Named(std::slice::from_ref(&target.topic))).await?;
        let transactional_id = format!("{}-{number}", super::cluster::CLIENT_ID);
        let coordinator = find_transaction_coordinator(&client, &transactional_id).await?;
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.clone()),
            transaction_timeout_ms: TRANSACTION_TIMEOUT_MS,
            ..Default::default()
        };
        let answer = client
            .retry("initProducerId", || async {
                let answer = client.call(coordinator, &request).await?;
                ottla_client::ClientError::check(answer.error_code, None)?;
                Ok(answer)
            })
            .await?;
        Ok(Producer {
            client,
            metadata,
            topic: target.topic.clone(),
            transactional_id,
            coordinator,
            id: ProducerId(answer.producer_id),
            epoch: ProducerEpoch(answer.producer_epoch),
            sequences: partitions.into_iter().map(|partition| (partition, 0)).collect(),
        })
    }

    /// Commits one transaction after the other; returns how many microseconds those took that began between `from` and
    /// `until`.
    async fn run(mut self, clock: Clock, from: Monotonic, until: Monotonic) -> Result<Vec<u64>> {
        let mut took = Vec::new();
        loop {
            let began = clock.monotonic();
            if began >= until {
                return Ok(took);
            }
            self.write().await?;
            self.commit().await?;
            if began >= from {
                took.push((clock.monotonic() - began).as_micros() as u64);
            }
        }
    }

    async fn write(&mut self) -> Result<()> {
        let mut due: Vec<i32> = self.sequences.keys().copied().collect();
        while !due.is_empty() {
            let mut requests: BTreeMap<NodeId, Vec<PartitionProduceData>> = BTreeMap::new();
            for &partition in &due {
                let at = TopicPartition::new(self.topic.clone(), partition);
                let (leader, _) = self.metadata.leader(&at).with_context(|| format!("{at} has no leader"))?;
                requests.entry(leader).or_default().push(self.record(partition));
            }
            // One connection a leader: those that are different need not wait for each other.
            let sent: Vec<Task<Result<Vec<i32>>>> = requests
                .into_iter()
                .map(|(leader, partitions)| {
                    task::spawn("send", send(self.client.clone(), leader, self.request(partitions)))
                })
                .collect();
            let mut refused: Vec<i32> = Vec::new();
            for task in sent {
                refused.extend(task.join().await.unwrap_or_else(|| bail!("a request's task panicked"))?);
            }
            for partition in due.iter().filter(|partition| !refused.contains(partition)) {
                *self.sequences.get_mut(partition).expect("it is one of ours") += 1;
            }
            due = refused;
            if !due.is_empty() {
                tokio::time::sleep(CONCURRENT_PAUSE).await;
            }
        }
        Ok(())
    }

    fn record(&self, partition: i32) -> PartitionProduceData {
        let sequence = self.sequences[&partition];
        let mut batch = BatchBuilder::new().producer(self.id, self.epoch, sequence).transactional();
        batch.push(clock::wall(), None, Some(&VALUE), &[]);
        PartitionProduceData { index: partition, records: Some(Records::Memory(batch.build().into())) }
    }

    fn request(&self, partition_data: Vec<PartitionProduceData>) -> ProduceRequest {
        let topic_id = self.metadata.topics.get(&self.topic).map(|topic| topic.id).unwrap_or_default();
        ProduceRequest {
            transactional_id: Some(self.transactional_id.clone()),
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData { name: self.topic.clone(), topic_id, partition_data }],
        }
    }

    async fn commit(&mut self) -> Result<()> {
        loop {
            let request = EndTxnRequest {
                transactional_id: self.transactional_id.clone(),
                producer_id: self.id.0,
                producer_epoch: self.epoch.0,
                committed: true,
            };
            let answer = self.client.call(self.coordinator, &request).await?;
            match ErrorCode::from(answer.error_code) {
                ErrorCode::None if answer.producer_id < 0 => {
                    bail!("the cluster has no transaction.version 2: the end of a transaction told no epoch")
                }
                ErrorCode::None => {
                    (self.id, self.epoch) =
                        (ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch));
                    self.sequences.values_mut().for_each(|sequence| *sequence = 0);
                    return Ok(());
                }
                ErrorCode::ConcurrentTransactions => tokio::time::sleep(CONCURRENT_PAUSE).await,
                error => bail!("{}: {}", self.transactional_id, error.name()),
            }
        }
    }
}

/// Returns the partitions whose leaders ask to come again: the transaction before is still being ended there.
async fn send(client: Client, leader: NodeId, request: ProduceRequest) -> Result<Vec<i32>> {
    let answer = client.call(leader, &request).await?;
    let mut again = Vec::new();
    for one in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
        match ErrorCode::from(one.error_code) {
            ErrorCode::None => {}
            ErrorCode::ConcurrentTransactions => again.push(one.index),
            error => bail!("partition {}: {}", one.index, error.name()),
        }
    }
    Ok(again)
}
