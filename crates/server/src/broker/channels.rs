//! The way to other brokers: a connection to each, made when it is needed and kept.

use super::Broker;
use ottla_net::{CallError, Outgoing};
use ottla_protocol::Request;
use ottla_types::{BrokerEpoch, NodeId};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a broker may take to take up a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An open connection, with the registration of who is at its other end. Who needs one that is being made waits for it.
type Slot = Arc<tokio::sync::Mutex<Option<(BrokerEpoch, Arc<Outgoing>)>>>;

/// Connections for one purpose: answers come in the order of the questions, so that what may wait long has its own.
pub struct BrokerChannels {
    client_id: Arc<str>,
    slots: Mutex<BTreeMap<NodeId, Slot>>,
}

impl BrokerChannels {
    /// No connections yet. `client_id` is what the other brokers are told.
    pub fn new(client_id: String) -> BrokerChannels {
        BrokerChannels { client_id: client_id.into(), slots: Mutex::default() }
    }

    /// Sends a request to a broker, this one included, in the highest version that it serves.
    ///
    /// # Errors
    /// As [`Outgoing::call`]; [`CallError::Closed`] as soon as the cluster has given the broker up, whatever `timeout` says.
    pub async fn call<R: Request>(
        &self,
        broker: &Broker,
        to: NodeId,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, CallError> {
        let Some(epoch) = broker.image().cluster.broker(to).map(|registered| registered.epoch) else {
            return Err(CallError::Malformed(format!("broker {to} is not registered")));
        };
        let exchange = async {
            let connection = self.connection(broker, to, epoch).await?;
            connection.call(request, timeout).await
        };
        tokio::select! {
            biased;
            answer = exchange => answer,
            () = broker.has_gone(to, epoch) => Err(CallError::Closed),
        }
    }

    async fn connection(
        &self,
        broker: &Broker,
        to: NodeId,
        epoch: BrokerEpoch,
    ) -> Result<Arc<Outgoing>, CallError> {
        let slot = self.slots.lock().entry(to).or_default().clone();
        let mut known = slot.lock().await;
        if let Some((of, open)) = &*known
            && *of == epoch
            && !open.is_closed()
        {
            return Ok(open.clone());
        }
        *known = None;
        let image = broker.image();
        let listener = &broker.config.inter_broker_listener;
        let endpoint = image.cluster.broker(to).and_then(|registered| registered.endpoint(listener));
        let Some(endpoint) = endpoint else {
            return Err(CallError::Malformed(format!("broker {to} has no listener {listener}")));
        };
        let network = broker.controller.network();
        let client_id = self.client_id.clone();
        let open =
            Outgoing::connect(&*network, &endpoint.host, endpoint.port, client_id, CONNECT_TIMEOUT).await?;
        let open = Arc::new(open);
        *known = Some((epoch, open.clone()));
        Ok(open)
    }
}
