//! Asking the system, not the news, whether fellow brokers are there.
//!
//! A client that has lost a broker asks for another within a fraction of a millisecond: often before this broker has read
//! from its own connections what they would tell it. So before a client in that state is told where to go, whoever
//! would be named is dialled. A process that was killed refuses at once: of all its sockets, its listeners close first
//! ([`ottla_net::descriptors`]).

use super::Broker;
use ottla_net::network;
use ottla_types::{Monotonic, NodeId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex as Turn;
use tokio::task::JoinSet;

/// How long a dial may take: one that takes longer proves nothing.
const PATIENCE: Duration = Duration::from_millis(20);

/// When each peer was dialled last. A peer is dialled by one task at a time, and not again for those who asked before
/// that: however many clients ask at once, there are two dials.
#[derive(Debug, Default)]
pub(super) struct Dials(Mutex<BTreeMap<NodeId, Arc<Turn<Option<Monotonic>>>>>);

impl Dials {
    fn of(&self, peer: NodeId) -> Arc<Turn<Option<Monotonic>>> {
        self.0.lock().entry(peer).or_default().clone()
    }
}

impl Broker {
    /// Dials these brokers, but for this one, and notes who refuses: [`Broker::is_nameable`] says so until they are heard of
    /// again. Takes 20 ms at most.
    pub async fn dial(self: &Arc<Self>, nodes: BTreeSet<NodeId>) {
        let asked = self.clock.monotonic();
        let mut dials = JoinSet::new();
        for node in nodes.into_iter().filter(|&node| node != self.node_id) {
            let broker = self.clone();
            dials.spawn(async move { broker.dial_one(node, asked).await });
        }
        // What is not known by then is dropped, and with it the dial.
        let _ = tokio::time::timeout(PATIENCE, async { while dials.join_next().await.is_some() {} }).await;
    }

    async fn dial_one(&self, node: NodeId, asked: Monotonic) {
        let image = self.image();
        let listener = &self.config.inter_broker_listener;
        let Some(endpoint) = image.cluster.broker(node).and_then(|broker| broker.endpoint(listener)) else {
            return;
        };
        let turn = self.dials.of(node);
        let mut dialled_at = turn.lock().await;
        if dialled_at.is_some_and(|at| at > asked) {
            return;
        }
        *dialled_at = Some(self.clock.monotonic());
        match self.controller.network().connect(&endpoint.host, endpoint.port).await {
            Ok(stream) => {
                network::abandon(&*stream);
                self.peers.accepted(node);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.peers.refused(node),
            Err(error) => tracing::debug!(node = node.0, %error, "a dial proved nothing"),
        }
    }
}
