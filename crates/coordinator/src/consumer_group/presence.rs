//! Members by whose silence, after their side has closed its connection, it is known that they are gone: [`crate::presence`].

use super::turn::ConsumerTurn;
use crate::member::millis;
use crate::presence::{CLASSIC_BEATS_A_SESSION, ConnectionToken};

impl ConsumerTurn<'_> {
    /// Takes note of a request by a member; nothing if there is none of that id.
    pub(crate) fn hear(&mut self, member_id: &str, connection: ConnectionToken) {
        if self.group.member(member_id).is_none() {
            return;
        }
        self.group.gone.remove(member_id);
        let presence = self.group.presences.entry(member_id.to_owned()).or_default();
        if presence.hear(connection, self.now.monotonic) {
            self.connections.insert((connection, self.group.id.clone()));
        }
    }

    /// Takes note of a heartbeat.
    pub(crate) fn hear_beat(&mut self, member_id: &str, connection: ConnectionToken) {
        self.hear(member_id, connection);
        if let Some(presence) = self.group.presences.get_mut(member_id) {
            presence.beat(self.now.monotonic);
        }
    }

    /// Takes note of a request with which a member of the classic protocol begins a generation.
    pub(crate) fn hear_before_a_wait(&mut self, member_id: &str, connection: ConnectionToken) {
        self.hear(member_id, connection);
        if let Some(presence) = self.group.presences.get_mut(member_id) {
            presence.pause();
        }
    }

    /// A connection was closed by its client. Static members are expected back under their names.
    pub(crate) fn lose_connection(&mut self, connection: ConnectionToken) {
        let (now, beat) = (self.now.monotonic, self.heartbeat_interval());
        for (member_id, presence) in &mut self.group.presences {
            if !presence.lose(connection, now) {
                continue;
            }
            let Some(member) = self.group.members.get(member_id) else { continue };
            if member.subscription.instance_id.is_some() {
                continue;
            }
            let classic = member.subscription.classic.as_ref();
            let assumed =
                classic.map_or(beat, |classic| millis(classic.session_timeout_ms) / CLASSIC_BEATS_A_SESSION);
            if let Some(gone_at) = presence.gone_at(self.disconnect_grace, assumed) {
                self.group.gone.insert(member_id.clone(), gone_at);
                self.alarms.arm(&self.group.id, gone_at);
            }
        }
    }
}
