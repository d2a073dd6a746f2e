//! Consumer groups and their offsets.

pub mod consumer_groups;
pub mod find_coordinator;
pub mod membership;
pub mod offsets;
pub mod overview;
pub mod txn_offset_commit;
