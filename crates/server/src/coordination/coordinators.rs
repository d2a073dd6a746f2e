//! All shards of this broker: which there are, and which is whose.

use super::loading::Loading;
use super::machine::Machine;
use super::shard::{Shard, Standing, Worker};
use super::standby::Standby;
use crate::replicas::{Replica, ReplicaManager};
use ottla_coordinator::{ReplyToken, partition_for};
use ottla_metadata::MetadataImage;
use ottla_net::Task;
use ottla_protocol::ErrorCode;
use ottla_types::{Decision, NodeId, Now, Random, TopicIdPartition};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a request waits for its coordinator to be loaded: longer than that, and clients had better ask again.
const LOADING_PATIENCE: Duration = Duration::from_secs(1);

/// A shard, and the task that runs it.
type Running<M> = (Arc<Shard<M>>, Task);

/// The shards that this broker leads.
pub struct Coordinators<M: Machine> {
    node_id: NodeId,
    replicas: Arc<ReplicaManager>,
    settings: M::Settings,
    commit_timeout: Duration,
    worker: Worker<M>,
    random: Mutex<Random>,
    shards: Mutex<BTreeMap<i32, Running<M>>>,
    pub(super) standbys: Mutex<BTreeMap<i32, Standby<M>>>,
}

impl<M: Machine> Coordinators<M> {
    /// No shards yet. Answers wait for `commit_timeout` to be committed; `worker` does what is not answering. No two brokers
    /// may have the same `seed`.
    pub fn new(
        node_id: NodeId,
        replicas: Arc<ReplicaManager>,
        settings: M::Settings,
        commit_timeout: Duration,
        worker: Worker<M>,
        seed: u64,
    ) -> Coordinators<M> {
        Coordinators {
            node_id,
            replicas,
            settings,
            commit_timeout,
            worker,
            random: Mutex::new(Random::new(seed)),
            shards: Mutex::default(),
            standbys: Mutex::default(),
        }
    }

    /// Makes the shards what the image says. After the replicas, on whose logs they stand.
    pub fn apply(&self, image: &MetadataImage) {
        let mut shards = self.shards.lock();
        let topic = image.topics.by_name(M::TOPIC);
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
            let resigned = |(shard, _): &Running<M>| *shard.standing().borrow() == Standing::Resigned;
            if shards.get(&partition).is_some_and(|known| !resigned(known)) {
                continue;
            }
            let at = TopicIdPartition::new(topic.id, partition);
            let Some(replica) = self.replicas.get(at) else { continue };
            let standby =
                standbys.remove(&partition).filter(|standby| Arc::ptr_eq(&standby.replica, &replica));
            let ready = standby.and_then(|standby| standby.loading.lock().take());
            let loading = ready.unwrap_or_else(|| self.begin());
            let (replicas, worker) = (self.replicas.clone(), self.worker.clone());
            let shard = Shard::start(replicas, replica, epoch, loading, self.commit_timeout, worker);
            shards.insert(partition, shard);
        }
    }

    /// What every machine here is told.
    pub fn settings(&self) -> &M::Settings {
        &self.settings
    }

    /// Nothing is loaded yet.
    fn begin(&self) -> Loading<M> {
        Loading::new(self.settings.clone(), self.random.lock().next_u64())
    }

    /// Follows a partition that is led elsewhere, if there is a replica here.
    fn stand_by(
        &self,
        standbys: &mut BTreeMap<i32, Standby<M>>,
        partition: i32,
        replica: Option<Arc<Replica>>,
    ) {
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

    /// The partition that holds what is known by a key, a group's or transactional id; `None` while the topic is not there.
    pub fn partition_of(image: &MetadataImage, key: &str) -> Option<i32> {
        let topic = image.topics.by_name(M::TOPIC)?;
        let count = i32::try_from(topic.partitions.len()).ok().filter(|&count| count > 0)?;
        Some(partition_for(key, count))
    }

    /// Who leads that partition.
    pub fn leader_of(image: &MetadataImage, key: &str) -> Option<NodeId> {
        let partition = Coordinators::<M>::partition_of(image, key)?;
        image.topics.by_name(M::TOPIC)?.partitions.get(&partition)?.leader
    }

    /// Lets the coordinator of a key handle a request.
    ///
    /// # Errors
    /// The code to answer with when this broker does not coordinate it.
    pub async fn handle(
        &self,
        image: &MetadataImage,
        key: &str,
        event: impl FnOnce(&mut M, ReplyToken, Now) -> Decision<M::Record, M::Effect> + Send,
    ) -> Result<M::Reply, ErrorCode> {
        self.loaded(image, key).await?.handle(event).await
    }

    /// The shard of a key, which is loaded unless that takes very long.
    ///
    /// # Errors
    /// As [`Coordinators::handle`].
    pub async fn loaded(&self, image: &MetadataImage, key: &str) -> Result<Arc<Shard<M>>, ErrorCode> {
        let partition = Coordinators::<M>::partition_of(image, key).ok_or(ErrorCode::NotCoordinator)?;
        let shard = self.shard(partition).ok_or(ErrorCode::NotCoordinator)?;
        wait_until_loaded(&shard).await;
        Ok(shard)
    }

    /// Every shard that decides, or will.
    pub fn all(&self) -> Vec<Arc<Shard<M>>> {
        self.shards.lock().values().map(|(shard, _)| shard.clone()).collect()
    }

    /// Ends all terms: this broker stops.
    pub fn stop(&self) {
        for (shard, _) in std::mem::take(&mut *self.shards.lock()).values() {
            shard.stop();
        }
        self.standbys.lock().clear();
    }

    /// The shard of a partition, if this broker leads that.
    pub fn shard(&self, partition: i32) -> Option<Arc<Shard<M>>> {
        self.shards.lock().get(&partition).map(|(shard, _)| shard.clone())
    }
}

/// A coordinator that has just moved here answers a moment later instead of sending its clients away.
pub async fn wait_until_loaded<M: Machine>(shard: &Shard<M>) {
    let mut standing = shard.standing();
    let loaded = standing.wait_for(|standing| *standing != Standing::Loading);
    // What is not loaded by then says so itself.
    let _ = tokio::time::timeout(LOADING_PATIENCE, loaded).await;
}
