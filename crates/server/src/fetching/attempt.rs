//! One look at the partitions of a fetch.

use super::interest::{Asked, Interest, Key, Told};
use super::ready::Slot;
use super::selector;
use crate::broker::Broker;
use crate::bug::{Bug, is_made};
use crate::config::ReplicaSelector;
use crate::handlers::records::errors;
use crate::handlers::records::leader_hint::{LeaderEndpoint, LeaderHint};
use crate::replicas::Replica;
use crate::request::RequestContext;
use ottla_metadata::MetadataImage;
use ottla_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use ottla_protocol::{ErrorCode, Records};
use ottla_replication::{Effects, FetchError, FetchPosition, Fetched, Isolation, Partition, ReadFrom};
use ottla_storage::{AtLeast, ReadError};
use ottla_types::{BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, TopicIdPartition, Uuid};

/// The first version with the endpoints of leaders.
pub const HINT_VERSION_MIN: i16 = 12;

/// Who fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetcher {
    /// A client, up to the high watermark or the last stable offset.
    Consumer(Isolation),
    /// Another broker, to the end of the log.
    Follower(NodeId, BrokerEpoch),
}

/// Which partitions are looked at and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those that are marked; of them, those are answered that have something new.
    Marked,
}

/// Whether partitions wake the fetch when they have something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waking {
    /// It waits, or its session does.
    On,
    /// It is answered now in any case.
    Off,
}

/// A fetch as it looks at partitions.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// The request's surroundings.
    pub context: &'a RequestContext,
    /// Who looks.
    pub fetcher: Fetcher,
    /// How much the answer may hold. The first partition that has records may exceed it by one batch (KIP-74).
    pub bytes_max: usize,
    /// The consumer's rack; empty when it has not said.
    pub rack: &'a str,
    /// Who may answer.
    pub reads_from: ReadFrom,
    /// What is looked at.
    pub scope: Scope,
    /// Whether to be woken.
    pub waking: Waking,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Attempt {
    /// The answer, if it is to be now.
    pub response: FetchResponse,
    /// How many bytes of records it holds.
    pub bytes: usize,
    /// How many of them count as throttled.
    pub throttled_bytes: usize,
    /// Something that the fetcher must hear at once.
    pub is_urgent: bool,
    /// Of some partition there is more than the answer has: to wait for others' records would only hold these up.
    pub is_cut: bool,
    /// A consumer would learn of a partition that another broker leads it, before the image that says which is published.
    pub is_premature: bool,
    told: Vec<(Slot, Told)>,
}

impl Attempt {
    /// The answer, which is sent: the interest remembers what it tells.
    pub fn send(self, interest: &mut Interest) -> FetchResponse {
        for (slot, told) in self.told {
            if let Some(asked) = interest.slot(slot) {
                asked.told = told;
            }
        }
        self.response
    }
}

/// What becomes of a slot after it was looked at.
enum Next {
    /// It has nothing more to say until it is woken.
    Rest,
    /// It has something that was not answered; it comes first the next time.
    First,
    /// It was answered. Until the fetcher asks for more, it is not known to have the answer.
    Last,
}

