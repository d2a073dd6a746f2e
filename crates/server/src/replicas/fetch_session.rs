//! A follower's side of a fetch session (KIP-227): what the leader has been told, and what to tell it next.

use super::Replica;
use crate::fetching::sessions::{EPOCH_INITIAL, next_epoch};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use ottla_replication::{FetchPosition, Throttle};
use ottla_types::{Monotonic, NodeId, TopicIdPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The replicas that follow one leader.
pub(super) type Followed = BTreeMap<TopicIdPartition, Arc<Replica>>;

/// A session with one leader. Without an id, or with the initial epoch, the next request names everything.
#[derive(Debug, Default)]
pub(super) struct FetchSession {
    id: i32,
    epoch: i32,
    /// What the leader believes that we ask.
    asked: BTreeMap<TopicIdPartition, FetchPosition>,
    /// Replicas that may have moved since.
    touched: Touched,
    /// Partitions that failed, and until when they are left out: the others go on meanwhile.
    resting: BTreeMap<TopicIdPartition, Monotonic>,
}

#[derive(Debug, Default)]
enum Touched {
    #[default]
    All,
    Some(BTreeSet<TopicIdPartition>),
}

impl FetchSession {
    /// Begins anew: the next request names everything, and ends the session that the leader has.
    pub(super) fn restart(&mut self) {
        self.epoch = EPOCH_INITIAL;
        self.asked.clear();
        self.touched = Touched::All;
    }

    /// Every replica may be another, or have moved.
    pub(super) fn touch_all(&mut self) {
        self.touched = Touched::All;
    }

    /// This replica may have moved.
    pub(super) fn touch(&mut self, at: TopicIdPartition) {
        if let Touched::Some(touched) = &mut self.touched {
            touched.insert(at);
        }
    }

    /// The replicas that may have moved since the leader was asked last.
    pub(super) fn touched<'a>(
        &'a self,
        followed: &'a Followed,
    ) -> Box<dyn Iterator<Item = &'a Arc<Replica>> + 'a> {
        match &self.touched {
            Touched::All => Box::new(followed.values()),
            Touched::Some(touched) => Box::new(touched.iter().filter_map(|at| followed.get(at))),
        }
    }

    /// Leaves a partition out of the requests for a while.
    pub(super) fn rest(&mut self, at: TopicIdPartition, until: Monotonic) {
        self.resting.insert(at, until);
        self.touch(at);
    }

    /// Where the leader was last asked from, for a partition that it has answered.
    pub(super) fn position(&self, at: TopicIdPartition) -> Option<FetchPosition> {
        self.asked.get(&at).copied()
    }

    /// Returns whether the leader is told everything by the next request.
    pub(super) fn is_new(&self) -> bool {
        self.epoch == EPOCH_INITIAL
    }

    /// An answer has come, with the session's id.
    pub(super) fn answered(&mut self, id: i32) {
        self.id = id;
        if id == 0 {
            // The leader has no room for a session.
            self.restart();
        } else {
            self.epoch = next_epoch(self.epoch);
        }
    }

    /// The leader does not know the session, or not this state of it.
    pub(super) fn lost(&mut self) {
        self.id = 0;
        self.restart();
    }

    /// Adds to `request` what the leader is to be told; the wait is shortened when a partition rests.
    pub(super) fn fill(
        &mut self,
        request: &mut FetchRequest,
        leader: NodeId,
        followed: &Followed,
        limits: Limits,
        now: Monotonic,
    ) {
        self.wake_rested(now);
        if let Some(until) = limits.closed_until {
            self.rest_throttled(followed, until);
        }
        if let Some(&until) = self.resting.values().min() {
            let wait_ms = i32::try_from((until - now).as_millis()).unwrap_or(i32::MAX);
            request.max_wait_ms = request.max_wait_ms.min(wait_ms.max(1));
        }
        (request.session_id, request.session_epoch) = (self.id, self.epoch);
        let mut topics: BTreeMap<Uuid, FetchTopic> = BTreeMap::new();
        let mut forgotten: BTreeMap<Uuid, ForgottenTopic> = BTreeMap::new();
        let candidates: Vec<TopicIdPartition> =
            match std::mem::replace(&mut self.touched, Touched::Some(BTreeSet::new())) {
                Touched::Some(touched) => touched.into_iter().collect(),
                // Those no longer followed are among those asked.
                Touched::All => followed
                    .keys()
                    .chain(self.asked.keys())
                    .copied()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
            };
        for at in candidates {
            let replica = followed.get(&at);
            let awake = replica.filter(|_| !self.resting.contains_key(&at));
            let position = awake.and_then(|replica| {
                let partition = replica.lock();
                let position = partition.fetch_position();
                if position.is_none() && partition.followed() == Some(leader) {
                    // It may not ask yet, for its log is not on disk.
                    self.touch(at);
                }
                position
            });
            let position = position.filter(|(follows, _)| *follows == leader).map(|(_, position)| position);
            match (position, replica) {
                (Some(position), Some(replica)) => {
                    if self.asked.get(&at).is_some_and(|asked| asks_the_same(asked, &position)) {
                        continue;
                    }
                    self.asked.insert(at, position);
                    let topic = topics.entry(at.topic_id).or_insert_with(|| FetchTopic {
                        topic: replica.name.topic.clone(),
                        topic_id: at.topic_id,
                        partitions: Vec::new(),
                    });
                    topic.partitions.push(partition(at, &position, limits.of(replica)));
                }
                _ => {
                    if self.asked.remove(&at).is_some() {
                        let topic = forgotten.entry(at.topic_id).or_insert_with(|| ForgottenTopic {
                            topic: replica.map(|replica| replica.name.topic.clone()).unwrap_or_default(),
                            topic_id: at.topic_id,
                            partitions: Vec::new(),
                        });
                        topic.partitions.push(at.partition);
                    }
                }
            }
        }
        request.topics = topics.into_values().collect();
        request.forgotten_topics_data = forgotten.into_values().collect();
    }

    /// Leaves throttled replicas out that may have moved, until the throttle opens. Others of them are at their leader already,
    /// which answers each once.
    fn rest_throttled(&mut self, followed: &Followed, until: Monotonic) {
        let throttled = self.touched(followed).filter(|replica| replica.throttled.as_follower());
        let throttled: Vec<TopicIdPartition> = throttled.map(|replica| replica.id).collect();
        for at in throttled {
            self.rest(at, until);
        }
    }

    /// Lets partitions take part again whose time has come.
    fn wake_rested(&mut self, now: Monotonic) {
        let rested: Vec<TopicIdPartition> =
            self.resting.iter().filter(|(_, until)| **until <= now).map(|(&at, _)| at).collect();
        for at in rested {
            self.resting.remove(&at);
            self.touch(at);
        }
    }
}

