//! A Kafka client: administration, producing, consuming.
//!
//! It speaks to any cluster that speaks Kafka's protocol, and prints nothing. Every call has a deadline,
//! every queue a bound, and every record that is sent an answer of its own, so that a tool or a test can see
//! what became of it. It deliberately has no transactions and no background thread: a client lives on its
//! caller's runtime and ends when it is dropped.
//!
//! Reading order: [`config`], [`error`], [`connections`], `hedge`, [`metadata`], [`client`]; then [`admin`],
//! [`producer`], [`consumer`]; and [`quorum`], which asks controllers instead of brokers, with
//! [`tail`].

pub mod admin;
pub mod client;
pub mod config;
pub mod connections;
pub mod consumer;
pub mod error;
mod hedge;
pub mod metadata;
pub mod producer;
pub mod quorum;
pub mod tail;

pub use admin::Admin;
pub use client::Client;
pub use config::{ClientConfig, HostPort};
pub use consumer::Consumer;
pub use error::ClientError;
pub use metadata::Metadata;
pub use producer::Producer;
pub use quorum::Quorum;
pub use tail::MetadataTail;
