//! Asking whether fellow brokers are there, instead of relying on the news.
//!
//! A client that has lost a broker asks for another within a fraction of a millisecond: often before this broker has read
//! from its own connections what they would tell it. So before a client is told where to go, whoever would be named is
//! dialled and asked who it is. A process that was killed refuses at once: of all its sockets, its listeners close first
//! ([`ottla_net::descriptors`]). One that is frozen or cut off says nothing. The controller needs a second to be sure of that,
//! and a client that was sent there meanwhile would wait for a time-out of its own, ten times as long; so it is not
//! named until something is heard of it.

use super::Broker;
use ottla_net::{CallError, Outgoing};
use ottla_protocol::ErrorCode;
use ottla_types::{Monotonic, NodeId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex as Turn;
use tokio::task::JoinSet;

/// How long an answer may take. Whoever takes longer, and sends nothing else meanwhile, is silent: a mistake costs a
/// client the time until something comes.
const PATIENCE: Duration = Duration::from_millis(50);

/// When each peer was asked last. A peer is asked by one task at a time, and not again for those who wanted to know before
/// that: however many clients ask at once, there are two questions.
#[derive(Debug, Default)]
pub(super) struct Dials(Mutex<BTreeMap<NodeId, Arc<Turn<Option<Monotonic>>>>>);

impl Dials {
    fn of(&self, peer: NodeId) -> Arc<Turn<Option<Monotonic>>> {
        self.0.lock().entry(peer).or_default().clone()
    }
}

impl Broker {
    /// Asks these brokers, but for this one, whether they are there, and notes who refuses or does not answer:
    /// [`Broker::is_nameable`] says so until they are there again. Takes a fifth of a second at most, and as long again behind
    /// somebody else who asks.
    pub async fn ask(self: &Arc<Self>, nodes: BTreeSet<NodeId>) {
        let asked = self.clock.monotonic();
        let mut questions = JoinSet::new();
        for node in nodes.into_iter().filter(|&node| node != self.node_id) {
            let broker = self.clone();
            questions.spawn(async move { broker.ask_one(node, asked).await });
        }
        while questions.join_next().await.is_some() {}
    }

    async fn ask_one(&self, node: NodeId, asked: Monotonic) {
        let image = self.image();
        let listener = &self.config.inter_broker_listener;
        let Some(endpoint) = image.cluster.broker(node).and_then(|broker| broker.endpoint(listener)) else {
            return;
        };
        let turn = self.dials.of(node);
        let mut asked_at = turn.lock().await;
        if asked_at.is_some_and(|at| at > asked) {
            return;
        }
        *asked_at = Some(self.clock.monotonic());
        let before = self.peers.contacts(node);
        let network = self.controller.network();
        let question =
            || Outgoing::identify(&*network, &endpoint.host, endpoint.port, &self.cluster_id, node, PATIENCE);
        let mut answer = question().await;
        if matches!(answer, Err(CallError::Closed)) {
            // Who waited at a door that was about to be shut is sent away without a word, and refused from then on.
            answer = question().await;
        }
        match answer {
            Ok(ErrorCode::None) => self.peers.accepted(node),
            Err(CallError::Refused(_)) => self.peers.refused(node),
            Err(CallError::TimedOut(_)) => self.peers.silent_since(node, before),
            other => tracing::debug!(node = node.0, ?other, "an answer that proved nothing"),
        }
    }
}