/// The high watermark is not asked about: the leader sends its own.
fn asks_the_same(asked: &FetchPosition, position: &FetchPosition) -> bool {
    FetchPosition { high_watermark: asked.high_watermark, ..*position } == *asked
}

fn partition(at: TopicIdPartition, position: &FetchPosition, partition_max_bytes: i32) -> FetchPartition {
    FetchPartition {
        partition: at.partition,
        current_leader_epoch: position.leader_epoch.0,
        fetch_offset: position.fetch_offset.0,
        last_fetched_epoch: position.last_fetched_epoch.0,
        log_start_offset: position.log_start_offset.0,
        partition_max_bytes,
        ..Default::default()
    }
}

/// What a request may ask for of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    bytes_usual: i32,
    /// Of one that is throttled.
    bytes_throttled: i32,
    /// When throttled ones may be asked for again, if not now.
    closed_until: Option<Monotonic>,
}

impl Limits {
    /// `bytes_usual` is `replica.fetch.max.bytes`; what passes the throttle at a time is shared by all that are throttled.
    pub(super) fn new(bytes_usual: i32, throttle: &Throttle, followed: &Followed, now: Monotonic) -> Limits {
        let bytes_throttled = match throttle.admits(now) {
            u64::MAX => bytes_usual,
            admitted => {
                let sharing = followed.values().filter(|replica| replica.throttled.as_follower()).count();
                let share = admitted / (sharing as u64).max(1);
                i32::try_from(share).unwrap_or(i32::MAX).min(bytes_usual)
            }
        };
        // Another rate may be set meanwhile, by which it opens sooner.
        let closed_until = throttle.opens_at(now).map(|opens_at| opens_at.min(now + REST_THROTTLED_MAX));
        Limits { bytes_usual, bytes_throttled, closed_until }
    }

    fn of(self, replica: &Replica) -> i32 {
        if replica.throttled.as_follower() { self.bytes_throttled } else { self.bytes_usual }
    }
}

/// How long a throttled partition rests at most before the throttle is looked at again.
const REST_THROTTLED_MAX: Duration = Duration::from_secs(1);

/// How long a failed partition rests: an election is over sooner than any longer pause.
pub(super) const REST: Duration = Duration::from_millis(10);
