//! `ottla perf consume`: fetches everything, again and again.

use super::cluster::{self, Led, Target};
use super::connection::{self, Encoded, Receiver, Sender};
use super::processes::Brokers;
use super::report::Report;
use anyhow::{Result, bail};
use ottla_net::{Clock, Task, task};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::{ErrorCode, Records};
use ottla_records::batches;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The version that is spoken: with names instead of ids.
const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 7;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    brokers: Brokers,
    /// Connections, dealt out to the brokers that lead; at least one to each. One fetch is under way on each.
    #[arg(long, default_value_t = 3)]
    connections: usize,
    /// How long the load lasts before measuring begins.
    #[arg(long, default_value_t = 1.0)]
    warm_up_seconds: f64,
    /// How long is measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The most bytes of an answer (`fetch.max.bytes`).
    #[arg(long, default_value_t = 52_428_800)]
    fetch_max_bytes: i32,
    /// The most bytes of one partition in an answer (`max.partition.fetch.bytes`).
    #[arg(long, default_value_t = 1_048_576)]
    partition_max_bytes: i32,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Report> {
    let processes = arguments.brokers.find().await?;
    let led = cluster::deal(&arguments.target.leaders().await?, arguments.connections);
    let received = Arc::new(AtomicU64::new(0));
    let fetches = Arc::new(AtomicU64::new(0));
    let mut connections: Vec<Task<Result<()>>> = Vec::new();
    for led in led {
        let mut consumer = Consumer::connect(&arguments.target.topic, &led).await?;
        consumer.bytes_max = (arguments.fetch_max_bytes, arguments.partition_max_bytes);
        let (received, fetches) = (received.clone(), fetches.clone());
        connections.push(task::spawn("consume", async move {
            loop {
                let bytes: usize = consumer.fetch().await?.iter().map(|(_, records)| records.len()).sum();
                if bytes == 0 {
                    consumer.start_over()?;
                }
                received.fetch_add(bytes as u64, Ordering::Relaxed);
                fetches.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs_f64(arguments.warm_up_seconds)).await;

    let clock = Clock::new();
    let counted = || (received.load(Ordering::Relaxed), fetches.load(Ordering::Relaxed));
    let (cpu_before, before) = (processes.cpu_seconds()?, counted());
    tokio::time::sleep(Duration::from_secs_f64(arguments.seconds)).await;
    let (elapsed, after) = (clock.monotonic().0 as f64 / 1e6, counted());
    let cpu = processes.cpu_since(cpu_before)?;
    for connection in connections {
        if connection.is_finished() {
            return connection.join().await.unwrap_or(Ok(())).map(|()| Report::default());
        }
    }

    let gb = (after.0 - before.0) as f64 / 1e9;
    let mut report = Report::default();
    report.add("seconds", "measured for", elapsed, "s");
    report.add("fetches_per_s", "fetches", (after.1 - before.1) as f64 / elapsed, "/s");
    report.add("mb_per_s", "batches", gb * 1e3 / elapsed, "MB/s");
    report.add("cpu_s", "brokers' CPU", cpu, "s");
    report.add("cpu_s_per_gb", "brokers' CPU per GB", cpu / gb, "s");
    processes.report_memory(&mut report)?;
    Ok(report)
}

/// A connection that knows how far it has read in each of its partitions.
pub(crate) struct Consumer {
    topic: String,
    offsets: BTreeMap<i32, i64>,
    sender: Sender,
    receiver: Receiver,
    /// Of an answer, and of a partition in it.
    pub(crate) bytes_max: (i32, i32),
    /// Whether anything came since it started over.
    found: bool,
}

impl Consumer {
    /// Connects; reads from offset 0 on.
    pub(crate) async fn connect(topic: &str, led: &Led) -> Result<Consumer> {
        let (sender, receiver) = connection::connect(&led.address).await?;
        let offsets = led.partitions.iter().map(|&partition| (partition, 0)).collect();
        Ok(Consumer {
            topic: topic.to_owned(),
            offsets,
            sender,
            receiver,
            bytes_max: (52_428_800, 1_048_576),
            found: false,
        })
    }

    /// Goes to where the partitions end now.
    pub(crate) async fn seek_to_end(&mut self) -> Result<()> {
        const LATEST: i64 = -1;
        let partition = |&partition_index: &i32| ListOffsetsPartition {
            partition_index,
            current_leader_epoch: -1,
            timestamp: LATEST,
        };
        let partitions = self.offsets.keys().map(partition).collect();
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic { name: self.topic.clone(), partitions }],
            ..Default::default()
        };
        self.sender.send(&mut Encoded::new(&request, LIST_OFFSETS_VERSION)?).await?;
        let response = self.receiver.receive::<ListOffsetsRequest>(LIST_OFFSETS_VERSION).await?;
        for partition in response.topics.into_iter().flat_map(|topic| topic.partitions) {
            refuse(partition.error_code, &format!("{}-{}", self.topic, partition.partition_index))?;
            self.offsets.insert(partition.partition_index, partition.offset);
        }
        Ok(())
    }

    /// Goes back to the beginning.
    fn start_over(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.found) {
            bail!("topic {} is empty: produce something first", self.topic);
        }
        self.offsets.values_mut().for_each(|offset| *offset = 0);
        Ok(())
    }

    /// Fetches once; returns the batches by partition. The last of a partition may be cut short.
    pub(crate) async fn fetch(&mut self) -> Result<Vec<(i32, bytes::Bytes)>> {
        let partition = |(&partition, &fetch_offset): (&i32, &i64)| FetchPartition {
            partition,
            fetch_offset,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: self.bytes_max.1,
            ..Default::default()
        };
        let partitions = self.offsets.iter().map(partition).collect();
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: self.bytes_max.0,
            session_epoch: -1,
            topics: vec![FetchTopic { topic: self.topic.clone(), partitions, ..Default::default() }],
            ..Default::default()
        };
        self.sender.send(&mut Encoded::new(&request, FETCH_VERSION)?).await?;
        let response = self.receiver.receive::<FetchRequest>(FETCH_VERSION).await?;
        self.take(response)
    }

    fn take(&mut self, response: FetchResponse) -> Result<Vec<(i32, bytes::Bytes)>> {
        let mut found = Vec::new();
        refuse(response.error_code, &self.topic)?;
        for data in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            let PartitionData { partition_index, error_code, records, .. } = data;
            refuse(error_code, &format!("{}-{partition_index}", self.topic))?;
            let Some(Records::Memory(records)) = records.filter(|records| !records.is_empty()) else {
                continue;
            };
            let whole = batches(&records).map_while(Result::ok).last();
            if let Some(last) = whole {
                self.offsets.insert(partition_index, last.header().next_offset().0);
            }
            self.found = true;
            found.push((partition_index, records));
        }
        Ok(found)
    }
}

fn refuse(error_code: i16, what: &str) -> Result<()> {
    let error = ErrorCode::from(error_code);
    if error != ErrorCode::None {
        bail!("{what}: {}", error.name());
    }
    Ok(())
}
