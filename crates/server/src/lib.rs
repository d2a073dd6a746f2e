//! One process: a broker, a controller or both, from a `server.properties`.
//!
//! Here the machines of the lower layers meet the network, the disk and the clock. The quorum, the
//! controller and the broker's membership run on a runtime of one thread, which does no file I/O but the
//! metadata log's; records run on another.
//!
//! Reading order: [`config`], [`format`], [`directory`], [`node`], [`quorum`], [`broker`], [`replicas`],
//! [`fetching`], [`coordination`], [`groups`], [`transactions`], [`request`], [`handlers`], [`log_levels`], [`metrics`].

pub mod broker;
pub mod bug;
pub mod config;
pub mod coordination;
pub mod directory;
pub mod fetching;
pub mod format;
pub mod groups;
pub mod handlers;
pub mod io_pool;
pub mod log_levels;
pub mod metrics;
pub mod node;
pub mod quorum;
pub mod replicas;
pub mod request;
pub mod telemetry;
pub mod transactions;
#[cfg(test)]
mod year;

pub use config::{ConfigError, NodeConfig, Properties};
pub use node::{Node, StartError};