impl Look<'_> {
    /// Looks at the partitions, in the order in which they were marked.
    pub fn attempt(self, interest: &mut Interest) -> Attempt {
        let image = self.broker.image();
        let now = self.broker.clock.monotonic();
        if self.scope == Scope::All {
            interest.mark_all();
        }
        let mut attempt = Attempt::default();
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for slot in interest.ready().take() {
            let waiter = (self.waking == Waking::On).then(|| interest.waiter(slot));
            let Some(asked) = interest.slot(slot) else { continue };
            let wait = |partition: &mut Partition| match (waiter, self.fetcher) {
                (None, _) => {}
                (Some(waiter), Fetcher::Consumer(_)) => partition.wait_as_consumer(waiter),
                (Some(waiter), Fetcher::Follower(..)) => partition.wait_as_follower(waiter),
            };
            match self.look(&image, asked, slot, now, wait, &mut attempt) {
                Next::Rest => {}
                Next::First => first.push(slot),
                Next::Last => last.push(slot),
            }
        }
        interest.ready().put_back(first, last);
        attempt
    }

    /// Looks at one partition, and adds to the answer what there is to say of it.
    fn look(
        &self,
        image: &MetadataImage,
        asked: &mut Asked,
        slot: Slot,
        now: Monotonic,
        wait: impl FnOnce(&mut Partition),
        attempt: &mut Attempt,
    ) -> Next {
        let replica = asked.replica(image, &self.broker.replicas);
        let mut left = self.bytes_max.saturating_sub(attempt.bytes);
        let mut at_least = if attempt.bytes == 0 { AtLeast::OneBatch } else { AtLeast::Nothing };
        let mut elsewhere = None;
        let mut is_throttled = false;
        let found = match &replica {
            None => Err(self.absent(image, asked)),
            Some(replica) => {
                // Registered before looking: what happens afterwards wakes.
                let mut partition = replica.lock();
                wait(&mut partition);
                elsewhere = self.elsewhere(image, &partition, asked, now);
                is_throttled = self.is_throttled(replica, &partition);
                if is_throttled {
                    let admitted = self.broker.replicas.throttles().leader.lock().admits(now);
                    let admitted = usize::try_from(admitted).unwrap_or(usize::MAX);
                    left = left.min(admitted.saturating_sub(attempt.throttled_bytes));
                    if left == 0 {
                        at_least = AtLeast::Nothing;
                    }
                }
                match elsewhere {
                    Some(_) => Ok(partition.without_records()),
                    None => self.fetch(partition, asked, left, at_least, now),
                }
            }
        };
        let mut data = PartitionData {
            partition_index: asked.partition.partition,
            high_watermark: -1,
            records: Some(Records::EMPTY),
            ..Default::default()
        };
        match found {
            Ok(found) => {
                let told = Told {
                    high_watermark: found.high_watermark.0,
                    log_start_offset: found.log_start_offset.0,
                };
                let bytes = found.records.as_ref().map_or(0, |region| region.len);
                let diverges = found.diverging.is_some();
                let is_left_out = bytes == 0 && found.has_more && !diverges;
                let is_news = bytes > 0 || diverges || told != asked.told || elsewhere.is_some();
                // Who deletes records waits until the followers have done so.
                let begins_later = told.log_start_offset > asked.told.log_start_offset
                    && asked.told.log_start_offset >= 0
                    && self.is_follower();
                // Whoever reads at a follower waits until that one knows how far it may.
                let is_awaited = self.is_follower()
                    && self.broker.config.replica_selector == ReplicaSelector::RackAware
                    && told.high_watermark > asked.told.high_watermark;
                attempt.is_urgent |= diverges || begins_later || elsewhere.is_some() || is_awaited;
                attempt.is_cut |= bytes > 0 && found.is_cut;
                attempt.bytes += bytes;
                if is_throttled {
                    attempt.throttled_bytes += bytes;
                }
                if is_news || self.scope == Scope::All {
                    fill(&mut data, found);
                    data.preferred_read_replica = elsewhere.unwrap_or(NodeId::NONE).0;
                    attempt.told.push((slot, told));
                    add(&mut attempt.response, &asked.key, data);
                }
                match () {
                    () if is_left_out => Next::First,
                    () if is_news => Next::Last,
                    () => Next::Rest,
                }
            }
            Err(error) => {
                // A follower of a term that this broker has yet to hear of waits for it here.
                let waits = self.is_follower() && error == ErrorCode::UnknownLeaderEpoch;
                attempt.is_urgent |= !waits;
                data.error_code = error.code();
                attempt.is_premature |= !self.is_follower()
                    && LeaderHint::goes_with(data.error_code)
                    && !self.broker.is_published(image);
                data.log_start_offset =
                    replica.as_ref().map_or(-1, |replica| replica.lock().log().log_start_offset().0);
                if let Some(at) = asked.at(image) {
                    self.add_leader_hint(image, at, &mut data, &mut attempt.response.node_endpoints);
                }
                if !waits || self.scope == Scope::All {
                    attempt.told.push((slot, Told::NOTHING));
                    add(&mut attempt.response, &asked.key, data);
                }
                if waits { Next::Rest } else { Next::Last }
            }
        }
    }

    /// The follower that a consumer is sent to; `None` when it is answered here. What it believes is checked by whoever
    /// answers it.
    fn elsewhere(
        &self,
        image: &MetadataImage,
        partition: &Partition,
        asked: &Asked,
        now: Monotonic,
    ) -> Option<NodeId> {
        // Of a fetch, as of no other question, every negative epoch is none (`FetchRequest.optionalEpoch`).
        let asked_epoch = LeaderEpoch(asked.partition.current_leader_epoch.max(LeaderEpoch::NONE.0));
        let may_be_sent = !self.is_follower()
            && self.broker.config.replica_selector == ReplicaSelector::RackAware
            && self.broker.config.rack.as_deref() != Some(self.rack)
            && !self.rack.is_empty()
            && self.reads_from == ReadFrom::AnyReplica
            && partition.check_epoch(asked_epoch).is_ok();
        if !may_be_sent {
            return None;
        }
        let readers = partition.serving()?.readers(Offset(asked.partition.fetch_offset), now);
        let listener = self.context.listener();
        selector::nearest(self.rack, &readers, |node| {
            let broker = image.cluster.broker(node).filter(|broker| !broker.fenced)?;
            broker.endpoint(listener).filter(|_| self.broker.is_nameable(node))?;
            broker.rack.as_deref()
        })
    }

    /// Whether what is read counts as throttled. Members of the in-sync set are never held up: producers wait for them.
    /// Nor do they count, as they do in Kafka, where they may take all that there is for those to be copied.
    fn is_throttled(&self, replica: &Replica, partition: &Partition) -> bool {
        let Fetcher::Follower(node, _) = self.fetcher else { return false };
        let is_in_sync = || partition.serving().is_some_and(|leader| leader.isr.committed.contains(&node));
        replica.throttled.as_leader() && !is_in_sync()
    }

    fn is_follower(&self) -> bool {
        matches!(self.fetcher, Fetcher::Follower(..))
    }

    /// Why there is no replica here.
    fn absent(&self, image: &MetadataImage, asked: &Asked) -> ErrorCode {
        match (asked.at(image), &asked.key) {
            (Some(at), _) => self.broker.absence(image, at),
            (None, Key::Id(_)) => ErrorCode::UnknownTopicId,
            (None, Key::Name(_)) => ErrorCode::UnknownTopicOrPartition,
        }
    }

    fn fetch(
        &self,
        mut partition: parking_lot::MutexGuard<'_, Partition>,
        asked: &Asked,
        left: usize,
        at_least: AtLeast,
        now: Monotonic,
    ) -> Result<Fetched, ErrorCode> {
        let bytes_max = usize::try_from(asked.partition.partition_max_bytes).unwrap_or(0).min(left);
        // Of a fetch, as of no other question, every negative epoch is none (`FetchRequest.optionalEpoch`).
        let asked_epoch = LeaderEpoch(asked.partition.current_leader_epoch.max(LeaderEpoch::NONE.0));
        let offset = Offset(asked.partition.fetch_offset);
        let last_fetched_epoch = LeaderEpoch(asked.partition.last_fetched_epoch);
        let found = match self.fetcher {
            Fetcher::Consumer(isolation) => {
                let found = partition.fetch_as_consumer(
                    offset,
                    asked_epoch,
                    last_fetched_epoch,
                    self.reads_from,
                    isolation,
                    bytes_max,
                    at_least,
                );
                drop(partition);
                found
            }
            Fetcher::Follower(node, epoch) => {
                let mut effects = Effects::default();
                let is_unchecked = is_made(Bug::DivergenceUnchecked);
                let position = FetchPosition {
                    leader_epoch: asked_epoch,
                    fetch_offset: offset,
                    last_fetched_epoch: if is_unchecked { LeaderEpoch::NONE } else { last_fetched_epoch },
                    log_start_offset: Offset(asked.partition.log_start_offset),
                    high_watermark: Offset(asked.partition.high_watermark),
                };
                let found = partition.fetch_as_follower(
                    node,
                    epoch,
                    position,
                    bytes_max,
                    at_least,
                    now,
                    &mut effects,
                );
                drop(partition);
                self.broker.replicas.carry_out(effects);
                found
            }
        };
        found.map_err(|error| {
            if let FetchError::Read(ReadError::Storage(error)) | FetchError::Storage(error) = &error {
                self.broker.replicas.handle_storage_error(error);
            }
            match error {
                // Who knows no epoch may know an assignment that is no more.
                FetchError::NotReplica if asked_epoch == LeaderEpoch::NONE => ErrorCode::NotLeaderOrFollower,
                error => errors::fetch(&error),
            }
        })
    }

    /// Tells a client that asked the wrong broker which is the right one (KIP-951).
    fn add_leader_hint(
        &self,
        image: &MetadataImage,
        at: TopicIdPartition,
        data: &mut PartitionData,
        endpoints: &mut Vec<NodeEndpoint>,
    ) {
        if self.context.version < HINT_VERSION_MIN {
            return;
        }
        let Some(hint) = LeaderHint::with(data.error_code, image, at, self.context.listener()) else {
            return;
        };
        data.current_leader = LeaderIdAndEpoch { leader_id: hint.leader_id, leader_epoch: hint.leader_epoch };
        if let Some(LeaderEndpoint { node_id, host, port, rack }) = hint.endpoint
            && endpoints.iter().all(|known| known.node_id != node_id)
        {
            endpoints.push(NodeEndpoint { node_id, host, port, rack });
        }
    }
}

