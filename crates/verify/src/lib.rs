//! Histories of what clients saw, and the checkers that judge them.
//!
//! A workload writes records that say who they are ([`Stamp`]), and notes what it was told ([`History`]). Afterwards
//! somebody reads all partitions to their ends, and [`judge`] compares: every acknowledged record must be there, once,
//! in order, unchanged, where it was said to be; and whatever a consumer has read must be there still. [`Commits`] does
//! the same for the offsets that groups commit, [`Transactions`] for what belongs together.
//!
//! Nothing here knows a cluster: the same judges are used for simulations, for real processes, and for any other
//! Kafka.
//!
//! Reading order: [`stamp`], [`history`], [`judge`], [`commits`], [`transactions`].

pub mod commits;
pub mod history;
pub mod judge;
pub mod stamp;
pub mod transactions;

pub use commits::{CommitViolation, Commits};
pub use history::{Guarantee, History, Outcome};
pub use judge::{Verdict, Violation, judge};
pub use stamp::{Spoilt, Stamp};
pub use transactions::{Ended, TransactionViolation, Transactions};
