//! Groups: how their machine is driven ([`crate::coordination`]), and what only they have.
//!
//! Reading order: [`machine`], [`coordinators`].

pub mod coordinators;
pub mod machine;

pub use coordinators::GroupCoordinators;
