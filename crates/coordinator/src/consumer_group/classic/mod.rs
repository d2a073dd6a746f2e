//! Members of the classic protocol in a consumer group, and groups that go from one protocol to the other while they are
//! read (KIP-848, "Online Migration").
//!
//! ```text
//!            a member of the consumer protocol joins: upgrade
//!   classic group ─────────────────────────────────────────▶ consumer group
//!        ▲                                                       │
//!        └──────────── the last such member is gone: downgrade ──┘
//! ```
//!
//! In a consumer group the coordinator assigns for everybody. To a member of the classic protocol it is a group that somebody
//! else leads: its JoinGroup is answered at once, its generation is its member epoch, and its SyncGroup fetches what the
//! reconciliation has given it. When there is something to give up or to take over, its heartbeat is told
//! REBALANCE_IN_PROGRESS, and it joins again, saying what it still owns.
//!
//! A group is downgraded when a member that is left is heard of, not at the moment when the other is gone: whoever is left
//! must join again in any case.
//!
//! Reading order: [`embedded`], `upgrade`, `downgrade`, `join`, `sync`.

mod downgrade;
pub(crate) mod embedded;
mod join;
mod sync;
mod upgrade;

use super::admission::unknown_member;
use super::group::ConsumerGroup;
use super::member::{ClassicMember, Member};
use ottla_protocol::ErrorCode;

/// Between which protocols groups may move while they have members (`group.consumer.migration.policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// None.
    Disabled,
    /// From the classic protocol to the consumer protocol.
    Upgrade,
    /// From the consumer protocol to the classic protocol.
    Downgrade,
    /// Both.
    Bidirectional,
}

impl MigrationPolicy {
    /// All there are.
    pub const ALL: [MigrationPolicy; 4] = [
        MigrationPolicy::Disabled,
        MigrationPolicy::Upgrade,
        MigrationPolicy::Downgrade,
        MigrationPolicy::Bidirectional,
    ];

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            MigrationPolicy::Disabled => "disabled",
            MigrationPolicy::Upgrade => "upgrade",
            MigrationPolicy::Downgrade => "downgrade",
            MigrationPolicy::Bidirectional => "bidirectional",
        }
    }

    /// The policy of a name, in any case.
    pub fn from_name(name: &str) -> Option<MigrationPolicy> {
        MigrationPolicy::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn allows_upgrade(self) -> bool {
        matches!(self, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional)
    }

    pub(crate) fn allows_downgrade(self) -> bool {
        matches!(self, MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional)
    }
}

impl ConsumerGroup {
    /// The members of the classic protocol.
    fn classic_members(&self) -> impl Iterator<Item = (&str, &Member, &ClassicMember)> {
        self.members().filter_map(|(id, member)| Some((id, member, member.subscription.classic.as_ref()?)))
    }

    /// Whether there are members, and all speak the classic protocol.
    fn is_all_classic(&self) -> bool {
        self.members().len() > 0 && self.members().all(|(_, member)| member.subscription.classic.is_some())
    }

    /// The member of the classic protocol that a request comes from.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION.
    fn classic_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(&Member, &ClassicMember), ErrorCode> {
        if let Some(instance_id) = instance_id {
            self.validate_instance(instance_id, member_id).map_err(|refusal| refusal.error)?;
        }
        let member = self.member(member_id).ok_or(unknown_member().error)?;
        let classic = member.subscription.classic.as_ref().ok_or(unknown_member().error)?;
        if member.current.epoch == generation {
            Ok((member, classic))
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }
}
