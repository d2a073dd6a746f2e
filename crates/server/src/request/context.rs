//! What is known of a request besides its body.

use ottla_net::ConnectionInfo;
use std::sync::Arc;

/// A request's surroundings.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The connection it came by.
    pub connection: Arc<ConnectionInfo>,
    /// Its number on the connection, from 1.
    pub number: u64,
    /// The version it is in.
    pub version: i16,
    /// What the client calls itself; empty when it does not.
    pub client_id: String,
}

impl RequestContext {
    /// The name of the listener it came in by.
    pub fn listener(&self) -> &str {
        &self.connection.listener
    }

    /// The client's address in Kafka's form: `/127.0.0.1`.
    pub fn client_host(&self) -> String {
        format!("/{}", self.connection.peer.ip())
    }

    /// Waits until another request arrives behind this one on its connection.
    pub async fn superseded(&self) {
        self.connection.superseded(self.number).await;
    }
}
