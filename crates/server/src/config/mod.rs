//! `server.properties`: Kafka's names, from one table.
//!
//! Reading order: [`table`], [`properties`], [`listeners`], `consumer_groups`, [`node`].

mod consumer_groups;
pub mod listeners;
pub mod node;
pub mod properties;
pub mod table;

pub use listeners::ListenerConfig;
pub use node::{NodeConfig, ReplicaSelector, Roles, Voter};
pub use properties::{ConfigError, Properties};
