//! What keeps the copying of replicas from taking all of the network and the disks (KIP-73, KIP-113).

use ottla_metadata::topic_config::{ThrottledReplicas, TopicConfig};
use ottla_metadata::{ConfigsImage, broker_config};
use ottla_replication::Throttle;
use ottla_types::{Monotonic, NodeId};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The throttles of a broker. Only replicas that are said to be throttled ask them.
#[derive(Debug)]
pub struct Throttles {
    /// What leaders serve to followers out of sync.
    pub leader: Mutex<Throttle>,
    /// What followers fetch while they are behind.
    pub follower: Mutex<Throttle>,
    /// What is copied between directories.
    pub directories: Mutex<Throttle>,
}

impl Default for Throttles {
    fn default() -> Throttles {
        let open = || Mutex::new(Throttle::OPEN);
        Throttles { leader: open(), follower: open(), directories: open() }
    }
}

impl Throttles {
    /// Takes over the rates that the image has for this broker.
    pub fn apply(&self, configs: &ConfigsImage, broker: NodeId, now: Monotonic) {
        for (throttle, name) in [
            (&self.leader, broker_config::LEADER_RATE),
            (&self.follower, broker_config::FOLLOWER_RATE),
            (&self.directories, broker_config::DIRECTORIES_RATE),
        ] {
            throttle.lock().set_rate(broker_config::rate(configs, broker, name), now);
        }
    }
}

/// Which replicas of a topic are throttled.
pub struct ThrottledLists {
    leader: ThrottledReplicas,
    follower: ThrottledReplicas,
}

impl ThrottledLists {
    /// Reads them from the topic's configuration. They can be long: once for all its replicas.
    pub fn new(config: &TopicConfig) -> ThrottledLists {
        ThrottledLists {
            leader: config.throttled_replicas("leader.replication.throttled.replicas"),
            follower: config.throttled_replicas("follower.replication.throttled.replicas"),
        }
    }
}

/// Whether a replica is throttled.
#[derive(Debug, Default)]
pub struct Throttled {
    leader: AtomicBool,
    follower: AtomicBool,
    /// Whether the last answer left it behind its leader's high watermark.
    is_behind: AtomicBool,
}

impl Throttled {
    /// One that is throttled as its topic's configuration says. Before it has fetched, it is behind unless it is in sync.
    pub fn new(lists: &ThrottledLists, partition: i32, broker: NodeId, is_in_sync: bool) -> Throttled {
        let throttled = Throttled { is_behind: AtomicBool::new(!is_in_sync), ..Throttled::default() };
        throttled.apply(lists, partition, broker);
        throttled
    }

    /// Takes over what the topic's configuration says.
    pub fn apply(&self, lists: &ThrottledLists, partition: i32, broker: NodeId) {
        self.leader.store(lists.leader.contains(partition, broker), Ordering::Relaxed);
        self.follower.store(lists.follower.contains(partition, broker), Ordering::Relaxed);
    }

    /// Returns whether followers out of sync are served more slowly.
    pub fn as_leader(&self) -> bool {
        self.leader.load(Ordering::Relaxed)
    }

    /// Returns whether it fetches more slowly now.
    pub fn as_follower(&self) -> bool {
        self.follower.load(Ordering::Relaxed) && self.is_behind.load(Ordering::Relaxed)
    }

    /// Takes note of whether an answer left the replica behind.
    pub fn answered(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::Relaxed);
    }
}
