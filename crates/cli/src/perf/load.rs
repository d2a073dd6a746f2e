//! What producers send: requests of one batch each, encoded in advance.

use super::cluster::{Led, Target};
use super::connection::Encoded;
use anyhow::{Result, bail};
use ottla_net::clock;
use ottla_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::{ErrorCode, Records};
use ottla_records::BatchBuilder;

/// The version that is spoken: the newest but one generation, with names instead of ids; every Kafka since 3.8
/// serves it.
pub(crate) const PRODUCE_VERSION: i16 = 11;

/// How long a broker may take to replicate, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;

/// The batches.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Batches {
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    record_size: u32,
    /// Records of each batch.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    records_per_batch: u32,
    /// What a producer waits for: -1 (all in-sync replicas) or 1 (the leader).
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_parser = clap::value_parser!(i16).range(-1..=1))]
    acks: i16,
}

impl Batches {
    /// Bytes of values in a batch: what is counted as produced.
    pub(crate) fn payload_bytes(self) -> u64 {
        u64::from(self.record_size) * u64::from(self.records_per_batch)
    }

    /// Records in a batch.
    pub(crate) fn records(self) -> u64 {
        u64::from(self.records_per_batch)
    }

    /// A request for each partition.
    pub(crate) fn encode(self, target: &Target, led: &Led) -> Result<Vec<Encoded>> {
        if self.acks == 0 {
            bail!("--acks 0: nothing comes back that could be measured; use -1 or 1");
        }
        let value: Vec<u8> = (b'a'..=b'z').cycle().take(self.record_size as usize).collect();
        let values = vec![value.as_slice(); self.records_per_batch as usize];
        led.partitions
            .iter()
            .map(|&partition| request(&target.topic, partition, self.acks, &values))
            .collect()
    }
}

/// A request of one batch with these values.
pub(crate) fn request(topic: &str, partition: i32, acks: i16, values: &[&[u8]]) -> Result<Encoded> {
    let mut batch = BatchBuilder::new();
    for value in values {
        batch.push(clock::wall(), None, Some(value), &[]);
    }
    let records = Some(Records::Memory(batch.build().into()));
    let partition_data = vec![PartitionProduceData { index: partition, records }];
    let request = ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() }],
    };
    Encoded::new(&request, PRODUCE_VERSION)
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged,
    /// The broker has yet to hear of the partition, which is new. Kafka's clients send again then.
    TooEarly,
}

/// Looks at an answer.
///
/// # Errors
/// When the batch was refused for good: what went wrong is not to be measured.
pub(crate) fn outcome(response: &ProduceResponse) -> Result<Outcome> {
    for topic in &response.responses {
        for partition in &topic.partition_responses {
            match ErrorCode::from(partition.error_code) {
                ErrorCode::None => {}
                ErrorCode::UnknownTopicOrPartition | ErrorCode::NotLeaderOrFollower => {
                    return Ok(Outcome::TooEarly);
                }
                error => bail!("{}-{}: {}", topic.name, partition.index, error.name()),
            }
        }
    }
    Ok(Outcome::Acknowledged)
}
