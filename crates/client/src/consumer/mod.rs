//! Reads records: from partitions assigned by hand, or shared out among the members of a group.
//!
//! [`Consumer::poll`] does all the work but heartbeats, on its caller's task: nothing is fetched ahead while
//! nobody polls, but for one answer of each broker.
//!
//! Reading order: [`decode`], [`offsets`], [`assignor`], [`group`].

pub mod assignor;
pub mod decode;
pub mod group;
pub mod offsets;

use crate::client::{Client, Topics};
use crate::error::ClientError;
use bytes::Bytes;
use decode::Fetched;
use group::{GroupConfig, Membership};
use ottla_net::{Task, task};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_protocol::{ErrorCode, Records};
use ottla_records::TimestampType;
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp, TopicPartition};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Where to begin where no offset is given or committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record that is still there.
    Earliest,
    /// At what is written from now on.
    Latest,
    /// Nowhere: it is an error.
    None,
}

/// Which records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All that are committed to the log.
    ReadUncommitted,
    /// Those of transactions only when they are committed too (KIP-98).
    ReadCommitted,
}

/// How records are read.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Where to begin (`auto.offset.reset`).
    pub reset: OffsetReset,
    /// Which records are shown (`isolation.level`).
    pub isolation: Isolation,
    /// Bytes in one answer, at most, but for a batch that is larger (`fetch.max.bytes`).
    pub fetch_bytes_max: i32,
    /// Bytes of one partition in one answer, at most (`max.partition.fetch.bytes`).
    pub partition_bytes_max: i32,
    /// How long a broker may wait for records (`fetch.max.wait.ms`).
    pub wait_max: Duration,
    /// A batch that is larger when decompressed is an error.
    pub batch_bytes_max: usize,
}

impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            reset: OffsetReset::Latest,
            isolation: Isolation::ReadUncommitted,
            fetch_bytes_max: 50 << 20,
            partition_bytes_max: 1 << 20,
            wait_max: Duration::from_millis(500),
            batch_bytes_max: 256 << 20,
        }
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Where it is from.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: Offset,
    /// The term of the leader that wrote it.
    pub leader_epoch: LeaderEpoch,
    /// Its time.
    pub timestamp: Timestamp,
    /// Whose time that is.
    pub timestamp_type: TimestampType,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Application data beside the value.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Where to begin reading a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the first record that is still there.
    Earliest,
    /// At what is written from now on.
    Latest,
    /// At this offset.
    Offset(Offset),
}

/// Where a partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At an offset to be asked for.
    Unknown(StartAt),
    /// At this offset.
    At(Offset),
}

/// An answer of a broker, and what it was asked.
struct Arrived {
    leader: NodeId,
    asked: BTreeMap<TopicPartition, Offset>,
    answer: Result<FetchResponse, ClientError>,
}

/// Answers that wait to be looked at, at most; there is one of each broker.
const ARRIVED_MAX: usize = 64;

/// The pause before a partition is fetched again after an error.
const PAUSE: Duration = Duration::from_millis(50);

/// Reads records.
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    positions: BTreeMap<TopicPartition, Position>,
    fetches: BTreeMap<NodeId, Task>,
    arrivals: mpsc::Sender<Arrived>,
    arrived: mpsc::Receiver<Arrived>,
    buffered: VecDeque<ConsumerRecord>,
    /// What the application has been given, to be committed.
    consumed: BTreeMap<TopicPartition, Offset>,
    membership: Option<Membership>,
    /// What was committed of each partition of the share when it was given.
    resumed: BTreeMap<TopicPartition, Option<Offset>>,
    paused_until: Option<Instant>,
}

impl Consumer {
    /// A consumer of nothing yet.
    pub fn new(client: Client, config: ConsumerConfig) -> Consumer {
        let (arrivals, arrived) = mpsc::channel(ARRIVED_MAX);
        Consumer {
            client,
            config,
            positions: BTreeMap::new(),
            fetches: BTreeMap::new(),
            arrivals,
            arrived,
            buffered: VecDeque::new(),
            consumed: BTreeMap::new(),
            membership: None,
            resumed: BTreeMap::new(),
            paused_until: None,
        }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads these partitions, and no others.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>) {
        self.membership = None;
        self.resumed.clear();
        self.replace(partitions.into_iter().map(|(at, start)| (at, Position::Unknown(start))).collect());
    }

