//! One transactional id: who its producer is, and what its transaction has come to.

use super::effect::{Markers, Producer};
use super::records;
use ottla_protocol::records::transaction::{TransactionLogValue, TransactionRecord};
use ottla_types::{Monotonic, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use std::collections::BTreeSet;

/// The last epoch that a producer is given: the one after it is kept to fence who has it.
const EPOCH_MAX: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// What a transaction has come to. The numbers and names are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionState {
    /// The producer has begun no transaction since it was initialised.
    Empty,
    /// Partitions take part in it.
    Ongoing,
    /// It is committed; not all of its partitions know.
    PrepareCommit,
    /// It is aborted; not all of its partitions know.
    PrepareAbort,
    /// It was committed.
    CompleteCommit,
    /// It was aborted.
    CompleteAbort,
}

impl TransactionState {
    /// All of them.
    pub const ALL: [TransactionState; 6] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
    ];

    /// The number in records.
    pub fn code(self) -> i8 {
        match self {
            TransactionState::Empty => 0,
            TransactionState::Ongoing => 1,
            TransactionState::PrepareCommit => 2,
            TransactionState::PrepareAbort => 3,
            TransactionState::CompleteCommit => 4,
            TransactionState::CompleteAbort => 5,
        }
    }

    /// The state of a record; `None` for Dead and PrepareEpochFence, which no log has.
    pub fn from_code(code: i8) -> Option<TransactionState> {
        TransactionState::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The name that administrators read.
    pub fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether it is decided, and being told to the partitions.
    pub fn is_ending(self) -> bool {
        matches!(self, TransactionState::PrepareCommit | TransactionState::PrepareAbort)
    }

    /// Whether a transaction is under way or ending.
    pub fn is_open(self) -> bool {
        self == TransactionState::Ongoing || self.is_ending()
    }
}

/// Whether a client ends each transaction with an epoch of its own (KIP-890), as its EndTxn said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientVersion {
    /// EndTxn before version 5: the epoch stays until the producer is initialised again.
    #[default]
    EpochStays,
    /// EndTxn from version 5 on, `transaction.version` 2: the epoch is bumped at each end, so that what comes late is fenced.
    EpochBumps,
}

impl ClientVersion {
    /// The level of `transaction.version` in records.
    pub fn level(self) -> i16 {
        match self {
            ClientVersion::EpochStays => 0,
            ClientVersion::EpochBumps => 2,
        }
    }

    /// What a level of `transaction.version` means.
    pub fn from_level(level: i16) -> ClientVersion {
        if level >= 2 { ClientVersion::EpochBumps } else { ClientVersion::EpochStays }
    }

    pub(super) fn bumps(self) -> bool {
        self == ClientVersion::EpochBumps
    }
}

/// A transactional id's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    /// Who may write. While a transaction of a client whose epoch bumps is ending: already with the next epoch.
    pub(super) producer: Producer,
    /// The id before this one, whose epochs are used up.
    pub(super) previous_producer_id: ProducerId,
    /// The id after this one, when the transaction that is ending has used up its epochs.
    pub(super) next_producer_id: ProducerId,
    /// The epoch before, when its owner may not have learnt of the next one: it may ask again. In no record.
    pub(super) last_epoch: ProducerEpoch,
    pub(super) timeout_ms: i32,
    pub(super) state: TransactionState,
    /// Who takes part; as it ends, who has yet to be told.
    pub(super) partitions: BTreeSet<TopicPartition>,
    /// When the transaction began; none before the first.
    pub(super) started_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) client_version: ClientVersion,
    /// When it is aborted if it is still open. In no record.
    pub(super) due: Option<Monotonic>,
}

impl Transaction {
    /// Of a producer that has done nothing yet.
    pub(super) fn new(producer: Producer, timeout_ms: i32, now: Timestamp) -> Transaction {
        Transaction {
            producer,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            last_epoch: ProducerEpoch::NONE,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            started_at: Timestamp::NONE,
            updated_at: now,
            client_version: ClientVersion::default(),
            due: None,
        }
    }

    /// What a record says; `None` when its status is none that a log has. `before` is what was known.
    pub(super) fn from_record(
        value: &TransactionLogValue,
        before: Option<&Transaction>,
    ) -> Option<Transaction> {
        let producer =
            Producer { id: ProducerId(value.producer_id), epoch: ProducerEpoch(value.producer_epoch) };
        let mut transaction = Transaction::new(
            producer,
            value.transaction_timeout_ms,
            Timestamp(value.transaction_last_update_timestamp_ms),
        );
        transaction.state = TransactionState::from_code(value.transaction_status)?;
        transaction.previous_producer_id = ProducerId(value.previous_producer_id);
        transaction.next_producer_id = ProducerId(value.next_producer_id);
        transaction.partitions = records::partitions(value);
        transaction.started_at = Timestamp(value.transaction_start_timestamp_ms);
        transaction.client_version = ClientVersion::from_level(value.client_transaction_version);
        if let Some(before) = before {
            transaction.last_epoch = before.last_epoch;
            transaction.due = before.due;
        }
        Some(transaction)
    }

    /// The record of this state.
    pub(super) fn record(&self, transactional_id: &str) -> TransactionRecord {
        records::state(transactional_id, self)
    }

    /// Whether no epoch is left for a producer after this one.
    pub(super) fn is_exhausted(&self) -> bool {
        is_exhausted(self.producer.epoch)
    }

    /// Aborted by the coordinator, under an epoch that nobody is ever told: whoever has the id now is fenced.
    pub(super) fn fenced(&self, version: ClientVersion, now: Timestamp) -> Transaction {
        Transaction {
            producer: Producer { epoch: next(self.producer.epoch), ..self.producer },
            last_epoch: ProducerEpoch::NONE,
            next_producer_id: ProducerId::NONE,
            state: TransactionState::PrepareAbort,
            client_version: version,
            updated_at: now,
            ..self.clone()
        }
    }

    /// Who the producer is once the transaction that is ending has ended.
    pub(super) fn next_producer(&self) -> Producer {
        if self.next_producer_id == ProducerId::NONE {
            self.producer
        } else {
            Producer { id: self.next_producer_id, epoch: ProducerEpoch(0) }
        }
    }

    /// The markers of a transaction that is ending.
    pub(super) fn markers(&self, transactional_id: &str) -> Markers {
        Markers {
            transactional_id: transactional_id.to_owned(),
            producer: self.producer,
            committed: self.state == TransactionState::PrepareCommit,
            partitions: self.partitions.clone(),
            transaction_version: if self.client_version.bumps() { 2 } else { 0 },
        }
    }
}

/// Whether no epoch is left after this one.
pub(super) fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch >= EPOCH_MAX
}

/// The epoch after this one.
pub(super) fn next(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}