fn fill(data: &mut PartitionData, found: Fetched) {
    data.high_watermark = found.high_watermark.0;
    data.last_stable_offset = found.last_stable_offset.0;
    data.log_start_offset = found.log_start_offset.0;
    data.aborted_transactions = found.aborted.map(|aborted| {
        let told = aborted.into_iter().map(|aborted| AbortedTransaction {
            producer_id: aborted.producer_id.0,
            first_offset: aborted.first_offset.0,
        });
        told.collect()
    });
    if let Some(diverging) = found.diverging {
        data.diverging_epoch = EpochEndOffset { epoch: diverging.epoch.0, end_offset: diverging.offset.0 };
    }
    if let Some(region) = found.records {
        data.records = Some(Records::File(region));
    }
}

/// Adds a partition to the answer, with its topic's others.
fn add(response: &mut FetchResponse, key: &Key, data: PartitionData) {
    let (topic, topic_id) = match key {
        Key::Id(at) => ("", at.topic_id),
        Key::Name(name) => (name.topic.as_str(), Uuid::ZERO),
    };
    // From the back: neighbours are mostly of one topic.
    let known =
        response.responses.iter_mut().rev().find(|known| known.topic_id == topic_id && known.topic == topic);
    match known {
        Some(known) => known.partitions.push(data),
        None => response.responses.push(FetchableTopicResponse {
            topic: topic.to_owned(),
            topic_id,
            partitions: vec![data],
        }),
    }
}
