//! Time: transactions that take too long are aborted, ids that nobody uses are forgotten.

use super::TransactionCoordinator;
use super::effect::{TransactionDecision, TransactionEffect};
use super::records;
use super::transaction::{Transaction, TransactionState};
use ottla_types::Now;

impl TransactionCoordinator {
    /// Does what is due. Too early is harmless.
    pub fn handle_timeout(&mut self, now: Now) -> TransactionDecision {
        let mut decision = TransactionDecision::none();
        if self.abort_check.is_some_and(|check| check <= now.monotonic) {
            self.abort_check = Some(now.monotonic + self.settings.abort_interval);
            self.abort_overdue(now, &mut decision);
        }
        if self.expiry_check.is_some_and(|check| check <= now.monotonic) {
            self.expiry_check = Some(now.monotonic + self.settings.id_expiration_interval);
            self.expire(now, &mut decision);
        }
        self.decided(decision.records.len());
        decision
    }

    /// Aborts what takes too long, and fences its producer.
    fn abort_overdue(&mut self, now: Now, decision: &mut TransactionDecision) {
        let version = self.version;
        let overdue = |transaction: &Transaction| {
            transaction.state == TransactionState::Ongoing
                && transaction.due.is_some_and(|due| due <= now.monotonic)
        };
        for (id, transaction) in self.transactions.iter_mut().filter(|(_, transaction)| overdue(transaction))
        {
            let aborted = transaction.fenced(version, now.wall);
            transaction.last_epoch = aborted.last_epoch;
            decision.records.push(aborted.record(id));
            decision.replies.push(TransactionEffect::WriteMarkers(aborted.markers(id)));
        }
    }

    /// Forgets ids with which nothing was done for a long time.
    fn expire(&self, now: Now, decision: &mut TransactionDecision) {
        let age_max = i64::try_from(self.settings.id_expiration.as_millis()).unwrap_or(i64::MAX);
        for (id, transaction) in &self.transactions {
            let age = now.wall.0.saturating_sub(transaction.updated_at.0);
            if !transaction.state.is_open() && age >= age_max {
                decision.records.push(records::tombstone(id));
            }
        }
    }
}
