//! Clients: producers, a consumer, and who looks at the end whether everything is there.

use super::cluster::{self, CLIENT_PORT};
use super::deletions;
use super::group;
use super::moves;
use super::network::SimNetwork;
use super::quorum::{self, Voting};
use super::segments;
use super::topics::{self, Topics};
use super::transactions::transfers::{self, FoundTransfers};
use anyhow::{Context as _, Result, bail, ensure};
use ottla_client::admin::reassignments::ElectionType;
use ottla_client::admin::topics::{NewTopic, PartitionDescription, TopicDescription};
use ottla_client::client::Topics as Asked;
use ottla_client::consumer::offsets::{EARLIEST, LATEST, list_offsets};
use ottla_client::consumer::{ConsumerConfig, Isolation, StartAt};
use ottla_client::producer::{Acks, Delivery, ProducerConfig, ProducerRecord, SendError};
use ottla_client::{Admin, Client, ClientConfig, ClientError, Consumer, HostPort, Producer};
use ottla_net::outgoing::CallError;
use ottla_net::{Task, task};
use ottla_protocol::Records;
use ottla_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_records::BatchBuilder;
use ottla_types::{NodeId, Offset, Random, Timestamp, TopicPartition, Uuid};
use ottla_verify::judge::Partition;
use ottla_verify::{Commits, Guarantee, History, Outcome, Spoilt, Stamp, Transactions};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The topic that is written to.
pub const TOPIC: &str = "records";

/// Its partitions.
pub const PARTITIONS: i32 = 3;

/// How soon after the last fault every partition takes records again and every in-sync set is full. A client may have to
/// wait for a time-out of its own first.
pub const RECOVERY_MAX: Duration = Duration::from_secs(40);

/// The clients' time-out of one request: what was lost on its way is asked for again after so long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a record may take before its producer gives it up.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a request that nobody answers is waited for: it is on its way then.
const UNHEARD: Duration = Duration::from_millis(5);

/// What the clients of one simulation share.
#[derive(Clone)]
pub struct Workload {
    /// What they did and saw.
    pub history: Arc<Mutex<History>>,
    /// Whether there are transactions.
    pub transfers: bool,
    /// What was done by transactions.
    pub transactions: Arc<Mutex<Transactions>>,
    /// What groups committed.
    pub commits: Arc<Mutex<Commits>>,
    /// The network as they see it.
    pub network: SimNetwork,
    /// The cluster's nodes.
    pub nodes: Vec<String>,
    /// The ids of their first directories in the beginning.
    pub directory_ids: Vec<Uuid>,
    /// Who of them votes.
    pub voting: Voting,
    /// Whether an administrator deletes records.
    pub deletes: bool,
    /// Whether the topic's segments are short.
    pub short_segments: bool,
    /// Their choices.
    pub seed: u64,
    /// Turns true when the faults are over.
    pub calm: watch::Receiver<bool>,
    /// Turns true when the topic is there and the clients run.
    pub running: Arc<watch::Sender<bool>>,
}

/// What was there at the end.
#[derive(Debug, Default)]
pub struct Found {
    /// The records of each partition.
    pub records: BTreeMap<i32, Partition>,
    /// What was written by transactions, if any was.
    pub transfers: FoundTransfers,
    /// Up to where every voter has the metadata log, committed.
    pub metadata: Offset,
    /// How many changes of the voters were carried out for certain.
    pub voter_changes: usize,
    /// The topics whose replicas nobody moved.
    pub unmoved: BTreeSet<Uuid>,
}

impl Workload {
    pub(super) fn client(&self, name: &str, seed: u64) -> Client {
        let bootstrap = self.nodes.iter().map(|host| HostPort { host: host.clone(), port: CLIENT_PORT });
        Client::new(ClientConfig {
            network: Arc::new(self.network.clone()),
            request_timeout: REQUEST_TIMEOUT,
            ..ClientConfig::new(bootstrap.collect(), name, seed)
        })
    }

