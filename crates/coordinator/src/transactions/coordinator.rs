//! The machine itself: its state, and the ways to move it.

use super::effect::{TransactionDecision, TransactionEffect};
use super::settings::TransactionSettings;
use super::transaction::{ClientVersion, Transaction, TransactionState};
use ottla_protocol::ErrorCode;
use ottla_protocol::records::transaction::TransactionRecord;
use ottla_types::{Monotonic, Now, ProducerId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How many producer ids are kept at hand.
const PRODUCER_IDS_AT_HAND: usize = 4;

/// Coordinates the transactions of one partition of `__transaction_state`, for one term of its leadership.
///
/// The driver first replays the partition from its start to its end, then calls [`TransactionCoordinator::handle_loaded`], then
/// hands in events one at a time. It must replay all records of a decision before it hands in the next event, and drop the
/// machine if an append fails.
#[derive(Debug)]
pub struct TransactionCoordinator {
    pub(super) settings: TransactionSettings,
    pub(super) transactions: BTreeMap<String, Transaction>,
    /// What transactions that the coordinator ends by itself are ended like: the level of `transaction.version`.
    pub(super) version: ClientVersion,
    /// Ids that no producer has had.
    producer_ids: VecDeque<ProducerId>,
    /// When to look for transactions that take too long. `None` until loaded.
    pub(super) abort_check: Option<Monotonic>,
    /// When to look for ids that nobody uses. `None` until loaded.
    pub(super) expiry_check: Option<Monotonic>,
    /// Records decided and not yet replayed.
    unreplayed: usize,
}

impl TransactionCoordinator {
    /// A coordinator that knows nothing yet.
    pub fn new(settings: TransactionSettings) -> TransactionCoordinator {
        TransactionCoordinator {
            settings,
            transactions: BTreeMap::new(),
            version: ClientVersion::default(),
            producer_ids: VecDeque::new(),
            abort_check: None,
            expiry_check: None,
            unreplayed: 0,
        }
    }

    /// The level of the feature `transaction.version` has changed.
    pub fn handle_transaction_version(&mut self, level: i16) {
        self.version = ClientVersion::from_level(level);
    }

    /// Here are ids that no producer has had.
    pub fn handle_producer_ids(&mut self, ids: impl IntoIterator<Item = ProducerId>) {
        self.producer_ids.extend(ids);
    }

    /// How many producer ids had better be fetched: without one a new producer is told to ask again.
    pub fn wanted_producer_ids(&self) -> usize {
        PRODUCER_IDS_AT_HAND.saturating_sub(self.producer_ids.len())
    }

    pub(super) fn take_producer_id(&mut self) -> Result<ProducerId, ErrorCode> {
        self.producer_ids.pop_front().ok_or(ErrorCode::CoordinatorLoadInProgress)
    }

    /// Applies a record: one of the log, while loading, or one of a decision. One with a status that no log has is skipped.
    pub fn replay(&mut self, record: &TransactionRecord) {
        self.unreplayed = self.unreplayed.saturating_sub(1);
        let TransactionRecord::TransactionLog(key, value) = record;
        let id = &key.transactional_id;
        match value {
            Some(value) => {
                if let Some(transaction) = Transaction::from_record(value, self.transactions.get(id)) {
                    self.transactions.insert(id.clone(), transaction);
                }
            }
            None => {
                self.transactions.remove(id);
            }
        }
    }

    /// The log is replayed: what was decided and perhaps not told to all partitions is told again.
    pub fn handle_loaded(&mut self, now: Now) -> TransactionDecision {
        self.abort_check = Some(now.monotonic + self.settings.abort_interval);
        self.expiry_check = Some(now.monotonic + self.settings.id_expiration_interval);
        let mut decision = TransactionDecision::none();
        for (id, transaction) in &mut self.transactions {
            if transaction.state.is_ending() {
                decision.replies.push(TransactionEffect::WriteMarkers(transaction.markers(id)));
            } else if transaction.state == TransactionState::Ongoing {
                transaction.due = Some(now.monotonic + remaining(transaction, now));
            }
        }
        decision
    }

    /// When [`TransactionCoordinator::handle_timeout`] is to be called if nothing happens before.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.abort_check.into_iter().chain(self.expiry_check).min()
    }

    /// How many transactional ids there are.
    pub fn transactional_ids_count(&self) -> usize {
        self.transactions.len()
    }

    /// Decides by what a transactional id is to become: its record, and what follows when that is committed.
    pub(super) fn become_and(
        &mut self,
        transactional_id: &str,
        transaction: &Transaction,
        effect: Option<TransactionEffect>,
    ) -> TransactionDecision {
        self.decided(1);
        if let Some(known) = self.transactions.get_mut(transactional_id) {
            // What no record says: replay keeps it.
            known.last_epoch = transaction.last_epoch;
            known.due = transaction.due;
        }
        let mut decision = TransactionDecision::none();
        decision.records.push(transaction.record(transactional_id));
        decision.replies.extend(effect);
        decision
    }

    /// Remembers how many records must be replayed before the next decision.
    pub(super) fn decided(&mut self, records: usize) {
        assert_eq!(self.unreplayed, 0, "a decision's records are replayed before the next event");
        self.unreplayed = records;
    }
}

/// How long a transaction may still take, by the time of day that its record has: what went by until now, but not more than its
/// whole time-out should the clocks differ.
fn remaining(transaction: &Transaction, now: Now) -> Duration {
    let timeout = i64::from(transaction.timeout_ms.max(0));
    let passed = now.wall.0.saturating_sub(transaction.started_at.0).max(0);
    Duration::from_millis(timeout.saturating_sub(passed).max(0).unsigned_abs())
}
