//! One connection to each address, made when first needed and again when lost.

use crate::config::{ClientConfig, HostPort};
use ottla_net::{CallError, Network, Outgoing};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where a connection is or will be. Whoever needs it first makes it; the others wait.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Outgoing>>>>;

/// The connections of a client.
pub struct Connections {
    network: Arc<dyn Network>,
    client_id: Arc<str>,
    timeout: Duration,
    slots: Mutex<BTreeMap<HostPort, Slot>>,
}

impl Connections {
    /// No connections yet.
    pub fn new(config: &ClientConfig) -> Connections {
        Connections {
            network: config.network.clone(),
            client_id: config.client_id.clone(),
            timeout: config.request_timeout,
            slots: Mutex::default(),
        }
    }

    /// The connection to `address`.
    ///
    /// # Errors
    /// When there is none and none can be made.
    pub async fn to(&self, address: &HostPort) -> Result<Arc<Outgoing>, CallError> {
        let slot = self.slots.lock().entry(address.clone()).or_default().clone();
        let mut connection = slot.lock().await;
        if let Some(open) = connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        *connection = None;
        let client_id = self.client_id.clone();
        let open =
            Outgoing::connect(&*self.network, &address.host, address.port, client_id, self.timeout).await?;
        let open = Arc::new(open);
        *connection = Some(open.clone());
        Ok(open)
    }
}
