//! One consumer group's part in one event.

use super::group::{ConsumerGroup, RevocationDeadline};
use super::member::{ClassicMember, Member, MemberState, Partitions, Subscription};
use super::reconcile::Reconciliation;
use super::records;
use super::topics::Topics;
use super::{regex, subscription};
use crate::alarms::Alarms;
use crate::consumer_group::assignors::{Assignor, GroupSpec, MemberSpec};
use crate::coordinator::GroupCoordinator;
use crate::member::millis;
use crate::presence::ConnectionToken;
use crate::reply::GroupDecision;
use crate::settings::ConsumerGroupSettings;
use ottla_protocol::records::group::GroupRecord;
use ottla_types::{Now, Uuid};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What the handling of an event works with: the group, and the decision that is being made.
///
/// Each step builds on the one before, so records are applied as they are written. That the driver replays them once more
/// changes nothing ([`ConsumerGroup::replay`]).
pub(crate) struct ConsumerTurn<'a> {
    pub(crate) group: &'a mut ConsumerGroup,
    pub(crate) alarms: &'a mut Alarms,
    /// Who was heard of by which connection: see `GroupCoordinator`.
    pub(crate) connections: &'a mut BTreeSet<(ConnectionToken, Arc<str>)>,
    pub(crate) settings: &'a ConsumerGroupSettings,
    /// `group.member.disconnect.grace.ms`.
    pub(crate) disconnect_grace: Duration,
    pub(crate) now: Now,
    pub(crate) decision: &'a mut GroupDecision,
}

impl GroupCoordinator {
    /// A turn of a consumer group, if there is one of this id.
    pub(crate) fn consumer_turn<'a>(
        &'a mut self,
        group_id: &str,
        now: Now,
        decision: &'a mut GroupDecision,
    ) -> Option<ConsumerTurn<'a>> {
        let group = self.consumer_groups.get_mut(group_id)?;
        Some(ConsumerTurn {
            group,
            alarms: &mut self.alarms,
            connections: &mut self.connections,
            settings: &self.settings.consumer_groups,
            disconnect_grace: self.settings.disconnect_grace,
            now,
            decision,
        })
    }
}

