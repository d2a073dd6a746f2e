//! By which connection a member was last heard of, and when it counts as gone because that one has closed.
//!
//! A member whose process has ended does not leave its group, and Kafka waits for its session to be over, 45 s by default.
//! But its kernel closes its connections. That alone proves nothing: connections break, and a member that lives comes
//! back by another. So a member is gone when its own side has closed the connection, and it has not come back although
//! it should have been heard of meanwhile, by the rhythm of its own heartbeats. What an unusual silence is, each
//! member shows by itself.

use ottla_types::Monotonic;
use std::collections::VecDeque;
use std::time::Duration;

/// Names a client's connection to this broker. The driver chooses it, and must not use one twice within the life of a
/// machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionToken(pub u64);

/// How many heartbeats a session of the classic protocol is to hold, as clients are told.
pub(crate) const CLASSIC_BEATS_A_SESSION: u32 = 3;

/// How many gaps between heartbeats are remembered.
const GAPS_MAX: usize = 8;

/// What is known of a member's connection and rhythm. No record holds it: a new coordinator finds it out anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    connection: Option<ConnectionToken>,
    heard_at: Option<Monotonic>,
    /// Its last heartbeat, if nothing but heartbeats and commits has come since.
    beat_at: Option<Monotonic>,
    /// The latest gaps between its heartbeats.
    gaps: VecDeque<Duration>,
    /// When its connection closed, if nothing has come since.
    closed_at: Option<Monotonic>,
}

impl Presence {
    /// Takes note of a request by the member. Returns whether it came by another connection than the one before.
    pub(crate) fn hear(&mut self, connection: ConnectionToken, now: Monotonic) -> bool {
        self.heard_at = Some(now);
        self.closed_at = None;
        self.connection.replace(connection) != Some(connection)
    }

    /// The request was a heartbeat.
    pub(crate) fn beat(&mut self, now: Monotonic) {
        if let Some(before) = self.beat_at.replace(now) {
            if self.gaps.len() == GAPS_MAX {
                self.gaps.pop_front();
            }
            self.gaps.push_back(now - before);
        }
    }

    /// The request is one whose answer may take long, and no heartbeats come meanwhile.
    pub(crate) fn pause(&mut self) {
        self.beat_at = None;
    }

    /// The member's side has closed a connection. Returns whether that was the one by which it was last heard of.
    pub(crate) fn lose(&mut self, connection: ConnectionToken, now: Monotonic) -> bool {
        let is_its_own = self.connection == Some(connection) && self.closed_at.is_none();
        if is_its_own {
            self.closed_at = Some(now);
        }
        is_its_own
    }

    /// When the member counts as gone, unless it is heard of before; `None` while its connection is open.
    ///
    /// `grace` after the connection closed, and not before seven quarters of its longest gap have passed since it was
    /// heard of. A member that lives is heard of after one gap, or a little later if it has to dial first. Not two gaps,
    /// as the members of a group beat in step, since the moment at which they were all answered: what happens just before
    /// a beat is known to all others at once, what happens just after it only a whole gap later.
    ///
    /// As long as its rhythm is not known it is assumed to be `assumed`, what clients are told to keep.
    pub(crate) fn gone_at(&self, grace: Duration, assumed: Duration) -> Option<Monotonic> {
        let (closed_at, heard_at) = (self.closed_at?, self.heard_at?);
        let gap = self.gaps.iter().max().copied().unwrap_or(assumed);
        Some((closed_at + grace).max(heard_at + gap * 7 / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(3);
    const SESSION: Duration = Duration::from_secs(45);

    fn at_ms(ms: u64) -> Monotonic {
        Monotonic(0) + Duration::from_millis(ms)
    }

    /// A member that has sent a heartbeat at each of these times, in milliseconds.
    fn heard(beats: &[u64]) -> Presence {
        let mut presence = Presence::default();
        for &ms in beats {
            presence.hear(ConnectionToken(1), at_ms(ms));
            presence.beat(at_ms(ms));
        }
        presence
    }

    fn gone_at(presence: &Presence) -> Option<Monotonic> {
        presence.gone_at(GRACE, SESSION / CLASSIC_BEATS_A_SESSION)
    }

    #[test]
    fn an_open_connection_says_nothing() {
        let mut presence = heard(&[0, 3000, 6000]);

        assert_eq!(gone_at(&presence), None);
        assert!(!presence.lose(ConnectionToken(2), at_ms(7000)), "somebody else's");
        assert_eq!(gone_at(&presence), None);
    }

    #[test]
    fn it_is_gone_once_its_own_rhythm_is_broken() {
        let mut presence = heard(&[0, 3000, 6000]);

        assert!(presence.lose(ConnectionToken(1), at_ms(6500)));
        assert_eq!(gone_at(&presence), Some(at_ms(6000 + 5250)));
        assert!(!presence.lose(ConnectionToken(1), at_ms(9000)), "it closes once");

        assert!(presence.hear(ConnectionToken(2), at_ms(9500)), "it has come back");
        assert_eq!(gone_at(&presence), None);
    }

    #[test]
    fn however_fast_it_beats_it_may_come_back_within_the_grace() {
        let mut presence = heard(&[0, 100, 200]);

        presence.lose(ConnectionToken(1), at_ms(250));
        assert_eq!(gone_at(&presence), Some(at_ms(3250)));
    }

    #[test]
    fn what_is_not_known_of_its_rhythm_is_assumed_by_its_session() {
        let mut presence = heard(&[1000]);

        presence.lose(ConnectionToken(1), at_ms(1100));
        assert_eq!(gone_at(&presence), Some(at_ms(1000 + 26_250)));
    }

    #[test]
    fn waiting_for_others_is_no_gap_and_old_gaps_are_forgotten() {
        let mut presence = heard(&[0, 10_000]);
        presence.pause();
        for beat in 0..=GAPS_MAX as u64 {
            presence.beat(at_ms(60_000 + beat * 2000));
        }
        presence.hear(ConnectionToken(1), at_ms(76_000));

        presence.lose(ConnectionToken(1), at_ms(76_500));
        assert_eq!(gone_at(&presence), Some(at_ms(76_500 + 3000)), "only the gaps of two seconds count");
    }
}