    /// Runs from the making of the topic to the last look at it; puts what it found into `found`.
    ///
    /// # Errors
    /// When something does not happen that has to.
    pub async fn run(mut self, found: Arc<Mutex<Found>>) -> Result<()> {
        let mut random = Random::new(self.seed);
        let admin = Admin::new(self.client("admin", random.next_u64()));
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            partitions: Some(PARTITIONS),
            replication_factor: Some(3),
            configs: if self.short_segments { segments::topic_settings() } else { Vec::new() },
            ..NewTopic::default()
        };
        while let Err(error) = admin.create_topic(&topic).await {
            // The nodes have only just been started.
            tracing::debug!(%error, "no topic yet");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // While one node votes alone, none may be hit.
        quorum::make_all_voters(&self, &admin, Instant::now() + RECOVERY_MAX).await?;
        let mut clients = Vec::new();
        for guarantee in [Guarantee::FULL, Guarantee::FULL, Guarantee::AT_LEAST_ONCE, Guarantee::NONE] {
            let (workload, seed) = (self.clone(), random.next_u64());
            clients.push(task::spawn("producer", workload.produce(guarantee, seed)));
        }
        clients.push(task::spawn("producer", self.clone().produce_unheard(random.next_u64())));
        for member in 0..group::MEMBERS {
            clients.push(task::spawn("member", self.clone().take_part(member, random.next_u64())));
        }
        let transferring = if self.transfers {
            transfers::make_topic(&admin).await?;
            let transfer = |producer| {
                let seed = random.next_u64();
                task::spawn("transactor", self.clone().transfer(producer, RECOVERY_MAX, seed))
            };
            (0..transfers::PRODUCERS).map(transfer).collect()
        } else {
            Vec::new()
        };
        let topics = task::spawn("administrator", self.clone().administrate(random.next_u64()));
        let reading = task::spawn("consumer", self.clone().read(random.next_u64()));
        let moving = moves::are_wanted(self.seed).then(|| task::spawn("mover", moves::run(self.clone())));
        let deleting = self.deletes.then(|| task::spawn("deleter", deletions::run(self.clone())));
        let voting = self.voting.changes.then(|| task::spawn("quorum", quorum::run(self.clone())));
        self.running.send_replace(true);
        self.calm.wait_for(|calm| *calm).await?;
        let recovery = Instant::now() + RECOVERY_MAX;
        for client in clients {
            client.join().await.context("a client panicked")?;
        }
        let topics = topics.join().await.context("the administrator panicked")?;
        if let Some(moving) = moving {
            moving.join().await.context("whoever moves replicas panicked")?;
        }
        if let Some(deleting) = deleting {
            deleting.join().await.context("whoever deletes records panicked")?;
        }
        if let Some(voting) = voting {
            found.lock().voter_changes =
                voting.join().await.context("whoever changes the voters panicked")?;
        }
        let transfers = !transferring.is_empty();
        for client in transferring {
            client.join().await.context("a client panicked")??;
        }
        drop(reading);
        quorum::make_all_voters(&self, &admin, recovery).await?;
        found.lock().unmoved = self.wait_until_whole(&admin, recovery, &topics).await?;
        found.lock().metadata = quorum::wait_until_level(&admin, recovery).await?;
        found.lock().records = self.read_all(random.next_u64()).await?;
        if transfers {
            let read = self.read_transfers(Instant::now() + RECOVERY_MAX, random.next_u64()).await?;
            found.lock().transfers = read;
        }
        Ok(())
    }

    /// Sends until all is calm, then once more to each partition, and waits for every answer.
    async fn produce(self, guarantee: Guarantee, seed: u64) {
        let mut random = Random::new(seed);
        let number = self.history.lock().add_producer(guarantee);
        let config = ProducerConfig {
            acks: if guarantee.durable { Acks::All } else { Acks::Leader },
            idempotent: guarantee.idempotent,
            delivery_timeout: DELIVERY_TIMEOUT,
            ..ProducerConfig::default()
        };
        let producer = Producer::new(self.client(&format!("producer-{number}"), random.next_u64()), config);
        let mut answers: Vec<Task> = Vec::new();
        while !*self.calm.borrow() {
            let partition = random.index(PARTITIONS as usize) as i32;
            self.send(&producer, number, partition, &mut random, &mut answers).await;
            answers.retain(|answer| !answer.is_finished());
            tokio::time::sleep(random.duration(Duration::from_millis(1), Duration::from_millis(40))).await;
        }
        for partition in 0..PARTITIONS {
            self.send(&producer, number, partition, &mut random, &mut answers).await;
        }
        for answer in answers {
            answer.join().await;
        }
    }

