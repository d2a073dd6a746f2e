//! What a node tells of itself to whoever watches it: counts and levels in Prometheus' text, and whether it lives and serves.
//!
//! Names are those under which Kafka's metrics are usually exported, so that dashboards and alerts made for Kafka go on
//! working. Nothing is kept for the sake of it but counts: levels are read when they are asked for.
//!
//! Reading order: [`traffic`], [`histogram`], [`request_times`], [`observed`], `levels`, `clients`, `process`, [`http`].

mod clients;
pub mod histogram;
pub mod http;
mod levels;
pub mod observed;
mod process;
pub mod request_times;
pub mod traffic;

pub use histogram::Histogram;
pub use observed::Observed;
pub use request_times::RequestTimes;
pub use traffic::Traffic;
