//! Fetch (key 1), versions 4–18, broker listener.
//!
//! Serves consumers up to the high watermark, and followers to the end of the log. Waits for `min_bytes`, or
//! for as much as the answer may hold.
//!
//! - v4 isolation level; v7 sessions (KIP-227); v9 leader epochs (KIP-320); v12 diverging epochs and leader hints
//!   (KIP-951: v16 endpoints); v13 topic ids; v15 replica epochs (KIP-903).
//! - v11 the consumer's rack: where `replica.selector.class` says so, the leader sends it to the follower in its rack that
//!   is in sync and has most (KIP-392). A follower answers up to its own high watermark.
//! - The first partition that has records is answered with at least one whole batch (KIP-74).
//! - A waiting fetch is answered at once when another request arrives behind it on its connection.
//! - v11 whoever compares replicas, and says −2 for its own id, is answered by every replica, as any consumer
//!   (`kafka-replica-verification`).
//! - v11, whose answers cannot name the new leader: while a broker stops in order it goes on answering as a follower.
//! - Differs from Kafka: a follower answers those and consumers that name their rack; others are told who leads. A
//!   follower that has lost the controllers answers none. Nobody waits for `min_bytes` who cannot get all that there
//!   is of some partition now. When there is no room for another session, a follower takes the place of the consumer
//!   whose session is the oldest, however many partitions that has.

