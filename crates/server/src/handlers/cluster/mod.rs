//! What a client asks first: who is there, and what they can do.

pub mod api_versions;
pub mod describe_cluster;
pub mod metadata;
pub mod raft_voters;
pub mod telemetry;
pub mod unregister_broker;
pub mod update_features;
