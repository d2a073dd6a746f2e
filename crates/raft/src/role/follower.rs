//! A node that follows a leader: it fetches, one request at a time.

use crate::effects::{CallId, Effects};
use crate::error::QuorumError;
use crate::log::ReplicatedLog;
use crate::quorum::Quorum;
use crate::role::Role;
use crate::silence::{Silence, SilentLeader};
use ottla_types::{Monotonic, NodeId, Now};
use std::time::Duration;

/// A timer that fires later than this was held up by this very process, not by the leader.
const STALL: Duration = Duration::from_millis(100);

/// A node that follows a leader.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    pub(crate) leader: NodeId,
    pub(crate) fetching: Fetching,
    /// Since when the leader owes an answer; `None` while this node is busy with its own disk.
    pub(crate) waiting_since: Option<Monotonic>,
    pub(crate) silence: Silence,
    /// Whether the leader has answered with success, since this node follows it.
    pub(crate) has_fetched: bool,
    /// Whether the connection to the leader stands, as far as this node was told.
    pub(crate) is_connected: bool,
    /// How often the connection closed since the leader's last answer.
    pub(crate) closes: u32,
    /// When to ask the leader for a change of the voter set, if one is wanted.
    pub(crate) change_at: Monotonic,
    /// Whether the leader knows this node as the voter that it is, though the log does not name it.
    pub(crate) is_introduced: bool,
}

/// Where the one fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetching {
    /// Sent. If no answer came by then, it is sent again.
    InFlight { call: CallId, resend_at: Monotonic },
    /// It failed, and is sent again then.
    Paused { until: Monotonic },
    /// What the last one brought is being synced.
    Flushing,
    /// A snapshot is being fetched instead, by the driver.
    InstallingSnapshot,
}

impl Follower {
    /// Follows `leader`, to which nothing was sent yet.
    pub(crate) fn new(leader: NodeId, silence: Silence, now: Monotonic, change_after: Duration) -> Follower {
        Follower {
            leader,
            fetching: Fetching::Paused { until: now },
            waiting_since: None,
            silence,
            has_fetched: false,
            is_connected: true,
            closes: 0,
            change_at: now + change_after,
            is_introduced: false,
        }
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.fetching == Fetching::Flushing
    }

    pub(crate) fn is_in_flight(&self, call: CallId) -> bool {
        matches!(self.fetching, Fetching::InFlight { call: in_flight, .. } if in_flight == call)
    }

    fn silence_deadline(&self) -> Option<Monotonic> {
        self.waiting_since.map(|since| since + self.silence.limit())
    }

    fn as_silent(&self) -> Option<SilentLeader> {
        Some(SilentLeader { id: self.leader, since: self.waiting_since?, allowed: self.silence.limit() })
    }

    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let fetch = match self.fetching {
            Fetching::InFlight { resend_at, .. } => Some(resend_at),
            Fetching::Paused { until } => Some(until),
            Fetching::Flushing | Fetching::InstallingSnapshot => None,
        };
        fetch.into_iter().chain(self.silence_deadline()).min()
    }
}

impl<L: ReplicatedLog> Quorum<L> {
    pub(crate) fn follower_timeout(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        let grace = self.config.fetch_max_wait;
        let Role::Follower(follower) = &mut self.role else { return Ok(()) };
        if let Some(silent_at) = follower.silence_deadline().filter(|&at| at <= now.monotonic) {
            let late = now.monotonic - silent_at;
            if late <= STALL {
                self.silences = self.silences.saturating_add(1);
                self.silent_leader = follower.as_silent();
                self.lose_leader(now, effects);
                return Ok(());
            }
            // This process did not run: an answer may lie unread. Give it a moment to be handed in.
            follower.waiting_since = follower.waiting_since.map(|since| since + late + grace);
        }
        match follower.fetching {
            Fetching::InFlight { resend_at: at, .. } | Fetching::Paused { until: at }
                if at <= now.monotonic =>
            {
                self.fetch_on(now, effects);
            }
            _ => {}
        }
        self.ask_for_change(now, effects);
        Ok(())
    }

    /// Stops following a leader that is gone or silent, and campaigns within 10 ms (an observer asks
    /// around).
    pub(crate) fn lose_leader(&mut self, now: Now, effects: &mut Effects) {
        let wait = self.random.duration(Duration::ZERO, Duration::from_millis(10));
        self.become_unattached(wait, now, effects);
    }
}
