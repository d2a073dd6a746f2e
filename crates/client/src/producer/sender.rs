//! The one task that sends: it collects batches, sends them to their leaders and judges the answers.

use super::batch::{Appended, Identity, Pending, Queue};
use super::{Acks, ProducerConfig, SendError};
use crate::client::{Client, Topics};
use crate::error::ClientError;
use ottla_net::{Task, task};
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use ottla_protocol::{ErrorCode, Records};
use ottla_types::{LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// What the producer asks of its sender.
pub(super) enum Command {
    /// To send a record.
    Send(Box<Pending>),
    /// To tell when all before is answered.
    Flush(oneshot::Sender<()>),
}

/// What the sender's own tasks report.
enum Event {
    /// Batches of these partitions were sent, and this came of it.
    Produced(u64, Vec<TopicPartition>, Result<ProduceResponse, ClientError>),
    /// The cluster gave an identity, or did not.
    Identified(Result<Identity, ClientError>),
    /// What is known of the cluster was asked for anew.
    Refreshed,
}

/// Events that wait for the sender, at most: the tasks wait then.
const EVENTS_MAX: usize = 64;

/// The pause before a batch is sent again when nothing else says when.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

struct Sender {
    client: Client,
    config: ProducerConfig,
    queues: BTreeMap<TopicPartition, Queue>,
    flushes: Vec<oneshot::Sender<()>>,
    identity: Option<Identity>,
    events: mpsc::Sender<Event>,
    requests: BTreeMap<u64, Task>,
    next_request: u64,
    identifying: Option<Task>,
    refreshing: Option<Task>,
    last_error: String,
}

/// Sends until the producer is dropped.
pub(super) async fn run(client: Client, config: ProducerConfig, mut commands: mpsc::Receiver<Command>) {
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    let mut sender = Sender {
        client,
        config,
        queues: BTreeMap::new(),
        flushes: Vec::new(),
        identity: None,
        events,
        requests: BTreeMap::new(),
        next_request: 0,
        identifying: None,
        refreshing: None,
        last_error: "not sent yet".to_owned(),
    };
    loop {
        let wake = sender.advance();
        // Every arm is a receive or a sleep, and loses nothing when another one comes first.
        tokio::select! {
            biased;
            Some(event) = happened.recv() => sender.handle_event(event),
            command = commands.recv() => match command {
                Some(command) => sender.handle_command(command),
                None => return,
            },
            () = sleep_until(wake) => {}
        }
        // What is there already goes into the same batches.
        while let Ok(command) = commands.try_recv() {
            sender.handle_command(command);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Sender {
    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Send(pending) => {
                let queue = self.queues.entry(pending.partition.clone()).or_default();
                queue.push(*pending, self.config.batch_bytes_max, self.config.compression, Instant::now());
            }
            Command::Flush(done) => self.flushes.push(done),
        }
    }

    /// Gives up what is too old, sends what is ready, and tells when to look again.
    fn advance(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.expire(now);
        if self.queues.values().all(Queue::is_empty) {
            for done in self.flushes.drain(..) {
                // Whoever waited may have gone.
                let _ = done.send(());
            }
        }
        let mut wake: Option<Instant> = None;
        let mut soonest = |at: Instant| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        let mut ready: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        let metadata = self.client.metadata();
        let mut leaderless = false;
        for (partition, queue) in &self.queues {
            let Some(first) = queue.first() else { continue };
            if queue.in_flight {
                // Its request ends by itself.
                continue;
            }
            soonest(first.since + self.config.delivery_timeout);
            let linger_over = first.since + self.config.linger;
            let is_due = queue.first_is_full(self.config.batch_bytes_max)
                || !self.flushes.is_empty()
                || linger_over <= now;
            if !is_due {
                soonest(linger_over);
            } else if let Some(at) = queue.retry_at.filter(|&at| at > now) {
                soonest(at);
            } else if let Some((leader, _)) = metadata.leader(partition) {
                ready.entry(leader).or_default().push(partition.clone());
            } else {
                leaderless = true;
            }
        }
        if leaderless {
            self.refresh();
        }
        if self.config.idempotent && self.identity.is_none() {
            if !ready.is_empty() {
                self.identify();
            }
            return wake;
        }
        for (leader, partitions) in ready {
            self.produce(leader, partitions);
        }
        wake
    }

    /// Gives up batches that took too long. One on its way is waited for: its request has a deadline too.
    fn expire(&mut self, now: Instant) {
        let limit = self.config.delivery_timeout;
        for queue in self.queues.values_mut() {
            while !queue.in_flight && queue.first().is_some_and(|batch| batch.since + limit <= now) {
                let batch = queue.pop().expect("there is a first");
                if batch.was_sent() {
                    // It has a sequence number that the leader may never see: begin anew.
                    self.identity = None;
                }
                batch.finish(&Err(SendError::Expired { after: limit, last: self.last_error.clone() }));
            }
        }
    }

    fn produce(&mut self, leader: NodeId, partitions: Vec<TopicPartition>) {
        let metadata = self.client.metadata();
        let mut topics: BTreeMap<&str, TopicProduceData> = BTreeMap::new();
        for at in &partitions {
            let queue = self.queues.get_mut(at).expect("it has a batch to be sent");
            queue.in_flight = true;
            queue.retry_at = None;
            let bytes = queue.take_bytes(self.identity);
            let data = topics.entry(&at.topic).or_insert_with(|| TopicProduceData {
                name: at.topic.clone(),
                topic_id: metadata.topics.get(&at.topic).map(|topic| topic.id).unwrap_or_default(),
                partition_data: Vec::new(),
            });
            data.partition_data
                .push(PartitionProduceData { index: at.partition, records: Some(Records::Memory(bytes)) });
        }
        let timeout = self.client.config().request_timeout;
        let request = ProduceRequest {
            transactional_id: None,
            acks: match self.config.acks {
                Acks::Leader => 1,
                Acks::All => -1,
            },
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topics.into_values().collect(),
        };
        let (client, events, number) = (self.client.clone(), self.events.clone(), self.next_request);
        self.next_request += 1;
        let sending = task::spawn("produce", async move {
            let answer = client.call(leader, &request).await;
            // An error means that the sender has ended.
            let _ = events.send(Event::Produced(number, partitions, answer)).await;
        });
        self.requests.insert(number, sending);
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Produced(number, partitions, answer) => {
                self.requests.remove(&number);
                self.handle_produced(&partitions, answer);
            }
            Event::Identified(identity) => {
                self.identifying = None;
                match identity {
                    Ok(identity) => self.identity = Some(identity),
                    Err(error) => {
                        self.last_error = error.to_string();
                        self.fail_all(&error);
                    }
                }
            }
            Event::Refreshed => self.refreshing = None,
        }
    }

    fn handle_produced(
        &mut self,
        partitions: &[TopicPartition],
        answer: Result<ProduceResponse, ClientError>,
    ) {
        match answer {
            Err(error) => {
                self.last_error = error.to_string();
                for at in partitions {
                    self.retry(at);
                }
                self.refresh();
            }
            Ok(response) => {
                let mut answered = self.by_partition(response);
                for at in partitions {
                    match answered.remove(at) {
                        Some(answer) => self.handle_answer(at, answer),
                        None => {
                            self.last_error = "the leader did not answer for the partition".to_owned();
                            self.retry(at);
                        }
                    }
                }
            }
        }
    }

    /// The parts of a response. Since version 13 it names topics by their ids.
    fn by_partition(&self, response: ProduceResponse) -> BTreeMap<TopicPartition, PartitionProduceResponse> {
        let metadata = self.client.metadata();
        let mut parts = BTreeMap::new();
        for topic in response.responses {
            let Some(name) = metadata.answered_topic(&topic.name, topic.topic_id) else { continue };
            for part in topic.partition_responses {
                parts.insert(TopicPartition::new(name, part.index), part);
            }
        }
        parts
    }

    fn handle_answer(&mut self, at: &TopicPartition, answer: PartitionProduceResponse) {
        let code = ErrorCode::from(answer.error_code);
        let outcome = match code {
            ErrorCode::None => Ok((Offset(answer.base_offset), answer.log_append_time_ms)),
            // The leader has had it since an earlier try.
            ErrorCode::DuplicateSequenceNumber => Ok((Offset::UNKNOWN, -1)),
            _ if code.is_retriable() => {
                self.last_error = code.message().to_owned();
                let leader = &answer.current_leader;
                let (leader, epoch) = (NodeId(leader.leader_id), LeaderEpoch(leader.leader_epoch));
                let before = self.client.metadata().leader(at);
                self.client.learn_leader(at, leader, epoch);
                if self.client.metadata().leader(at) == before {
                    self.retry(at);
                    self.refresh();
                } else if let Some(queue) = self.queues.get_mut(at) {
                    // The leader is known: no reason to wait.
                    queue.in_flight = false;
                }
                return;
            }
            _ => Err(SendError::Refused {
                code,
                message: answer.error_message.unwrap_or_else(|| code.message().to_owned()),
            }),
        };
        let Some(queue) = self.queues.get_mut(at) else { return };
        queue.in_flight = false;
        let Some(batch) = queue.pop() else { return };
        if outcome.is_err() {
            // Its sequence numbers are used and will not come: begin anew.
            self.identity = None;
        }
        batch.finish(&outcome.map(|(base_offset, append_time)| Appended {
            partition: at.clone(),
            base_offset,
            append_time: (append_time >= 0).then_some(Timestamp(append_time)),
        }));
    }

    /// Sends the first batch of the partition again, shortly.
    fn retry(&mut self, at: &TopicPartition) {
        if let Some(queue) = self.queues.get_mut(at) {
            queue.in_flight = false;
            queue.retry_at = Some(Instant::now() + RETRY_PAUSE);
        }
    }

    fn fail_all(&mut self, error: &ClientError) {
        if error.is_retriable() || matches!(error, ClientError::TimedOut { .. }) {
            return;
        }
        let code = error.code().unwrap_or(ErrorCode::UnknownServerError);
        for queue in self.queues.values_mut().filter(|queue| !queue.in_flight) {
            while let Some(batch) = queue.pop() {
                batch.finish(&Err(SendError::Refused { code, message: error.to_string() }));
            }
        }
    }

    fn identify(&mut self) {
        if self.identifying.is_some() {
            return;
        }
        let (client, events) = (self.client.clone(), self.events.clone());
        self.identifying = Some(task::spawn("producer id", async move {
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            let identity = client
                .retry("initProducerId", || async {
                    let answer = client.call_any(&request).await?;
                    ClientError::check(answer.error_code, None)?;
                    Ok(Identity {
                        id: ProducerId(answer.producer_id),
                        epoch: ProducerEpoch(answer.producer_epoch),
                    })
                })
                .await;
            // An error means that the sender has ended.
            let _ = events.send(Event::Identified(identity)).await;
        }));
    }

    /// Asks about the topics that have records waiting.
    fn refresh(&mut self) {
        if self.refreshing.is_some() {
            return;
        }
        let mut names: Vec<String> = self
            .queues
            .iter()
            .filter(|(_, queue)| !queue.is_empty())
            .map(|(at, _)| at.topic.clone())
            .collect();
        names.dedup();
        let (client, events) = (self.client.clone(), self.events.clone());
        self.refreshing = Some(task::spawn("producer metadata", async move {
            if let Err(error) = client.refresh(Topics::Named(&names)).await {
                tracing::debug!(%error, "metadata not refreshed");
            }
            // Not more often than this, however many partitions ask for it.
            tokio::time::sleep(RETRY_PAUSE).await;
            let _ = events.send(Event::Refreshed).await;
        }));
    }
}
