//! A member of a consumer group: what it is subscribed to, and how far it is reconciled.

use crate::member::{Member as ClassicGroupMember, Protocol};
use ottla_protocol::messages::ConsumerProtocolSubscription;
use ottla_protocol::records::group::consumer_group_current_member_assignment::TopicPartitions;
use ottla_protocol::records::group::consumer_group_member_metadata::{
    ClassicMemberMetadata, ClassicProtocol,
};
use ottla_protocol::records::group::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue,
};
use ottla_types::TopicIdPartition;
use std::collections::{BTreeMap, BTreeSet};

/// Partitions.
pub(crate) type Partitions = BTreeSet<TopicIdPartition>;

/// Partitions that a member has been given, each with the member epoch at which it was (KIP-1251).
pub(crate) type Held = BTreeMap<TopicIdPartition, i32>;

/// The epoch of a static member that has left and is expected back
/// (`ConsumerGroupHeartbeatRequest.LEAVE_GROUP_STATIC_MEMBER_EPOCH`).
pub(crate) const LEFT_FOR_A_WHILE: i32 = -2;

/// Where a member stands on its way to its target (`org.apache.kafka.coordinator.group.modern.MemberState`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has what it was to have at its epoch.
    #[default]
    Stable,
    /// It has been asked to give partitions up, and has not said that it did.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given up.
    UnreleasedPartitions,
    /// A later program wrote it. The member has to start over.
    Unknown,
}

impl MemberState {
    /// Its number in records.
    pub(crate) fn code(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown => 127,
        }
    }

    fn from_code(code: i8) -> MemberState {
        match code {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        }
    }
}

/// What a member has said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) topic_names: BTreeSet<String>,
    /// In RE2's syntax; never empty.
    pub(crate) topic_regex: Option<String>,
    /// How long it may take to give partitions up, in milliseconds.
    pub(crate) rebalance_timeout_ms: i32,
    /// The assignor that it would rather have.
    pub(crate) server_assignor: Option<String>,
    /// What a member of the classic protocol says besides; `None` for one of the consumer protocol.
    pub(crate) classic: Option<ClassicMember>,
}

/// What only a member of the classic protocol says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassicMember {
    /// How long it may be silent, in milliseconds.
    pub(crate) session_timeout_ms: i32,
    /// What it supports, the preferred one first; never empty.
    pub(crate) protocols: Vec<Protocol>,
}

impl From<&ClassicMemberMetadata> for ClassicMember {
    fn from(value: &ClassicMemberMetadata) -> ClassicMember {
        let protocol =
            |one: &ClassicProtocol| Protocol { name: one.name.clone(), metadata: one.metadata.clone() };
        ClassicMember {
            session_timeout_ms: value.session_timeout_ms,
            protocols: value.supported_protocols.iter().map(protocol).collect(),
        }
    }
}

impl From<&ClassicMember> for ClassicMemberMetadata {
    fn from(member: &ClassicMember) -> ClassicMemberMetadata {
        let protocol =
            |one: &Protocol| ClassicProtocol { name: one.name.clone(), metadata: one.metadata.clone() };
        ClassicMemberMetadata {
            session_timeout_ms: member.session_timeout_ms,
            supported_protocols: member.protocols.iter().map(protocol).collect(),
        }
    }
}

impl Subscription {
    /// What a member of the classic protocol has said, by the subscription that its metadata holds.
    pub(crate) fn of_classic(
        member: &ClassicGroupMember,
        said: ConsumerProtocolSubscription,
    ) -> Subscription {
        Subscription {
            instance_id: member.instance_id.clone(),
            rack_id: said.rack_id.filter(|rack| !rack.is_empty()),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topic_names: said.topics.into_iter().collect(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            classic: Some(ClassicMember {
                session_timeout_ms: member.session_timeout_ms,
                protocols: member.protocols.clone(),
            }),
            ..Subscription::default()
        }
    }

    /// Returns whether it asks for the same topics.
    pub(crate) fn has_topics_of(&self, other: &Subscription) -> bool {
        self.topic_names == other.topic_names && self.topic_regex == other.topic_regex
    }
}

impl From<&ConsumerGroupMemberMetadataValue> for Subscription {
    fn from(value: &ConsumerGroupMemberMetadataValue) -> Subscription {
        Subscription {
            instance_id: value.instance_id.clone(),
            rack_id: value.rack_id.clone(),
            client_id: value.client_id.clone(),
            client_host: value.client_host.clone(),
            topic_names: value.subscribed_topic_names.iter().cloned().collect(),
            topic_regex: value.subscribed_topic_regex.clone().filter(|regex| !regex.is_empty()),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            server_assignor: value.server_assignor.clone(),
            classic: value.classic_member_metadata.as_ref().map(ClassicMember::from),
        }
    }
}

/// What a member has, and at which epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) state: MemberState,
    pub(crate) epoch: i32,
    /// The epoch before it: that of a member which has not heard of this one.
    pub(crate) previous_epoch: i32,
    pub(crate) assigned: Held,
    /// What it has been asked to give up, and still owns.
    pub(crate) revoking: Held,
}

impl Current {
    /// Returns whether it has all of the target of this epoch.
    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// Everything that nobody else may have.
    pub(crate) fn owned(&self) -> impl Iterator<Item = &TopicIdPartition> {
        self.assigned.keys().chain(self.revoking.keys())
    }
}

impl From<&ConsumerGroupCurrentMemberAssignmentValue> for Current {
    fn from(value: &ConsumerGroupCurrentMemberAssignmentValue) -> Current {
        let held = |topics: &[TopicPartitions]| {
            let of_topic = |topic: &TopicPartitions| {
                let epochs = topic.assignment_epochs.clone().unwrap_or_default();
                let (id, default) = (topic.topic_id, value.member_epoch);
                let with_epoch = move |(i, partition): (usize, i32)| {
                    // Records of before Kafka 4.3 name none: the member's own allows what it always allowed.
                    (TopicIdPartition::new(id, partition), epochs.get(i).copied().unwrap_or(default))
                };
                topic.partitions.clone().into_iter().enumerate().map(with_epoch)
            };
            topics.iter().flat_map(of_topic).collect()
        };
        Current {
            state: MemberState::from_code(value.state),
            epoch: value.member_epoch,
            previous_epoch: value.previous_member_epoch,
            assigned: held(&value.assigned_partitions),
            revoking: held(&value.partitions_pending_revocation),
        }
    }
}

/// A member, as the log has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) subscription: Subscription,
    pub(crate) current: Current,
}