impl ConsumerTurn<'_> {
    /// Writes a record, which is true from here on.
    pub(crate) fn write(&mut self, record: GroupRecord) {
        self.group.replay(&record);
        self.decision.records.push(record);
    }

    fn group_id(&self) -> String {
        self.group.id.to_string()
    }

    /// Starts a member's session anew: it has been heard of.
    pub(crate) fn renew_session(&mut self, member_id: &str) {
        let classic = self.group.member(member_id).and_then(|member| member.subscription.classic.as_ref());
        let of_classic = |classic: &ClassicMember| millis(classic.session_timeout_ms);
        let deadline = self.now.monotonic + classic.map_or_else(|| self.session_timeout(), of_classic);
        self.group.sessions.insert(member_id.to_owned(), deadline);
        self.alarms.arm(&self.group.id, deadline);
    }

    /// How long a member of the consumer protocol may be silent.
    fn session_timeout(&self) -> Duration {
        self.group.times.session_timeout.unwrap_or(self.settings.session_timeout)
    }

    /// How often members are told to be heard of.
    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.group.times.heartbeat_interval.unwrap_or(self.settings.heartbeat_interval)
    }

    /// Gives a member time to give up what it was asked to, or takes note that nothing is to be given up.
    pub(crate) fn renew_revocation(&mut self, member_id: &str) {
        let member = self.group.member(member_id).expect("the caller looked it up");
        if member.current.state != MemberState::UnrevokedPartitions {
            self.group.revocations.remove(member_id);
            return;
        }
        let epoch = member.current.epoch;
        let at = self.now.monotonic + millis(member.subscription.rebalance_timeout_ms);
        self.group.revocations.insert(member_id.to_owned(), RevocationDeadline { epoch, at });
        self.alarms.arm(&self.group.id, at);
    }

    /// Takes what a member says, computes a new target if that or the topics have changed, and brings the member nearer to it.
    pub(crate) fn settle(
        &mut self,
        member_id: &str,
        subscription: Subscription,
        owned: Option<&Partitions>,
        topics: &dyn Topics,
    ) {
        let known = self.group.member(member_id).map(|member| &member.subscription);
        let nothing = Subscription::default();
        let has_new_topics = !subscription.has_topics_of(known.unwrap_or(&nothing));
        let is_news = known != Some(&subscription);
        if is_news {
            self.write(records::member(&self.group_id(), member_id, Some(&subscription)));
        }
        let has_new_matches = self.refresh_regexes(topics);
        self.refresh_epoch(has_new_topics || has_new_matches, topics);
        if self.group.epoch > self.group.target_epoch {
            self.assign(topics);
        }
        self.reconcile(member_id, owned, has_new_topics, topics);
    }

    /// Looks regular expressions up: those that are new to the group at once, all when the topics have changed, but not too
    /// often; and drops those that nobody uses any more. Returns whether one matches other topics than before: somebody is
    /// subscribed to others then, even if the group as a whole is not.
    pub(crate) fn refresh_regexes(&mut self, topics: &dyn Topics) -> bool {
        let used: BTreeSet<String> =
            self.group.members().filter_map(|(_, member)| member.subscription.topic_regex.clone()).collect();
        // One that is used may have no record: Kafka writes a member down before it has looked its expression up.
        if used.is_empty() && self.group.regexes.is_empty() {
            return false;
        }
        let mut has_changed = false;
        let is_time = |seen| self.now.monotonic >= seen + regex::REFRESH_INTERVAL_MIN;
        let is_due = self.group.regexes_seen.is_none_or(is_time);
        for expression in &used {
            let known = self.group.regexes.get(expression);
            if known.is_some_and(|known| known.version == topics.version() || !is_due) {
                continue;
            }
            let resolved = regex::resolve(expression, topics, self.now.wall);
            if resolved.is_too_long() {
                // What it matched before stays: a record that does not fit would take the coordinator's whole partition away.
                continue;
            }
            // What matches the same is not worth a record; that it was looked up is remembered for the whole group.
            if known.is_none_or(|known| known.topics != resolved.topics) {
                self.write(records::regex(&self.group_id(), expression, Some(&resolved)));
                has_changed = true;
            }
        }
        if is_due {
            self.group.regexes_seen = Some(self.now.monotonic);
        }
        self.drop_unused_regexes();
        has_changed
    }

    fn drop_unused_regexes(&mut self) {
        let is_used = |expression: &String| {
            self.group
                .members()
                .any(|(_, member)| member.subscription.topic_regex.as_ref() == Some(expression))
        };
        let unused: Vec<String> =
            self.group.regexes.keys().filter(|regex| !is_used(regex)).cloned().collect();
        for expression in unused {
            self.write(records::regex(&self.group_id(), &expression, None));
        }
    }

    /// Bumps the group's epoch if the subscriptions have changed, or what is subscribed to looks different. A new group has
    /// none yet.
    pub(crate) fn refresh_epoch(&mut self, has_new_topics: bool, topics: &dyn Topics) {
        let is_seen = self.group.topics_seen == Some(topics.version());
        let must_bump = has_new_topics || self.group.epoch == 0;
        if is_seen && !must_bump {
            return;
        }
        let hash = subscription::metadata_hash(&subscription::names_of_group(self.group), topics);
        if must_bump || hash != self.group.metadata_hash {
            let epoch = self.group.epoch + 1;
            self.write(records::group_epoch(&self.group_id(), Some((epoch, hash))));
        }
        self.group.topics_seen = Some(topics.version());
    }

    /// Computes what everybody is to have at the group's epoch, and writes down what is different.
    pub(crate) fn assign(&mut self, topics: &dyn Topics) {
        let preferred = self.group.preferred_assignor().and_then(Assignor::from_name);
        let available = |assignor: &Assignor| self.settings.assignors.contains(assignor);
        let assignor = preferred.filter(available).unwrap_or(self.settings.default_assignor());
        let mut targets = assignor.assign(&self.spec(topics));
        let group_id = self.group_id();
        let members: Vec<String> = self.group.members().map(|(id, _)| id.to_owned()).collect();
        for member_id in members {
            let target = targets.remove(&member_id).unwrap_or_default();
            if self.group.target(&member_id) != Some(&target) {
                self.write(records::target(&group_id, &member_id, Some(&target)));
            }
        }
        let epoch = Some((self.group.epoch, self.now.wall));
        self.write(records::target_epoch(&group_id, epoch));
    }

    fn spec(&self, topics: &dyn Topics) -> GroupSpec<'_> {
        let members = self.group.members().map(|(id, member)| {
            let shapes = subscription::topics_of(&member.subscription, &self.group.regexes, topics);
            let spec = MemberSpec {
                instance_id: member.subscription.instance_id.as_deref(),
                topics: shapes.iter().map(|shape| shape.id).collect(),
                target: self.group.target(id),
            };
            (id, spec, shapes)
        });
        let mut spec = GroupSpec::default();
        for (id, member, shapes) in members {
            spec.topics.extend(shapes.iter().map(|shape| (shape.id, shape.partitions)));
            spec.members.insert(id, member);
        }
        spec
    }

    /// Brings a member nearer to its target.
    pub(crate) fn reconcile(
        &mut self,
        member_id: &str,
        owned: Option<&Partitions>,
        has_new_topics: bool,
        topics: &dyn Topics,
    ) {
        let member = self.group.member(member_id).expect("the caller looked it up");
        if member.current.is_reconciled_to(self.group.target_epoch) && !has_new_topics {
            return;
        }
        let shapes = subscription::topics_of(&member.subscription, &self.group.regexes, topics);
        let subscribed: BTreeSet<Uuid> = shapes.iter().map(|shape| shape.id).collect();
        let nothing = Partitions::new();
        let next = Reconciliation {
            target_epoch: self.group.target_epoch,
            target: self.group.target(member_id).unwrap_or(&nothing),
            owned,
            is_owned: |partition| self.group.owner(partition).is_some_and(|owner| owner != member_id),
            is_subscribed: |partition| subscribed.contains(&partition.topic_id),
        }
        .of(&member.current);
        if next != member.current {
            self.write(records::current(&self.group_id(), member_id, Some(&next)));
            self.renew_revocation(member_id);
        }
    }

    /// Removes a member that has left or is given up. The others share what it had when one of them is heard of next; its
    /// regular expressions go then too.
    pub(crate) fn remove_member(&mut self, member_id: &str) {
        let group_id = self.group_id();
        self.write_removal(member_id);
        self.drop_unused_regexes();
        let epoch = Some((self.group.epoch + 1, self.group.metadata_hash));
        self.write(records::group_epoch(&group_id, epoch));
        // What is left may be subscribed to less.
        self.group.topics_seen = None;
    }

    fn write_removal(&mut self, member_id: &str) {
        let group_id = self.group_id();
        self.write(records::current(&group_id, member_id, None));
        self.write(records::target(&group_id, member_id, None));
        self.write(records::member(&group_id, member_id, None));
        self.group.sessions.remove(member_id);
        self.group.revocations.remove(member_id);
        self.group.presences.remove(member_id);
        self.group.gone.remove(member_id);
        self.group.joins.remove(member_id);
        self.group.syncs.remove(member_id);
    }

    /// Lets a static member that has left for a while go on as `new_id`, with what it had. It joins at epoch 0, and so is told.
    pub(crate) fn replace_static_member(&mut self, old_id: &str, new_id: &str) {
        let group_id = self.group_id();
        let Member { subscription, mut current } =
            self.group.member(old_id).expect("the caller looked it up").clone();
        let target = self.group.target(old_id).cloned().unwrap_or_default();
        (current.epoch, current.previous_epoch) = (0, 0);
        if old_id != new_id {
            self.write_removal(old_id);
            self.write(records::member(&group_id, new_id, Some(&subscription)));
            self.write(records::target(&group_id, new_id, Some(&target)));
        }
        self.write(records::current(&group_id, new_id, Some(&current)));
    }
}
