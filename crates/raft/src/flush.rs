//! How much of the log is on disk.

use crate::effects::{Effect, Effects};
use crate::error::QuorumError;
use crate::log::ReplicatedLog;
use crate::quorum::Quorum;
use crate::role::Role;
use ottla_types::{Now, Offset};

/// What is durable, and what is on its way.
#[derive(Clone, Debug)]
pub(crate) struct FlushState {
    /// Everything before this is on disk.
    pub(crate) durable_end: Offset,
    /// What will be once the sync that was asked for is done. Lowered when the log is truncated meanwhile:
    /// what is appended after that is not what the sync wrote.
    in_flight: Option<Offset>,
}

impl FlushState {
    /// Nothing is known to be on disk from `start` on.
    pub(crate) fn new(start: Offset) -> FlushState {
        FlushState { durable_end: start, in_flight: None }
    }

    pub(crate) fn truncated_to(&mut self, end: Offset) {
        self.durable_end = self.durable_end.min(end);
        self.in_flight = self.in_flight.map(|in_flight| in_flight.min(end));
    }

    fn finished(&mut self, end: Offset) {
        if let Some(in_flight) = self.in_flight.take() {
            self.durable_end = self.durable_end.max(in_flight.min(end));
        }
    }
}

impl<L: ReplicatedLog> Quorum<L> {
    /// Asks for a sync if something is not on disk and none is under way; the one under way is followed by
    /// another, which takes along all that came meanwhile.
    pub(crate) fn flush(&mut self, effects: &mut Effects) {
        let end = self.log.end().offset;
        if self.flush.in_flight.is_none() && self.flush.durable_end < end {
            self.flush.in_flight = Some(end);
            effects.push(Effect::Flush { end });
        }
    }

    /// Hands in that a sync asked for by [`Effect::Flush`] is done.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_flushed(
        &mut self,
        durable_end: Offset,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        self.flush.finished(durable_end);
        assert!(self.flush.durable_end <= self.log.end().offset, "what is durable is in the log");
        match &self.role {
            Role::Leader(_) => self.advance_high_watermark(now, effects)?,
            Role::Follower(follower) if follower.is_flushing() => self.fetch_on(now, effects),
            _ => {}
        }
        self.flush(effects);
        self.announce(effects);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_counts_only_what_no_truncation_took_back() {
        let mut flush = FlushState::new(Offset(0));
        flush.in_flight = Some(Offset(100));

        flush.truncated_to(Offset(50));
        flush.finished(Offset(100));

        assert_eq!(flush.durable_end, Offset(50));
    }

    #[test]
    fn a_sync_that_nobody_asked_for_counts_nothing() {
        let mut flush = FlushState::new(Offset(0));

        flush.finished(Offset(100));

        assert_eq!(flush.durable_end, Offset(0));
    }
}
