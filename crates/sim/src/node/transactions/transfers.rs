//! What producers write by transactions: a number to each of some partitions, and an offset of a group of their own.

use super::transactor::{Style, Transactor};
use crate::node::cluster::wall;
use crate::node::workload::Workload;
use anyhow::{Context as _, Result, ensure};
use ottla_client::admin::topics::NewTopic;
use ottla_client::consumer::group::find_coordinator;
use ottla_client::consumer::offsets::{LATEST, list_offsets};
use ottla_client::consumer::{ConsumerConfig, Isolation, StartAt};
use ottla_client::producer::{ProducerConfig, ProducerRecord};
use ottla_client::{Admin, Client, ClientError, Consumer, Producer};
use ottla_protocol::messages::OffsetFetchRequest;
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_types::{Random, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// The topic that is written to by transactions.
pub const TOPIC: &str = "transfers";

/// Its partitions.
const PARTITIONS: i32 = 3;

/// One of each style, and one more.
const STYLES: [Style; 3] = [Style::Told, Style::Implied, Style::Implied];

/// How long one process of a producer lives.
const LIFETIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// The record after the last.
const LAST: &str = "last";

/// How many producers there are.
pub const PRODUCERS: u32 = STYLES.len() as u32;

/// Sets these choices apart from the others of a seed.
const APART: u64 = 0x7472_616e_7366_6572;

/// Returns whether there are transactions in the run of this seed: in one of two.
pub fn are_wanted(seed: u64) -> bool {
    Random::new(seed ^ APART).chance(500)
}

/// What was found at the end, for [`ottla_verify::Transactions::judge`].
#[derive(Debug, Default)]
pub struct FoundTransfers {
    /// The numbers in each partition.
    pub numbers: BTreeMap<i32, Vec<u64>>,
    /// The offsets of the producers' groups.
    pub offsets: BTreeMap<u32, Option<u64>>,
}

/// Makes the topic.
///
/// # Errors
/// When it is refused for ever.
pub async fn make_topic(admin: &Admin) -> Result<()> {
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: Some(PARTITIONS),
        replication_factor: Some(3),
        // A clock that is weeks wrong must not make records old.
        configs: vec![("retention.ms".to_owned(), "-1".to_owned())],
        ..NewTopic::default()
    };
    while let Err(error) = admin.create_topic(&topic).await {
        if let ClientError::Refused { code: ottla_protocol::ErrorCode::TopicAlreadyExists, .. } = error {
            return Ok(());
        }
        tracing::debug!(%error, "no topic yet");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

impl Workload {
    /// Makes transactions, process after process, until all is calm; then a last one, which must succeed.
    ///
    /// # Errors
    /// When the last one cannot be made within `recovery` after all is calm.
    pub async fn transfer(self, producer: u32, recovery: Duration, seed: u64) -> Result<()> {
        let mut random = Random::new(seed);
        let (transactional_id, group) = (format!("transfers-{producer}"), group(producer));
        let style = STYLES[producer as usize];
        let mut calm = self.calm.clone();
        while !*self.calm.borrow() {
            let client = self.client(&format!("transactor-{producer}"), random.next_u64());
            let lifetime = random.duration(LIFETIME.0, LIFETIME.1);
            let making = async {
                let mut transactor = Transactor::start(&client, style, &transactional_id, TOPIC).await?;
                loop {
                    self.make(&mut transactor, producer, &group, &mut random).await?;
                }
            };
            let ended: Result<()> = tokio::select! {
                biased;
                _ = calm.wait_for(|calm| *calm) => Ok(()),
                () = tokio::time::sleep(lifetime) => Ok(()),
                ended = making => ended,
            };
            if let Err(error) = ended {
                tracing::debug!(producer, %error, "the producer starts anew");
            }
        }
        let deadline = Instant::now() + recovery;
        loop {
            let client = self.client(&format!("transactor-{producer}"), random.next_u64());
            match self.make_last(&client, producer, style, &transactional_id, &group).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    return Err(
                        error.context(format!("LIVE-1: no transaction {recovery:?} after the last fault"))
                    );
                }
                Err(error) => tracing::debug!(producer, %error, "the last transaction is made again"),
            }
        }
    }

    async fn make(
        &self,
        transactor: &mut Transactor<'_>,
        producer: u32,
        group: &str,
        random: &mut Random,
    ) -> Result<()> {
        let mut partitions: BTreeSet<i32> = (0..PARTITIONS).filter(|_| random.chance(600)).collect();
        partitions.insert(random.index(PARTITIONS as usize) as i32);
        let number = self.transactions.lock().begin(producer, partitions.clone());
        transactor.write(&partitions, &number.to_string()).await?;
        if random.chance(100) {
            // It thinks for a while, now and then for longer than it may.
            tokio::time::sleep(random.duration(Duration::from_millis(100), Duration::from_secs(18))).await;
        }
        transactor.commit_offset(group, number as i64 + 1).await?;
        if random.chance(250) {
            transactor.end(false).await?;
        } else {
            self.transactions.lock().commits(number);
            transactor.end(true).await?;
            self.transactions.lock().committed(number);
        }
        tracing::debug!(producer, number, "ended");
        tokio::time::sleep(random.duration(Duration::from_millis(1), Duration::from_millis(300))).await;
        Ok(())
    }

    async fn make_last(
        &self,
        client: &Client,
        producer: u32,
        style: Style,
        transactional_id: &str,
        group: &str,
    ) -> Result<()> {
        let mut transactor = Transactor::start(client, style, transactional_id, TOPIC).await?;
        let partitions: BTreeSet<i32> = (0..PARTITIONS).collect();
        let number = self.transactions.lock().begin(producer, partitions.clone());
        transactor.write(&partitions, &number.to_string()).await?;
        transactor.commit_offset(group, number as i64 + 1).await?;
        self.transactions.lock().commits(number);
        transactor.end(true).await?;
        self.transactions.lock().committed(number);
        Ok(())
    }

    /// Waits until no transaction is open, and reads what is committed.
    ///
    /// # Errors
    /// When a transaction hangs, or the records cannot be read by `deadline`.
    pub async fn read_transfers(&self, deadline: Instant, seed: u64) -> Result<FoundTransfers> {
        let client = self.client("transfers-reader", seed);
        let latest = partitions().map(|at| (at, LATEST)).collect();
        loop {
            let all = list_offsets(&client, &latest, Isolation::ReadUncommitted).await;
            let committed = list_offsets(&client, &latest, Isolation::ReadCommitted).await;
            if let (Ok(all), Ok(committed)) = (&all, &committed)
                && all
                    .iter()
                    .all(|(at, end)| committed.get(at).is_some_and(|stable| stable.offset == end.offset))
            {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "TXN-5: a transaction hangs: {all:?}, committed {committed:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let producer = Producer::new(client.clone(), ProducerConfig::default());
        for at in partitions() {
            let record = ProducerRecord {
                partition: Some(at.partition),
                timestamp: Some(wall().0),
                ..ProducerRecord::of(TOPIC, LAST.as_bytes().to_vec())
            };
            producer.send(record).await?.await?;
        }
        let config = ConsumerConfig { isolation: Isolation::ReadCommitted, ..ConsumerConfig::default() };
        let mut consumer = Consumer::new(client.clone(), config);
        consumer.assign(partitions().map(|at| (at, StartAt::Earliest)));
        let mut found = FoundTransfers::default();
        let mut read = 0;
        while read < PARTITIONS {
            ensure!(Instant::now() < deadline, "the transfers cannot be read");
            for record in consumer.poll(Duration::from_secs(1), 1000).await? {
                let value = record.value.unwrap_or_default();
                let text = std::str::from_utf8(&value)?;
                if text == LAST {
                    read += 1;
                } else {
                    found.numbers.entry(record.partition.partition).or_default().push(text.parse()?);
                }
            }
        }
        for producer in 0..PRODUCERS {
            found.offsets.insert(producer, committed_offset(&client, &group(producer)).await?);
        }
        Ok(found)
    }
}

/// The offset that a group has committed, when no transaction may change it any more.
async fn committed_offset(client: &Client, group: &str) -> Result<Option<u64>> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: TOPIC.to_owned(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        require_stable: true,
        ..Default::default()
    };
    let attempt = || async {
        let coordinator = find_coordinator(client, group).await?;
        let connection = client.connection(coordinator).await?;
        let response = connection.call_version(&request, 9, client.config().request_timeout).await?;
        let group = response.groups.into_iter().next().ok_or(ClientError::Incomplete("OffsetFetch"))?;
        ClientError::check(group.error_code, None)?;
        let mut partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
        let partition = partitions.next().ok_or(ClientError::Incomplete("OffsetFetch"))?;
        ClientError::check(partition.error_code, None)?;
        Ok(u64::try_from(partition.committed_offset).ok())
    };
    client.retry("offsetFetch", attempt).await.context("the offset is not known")
}

fn group(producer: u32) -> String {
    format!("transfers-{producer}")
}

fn partitions() -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition))
}
