//! Who decides what the cluster knows: topics, brokers, in-sync sets, leaders.
//!
//! [`Controller`] is a replicated machine. Each `handle_…` looks at the image and answers with a
//! [`Decision`](ottla_types::Decision): records to append and the reply to send once they are committed.
//! Only [`Controller::replay`] changes what the log rebuilds; the driver calls it when the records are
//! *appended*, so that two requests in flight cannot both create a topic. On losing leadership the driver
//! drops the machine; a new one starts from the committed image.
//!
//! What no record rebuilds: the brokers' last known metadata offsets and shutdown requests
//! ([`brokers`]), and the failure [`detector`]'s view of connections.
//!
//! Reading order: [`controller`], [`assignment`], [`elections`], [`balancing`], [`brokers`], [`directories`], [`detector`],
//! [`topics`], [`placement`], [`partitions`], [`reassignment`], [`configs`], [`features`],
//! [`producer_ids`], [`bootstrap`].

pub mod assignment;
pub mod balancing;
pub mod bootstrap;
pub mod brokers;
mod bug;
pub mod configs;
pub mod controller;
pub mod detector;
pub mod directories;
pub mod elections;
pub mod features;
mod message;
pub mod partitions;
pub mod placement;
pub mod producer_ids;
pub mod reassignment;
#[cfg(test)]
mod simulation;
pub mod topics;

pub use controller::{Controller, Settings};
pub use detector::Detector;
