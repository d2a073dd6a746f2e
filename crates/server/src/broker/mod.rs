//! The broker role: what its handlers share, and the tasks that keep it a member of the cluster.
//!
//! Reading order: [`controller_channel`], [`lifecycle`], [`cut_off`], [`applier`], [`peers`], [`dialing`], [`handover`],
//! [`producer_ids`], [`takeovers`], [`channels`].

pub mod applier;
pub mod channels;
pub mod controller_channel;
pub mod cut_off;
mod dialing;
pub mod handover;
pub mod lifecycle;
pub mod peers;
pub mod producer_ids;
pub mod takeovers;

use crate::config::NodeConfig;
use crate::fetching::sessions::Sessions;
use crate::groups::GroupCoordinators;
use crate::log_levels::LogLevels;
use crate::metrics::{Histogram, RequestTimes, Traffic};
use crate::replicas::ReplicaManager;
use crate::request::turns::Turns;
use crate::telemetry::Telemetry;
use crate::transactions::verifier::{Support, TransactionalProducer, Unverified, Verifier};
use crate::transactions::{MarkerQueue, TransactionCoordinators};
use arc_swap::ArcSwap;
use channels::BrokerChannels;
use controller_channel::{ControllerChannel, ControllerUnreachable, TopLevelError};
use cut_off::Pulse;
use dialing::Dials;
use ottla_metadata::MetadataImage;
use ottla_net::{Clock, ConnectionInfo};
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::{ErrorCode, Request};
use ottla_types::{BrokerEpoch, Monotonic, NodeId, TopicIdPartition, TopicPartition};
use parking_lot::Mutex;
use peers::PeerConnections;
use producer_ids::ProducerIds;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The topic of committed offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// How long a request waits for the topic of its coordinator to be known here.
const COORDINATION_PATIENCE: Duration = Duration::from_secs(1);

/// The topic of transactions.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Returns whether a topic is one that Kafka keeps for itself.
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | TRANSACTIONS_TOPIC | "__share_group_state")
}

/// What the handlers of a broker share.
pub struct Broker {
    /// The node's configuration.
    pub config: Arc<NodeConfig>,
    /// This broker.
    pub node_id: NodeId,
    /// The cluster.
    pub cluster_id: String,
    /// The clocks.
    pub clock: Clock,
    /// The levels of this node's log lines.
    pub log_levels: Arc<dyn LogLevels>,
    /// The replicas on this broker.
    pub replicas: Arc<ReplicaManager>,
    /// The way to the active controller.
    pub controller: ControllerChannel,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// The groups that this broker coordinates.
    pub groups: GroupCoordinators,
    /// The transactions that this broker coordinates.
    pub transactions: TransactionCoordinators,
    /// Those of them that have ended, to be told to the leaders of their partitions.
    pub markers: Arc<MarkerQueue>,
    /// The way to these.
    pub marker_channels: BrokerChannels,
    /// Who asks coordinators whether a transaction may begin here.
    pub verifier: Verifier,
    /// The way to these.
    pub verifier_channels: BrokerChannels,
    /// Produce requests that wait before they are appended, and those behind them on the same connection.
    pub produce_turns: Turns,
    /// What fetchers have named once.
    pub fetch_sessions: Sessions,
    /// What clients have measured.
    pub telemetry: Telemetry,
    /// What has passed through.
    pub traffic: Traffic,
    /// How long requests took.
    pub request_times: RequestTimes,
    /// How long partitions that came to be led here had no leader that spoke.
    pub failover_silence: Histogram,
    /// The connections with the other brokers.
    pub peers: PeerConnections,
    /// Whether this process runs.
    pulse: Pulse,
    /// Held while what this broker coordinates changes.
    coordinating: Mutex<()>,
    /// Told when it has changed.
    coordinated: watch::Sender<()>,
    dials: Dials,
    /// This broker's registration.
    pub epoch: watch::Receiver<BrokerEpoch>,
    image: ArcSwap<MetadataImage>,
    /// When brokers that were members ceased to be.
    fenced_at: Mutex<BTreeMap<NodeId, Monotonic>>,
    image_changed: watch::Sender<()>,
    /// Whether this broker hands over what it leads, or has done so, to stop.
    pub leaving: watch::Sender<bool>,
}

