//! What administrators ask of a cluster.
//!
//! Reading order: [`topics`], [`reassignments`], [`configs`], [`groups`], [`records`], [`cluster`], [`features`], [`transactions`].

pub mod cluster;
pub mod configs;
pub mod features;
pub mod groups;
pub mod places;
pub mod reassignments;
pub mod records;
pub mod topics;
pub mod transactions;

use crate::client::{Client, Topics};
use crate::error::ClientError;
use ottla_net::CallError;
use ottla_protocol::Request;
use ottla_types::NodeId;

/// Asks on an administrator's behalf. Clones share a client.
#[derive(Clone)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// An administrator who uses this client's connections.
    pub fn new(client: Client) -> Admin {
        Admin { client }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks any broker, again if none answers. Not for what must not be done twice.
    async fn ask<R: Request>(&self, what: &'static str, request: &R) -> Result<R::Response, ClientError> {
        self.client.retry(what, || async { self.client.call_any(request).await }).await
    }

    /// As [`Admin::ask`]; `None` when the broker does not serve this API at all.
    async fn ask_if_served<R: Request>(
        &self,
        what: &'static str,
        request: &R,
    ) -> Result<Option<R::Response>, ClientError> {
        match self.ask(what, request).await {
            Ok(answer) => Ok(Some(answer)),
            Err(ClientError::Unreachable { source: CallError::Unsupported { .. }, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks one broker, again if it does not answer.
    async fn ask_broker<R: Request>(
        &self,
        what: &'static str,
        broker: NodeId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let attempt = || async {
            if !self.client.metadata().brokers.contains_key(&broker) {
                self.client.refresh(Topics::Named(&[])).await?;
            }
            if !self.client.metadata().brokers.contains_key(&broker) {
                return Err(ClientError::no_such_node(broker));
            }
            self.client.call(broker, request).await
        };
        self.client.retry(what, attempt).await
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