    /// Sends with `acks=0`: nobody answers, and whatever becomes of a record is right, but for being changed.
    async fn produce_unheard(self, seed: u64) {
        let mut random = Random::new(seed);
        let number = self.history.lock().add_producer(Guarantee::NONE);
        let client = self.client(&format!("producer-{number}"), random.next_u64());
        while !*self.calm.borrow() {
            let partition = random.index(PARTITIONS as usize) as i32;
            let stamp = self.history.lock().send(number, partition);
            let mut batch = BatchBuilder::new();
            batch.push(Timestamp(0), None, Some(&stamp.value(random.index(200))), &[]);
            if let Err(error) = unheard(&client, partition, batch.build()).await {
                tracing::debug!(%stamp, %error, "not sent, or nobody knows");
            }
            tokio::time::sleep(random.duration(Duration::from_millis(10), Duration::from_millis(200))).await;
        }
    }

    async fn send(
        &self,
        producer: &Producer,
        number: u32,
        partition: i32,
        random: &mut Random,
        answers: &mut Vec<Task>,
    ) {
        let stamp = self.history.lock().send(number, partition);
        let record = ProducerRecord {
            partition: Some(partition),
            timestamp: Some(cluster::wall().0),
            ..ProducerRecord::of(TOPIC, stamp.value(random.index(200)))
        };
        match producer.send(record).await {
            Ok(delivery) => answers.push(task::spawn("answer", self.clone().settle(stamp, delivery))),
            Err(error) => self.tell(stamp, Err(error)),
        }
    }

    async fn settle(self, stamp: Stamp, delivery: Delivery) {
        let told = delivery.await;
        self.tell(stamp, told.map(|written| written.offset));
    }

