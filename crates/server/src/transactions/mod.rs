//! Transactions: how their machine is driven ([`crate::coordination`]), and who writes the markers of those that end.
//!
//! Reading order: [`machine`], [`coordinators`], [`markers`].

pub mod coordinators;
pub mod machine;
pub mod markers;

pub use coordinators::TransactionCoordinators;
pub use machine::TransactionMachine;
pub use markers::MarkerQueue;