    /// Shares these topics with the other members of a group.
    pub fn subscribe(&mut self, topics: Vec<String>, group: GroupConfig) {
        self.replace(BTreeMap::new());
        self.resumed.clear();
        self.membership = Some(Membership::new(self.client.clone(), group, topics));
    }

    fn replace(&mut self, positions: BTreeMap<TopicPartition, Position>) {
        self.positions = positions;
        self.fetches.clear();
        self.buffered.clear();
        self.consumed.clear();
        while self.arrived.try_recv().is_ok() {}
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.positions.keys()
    }

    /// The generation of the group in which the share was given; −1 before that, or without a group.
    pub fn generation(&self) -> i32 {
        self.membership.as_ref().map_or(-1, Membership::generation)
    }

    /// What the group had committed of each partition of the share when it was given; `None`: nothing.
    pub fn resumed(&self) -> &BTreeMap<TopicPartition, Option<Offset>> {
        &self.resumed
    }

    /// What [`Consumer::commit`] commits: where the application is to go on in each partition that it has read of.
    pub fn consumed(&self) -> &BTreeMap<TopicPartition, Offset> {
        &self.consumed
    }

    /// Returns whether everything before these offsets was handed out, of the partitions that are read.
    pub fn has_read_up_to(&self, ends: &BTreeMap<TopicPartition, Offset>) -> bool {
        let is_read = |(at, position): (&TopicPartition, &Position)| match position {
            // What cannot be read, such as the marker of a transaction, has been passed over.
            Position::At(offset) => ends.get(at).is_none_or(|end| offset >= end),
            Position::Unknown(_) => false,
        };
        self.buffered.is_empty() && self.positions.iter().all(is_read)
    }

    /// Has the group's shares made anew at the next [`Consumer::poll`]: nobody of the generation that ends then
    /// commits any more.
    pub fn enforce_rebalance(&mut self) {
        if let Some(membership) = &mut self.membership {
            membership.rejoin();
        }
    }

