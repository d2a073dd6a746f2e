//! What the groups of this broker have that transactions have not.

use crate::config::Properties;
use crate::coordination::Coordinators;
use crate::replicas::ReplicaManager;
use ottla_coordinator::consumer_group::{Assignor, MigrationPolicy};
use ottla_coordinator::{
    ClosedBy, ConnectionToken, ConsumerGroupSettings, GroupCoordinator, GroupDecision, GroupReply,
    ReplyToken, Settings,
};
use ottla_metadata::{MetadataDelta, MetadataImage};
use ottla_net::{Closed, ConnectionId};
use ottla_protocol::ErrorCode;
use ottla_types::{NodeId, Now, Offset};
use std::sync::Arc;
use std::time::Duration;

/// The groups that this broker coordinates.
pub type GroupCoordinators = Coordinators<GroupCoordinator>;

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

impl GroupCoordinators {
    /// As configuration says. No two brokers may have the same `seed`.
    pub fn of_groups(
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
            consumer_groups: ConsumerGroupSettings {
                session_timeout: properties.millis("group.consumer.session.timeout.ms"),
                heartbeat_interval: properties.millis("group.consumer.heartbeat.interval.ms"),
                size_max: size("group.consumer.max.size"),
                assignors: properties
                    .list("group.consumer.assignors")
                    .into_iter()
                    .map(|name| Assignor::from_name(name).expect("checked with the configuration"))
                    .collect(),
                migration: properties
                    .text("group.consumer.migration.policy")
                    .and_then(MigrationPolicy::from_name)
                    .expect("checked with the configuration"),
            },
        };
        let commit_timeout = properties.millis("offsets.commit.timeout.ms");
        Coordinators::new(
            node_id,
            replicas,
            settings,
            commit_timeout,
            Arc::new(|_, none| match none {}),
            seed,
        )
    }

    /// Topics are gone: their offsets go.
    pub fn forget_topics(&self, delta: &MetadataDelta) {
        let names: Vec<String> = delta.removed_topics.iter().map(|(_, name)| name.clone()).collect();
        if !names.is_empty() {
            for shard in self.all() {
                shard.notify(|machine, _| machine.handle_topic_deleted(&names));
            }
        }
    }

    /// As [`Coordinators::handle`], for requests that only a group with a name has: offsets alone can be kept without
    /// one.
    ///
    /// # Errors
    /// INVALID_GROUP_ID when there is no name, whoever coordinates what; else as [`Coordinators::handle`].
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
            shard.notify(|machine, now| machine.handle_disconnected(ConnectionToken(connection.0), by, now));
        }
    }

    /// What the groups coordinated here have committed.
    pub fn overview(&self) -> GroupsOverview {
        let mut overview = GroupsOverview::default();
        for shard in self.all() {
            shard.with(|machine| {
                overview.groups += machine.groups_count();
                let committed = machine.committed().map(|(group, topic, partition, offset)| {
                    CommittedOffset { group: group.to_owned(), topic: topic.to_owned(), partition, offset }
                });
                overview.committed.extend(committed);
            });
        }
        overview
    }
}
