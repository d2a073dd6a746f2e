//! Records go in and come out.

pub mod delete_records;
pub mod errors;
pub mod fetch;
pub(crate) mod leader_hint;
pub mod list_offsets;
pub mod offset_for_leader_epoch;
pub mod produce;
mod transactional;