use super::list_offsets::{CONSUMER, DEBUGGING_CONSUMER};
use crate::broker::Broker;
use crate::fetching::attempt::{Attempt, Fetcher, HINT_VERSION_MIN, Look, Scope, Waking};
use crate::fetching::interest::{Interest, Key};
use crate::fetching::sessions::{EPOCH_FINAL, EPOCH_INITIAL, Naming, Owner, Session};
use crate::request::{Answer, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_replication::{Isolation, ReadFrom};
use ottla_types::{BrokerEpoch, NodeId, TopicIdPartition, TopicPartition};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first version with topic ids instead of names.
const TOPIC_ID_VERSION_MIN: i16 = 13;

/// The first version that tells the consumer's rack.
const RACK_VERSION_MIN: i16 = 11;

/// How often at least every partition of a session is looked at, whether it is marked or not: only a look notes that
/// a follower is still there, and tells it of a high watermark that moved after its last answer.
const SWEEP_PERIOD_MAX: Duration = Duration::from_secs(1);

/// A fetch, ready to be tried as often as need be.
struct Fetch {
    broker: Arc<Broker>,
    context: RequestContext,
    fetcher: Fetcher,
    bytes_min: usize,
    bytes_max: usize,
    /// Where the consumer is; empty when it does not say.
    rack: String,
    reads_from: ReadFrom,
    scope: Scope,
    session: Arc<Mutex<Session>>,
    /// 0 when the session ends with this fetch.
    session_id: i32,
}

/// Answers at once, or when there is enough to say.
pub fn handle(broker: &Arc<Broker>, context: RequestContext, request: FetchRequest) -> Answer<FetchResponse> {
    if !(0..=1).contains(&request.isolation_level) {
        return Answer::Now(refuse_all(&request, context.version, ErrorCode::UnknownServerError));
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let fetch = match Fetch::new(broker, context, request) {
        Ok(fetch) => fetch,
        Err(error) => {
            return Answer::Now(FetchResponse { error_code: error.code(), ..Default::default() });
        }
    };
    // What ends with its answer need not be woken, unless it turns out to wait.
    let waking = if fetch.session_id == 0 { Waking::Off } else { Waking::On };
    let attempt = fetch.attempt(waking);
    if (fetch.is_enough(&attempt) || wait.is_zero()) && !attempt.is_premature {
        return Answer::Now(fetch.send(attempt));
    }
    let deadline = Instant::now() + wait;
    Answer::later(async move { fetch.wait(deadline).await })
}

/// The answer to a fetch that makes no sense. Before topics had ids, each partition is told as well.
fn refuse_all(request: &FetchRequest, version: i16, error: ErrorCode) -> FetchResponse {
    let mut response = FetchResponse { error_code: error.code(), ..Default::default() };
    if version < TOPIC_ID_VERSION_MIN {
        let refused = |partition_index| PartitionData {
            partition_index,
            error_code: error.code(),
            high_watermark: -1,
            ..Default::default()
        };
        let topics = request.topics.iter().map(|topic| FetchableTopicResponse {
            topic: topic.topic.clone(),
            partitions: topic.partitions.iter().map(|asked| refused(asked.partition)).collect(),
            ..Default::default()
        });
        response.responses = topics.collect();
    }
    response
}

impl Fetch {
    fn new(broker: &Arc<Broker>, context: RequestContext, request: FetchRequest) -> Result<Fetch, ErrorCode> {
        let replica_id = match request.replica_id {
            CONSUMER => request.replica_state.replica_id,
            told => told,
        };
        let fetcher = match NodeId(replica_id).some() {
            Some(node) => Fetcher::Follower(node, BrokerEpoch(request.replica_state.replica_epoch)),
            None if request.isolation_level == 1 => Fetcher::Consumer(Isolation::ReadCommitted),
            None => Fetcher::Consumer(Isolation::ReadUncommitted),
        };
        if let Fetcher::Follower(node, epoch) = fetcher {
            context.connection.asked_by_replica();
            broker.peers.inbound(&broker.image().cluster, node, epoch, context.connection.id);
        }
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        let broker_max =
            usize::try_from(broker.config.properties.number("fetch.max.bytes")).unwrap_or(usize::MAX);
        let bytes_max = size(request.max_bytes).min(broker_max);
        let bytes_min = size(request.min_bytes).min(bytes_max);
        let rack = request.rack_id.clone();
        let reads_from = reads_from(context.version, replica_id, &rack);
        let (session, session_id, scope) = session(broker, &context, fetcher, request)?;
        Ok(Fetch {
            broker: broker.clone(),
            context,
            fetcher,
            bytes_min,
            bytes_max,
            rack,
            reads_from,
            scope,
            session,
            session_id,
        })
    }

    /// Who may answer now. A consumer that cannot be told who leads in the same breath lets half a second go by after an error
    /// (`fetch.error.backoff.ms` of librdkafka): while this broker hands over what it leads, it goes on answering such
    /// consumers as a follower, until it closes their connections.
    fn reads_from(&self) -> ReadFrom {
        let has_no_hint = (RACK_VERSION_MIN..HINT_VERSION_MIN).contains(&self.context.version);
        if has_no_hint && *self.broker.leaving.borrow() { ReadFrom::AnyReplica } else { self.reads_from }
    }

    fn attempt(&self, waking: Waking) -> Attempt {
        let Fetch { broker, context, fetcher, bytes_max, rack, scope, .. } = self;
        let (fetcher, bytes_max, reads_from, scope) = (*fetcher, *bytes_max, self.reads_from(), *scope);
        let look = Look { broker, context, fetcher, bytes_max, rack, reads_from, scope, waking };
        look.attempt(&mut self.session.lock().interest)
    }

    fn is_enough(&self, attempt: &Attempt) -> bool {
        attempt.is_urgent || attempt.is_cut || attempt.bytes >= self.bytes_min
    }

    fn send(&self, attempt: Attempt) -> FetchResponse {
        let traffic = &self.broker.traffic;
        traffic.fetch_requests.inc();
        let bytes_out = match self.fetcher {
            Fetcher::Consumer(_) => &traffic.bytes_out,
            Fetcher::Follower(..) => &traffic.replication_bytes_out,
        };
        bytes_out.inc_by(attempt.bytes as u64);
        if attempt.throttled_bytes > 0 {
            let now = self.broker.clock.monotonic();
            self.broker.replicas.throttles().leader.lock().record(attempt.throttled_bytes as u64, now);
        }
        let mut response = attempt.send(&mut self.session.lock().interest);
        response.session_id = self.session_id;
        response
    }

    /// Waits until there is enough to say, the time is up, or another request waits behind.
    async fn wait(self, deadline: Instant) -> FetchResponse {
        let ready = self.session.lock().interest.ready().clone();
        loop {
            // Looked at again after registering: what happened in between woke nobody.
            let mut attempt = self.attempt(Waking::On);
            if attempt.is_premature {
                self.broker.wait_until_published().await;
                attempt = self.attempt(Waking::On);
            }
            if self.is_enough(&attempt) {
                return self.send(attempt);
            }
            tokio::select! {
                biased;
                () = ready.woken() => {}
                () = self.context.superseded() => return self.send(attempt),
                () = tokio::time::sleep_until(deadline) => return self.send(attempt),
            }
        }
    }
}

/// Who may answer: a consumer that has not said where it is was not sent here, and had better learn who leads; unless it
/// compares replicas, and wants each.
fn reads_from(version: i16, replica_id: i32, rack: &str) -> ReadFrom {
    let is_meant = !rack.is_empty() || replica_id == DEBUGGING_CONSUMER;
    if version >= RACK_VERSION_MIN && is_meant { ReadFrom::AnyReplica } else { ReadFrom::Leader }
}

/// The session that a request belongs to, brought up to date with what it says; its id, and what of it is answered.
fn session(
    broker: &Arc<Broker>,
    context: &RequestContext,
    fetcher: Fetcher,
    request: FetchRequest,
) -> Result<(Arc<Mutex<Session>>, i32, Scope), ErrorCode> {
    let FetchRequest { session_id, session_epoch, .. } = request;
    let naming = if context.version >= TOPIC_ID_VERSION_MIN { Naming::Ids } else { Naming::Names };
    let now = broker.clock.monotonic();
    let sessions = &broker.fetch_sessions;
    if matches!(session_epoch, EPOCH_INITIAL | EPOCH_FINAL) {
        sessions.remove(session_id);
        let mut session = Session::new(Interest::new(broker.replicas.waiting()), naming, now);
        ask(&mut session.interest, naming, request);
        let session = Arc::new(Mutex::new(session));
        let owner = match fetcher {
            Fetcher::Consumer(_) => Owner::Consumer,
            Fetcher::Follower(..) => Owner::Follower,
        };
        let wanted = session_epoch == EPOCH_INITIAL && !session.lock().interest.is_empty();
        let id = if wanted { sessions.add(&session, owner, now) } else { 0 };
        return Ok((session, id, Scope::All));
    }
    let found = sessions.find(session_id, now).ok_or(ErrorCode::FetchSessionIdNotFound)?;
    let mut session = found.lock();
    session.advance(session_epoch, naming)?;
    ask(&mut session.interest, naming, request);
    if now - session.swept_at >= sweep_period(broker) {
        session.swept_at = now;
        session.interest.mark_all();
    }
    if session.interest.is_empty() {
        // Nobody has anything to say in it any more.
        sessions.remove(session_id);
        drop(session);
        return Ok((found, 0, Scope::Marked));
    }
    drop(session);
    Ok((found, session_id, Scope::Marked))
}

/// Often enough for a follower that is there never to look as if it lagged.
fn sweep_period(broker: &Broker) -> Duration {
    (broker.config.properties.millis("replica.lag.time.max.ms") / 4).min(SWEEP_PERIOD_MAX)
}

/// Takes over what a request asks and forgets.
fn ask(interest: &mut Interest, naming: Naming, request: FetchRequest) {
    let key = |topic: &str, topic_id, partition| match naming {
        Naming::Ids => Key::Id(TopicIdPartition::new(topic_id, partition)),
        Naming::Names => Key::Name(TopicPartition::new(topic, partition)),
    };
    for topic in &request.forgotten_topics_data {
        for &partition in &topic.partitions {
            interest.forget(&key(&topic.topic, topic.topic_id, partition));
        }
    }
    for topic in request.topics {
        for partition in topic.partitions {
            interest.ask(key(&topic.topic, topic.topic_id, partition.partition), partition);
        }
    }
}
