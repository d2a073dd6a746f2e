//! Topics are described here and changed by the controller.

pub mod describe_configs;
pub mod describe_topic_partitions;
pub mod forwarded;
pub mod log_dirs;
pub mod reassignments;
