//! What clients see of the coordinator, and what the log holds of it.

mod bench;
mod client;
mod disconnects;
mod golden;
mod hostile;
mod offsets;
mod simulation;
mod states;
mod static_members;
mod stories;
mod transactional;