    fn tell(&self, stamp: Stamp, told: Result<Offset, SendError>) {
        tracing::debug!(%stamp, ?told, "told");
        let outcome = match told {
            Ok(offset) => Outcome::Acknowledged(offset),
            Err(error) if error.was_never_sent() => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        self.history.lock().told(stamp, outcome);
    }

    /// Reads everything as it comes, for as long as it lives.
    async fn read(self, seed: u64) {
        let mut consumer = Consumer::new(self.client("consumer", seed), ConsumerConfig::default());
        consumer.assign(partitions().map(|at| (at, StartAt::Earliest)));
        loop {
            match consumer.poll(Duration::from_secs(1), 100).await {
                Ok(records) => {
                    for record in records {
                        if let Some(Ok(stamp)) = record.value.as_deref().map(Stamp::read) {
                            let partition = record.partition.partition;
                            self.history.lock().saw(partition, record.offset, stamp);
                        }
                    }
                }
                Err(error) => {
                    tracing::info!(%error, "the consumer goes on");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Waits until every replica of every topic is in sync again, and the topics are what they were said to be. Returns those
    /// but for the one that is written to.
    async fn wait_until_whole(
        &self,
        admin: &Admin,
        deadline: Instant,
        topics: &Topics,
    ) -> Result<BTreeSet<Uuid>> {
        loop {
            let described = describe_all(admin).await;
            let orphans = described.iter().flatten().flat_map(orphans).collect::<Vec<_>>();
            if self.voting.wipes && !orphans.is_empty() {
                let elected = admin.elect_leaders(ElectionType::Unclean, Some(&orphans)).await;
                tracing::info!(?orphans, ?elected, "elected uncleanly");
            }
            if let Ok(described) = &described
                && described.iter().flat_map(|topic| topic.partitions.values()).all(is_whole)
            {
                let ours = described.iter().find(|topic| topic.name == TOPIC);
                ensure!(
                    ours.is_some_and(|topic| topic.partitions.len() == PARTITIONS as usize),
                    "the topic is not whole: {ours:?}"
                );
                let counts = described.iter().map(|topic| (topic.id, topic.partitions.len())).collect();
                let is_everywhere =
                    |partition: &PartitionDescription| partition.replicas.len() == self.nodes.len();
                let is_spread = ours.is_some_and(|topic| topic.partitions.values().all(is_everywhere));
                // A broker may not have heard of the latest yet.
                match topics::check(topics, &counts) {
                    Ok(()) if is_spread => {
                        let others = described.iter().filter(|topic| topic.name != TOPIC);
                        return Ok(others.map(|topic| topic.id).collect());
                    }
                    Ok(()) => moves::spread(self, admin).await,
                    Err(error) if Instant::now() >= deadline => return Err(error),
                    Err(_) => {}
                }
            }
            ensure!(
                Instant::now() < deadline,
                "LIVE-1: not whole {RECOVERY_MAX:?} after the last fault: {described:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reads every partition from its beginning to the end that it has now.
    async fn read_all(&self, seed: u64) -> Result<BTreeMap<i32, Partition>> {
        let client = self.client("reader", seed);
        let bound = |bound| partitions().map(|at| (at, bound)).collect();
        let ends = list_offsets(&client, &bound(LATEST), Isolation::ReadUncommitted).await?;
        let begins = list_offsets(&client, &bound(EARLIEST), Isolation::ReadUncommitted).await?;
        let mut found: BTreeMap<i32, Partition> =
            (0..PARTITIONS).map(|partition| (partition, Partition::new())).collect();
        let mut consumer = Consumer::new(client, ConsumerConfig::default());
        consumer.assign(partitions().map(|at| (at, StartAt::Earliest)));
        let deadline = Instant::now() + RECOVERY_MAX;
        let is_read = |found: &BTreeMap<i32, Partition>| {
            ends.iter().all(|(at, end)| {
                let last = found[&at.partition].last().map_or(begins[at].offset, |(offset, _)| *offset + 1);
                last >= end.offset
            })
        };
        while !is_read(&found) {
            ensure!(Instant::now() < deadline, "the records cannot be read within {RECOVERY_MAX:?}");
            for record in consumer.poll(Duration::from_secs(1), 1000).await? {
                let value = record.value.as_deref().map_or(Err(Spoilt::Foreign), Stamp::read);
                let partition = found.entry(record.partition.partition).or_default();
                partition.push((record.offset, value));
            }
        }
        Ok(found)
    }
}

/// Sends a batch to the leader of a partition, who does not answer.
async fn unheard(client: &Client, partition: i32, batch: Vec<u8>) -> Result<()> {
    // What was heard of last may be out of date; then it is lost.
    let mut metadata = client.metadata();
    if !metadata.topics.contains_key(TOPIC) || client.random_index(20) == 0 {
        metadata = client.refresh(Asked::Named(&[TOPIC.to_owned()])).await?;
    }
    let topic = metadata.topics.get(TOPIC).context("no such topic")?;
    let leader = topic.partitions.get(&partition).and_then(|partition| partition.leader);
    let records = Some(Records::Memory(batch.into()));
    let request = ProduceRequest {
        acks: 0,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.to_owned(),
            topic_id: topic.id,
            partition_data: vec![PartitionProduceData { index: partition, records }],
        }],
        ..ProduceRequest::default()
    };
    let connection = client.connection(leader.context("no leader")?).await?;
    match connection.call(&request, UNHEARD).await {
        Err(CallError::TimedOut(_)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(answer) => bail!("acks=0 was answered: {answer:?}"),
    }
}

async fn describe_all(admin: &Admin) -> Result<Vec<TopicDescription>, ClientError> {
    let names: Vec<String> = admin.list_topics().await?.into_keys().collect();
    admin.describe_topics(&names).await
}

/// The partitions of an administrator's topic that nobody may lead, and nobody led last who still has it: it was made while one node
/// alone was there, whose disk was replaced since. Nothing was ever written to it, and an administrator says that somebody is to
/// lead it all the same.
fn orphans(topic: &TopicDescription) -> Vec<TopicPartition> {
    let is_none = |nodes: &Option<Vec<NodeId>>| nodes.as_ref().is_none_or(Vec::is_empty);
    let is_orphan = |partition: &PartitionDescription| {
        partition.leader.is_none()
            && partition.isr.is_empty()
            && is_none(&partition.elr)
            && is_none(&partition.last_known_elr)
    };
    let is_scratch = !topic.is_internal && topic.name != TOPIC && topic.name != transfers::TOPIC;
    let partitions = topic.partitions.iter().filter(|(_, partition)| is_scratch && is_orphan(partition));
    partitions.map(|(&number, _)| TopicPartition::new(&topic.name, number)).collect()
}

fn is_whole(partition: &PartitionDescription) -> bool {
    partition.leader.is_some() && partition.isr.len() == partition.replicas.len()
}

fn partitions() -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition))
}
