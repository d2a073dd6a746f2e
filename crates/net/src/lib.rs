//! Listeners, connections and outgoing calls: the asynchronous edge towards the network.
//!
//! Turns sockets into frames and back, in order, with every queue bounded. It knows Kafka's framing and
//! headers, but no API: what a request means is its [`Service`]'s business.
//!
//! Reading order: [`clock`], [`task`], [`network`], [`descriptors`], [`listener`], [`connection`], `outbox`, [`sendfile`],
//! [`outgoing`].

pub mod clock;
pub mod connection;
pub mod descriptors;
pub mod listener;
pub mod network;
mod outbox;
pub mod outgoing;
pub mod sendfile;
pub mod task;

pub use clock::Clock;
pub use connection::{AnsweredIn, Closed, ConnectionId, ConnectionInfo, Limits, Service, Software, Started};
pub use listener::{ConnectionQuota, Listener};
pub use network::{Network, Stream, Tcp};
pub use outgoing::{CallError, Outgoing};
pub use task::Task;
