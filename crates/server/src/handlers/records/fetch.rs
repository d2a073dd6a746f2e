//! Fetch (key 1), versions 4–18, broker listener.
//!
//! Serves consumers up to the high watermark, and followers to the end of the log. Waits for `min_bytes`.
//!
//! - v4 isolation level; v9 leader epochs (KIP-320); v12 diverging epochs and leader hints (KIP-951: v16
//!   endpoints); v13 topic ids; v15 replica epochs (KIP-903).
//! - The first partition that has records is answered with at least one whole batch (KIP-74).
//! - A waiting fetch is answered at once when another request arrives behind it on its connection.
//! - Differs from Kafka: there are no fetch sessions; every fetch is a full one (KIP-227 allows a server to
//!   answer session 0), and the preferred replica is always the leader.

use super::errors;
use crate::broker::Broker;
use crate::replicas::Replica;
use crate::request::{Answer, RequestContext};
use ottla_metadata::MetadataImage;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use ottla_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use ottla_protocol::{ErrorCode, Records};
use ottla_replication::{Effects, FetchError, Fetched, Isolation, WaiterId};
use ottla_storage::{AtLeast, ReadError};
use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, TopicIdPartition, Uuid};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first version with topic ids instead of names.
const TOPIC_ID_VERSION_MIN: i16 = 13;
/// The first version with the endpoints of leaders.
const HINT_VERSION_MIN: i16 = 12;

/// Who fetches.
#[derive(Clone, Copy)]
enum Fetcher {
    Consumer(Isolation),
    Follower(NodeId, BrokerEpoch),
}

/// A fetch, ready to be tried as often as need be.
struct Fetch {
    broker: Arc<Broker>,
    context: RequestContext,
    fetcher: Fetcher,
    bytes_min: usize,
    bytes_max: usize,
    topics: Vec<Topic>,
}

struct Topic {
    name: String,
    id: Uuid,
    /// Why none of its partitions can be looked at.
    error: Option<ErrorCode>,
    partitions: Vec<FetchPartition>,
}

/// What an attempt found.
struct Attempt {
    response: FetchResponse,
    bytes: usize,
    /// Something that the fetcher must hear at once.
    is_urgent: bool,
}

/// Answers at once, or when there is enough to say.
pub fn handle(broker: &Arc<Broker>, context: RequestContext, request: FetchRequest) -> Answer<FetchResponse> {
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let fetch = match Fetch::new(broker, context, request) {
        Ok(fetch) => fetch,
        Err(error) => {
            return Answer::Now(FetchResponse { error_code: error.code(), ..Default::default() });
        }
    };
    let attempt = fetch.attempt();
    if attempt.is_urgent || attempt.bytes >= fetch.bytes_min || wait.is_zero() {
        return Answer::Now(attempt.response);
    }
    let deadline = Instant::now() + wait;
    Answer::later(async move { fetch.wait(deadline).await })
}

/// A fetch that partitions know of, until it is answered or its connection is gone.
struct Registered<'a> {
    fetch: &'a Fetch,
    id: WaiterId,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.fetch.each_replica(|replica| replica.lock().forget_fetch(self.id));
        self.fetch.broker.replicas.waiting().forget_fetch(self.id);
    }
}

