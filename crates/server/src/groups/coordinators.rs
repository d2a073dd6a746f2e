//! All shards of this broker: which there are, and which is a group's.

use super::loading::Loading;
use super::shard::{Shard, Standing};
use super::standby::Standby;
use crate::broker::OFFSETS_TOPIC;
use crate::config::Properties;
use crate::replicas::{Replica, ReplicaManager};
use ottla_coordinator::{
    ClosedBy, ConnectionToken, GroupCoordinator, GroupDecision, GroupReply, ReplyToken, Settings,
    partition_for,
};
use ottla_metadata::{MetadataDelta, MetadataImage};
use ottla_net::{Closed, ConnectionId, Task};
use ottla_protocol::ErrorCode;
use ottla_types::{NodeId, Now, Offset, Random, TopicIdPartition};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a request waits for its coordinator to be loaded: longer than that, and clients had better ask again.
const LOADING_PATIENCE: Duration = Duration::from_secs(1);

/// An offset that a group has committed.
#[derive(Clone, Debug)]
pub struct CommittedOffset {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next record to read.
    pub offset: Offset,
}

/// The groups of a broker, for those who watch.
#[derive(Clone, Debug, Default)]
pub struct GroupsOverview {
    /// How many there are.
    pub groups: usize,
    /// What they have committed.
    pub committed: Vec<CommittedOffset>,
}

/// The shards that this broker leads.
pub struct GroupCoordinators {
    node_id: NodeId,
    replicas: Arc<ReplicaManager>,
    settings: Settings,
    commit_timeout: Duration,
    random: Mutex<Random>,
    shards: Mutex<BTreeMap<i32, (Arc<Shard>, Task)>>,
    pub(super) standbys: Mutex<BTreeMap<i32, Standby>>,
}

impl GroupCoordinators {
    /// No shards yet.
    pub fn new(
        node_id: NodeId,
        replicas: Arc<ReplicaManager>,
        properties: &Properties,
        seed: u64,
    ) -> GroupCoordinators {
        let size = |name| usize::try_from(properties.number(name)).unwrap_or(usize::MAX);
        let minutes = properties.number("offsets.retention.minutes").unsigned_abs();
        let settings = Settings {
            session_timeout_min: properties.millis("group.min.session.timeout.ms"),
            session_timeout_max: properties.millis("group.max.session.timeout.ms"),
            initial_rebalance_delay: properties.millis("group.initial.rebalance.delay.ms"),
            disconnect_grace: properties.millis("group.member.disconnect.grace.ms"),
            group_size_max: size("group.max.size"),
            offset_metadata_len_max: size("offset.metadata.max.bytes"),
            offsets_retention: Duration::from_secs(minutes * 60),
            offsets_retention_check_interval: properties.millis("offsets.retention.check.interval.ms"),
        };
        GroupCoordinators {
            node_id,
            replicas,
            settings,
            commit_timeout: properties.millis("offsets.commit.timeout.ms"),
            random: Mutex::new(Random::new(seed)),
            shards: Mutex::default(),
            standbys: Mutex::default(),
        }
    }

    /// Makes the shards what the image says. After the replicas, on whose logs they stand.
    pub fn apply(&self, image: &MetadataImage, delta: &MetadataDelta) {
        let mut shards = self.shards.lock();
        let topic = image.topics.by_name(OFFSETS_TOPIC);
        let led = |partition: i32| {
            let registration = topic?.partitions.get(&partition)?;
            (registration.leader == Some(self.node_id)).then_some(registration.leader_epoch)
        };
        shards.retain(|&partition, (shard, _)| {
            let stays = led(partition) == Some(shard.epoch());
            if !stays {
                shard.stop();
            }
            stays
        });
        let mut standbys = self.standbys.lock();
        let Some(topic) = topic else {
            standbys.clear();
            return;
        };
        for &partition in topic.partitions.keys() {
            let Some(epoch) = led(partition) else {
                let replica = self.replicas.get(TopicIdPartition::new(topic.id, partition));
                self.stand_by(&mut standbys, partition, replica);
                continue;
            };
            let resigned = |(shard, _): &(Arc<Shard>, Task)| *shard.standing().borrow() == Standing::Resigned;
            if shards.get(&partition).is_some_and(|known| !resigned(known)) {
                continue;
            }
            let at = TopicIdPartition::new(topic.id, partition);
            let Some(replica) = self.replicas.get(at) else { continue };
            let standby =
                standbys.remove(&partition).filter(|standby| Arc::ptr_eq(&standby.replica, &replica));
            let ready = standby.and_then(|standby| standby.loading.lock().take());
            let loading = ready.unwrap_or_else(|| self.begin());
            let shard = Shard::start(self.replicas.clone(), replica, epoch, loading, self.commit_timeout);
            shards.insert(partition, shard);
        }
        let deleted: Vec<String> = delta.removed_topics.iter().map(|(_, name)| name.clone()).collect();
        if !deleted.is_empty() {
            for (shard, _) in shards.values() {
                shard.forget_topics(&deleted);
            }
        }
    }