impl Broker {
    /// A broker that knows nothing yet.
    pub fn new(
        config: Arc<NodeConfig>,
        cluster_id: String,
        replicas: Arc<ReplicaManager>,
        controller: ControllerChannel,
        epoch: watch::Receiver<BrokerEpoch>,
        log_levels: Arc<dyn LogLevels>,
        seed: u64,
    ) -> Broker {
        let (node_id, clock) = (config.node_id, replicas.clock());
        let producer_ids = ProducerIds::new(controller.clone(), node_id, epoch.clone());
        let groups = GroupCoordinators::of_groups(node_id, replicas.clone(), &config.properties, seed);
        let markers = Arc::new(MarkerQueue::default());
        let transactions = TransactionCoordinators::of_transactions(
            node_id,
            replicas.clone(),
            &config.properties,
            markers.clone(),
        );
        let size = |name| usize::try_from(config.properties.number(name)).unwrap_or(usize::MAX);
        let sessions_max = size("max.incremental.fetch.session.cache.slots");
        let telemetry_bytes_max = size("telemetry.max.bytes");
        Broker {
            fetch_sessions: Sessions::new(sessions_max, seed.wrapping_add(1)),
            telemetry: Telemetry::new(telemetry_bytes_max, seed.wrapping_add(2)),
            config,
            node_id,
            cluster_id,
            clock,
            log_levels,
            replicas,
            controller,
            producer_ids,
            groups,
            transactions,
            markers,
            marker_channels: BrokerChannels::new(format!("broker-{node_id}-txn-markers")),
            verifier: Verifier::default(),
            verifier_channels: BrokerChannels::new(format!("broker-{node_id}-txn-verifier")),
            produce_turns: Turns::default(),
            traffic: Traffic::default(),
            request_times: RequestTimes::default(),
            failover_silence: Histogram::default(),
            peers: PeerConnections::new(clock),
            pulse: Pulse::default(),
            coordinating: Mutex::default(),
            coordinated: watch::Sender::new(()),
            dials: Dials::default(),
            epoch,
            image: ArcSwap::default(),
            fenced_at: Mutex::default(),
            image_changed: watch::Sender::new(()),
            leaving: watch::Sender::new(false),
        }
    }

    /// The cluster as this broker serves it: its own replicas have become what it says.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// Publishes an image that the replicas have been made to follow.
    pub(crate) fn publish(&self, image: Arc<MetadataImage>) {
        let before = self.image.load();
        let now = self.clock.monotonic();
        let mut fenced_at = self.fenced_at.lock();
        for broker in image.cluster.brokers.values() {
            if !broker.fenced {
                fenced_at.remove(&broker.id);
            } else if before.cluster.broker(broker.id).is_some_and(|known| !known.fenced) {
                fenced_at.insert(broker.id, now);
            }
        }
        drop(fenced_at);
        let epoch = |image: &MetadataImage, id| image.cluster.broker(id).map(|broker| broker.epoch);
        self.peers.retain(|id| epoch(&image, id).is_some() && epoch(&image, id) == epoch(&before, id));
        self.image.store(image);
        self.image_changed.send_replace(());
    }

    /// Whether leaders ask before a transaction of an older client begins (`transaction.partition.verification.enable`).
    pub fn verifies_transactions(&self) -> bool {
        self.config.properties.switch("transaction.partition.verification.enable")
    }

    /// Asks a transaction's coordinator about partitions that are led here. Where the transaction before is just ending, a
    /// newer client is spared to ask again, for a moment.
    pub async fn verify(
        &self,
        producer: &TransactionalProducer,
        partitions: BTreeSet<TopicPartition>,
        support: Support,
    ) -> Unverified {
        let properties = &self.config.properties;
        let backoff = properties.millis("add.partitions.to.txn.retry.backoff.ms");
        let patience = properties.millis("add.partitions.to.txn.retry.backoff.max.ms");
        let begun = self.clock.monotonic();
        loop {
            let unverified = self.verifier.ask(producer.clone(), partitions.clone(), support).await;
            let is_ending = unverified.values().any(|error| *error == ErrorCode::ConcurrentTransactions);
            if !is_ending || !support.bumps_epoch() || self.clock.monotonic() - begun >= patience {
                return unverified;
            }
            tokio::time::sleep(backoff).await;
        }
    }

    /// Returns whether a broker was a member a moment ago.
    pub fn was_just_fenced(&self, node: NodeId) -> bool {
        const MOMENT: Duration = Duration::from_secs(1);
        let now = self.clock.monotonic();
        self.fenced_at.lock().get(&node).is_some_and(|&at| now - at < MOMENT)
    }

