//! Programs of Apache Kafka's that live on brokers, each against three nodes, killed meanwhile, and judged here: Streams
//! ([`streams`]), Connect ([`connect`]) and MirrorMaker ([`mirrormaker`]).
//!
//! Reading order: [`program`] is which there are, [`jvm`] starts their processes, [`feed`] is what they have to do,
//! [`tally`] what came of it.

pub mod connect;
pub mod feed;
pub mod jvm;
pub mod mirrormaker;
pub mod program;
pub mod rest;
pub mod streams;
pub mod tally;

pub use program::{Program, show};
