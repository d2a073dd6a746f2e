//! Transactions: the coordinator of one partition of `__transaction_state` (KIP-98, KIP-360, KIP-890).
//!
//! [`TransactionCoordinator`] is a replicated machine, one for each partition of `__transaction_state` that this broker leads. Each
//! `handle_…` looks at one transactional id and answers with a [`TransactionDecision`]: a record to append, and effects for
//! when it is committed – an answer to the client, or the markers to write into the partitions of a transaction that ends.
//!
//! ```text
//!                     a partition is added              EndTxn, time-out, InitProducerId
//!  Empty, Complete… ─────────────────────▶ Ongoing ──────────────────────────────────▶ PrepareCommit, PrepareAbort
//!        ▲                                                                                      │
//!        └───────────────────────────── all markers are written ────────────────────────────────┘
//! ```
//!
//! **The decision is the record.** Once PrepareCommit or PrepareAbort is committed the transaction has that outcome, whoever
//! coordinates it: a new coordinator sends the markers again ([`TransactionCoordinator::handle_loaded`]). Markers are written by
//! no other rule, so that no transaction is ever half of each.
//!
//! **What the log rebuilds** is what [`TransactionCoordinator::replay`] sets. The driver replays its own records when they are
//! appended; an answer goes out when its record, and all before it, are committed. Where Kafka answers CONCURRENT_TRANSACTIONS
//! while a record is on its way, this machine goes on from the state that the record makes: it loses its office together
//! with the record.
//!
//! **What no record rebuilds**: the last epoch that a producer may still name when it repeats an InitProducerId, and what is left of
//! the producer ids at hand.
//!
//! It deliberately does not know: who leads the partitions that markers go to, whether partitions exist, groups and their
//! offsets, authorisation.
//!
//! Reading order: [`settings`], [`effect`], `transaction`, [`coordinator`], `init_producer_id`, `partitions`, `end`, `expiry`,
//! `describe`, [`records`].

pub mod coordinator;
mod describe;
pub mod effect;
mod end;
mod expiry;
mod init_producer_id;
mod partitions;
pub mod records;
pub mod settings;
#[cfg(test)]
mod tests;
mod transaction;

pub use coordinator::TransactionCoordinator;
pub use describe::{TransactionDescription, TransactionFilter};
pub use effect::{
    Markers, PartitionErrors, Producer, TransactionDecision, TransactionEffect, TransactionReply,
};
pub use end::EndTransaction;
pub use init_producer_id::InitProducerId;
pub use settings::TransactionSettings;
pub use transaction::{ClientVersion, TransactionState};