    /// Waits until the image is as `wanted`, at most for `patience`; returns whether it is.
    pub async fn wait_for_image(
        &self,
        wanted: impl Fn(&MetadataImage) -> bool + Send,
        patience: Duration,
    ) -> bool {
        let mut changed = self.image_changed.subscribe();
        let waiting = async {
            while !wanted(&self.image()) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.is_ok()
    }

    /// The image, in which the coordinators' `topic` is. Whoever comes first is sent here by a broker that has just seen it
    /// created, and this one may be about to: sent back, a client looks again after a second or two.
    pub async fn image_with(&self, topic: &str) -> Arc<MetadataImage> {
        let mut coordinated = self.coordinated.subscribe();
        let waiting = async {
            while self.image().topics.by_name(topic).is_none() {
                if coordinated.changed().await.is_err() {
                    return;
                }
            }
        };
        // What does not come is answered as it is.
        let _ = tokio::time::timeout(COORDINATION_PATIENCE, waiting).await;
        self.image()
    }

    /// Waits until a broker is a member no more, or another incarnation of it is.
    pub async fn has_gone(&self, node: NodeId, epoch: BrokerEpoch) {
        let mut changed = self.image_changed.subscribe();
        let is_there = |image: &MetadataImage| {
            image.cluster.broker(node).is_some_and(|known| known.epoch == epoch && !known.fenced)
        };
        while is_there(&self.image()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Why there is no replica of a partition here.
    pub fn absence(&self, image: &MetadataImage, at: TopicIdPartition) -> ErrorCode {
        match image.topics.partition(at) {
            None => ErrorCode::UnknownTopicOrPartition,
            Some(_) if self.replicas.is_offline(at) => ErrorCode::KafkaStorageError,
            Some(_) => ErrorCode::NotLeaderOrFollower,
        }
    }

    /// Waits until another image is published.
    pub fn image_changes(&self) -> watch::Receiver<()> {
        self.image_changed.subscribe()
    }

    /// Sends a request to the active controller, wherever that is.
    ///
    /// # Errors
    /// When none could be reached in time.
    pub async fn call_controller<R: Request>(&self, request: &R) -> Result<R::Response, ControllerUnreachable>
    where
        R::Response: TopLevelError,
    {
        self.controller.call(request).await
    }

    /// `auto.create.topics.enable`.
    pub fn auto_create_topics(&self) -> bool {
        self.config.properties.switch("auto.create.topics.enable")
    }

    /// The topic that is created when a client asks for one that is not there.
    pub fn automatic_topic(&self, name: &str) -> CreatableTopic {
        let properties = &self.config.properties;
        let (partitions, replicas, configs) = match name {
            OFFSETS_TOPIC => {
                let configs = vec![
                    ("cleanup.policy", "compact".to_owned()),
                    ("segment.bytes", properties.number("offsets.topic.segment.bytes").to_string()),
                ];
                (
                    properties.number("offsets.topic.num.partitions"),
                    properties.number("offsets.topic.replication.factor"),
                    configs,
                )
            }
            TRANSACTIONS_TOPIC => {
                let configs = vec![
                    ("cleanup.policy", "compact".to_owned()),
                    ("min.insync.replicas", properties.number("transaction.state.log.min.isr").to_string()),
                    ("segment.bytes", properties.number("transaction.state.log.segment.bytes").to_string()),
                ];
                (
                    properties.number("transaction.state.log.num.partitions"),
                    properties.number("transaction.state.log.replication.factor"),
                    configs,
                )
            }
            // As this broker's file has it, not as the controllers' do (`DefaultAutoTopicCreationManager`).
            _ => (
                properties.number("num.partitions"),
                properties.number("default.replication.factor"),
                Vec::new(),
            ),
        };
        CreatableTopic {
            name: name.to_owned(),
            num_partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
            configs: configs
                .into_iter()
                .map(|(name, value)| CreatableTopicConfig { name: name.to_owned(), value: Some(value) })
                .collect(),
            ..Default::default()
        }
    }

    /// The broker that clients are told to send administration to: this one, which forwards it.
    pub fn administration_target(&self, image: &MetadataImage) -> i32 {
        let nameable = |id: NodeId| image.cluster.broker(id).is_some_and(|broker| !broker.fenced);
        if nameable(self.node_id) {
            self.node_id.0
        } else {
            image.cluster.unfenced().next().map_or(NodeId::NONE.0, |broker| broker.id.0)
        }
    }

    /// A connection has ended.
    pub fn connection_closed(&self, connection: &ConnectionInfo) {
        self.peers.inbound_closed(connection.id);
        self.telemetry.clients.lock().connection_closed(connection.id);
    }

    /// Returns whether a broker may be named to clients: not one that has just gone and is still unfenced.
    pub fn is_nameable(&self, node: NodeId) -> bool {
        if node == self.node_id { !self.replicas.is_cut_off() } else { !self.peers.is_lost(node) }
    }

    /// Waits until the image no longer relies on brokers that have gone, at most for `patience`; `relies` says
    /// whether it does.
    pub async fn wait_for_fencing(&self, relies: impl Fn(&MetadataImage) -> bool + Send, patience: Duration) {
        let mut image_changed = self.image_changed.subscribe();
        let mut peers_changed = self.peers.changes();
        let waiting = async {
            while relies(&self.image()) {
                let changed = tokio::select! {
                    biased;
                    changed = image_changed.changed() => changed,
                    changed = peers_changed.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
            }
        };
        // What is answered after the patience leaves the gone ones out.
        let _ = tokio::time::timeout(patience, waiting).await;
    }
}
