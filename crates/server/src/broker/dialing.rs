//! Asking the system, not the news, whether fellow brokers are there.
//!
//! A client that has lost a broker asks for another within a fraction of a millisecond: often before this broker has read
//! from its own connections what they would tell it. So before a client in that state is told where to go, whoever
//! would be named is dialled. A process that was killed refuses at once: of all its sockets, its listeners close first
//! ([`ottla_net::descriptors`]).

use super::Broker;
use ottla_types::NodeId;
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a dial may take: one that takes longer proves nothing.
const PATIENCE: Duration = Duration::from_millis(20);

impl Broker {
    /// Dials these brokers, but for those that are known to be gone and this one, and notes who refuses:
    /// [`Broker::is_nameable`] says so until they are heard of again. Takes 20 ms at most.
    pub async fn dial(&self, nodes: BTreeSet<NodeId>) {
        let image = self.image();
        let listener = &self.config.inter_broker_listener;
        let mut dials = JoinSet::new();
        for node in nodes.into_iter().filter(|&node| node != self.node_id && self.is_nameable(node)) {
            let Some(endpoint) = image.cluster.broker(node).and_then(|broker| broker.endpoint(listener))
            else {
                continue;
            };
            let (host, port) = (endpoint.host.clone(), endpoint.port);
            let network = self.controller.network();
            dials.spawn(async move {
                let dialled = tokio::time::timeout(PATIENCE, network.connect(&host, port)).await;
                let refuses = matches!(dialled, Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused);
                refuses.then_some(node)
            });
        }
        while let Some(dialled) = dials.join_next().await {
            if let Ok(Some(node)) = dialled {
                self.peers.refused(node);
            }
        }
    }
}
