//! A classic group becomes a consumer group, with its members (`GroupMetadataManager.convertToConsumerGroup`).

use super::embedded;
use crate::consumer_group::bug::{Bug, is_made};
use crate::consumer_group::group::ConsumerGroup;
use crate::consumer_group::member::{Current, MemberState, Partitions, Subscription};
use crate::consumer_group::records;
use crate::consumer_group::topics::Topics;
use crate::consumer_group::validate::Refusal;
use crate::coordinator::GroupCoordinator;
use crate::group::Group;
use crate::member::Member;
use crate::records as classic_records;
use crate::reply::GroupDecision;
use ottla_protocol::ErrorCode;
use ottla_types::Now;

/// A member of a classic group as a consumer group has it.
struct Upgraded {
    id: String,
    subscription: Subscription,
    /// What the last stored generation gave it.
    assigned: Partitions,
}

impl GroupCoordinator {
    /// Makes a classic group a consumer group because a member of the consumer protocol is about to join. Its members stay,
    /// with what they were assigned last, at an epoch that is the group's generation; whoever waits for a rebalance is told
    /// that there is another one.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND when the policy or what the members say does not allow it, GROUP_MAX_SIZE_REACHED. Nothing is
    /// written then.
    pub(in crate::consumer_group) fn upgrade(
        &mut self,
        group_id: &str,
        topics: &dyn Topics,
        now: Now,
        decision: &mut GroupDecision,
    ) -> Result<(), Refusal> {
        let group = self.groups.get(group_id).expect("the caller looked it up");
        let (generation, members) = (group.generation, self.upgraded(group, topics)?);
        self.send_back(group_id, now, decision);
        self.write(classic_records::group_tombstone(group_id), decision);
        self.consumer_groups.insert(group_id.to_owned(), ConsumerGroup::new(group_id));
        let mut turn = self.consumer_turn(group_id, now, decision).expect("it was just made");
        let nothing = Partitions::new();
        for Upgraded { id, subscription, assigned } in &members {
            let assigned = if is_made(Bug::UpgradeForgetsOwners) { &nothing } else { assigned };
            let current = Current {
                state: MemberState::Stable,
                epoch: generation,
                previous_epoch: generation,
                assigned: assigned.iter().map(|partition| (*partition, generation)).collect(),
                ..Current::default()
            };
            turn.write(records::member(group_id, id, Some(subscription)));
            turn.write(records::target(group_id, id, Some(assigned)));
            turn.write(records::current(group_id, id, Some(&current)));
            turn.renew_session(id);
        }
        turn.write(records::group_epoch(group_id, Some((generation, 0))));
        turn.write(records::target_epoch(group_id, Some((generation, now.wall))));
        Ok(())
    }

    fn upgraded(&self, group: &Group, topics: &dyn Topics) -> Result<Vec<Upgraded>, Refusal> {
        let settings = &self.settings.consumer_groups;
        let refuse = |why: &str| {
            let message = format!("the group has members of the classic protocol, and {why}");
            Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
        };
        if group.members().len() > 0 {
            if !settings.migration.allows_upgrade() {
                return refuse("group.consumer.migration.policy does not let others join them");
            }
            if !group.is_of_consumers() {
                return refuse("they are no consumers");
            }
        }
        if group.members().len() >= settings.size_max {
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, "the group has no room"));
        }
        let upgraded: Option<Vec<Upgraded>> =
            group.members().map(|member| upgraded(member, group.protocol.as_deref(), topics)).collect();
        match upgraded {
            Some(upgraded) => Ok(upgraded),
            None => refuse("what they say of their subscriptions or assignments cannot be read or kept"),
        }
    }

    /// Empties a classic group, and answers whoever waits in it.
    fn send_back(&mut self, group_id: &str, now: Now, decision: &mut GroupDecision) {
        let mut turn = self.turn(group_id, now, decision).expect("the caller looked it up");
        for member_id in turn.group.member_ids() {
            if let Some(member) = turn.group.remove(&member_id) {
                turn.dismiss(&member, ErrorCode::RebalanceInProgress, &member_id);
            }
        }
    }
}

/// `None` when what the member says cannot be read.
fn upgraded(member: &Member, protocol: Option<&str>, topics: &dyn Topics) -> Option<Upgraded> {
    // In a first rebalance nothing has been chosen yet.
    let chosen = protocol.and_then(|protocol| member.metadata(protocol));
    let metadata = chosen.or_else(|| Some(&member.protocols.first()?.metadata))?;
    Some(Upgraded {
        id: member.id.clone(),
        subscription: Subscription::of_classic(member, embedded::subscription(metadata)?),
        assigned: embedded::assignment(&member.assignment, topics)?,
    })
}