    /// The next records, at most `records_max`: as soon as there are any, or none after `timeout`.
    ///
    /// # Errors
    /// When something cannot be read and trying again would not help.
    pub async fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
    ) -> Result<Vec<ConsumerRecord>, ClientError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(positions) = self.join().await? {
                let mut consumed = std::mem::take(&mut self.consumed);
                self.replace(positions);
                if self.membership.as_ref().is_some_and(Membership::keeps_its_place) {
                    consumed.retain(|at, _| self.positions.contains_key(at));
                    self.consumed = consumed;
                }
            }
            if !self.buffered.is_empty() {
                return Ok(self.hand_out(records_max));
            }
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            self.find_positions().await?;
            self.fetch();
            let rebalance = async {
                match &self.membership {
                    Some(membership) => membership.rebalance_needed().await,
                    None => std::future::pending().await,
                }
            };
            let pause_end = self.paused_until.filter(|&until| until < deadline).unwrap_or(deadline);
            // Every arm is a wait that loses nothing when another one comes first.
            let arrived = tokio::select! {
                biased;
                () = rebalance => None,
                arrived = self.arrived.recv() => arrived,
                () = tokio::time::sleep_until(pause_end) => None,
            };
            if let Some(arrived) = arrived {
                self.handle_arrived(arrived).await?;
            }
        }
    }

    fn hand_out(&mut self, records_max: usize) -> Vec<ConsumerRecord> {
        let count = self.buffered.len().min(records_max.max(1));
        let records: Vec<_> = self.buffered.drain(..count).collect();
        for record in &records {
            self.consumed.insert(record.partition.clone(), record.offset + 1);
        }
        records
    }

    /// Joins the group if that is due: then tells where the partitions of the new share are read.
    async fn join(&mut self) -> Result<Option<BTreeMap<TopicPartition, Position>>, ClientError> {
        let Some(membership) = &mut self.membership else { return Ok(None) };
        if membership.is_stable() {
            return Ok(None);
        }
        if membership.auto_commits() && !self.consumed.is_empty() {
            // What is not committed is read again by whoever gets it: not more than that.
            if let Err(error) = membership.commit(&self.consumed).await {
                tracing::debug!(%error, "offsets not committed before the rebalance");
            }
        }
        let partitions = membership.join().await?;
        let committed = match membership.committed(&partitions).await {
            Ok(committed) => committed,
            Err(error) => {
                // A share without positions is none: the next call begins anew.
                membership.rejoin();
                return Err(error);
            }
        };
        let resumed = |at: &TopicPartition| (at.clone(), committed.get(at).copied());
        self.resumed = partitions.iter().map(resumed).collect();
        let start = match self.config.reset {
            OffsetReset::Earliest => Some(StartAt::Earliest),
            OffsetReset::Latest => Some(StartAt::Latest),
            OffsetReset::None => None,
        };
        let keeps_its_place = membership.keeps_its_place();
        let mut positions = BTreeMap::new();
        for at in partitions {
            let kept = self.next(&at).filter(|_| keeps_its_place);
            let position = match (kept, committed.get(&at), start) {
                (Some(kept), _, _) => kept,
                (None, Some(&offset), _) => Position::At(offset),
                (None, None, Some(start)) => Position::Unknown(start),
                (None, None, None) => return Err(no_offset(&at)),
            };
            positions.insert(at, position);
        }
        Ok(Some(positions))
    }

    /// Where the application is to go on in a partition that is read.
    fn next(&self, at: &TopicPartition) -> Option<Position> {
        let position = self.positions.get(at)?;
        let waiting = self.buffered.iter().find(|record| record.partition == *at);
        Some(waiting.map_or(*position, |record| Position::At(record.offset)))
    }

    /// Asks for the offsets that are not known.
    async fn find_positions(&mut self) -> Result<(), ClientError> {
        let unknown: Vec<(TopicPartition, StartAt)> = self
            .positions
            .iter()
            .filter_map(|(at, position)| match position {
                Position::Unknown(start) => Some((at.clone(), *start)),
                Position::At(_) => None,
            })
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut asked = BTreeMap::new();
        for (at, start) in unknown {
            match start {
                StartAt::Offset(offset) => {
                    self.positions.insert(at, Position::At(offset));
                }
                StartAt::Earliest => {
                    asked.insert(at, offsets::EARLIEST);
                }
                StartAt::Latest => {
                    asked.insert(at, offsets::LATEST);
                }
            }
        }
        let found = offsets::list_offsets(&self.client, &asked, self.config.isolation).await?;
        for (at, found) in found {
            self.positions.insert(at, Position::At(found.offset));
        }
        Ok(())
    }

    /// Asks every leader that has not been asked.
    fn fetch(&mut self) {
        if self.paused_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        self.paused_until = None;
        let metadata = self.client.metadata();
        let mut by_leader: BTreeMap<NodeId, BTreeMap<TopicPartition, (LeaderEpoch, Offset)>> =
            BTreeMap::new();
        for (at, position) in &self.positions {
            if let (Position::At(offset), Some((leader, epoch))) = (position, metadata.leader(at)) {
                by_leader.entry(leader).or_default().insert(at.clone(), (epoch, *offset));
            }
        }
        if by_leader.values().map(BTreeMap::len).sum::<usize>() < self.positions.len() {
            self.refresh_in_background();
        }
        for (leader, partitions) in by_leader {
            if self.fetches.contains_key(&leader) {
                continue;
            }
            let request = self.request(&partitions);
            let asked = partitions.into_iter().map(|(at, (_, offset))| (at, offset)).collect();
            let (client, arrivals) = (self.client.clone(), self.arrivals.clone());
            let fetching = task::spawn("fetch", async move {
                let answer = client.call(leader, &request).await;
                // An error means that the consumer is gone.
                let _ = arrivals.send(Arrived { leader, asked, answer }).await;
            });
            self.fetches.insert(leader, fetching);
        }
    }

    /// Looks for leaders that are not known, and comes back shortly.
    fn refresh_in_background(&mut self) {
        let names = self.topics();
        let client = self.client.clone();
        let refreshing = task::spawn("consumer metadata", async move {
            if let Err(error) = client.refresh(Topics::Named(&names)).await {
                tracing::debug!(%error, "metadata not refreshed");
            }
        });
        self.fetches.insert(NodeId::NONE, refreshing);
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    fn topics(&self) -> Vec<String> {
        let mut names: Vec<String> = self.positions.keys().map(|at| at.topic.clone()).collect();
        names.dedup();
        names
    }

    fn request(&self, partitions: &BTreeMap<TopicPartition, (LeaderEpoch, Offset)>) -> FetchRequest {
        let metadata = self.client.metadata();
        let mut topics: BTreeMap<&str, FetchTopic> = BTreeMap::new();
        for (at, (epoch, offset)) in partitions {
            let topic = topics.entry(&at.topic).or_insert_with(|| FetchTopic {
                topic: at.topic.clone(),
                topic_id: metadata.topics.get(&at.topic).map(|topic| topic.id).unwrap_or_default(),
                partitions: Vec::new(),
            });
            topic.partitions.push(FetchPartition {
                partition: at.partition,
                current_leader_epoch: epoch.0,
                fetch_offset: offset.0,
                partition_max_bytes: self.config.partition_bytes_max,
                ..FetchPartition::default()
            });
        }
        FetchRequest {
            max_wait_ms: i32::try_from(self.config.wait_max.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: self.config.fetch_bytes_max,
            isolation_level: i8::from(self.config.isolation == Isolation::ReadCommitted),
            session_id: 0,
            session_epoch: -1,
            topics: topics.into_values().collect(),
            ..FetchRequest::default()
        }
    }

    async fn handle_arrived(&mut self, arrived: Arrived) -> Result<(), ClientError> {
        let Arrived { leader, asked, answer } = arrived;
        self.fetches.remove(&leader);
        let response = match answer {
            Ok(response) if response.error_code == ErrorCode::None.code() => response,
            Ok(response) => {
                let error = ClientError::refused(ErrorCode::from(response.error_code), None);
                return self.retry_later(error);
            }
            Err(error) => return self.retry_later(error),
        };
        let metadata = self.client.metadata();
        for topic in response.responses {
            let Some(name) = metadata.answered_topic(&topic.topic, topic.topic_id) else { continue };
            for data in topic.partitions {
                let at = TopicPartition::new(name, data.partition_index);
                let Some(&offset) = asked.get(&at) else { continue };
                // It may be read elsewhere by now.
                if self.positions.get(&at) == Some(&Position::At(offset)) {
                    self.handle_data(&at, offset, data)?;
                }
            }
        }
        Ok(())
    }

    fn handle_data(
        &mut self,
        at: &TopicPartition,
        offset: Offset,
        data: PartitionData,
    ) -> Result<(), ClientError> {
        let hint = &data.current_leader;
        self.client.learn_leader(at, NodeId(hint.leader_id), LeaderEpoch(hint.leader_epoch));
        match ErrorCode::from(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                let start = match self.config.reset {
                    OffsetReset::Earliest => StartAt::Earliest,
                    OffsetReset::Latest => StartAt::Latest,
                    OffsetReset::None => return Err(no_offset(at)),
                };
                self.positions.insert(at.clone(), Position::Unknown(start));
                return Ok(());
            }
            code => return self.retry_later(ClientError::refused(code, None)),
        }
        let aborted = data.aborted_transactions.unwrap_or_default();
        let records = data.records.unwrap_or(Records::EMPTY);
        let bytes = records.to_bytes().map_err(|_| ClientError::Incomplete("Fetch"))?;
        let Fetched { records, next } =
            decode::decode(at, offset, &bytes, &aborted, self.config.isolation, self.config.batch_bytes_max)?;
        self.buffered.extend(records);
        self.positions.insert(at.clone(), Position::At(next));
        Ok(())
    }

    /// Goes on shortly, with fresh knowledge, unless the error is for good.
    fn retry_later(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retriable() {
            return Err(error);
        }
        tracing::debug!(%error, "fetch failed");
        self.refresh_in_background();
        Ok(())
    }

    /// Commits what the application has been given, for its group.
    ///
    /// # Errors
    /// When the coordinator refuses, or there is no group.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let Some(membership) = &mut self.membership else {
            return Err(ClientError::refused(ErrorCode::InvalidGroupId, None));
        };
        if self.consumed.is_empty() {
            return Ok(());
        }
        membership.commit(&self.consumed).await
    }

    /// Commits, if that is the group's way, and leaves the group.
    ///
    /// # Errors
    /// When the commit is refused.
    pub async fn close(mut self) -> Result<(), ClientError> {
        let Some(mut membership) = self.membership.take() else { return Ok(()) };
        let committed = if membership.auto_commits() && !self.consumed.is_empty() {
            membership.commit(&self.consumed).await
        } else {
            Ok(())
        };
        membership.leave().await;
        committed
    }
}

fn no_offset(at: &TopicPartition) -> ClientError {
    let message = format!("there is no offset at which to read {at}, and none is to be chosen");
    ClientError::refused(ErrorCode::OffsetOutOfRange, Some(message))
}
