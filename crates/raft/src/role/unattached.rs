//! A node that knows no leader in its epoch.
//!
//! A voter waits until it is time to campaign. An observer asks one voter after the other who leads.

use crate::effects::{CallId, Effects};
use crate::error::QuorumError;
use crate::log::ReplicatedLog;
use crate::quorum::Quorum;
use crate::role::Role;
use ottla_types::{Monotonic, NodeId, Now};
use std::time::Duration;

/// How long one voter is given to tell an observer who leads.
const PROBE_TIMEOUT: Duration = Duration::from_millis(250);

/// A node that knows no leader in its epoch.
#[derive(Clone, Debug)]
pub(crate) struct Unattached {
    /// When to campaign (a voter) or ask the next one (an observer); `None`: never, being shut down.
    pub(crate) act_at: Option<Monotonic>,
    /// The question that an observer waits for an answer to.
    pub(crate) probe: Option<(NodeId, CallId)>,
}

impl Unattached {
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        self.act_at
    }
}

impl<L: ReplicatedLog> Quorum<L> {
    pub(crate) fn unattached_timeout(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        let Role::Unattached(unattached) = &self.role else { return Ok(()) };
        if unattached.act_at.is_none_or(|at| at > now.monotonic) {
            return Ok(());
        }
        if self.may_campaign() {
            self.become_prospective(now, effects)
        } else {
            self.probe_next_voter(now, effects);
            Ok(())
        }
    }

    /// Asks a voter who leads, with a Fetch: whoever is asked names the leader, and the leader just answers.
    fn probe_next_voter(&mut self, now: Now, effects: &mut Effects) {
        let others = self.whom_to_ask();
        let Some(asked) = others.get(self.random.index(others.len())).copied() else {
            self.role = Role::Unattached(Unattached { act_at: None, probe: None });
            return;
        };
        let request = self.fetch_request();
        let call = self.send(asked, request, effects);
        self.role = Role::Unattached(Unattached {
            act_at: Some(now.monotonic + PROBE_TIMEOUT),
            probe: Some((asked, call)),
        });
    }

    /// Makes an observer ask the next voter, after a moment.
    pub(crate) fn probe_failed(&mut self, now: Now) {
        let pause = self.random.duration(Duration::from_millis(10), Duration::from_millis(30));
        if let Role::Unattached(unattached) = &mut self.role {
            unattached.probe = None;
            unattached.act_at = Some(now.monotonic + pause);
        }
    }
}
