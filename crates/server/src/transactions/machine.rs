//! The transaction coordinator as its driver sees it.

use crate::broker::TRANSACTIONS_TOPIC;
use crate::coordination::{Due, Machine};
use bytes::Bytes;
use ottla_coordinator::ReplyToken;
use ottla_coordinator::transactions::{
    Markers, TransactionCoordinator, TransactionDecision, TransactionEffect, TransactionReply,
    TransactionSettings, records,
};
use ottla_protocol::records::transaction::TransactionRecord;
use ottla_protocol::{EncodeError, ErrorCode};
use ottla_types::{Monotonic, Now, ProducerId};
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};

/// What all coordinators of a broker are told.
#[derive(Clone, Debug, Default)]
pub struct MachineSettings {
    /// What configuration says.
    pub settings: TransactionSettings,
    /// The level of the feature `transaction.version`, as it changes.
    pub transaction_version: Arc<AtomicI16>,
}

/// A coordinator that looks at the level of `transaction.version` whenever it decides.
#[derive(Debug)]
pub struct TransactionMachine {
    coordinator: TransactionCoordinator,
    transaction_version: Arc<AtomicI16>,
}

impl TransactionMachine {
    /// The coordinator, which knows the present level.
    pub fn coordinator(&mut self) -> &mut TransactionCoordinator {
        self.coordinator.handle_transaction_version(self.level());
        &mut self.coordinator
    }

    fn level(&self) -> i16 {
        self.transaction_version.load(Ordering::Relaxed)
    }
}

impl Machine for TransactionMachine {
    const TOPIC: &'static str = TRANSACTIONS_TOPIC;
    const NAME: &'static str = "transaction coordinator";

    type Settings = MachineSettings;
    type Record = TransactionRecord;
    type Effect = TransactionEffect;
    type Reply = TransactionReply;
    type Work = Markers;

    /// Nothing is left to chance here.
    fn new(settings: &MachineSettings, _seed: u64) -> TransactionMachine {
        TransactionMachine {
            coordinator: TransactionCoordinator::new(settings.settings.clone()),
            transaction_version: settings.transaction_version.clone(),
        }
    }

    fn replay(&mut self, record: &TransactionRecord) {
        self.coordinator.replay(record);
    }

    /// Nobody writes to this log in a transaction.
    fn replay_transactional(&mut self, _producer_id: ProducerId, record: &TransactionRecord) {
        self.coordinator.replay(record);
    }

    fn replay_marker(&mut self, _producer_id: ProducerId, _committed: bool) {}

    fn replay_bytes(
        &mut self,
        key: Bytes,
        value: Option<Bytes>,
        _transaction: Option<ProducerId>,
    ) -> Result<(), String> {
        let record = TransactionRecord::decode(key, value).map_err(|error| error.to_string())?;
        self.coordinator.replay(&record);
        Ok(())
    }

    fn encode(&self, record: &TransactionRecord) -> Result<(Vec<u8>, Option<Vec<u8>>), EncodeError> {
        records::encode(record, self.level())
    }

    fn handle_loaded(&mut self, now: Now) -> TransactionDecision {
        self.coordinator().handle_loaded(now)
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.coordinator.deadline()
    }

    fn handle_timeout(&mut self, now: Now) -> TransactionDecision {
        self.coordinator().handle_timeout(now)
    }

    /// No request waits for another one's: who waits for a record hears it from the driver.
    fn resign(self) -> Vec<(ReplyToken, TransactionReply)> {
        Vec::new()
    }

    fn due(effect: TransactionEffect) -> Due<TransactionMachine> {
        match effect {
            TransactionEffect::Reply(token, reply) => Due::Reply(token, reply),
            TransactionEffect::WriteMarkers(markers) => Due::Work(markers),
        }
    }

    fn refuse(reply: TransactionReply, error: ErrorCode) -> TransactionReply {
        reply.into_error(error)
    }
}
