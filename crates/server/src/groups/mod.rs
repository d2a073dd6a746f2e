//! Groups: how their machine is driven ([`crate::coordination`]), and what only they have.
//!
//! Reading order: [`machine`], [`coordinators`], [`topics`].

pub mod coordinators;
pub mod machine;
pub mod topics;

pub use coordinators::GroupCoordinators;
