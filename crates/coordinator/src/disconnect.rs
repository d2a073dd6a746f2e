//! A client's connection has closed: members that used it may be gone.

use crate::coordinator::GroupCoordinator;
use crate::presence::{CLASSIC_BEATS_A_SESSION, ConnectionToken};
use crate::reply::GroupDecision;
use crate::turn::Turn;
use ottla_types::Now;
use std::ops::Bound;
use std::sync::Arc;

/// Who closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The client, or the kernel on its behalf.
    Client,
    /// This broker, which says nothing about the client.
    Broker,
}

impl GroupCoordinator {
    /// A connection has ended. Dynamic members that were last heard of by it are removed unless they come back in time
    /// (`group.member.disconnect.grace.ms`; [`crate::presence`]). Static members are expected back under their names, and
    /// have their whole sessions, as in Kafka.
    pub fn handle_disconnected(
        &mut self,
        connection: ConnectionToken,
        by: ClosedBy,
        now: Now,
    ) -> GroupDecision {
        let groups = self.take_groups_of(connection);
        if by == ClosedBy::Broker || self.settings.disconnect_grace.is_zero() {
            return GroupDecision::none();
        }
        self.decide(|machine, decision| {
            for group_id in &groups {
                if let Some(mut turn) = machine.turn(group_id, now, decision) {
                    turn.lose_connection(connection);
                }
                if let Some(mut turn) = machine.consumer_turn(group_id, now, decision) {
                    turn.lose_connection(connection);
                }
            }
        })
    }

    /// The groups in which somebody was heard of by a connection, which is forgotten.
    fn take_groups_of(&mut self, connection: ConnectionToken) -> Vec<Arc<str>> {
        let empty: Arc<str> = "".into();
        let next = ConnectionToken(connection.0.saturating_add(1));
        let bounds = (Bound::Included((connection, empty.clone())), Bound::Excluded((next, empty)));
        let found: Vec<_> = self.connections.range(bounds).cloned().collect();
        found
            .into_iter()
            .map(|entry| {
                self.connections.remove(&entry);
                entry.1
            })
            .collect()
    }
}

impl Turn<'_> {
    /// Takes note of a request by a member; nothing if there is none of that id.
    pub(crate) fn hear(&mut self, member_id: &str, connection: ConnectionToken) {
        let now = self.now.monotonic;
        let Some(member) = self.group.member_mut(member_id) else { return };
        member.gone_deadline = None;
        if member.presence.hear(connection, now) {
            self.connections.insert((connection, self.group.id.clone()));
        }
    }

    /// Takes note of a request by a member whose answer may take long.
    pub(crate) fn hear_before_a_wait(&mut self, member_id: &str, connection: ConnectionToken) {
        self.hear(member_id, connection);
        if let Some(member) = self.group.member_mut(member_id) {
            member.presence.pause();
        }
    }

    fn lose_connection(&mut self, connection: ConnectionToken) {
        let (now, grace) = (self.now.monotonic, self.settings.disconnect_grace);
        for member_id in self.group.member_ids() {
            let member = self.group.member_mut(&member_id).expect("it is one of the group's");
            if member.instance_id.is_some() || !member.presence.lose(connection, now) {
                continue;
            }
            let assumed = member.session_timeout() / CLASSIC_BEATS_A_SESSION;
            member.gone_deadline = member.presence.gone_at(grace, assumed);
            if let Some(deadline) = member.gone_deadline {
                self.alarms.arm(&self.group.id, deadline);
            }
        }
    }
}
