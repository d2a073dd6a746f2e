//! The group coordinator's driver: one shard for each partition of `__consumer_offsets` that this broker
//! leads.
//!
//! Reading order: [`shard`], [`loading`], [`standby`], [`coordinators`].

pub mod coordinators;
pub mod loading;
pub mod shard;
pub(crate) mod standby;

pub use coordinators::GroupCoordinators;
