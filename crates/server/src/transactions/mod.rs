//! Transactions: how their machine is driven ([`crate::coordination`]), and who writes the markers of those that end, and
//! who asks before one begins in a partition.
//!
//! Reading order: [`machine`], [`coordinators`], [`markers`], [`verifier`].

pub mod coordinators;
pub mod machine;
pub mod markers;
pub mod verifier;

pub use coordinators::TransactionCoordinators;
pub use machine::TransactionMachine;
pub use markers::MarkerQueue;