    /// Nothing is loaded yet.
    fn begin(&self) -> Loading {
        Loading::new(self.settings.clone(), self.random.lock().next_u64())
    }

    /// Follows a partition that is led elsewhere, if there is a replica here.
    fn stand_by(&self, standbys: &mut BTreeMap<i32, Standby>, partition: i32, replica: Option<Arc<Replica>>) {
        match replica {
            None => {
                standbys.remove(&partition);
            }
            Some(replica) => {
                let known = standbys.get(&partition);
                if known.is_none_or(|known| !Arc::ptr_eq(&known.replica, &replica)) {
                    let loading = Arc::new(Mutex::new(Some(self.begin())));
                    standbys.insert(partition, Standby { replica, loading });
                }
            }
        }
    }

    /// The partition of `__consumer_offsets` that holds a group; `None` while the topic is not there.
    pub fn partition_of(image: &MetadataImage, group_id: &str) -> Option<i32> {
        let topic = image.topics.by_name(OFFSETS_TOPIC)?;
        let count = i32::try_from(topic.partitions.len()).ok().filter(|&count| count > 0)?;
        Some(partition_for(group_id, count))
    }

    /// Lets a group's coordinator handle a request.
    ///
    /// # Errors
    /// The code to answer with when this broker does not coordinate the group.
    pub async fn handle(
        &self,
        image: &MetadataImage,
        group_id: &str,
        event: impl FnOnce(&mut GroupCoordinator, ReplyToken, Now) -> GroupDecision + Send,
    ) -> Result<GroupReply, ErrorCode> {
        let partition = GroupCoordinators::partition_of(image, group_id).ok_or(ErrorCode::NotCoordinator)?;
        let shard = self.shard(partition).ok_or(ErrorCode::NotCoordinator)?;
        wait_until_loaded(&shard).await;
        shard.handle(event).await
    }

    /// As [`GroupCoordinators::handle`], for requests that only a group with a name has: offsets alone can be kept without
    /// one.
    ///
    /// # Errors
    /// INVALID_GROUP_ID when there is no name, whoever coordinates what; else as [`GroupCoordinators::handle`].
    pub async fn handle_named(
        &self,
        image: &MetadataImage,
        group_id: &str,
        event: impl FnOnce(&mut GroupCoordinator, ReplyToken, Now) -> GroupDecision + Send,
    ) -> Result<GroupReply, ErrorCode> {
        if group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        self.handle(image, group_id, event).await
    }

    /// A connection of a client has ended.
    pub fn disconnected(&self, connection: ConnectionId, how: Closed) {
        let by = match how {
            Closed::ByPeer => ClosedBy::Client,
            Closed::ByUs => ClosedBy::Broker,
        };
        for shard in self.all() {
            shard.disconnected(ConnectionToken(connection.0), by);
        }
    }

    /// What the groups coordinated here have committed.
    pub fn overview(&self) -> GroupsOverview {
        let mut overview = GroupsOverview::default();
        for shard in self.all() {
            shard.look_over(&mut overview);
        }
        overview
    }

    /// Every shard that decides.
    pub fn all(&self) -> Vec<Arc<Shard>> {
        self.shards.lock().values().map(|(shard, _)| shard.clone()).collect()
    }

    /// Ends all terms: this broker stops.
    pub fn stop(&self) {
        for (shard, _) in std::mem::take(&mut *self.shards.lock()).values() {
            shard.stop();
        }
    }

    fn shard(&self, partition: i32) -> Option<Arc<Shard>> {
        self.shards.lock().get(&partition).map(|(shard, _)| shard.clone())
    }
}

/// A coordinator that has just moved here answers a moment later instead of sending its clients away.
pub async fn wait_until_loaded(shard: &Shard) {
    let mut standing = shard.standing();
    let loaded = standing.wait_for(|standing| *standing != Standing::Loading);
    // What is not loaded by then says so itself.
    let _ = tokio::time::timeout(LOADING_PATIENCE, loaded).await;
}
