//! What drives the coordinators, of groups and of transactions: one shard for each partition of their topic that this broker
//! leads, and what is kept ready for those that it follows.
//!
//! Reading order: [`machine`], [`shard`], [`loading`], [`standby`], [`coordinators`].

pub mod coordinators;
pub mod loading;
pub mod machine;
pub mod shard;
pub(crate) mod standby;

pub use coordinators::Coordinators;
pub use machine::{Due, Machine};
pub use shard::Shard;
