//! Judges verdicts by the truth.

use super::SESSION;
use super::brokers::{Broker, Process};
use super::world::World;
use crate::detector::Cause;
use ottla_types::BrokerEpoch;
use std::time::Duration;

/// Who wakes in the last moment of its silence may open a connection first, and no dial may be under way.
const WAKING: Duration = Duration::from_millis(300);

impl World {
    pub(super) fn check_verdict(&mut self, id: i32, epoch: BrokerEpoch, cause: &Cause, story: &str) {
        let faulty = self.weather.loss > 0 || self.weather.partitions;
        let (now, awake) = (self.now, self.awake());
        let broker = self.brokers.get_mut(&id).unwrap();
        assert!(broker.epoch == epoch && !broker.fenced, "void: {story}");
        let again = broker.truth.condemned_at.replace(now);
        assert!(again.is_none_or(|before| now - before >= Duration::from_secs(1)), "twice: {story}");
        broker.truth.condemned_by = None;
        // A successor that is not registered is another process: the one of this epoch is dead.
        let dead = matches!(broker.process, Process::Dead | Process::Starting);
        match cause {
            Cause::Gone { .. } => {
                self.tally.gone += 1;
                assert!(dead, "it lives: {story}");
            }
            Cause::Left { .. } => {
                self.tally.left += 1;
                let frozen = broker.process == Process::Frozen;
                assert!(dead || frozen || faulty, "it lives: {story}");
            }
            Cause::Silent { .. } => {
                self.tally.silent += 1;
                let is_running = broker.process == Process::Running;
                let woke_just_now = now - broker.wakes_at < WAKING;
                self.tally.false_silent += u32::from(is_running && !woke_just_now);
                let over_at = silence_over_at(broker);
                broker.truth.stands_still = true;
                self.tally.suspected += u32::from(broker.truth.suspected.is_some());
                assert!(awake >= over_at, "at {awake:?} before {over_at:?}: {story}");
                let silence = awake.saturating_sub(broker.truth.last);
                assert!(!is_running || faulty || silence >= SESSION, "it answers: {story}");
            }
        }
    }

    pub(super) fn check_nobody_is_overdue(&self) {
        if self.now < self.busy_until {
            return;
        }
        for (id, broker) in &self.brokers {
            let truth = &broker.truth;
            assert!(
                truth.condemned_by.is_none_or(|by| self.now <= by),
                "seed {} at {:?}: {id} is dead and not condemned: {truth:?}",
                self.seed,
                self.now,
            );
            let is_known = truth.contacts > 0 || truth.suspected.is_some();
            let watched = !broker.fenced && is_known && truth.condemned_at.is_none();
            assert!(
                !watched || self.awake() <= silence_over_at(broker) + Duration::from_millis(1),
                "seed {} at {:?}: {id} is silent and not condemned: {truth:?}",
                self.seed,
                self.now,
            );
        }
    }
}

/// The rule of silence, from all contacts of a run shorter than the rule's five minutes.
pub(super) fn allowed(broker: &Broker) -> Duration {
    let truth = &broker.truth;
    let slow = broker.interval >= Duration::from_secs(1);
    let short = truth.last.saturating_sub(truth.first) < SESSION / 2;
    if truth.contacts < 3 || (slow && (short || truth.longest_gap >= Duration::from_secs(1))) {
        return SESSION;
    }
    let patience = 1 << truth.standstills.saturating_sub(1).min(10);
    ((truth.longest_gap * 4).max(Duration::from_secs(1)) * patience).min(SESSION)
}

/// When its silence is over the allowed, by the active controller's waking time.
pub(super) fn silence_over_at(broker: &Broker) -> Duration {
    let truth = &broker.truth;
    if let Some(over_at) = truth.suspected {
        return over_at;
    }
    let answered = truth.answered.map(|at| (at + allowed(broker)).min(truth.last + SESSION));
    (truth.last + allowed(broker)).max(answered.unwrap_or_default())
}
