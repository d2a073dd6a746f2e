//! Topics are described here and changed by the controller.

pub mod alter_configs;
mod broker_loggers;
pub mod describe_configs;
pub mod describe_topic_partitions;
pub mod forwarded;
pub mod list_config_resources;
pub mod log_dirs;
pub mod reassignments;