impl Fetch {
    fn new(broker: &Arc<Broker>, context: RequestContext, request: FetchRequest) -> Result<Fetch, ErrorCode> {
        if request.session_id != 0 {
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        let replica_id = request.replica_id.max(request.replica_state.replica_id);
        let fetcher = match NodeId(replica_id).some() {
            Some(node) => Fetcher::Follower(node, BrokerEpoch(request.replica_state.replica_epoch)),
            None if request.isolation_level == 1 => Fetcher::Consumer(Isolation::ReadCommitted),
            None => Fetcher::Consumer(Isolation::ReadUncommitted),
        };
        if let Fetcher::Follower(node, _) = fetcher {
            broker.peers.inbound(node, context.connection.id);
        }
        let image = broker.image();
        let topics = request
            .topics
            .into_iter()
            .map(|topic| {
                let found = if context.version >= TOPIC_ID_VERSION_MIN {
                    image.topics.by_id(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)
                } else {
                    image.topics.by_name(&topic.topic).ok_or(ErrorCode::UnknownTopicOrPartition)
                };
                Topic {
                    id: found.as_ref().map_or(topic.topic_id, |found| found.id),
                    error: found.err(),
                    name: topic.topic,
                    partitions: topic.partitions,
                }
            })
            .collect();
        let broker_max =
            usize::try_from(broker.config.properties.number("fetch.max.bytes")).unwrap_or(usize::MAX);
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        let bytes_max = match fetcher {
            Fetcher::Consumer(_) => size(request.max_bytes).min(broker_max),
            Fetcher::Follower(..) => size(request.max_bytes),
        };
        Ok(Fetch {
            broker: broker.clone(),
            context,
            fetcher,
            bytes_min: size(request.min_bytes),
            bytes_max,
            topics,
        })
    }

    /// Waits until there is enough to say, the time is up, or another request waits behind.
    async fn wait(self, deadline: Instant) -> FetchResponse {
        let (id, woken) = self.broker.replicas.waiting().fetch();
        let _registered = Registered { fetch: &self, id };
        loop {
            self.each_replica(|replica| {
                let mut partition = replica.lock();
                match self.fetcher {
                    Fetcher::Consumer(_) => partition.wait_as_consumer(id),
                    Fetcher::Follower(..) => partition.wait_as_follower(id),
                }
            });
            // Looked at again after registering: what happened in between woke nobody.
            let attempt = self.attempt();
            if attempt.is_urgent || attempt.bytes >= self.bytes_min {
                return attempt.response;
            }
            tokio::select! {
                biased;
                () = woken.notified() => {}
                () = self.context.superseded() => return attempt.response,
                () = tokio::time::sleep_until(deadline) => return attempt.response,
            }
        }
    }

    fn each_replica(&self, mut visit: impl FnMut(&Replica)) {
        for topic in &self.topics {
            for partition in &topic.partitions {
                let at = TopicIdPartition::new(topic.id, partition.partition);
                if let Some(replica) = self.broker.replicas.get(at) {
                    visit(&replica);
                }
            }
        }
    }

    fn is_follower(&self) -> bool {
        matches!(self.fetcher, Fetcher::Follower(..))
    }

    /// Looks at every partition once.
    fn attempt(&self) -> Attempt {
        let image = self.broker.image();
        let mut attempt = Attempt { response: FetchResponse::default(), bytes: 0, is_urgent: false };
        for topic in &self.topics {
            let mut answered = FetchableTopicResponse {
                topic: topic.name.clone(),
                topic_id: topic.id,
                ..Default::default()
            };
            for asked in &topic.partitions {
                let at = TopicIdPartition::new(topic.id, asked.partition);
                let left = self.bytes_max.saturating_sub(attempt.bytes);
                let found = match topic.error {
                    Some(error) => Err(error),
                    None => self.look(&image, at, asked, left, attempt.bytes == 0),
                };
                let mut data = PartitionData {
                    partition_index: asked.partition,
                    high_watermark: -1,
                    records: Some(Records::EMPTY),
                    ..Default::default()
                };
                match found {
                    Ok(found) => {
                        attempt.is_urgent |= found.diverging.is_some();
                        attempt.bytes += found.records.as_ref().map_or(0, |region| region.len);
                        self.fill(&mut data, at, asked, found);
                    }
                    Err(error) => {
                        // A follower of a term that this broker has yet to hear of waits for it here.
                        attempt.is_urgent |= !(self.is_follower() && error == ErrorCode::UnknownLeaderEpoch);
                        data.error_code = error.code();
                        data.log_start_offset =
                            self.broker.replicas.get(at).map_or(-1, |r| r.lock().log().log_start_offset().0);
                        self.add_leader_hint(&image, at, &mut data, &mut attempt.response.node_endpoints);
                    }
                }
                answered.partitions.push(data);
            }
            attempt.response.responses.push(answered);
        }
        attempt
    }

    fn look(
        &self,
        image: &MetadataImage,
        at: TopicIdPartition,
        asked: &FetchPartition,
        left: usize,
        is_first: bool,
    ) -> Result<Fetched, ErrorCode> {
        let Some(replica) = self.broker.replicas.get(at) else {
            return Err(if image.topics.partition(at).is_some() {
                ErrorCode::NotLeaderOrFollower
            } else {
                ErrorCode::UnknownTopicOrPartition
            });
        };
        let bytes_max = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(left);
        let asked_epoch = LeaderEpoch(asked.current_leader_epoch);
        let offset = Offset(asked.fetch_offset);
        let found = match self.fetcher {
            Fetcher::Consumer(isolation) => {
                let at_least = if is_first { AtLeast::OneBatch } else { AtLeast::Nothing };
                replica.lock().fetch_as_consumer(offset, asked_epoch, isolation, bytes_max, at_least)
            }
            Fetcher::Follower(node, epoch) => {
                let mut effects = Effects::default();
                let now = self.broker.clock.monotonic();
                let found = replica.lock().fetch_as_follower(
                    node,
                    epoch,
                    asked_epoch,
                    offset,
                    LeaderEpoch(asked.last_fetched_epoch),
                    bytes_max,
                    now,
                    &mut effects,
                );
                self.broker.replicas.carry_out(effects);
                found
            }
        };
        found.map_err(|error| {
            if let FetchError::Read(ReadError::Storage(error)) | FetchError::Storage(error) = &error {
                self.broker.replicas.handle_storage_error(error);
            }
            errors::fetch(&error)
        })
    }

    fn fill(&self, data: &mut PartitionData, at: TopicIdPartition, asked: &FetchPartition, found: Fetched) {
        data.high_watermark = found.high_watermark.0;
        data.last_stable_offset = found.last_stable_offset.0;
        data.log_start_offset = found.log_start_offset.0;
        if let Some(diverging) = found.diverging {
            data.diverging_epoch =
                EpochEndOffset { epoch: diverging.epoch.0, end_offset: diverging.offset.0 };
        }
        if let Fetcher::Consumer(Isolation::ReadCommitted) = self.fetcher {
            let from = Offset(asked.fetch_offset);
            let aborted = self
                .broker
                .replicas
                .get(at)
                .map(|replica| replica.lock().log().aborted_transactions(from, found.last_stable_offset));
            data.aborted_transactions = match aborted {
                Some(Ok(aborted)) => Some(
                    aborted
                        .into_iter()
                        .map(|aborted| AbortedTransaction {
                            producer_id: aborted.producer_id.0,
                            first_offset: aborted.first_offset.0,
                        })
                        .collect(),
                ),
                _ => Some(Vec::new()),
            };
        }
        if let Some(region) = found.records {
            data.records = Some(Records::File(region));
        }
    }

    /// Tells a client that asked the wrong broker which is the right one (KIP-951).
    fn add_leader_hint(
        &self,
        image: &MetadataImage,
        at: TopicIdPartition,
        data: &mut PartitionData,
        endpoints: &mut Vec<NodeEndpoint>,
    ) {
        let moved = [ErrorCode::NotLeaderOrFollower.code(), ErrorCode::FencedLeaderEpoch.code()];
        if self.context.version < HINT_VERSION_MIN || !moved.contains(&data.error_code) {
            return;
        }
        let Some(registration) = image.topics.partition(at) else { return };
        data.current_leader = LeaderIdAndEpoch {
            leader_id: registration.leader.unwrap_or(NodeId::NONE).0,
            leader_epoch: registration.leader_epoch.0,
        };
        let Some(leader) = registration.leader.and_then(|id| image.cluster.broker(id)) else { return };
        let Some(endpoint) = leader.endpoint(self.context.listener()) else { return };
        if endpoints.iter().all(|known| known.node_id != leader.id.0) {
            endpoints.push(NodeEndpoint {
                node_id: leader.id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: leader.rack.clone(),
            });
        }
    }
}
