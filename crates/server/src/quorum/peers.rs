//! Connections to the other members of the quorum: calls out, and what becomes of them.

use ottla_net::{CallError, Network, Outgoing, Task, task};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::ApiVersionsRequest;
use ottla_raft::wire::{self, WireContext};
use ottla_raft::{CallId, Endpoint, KRaftVersions, Request, Response};
use ottla_types::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What a peer's connection has to say.
#[derive(Debug)]
pub enum PeerEvent {
    /// A call was answered.
    Response(CallId, Response),
    /// A call will not be answered, which says nothing about the peer.
    Failed(CallId),
    /// The connection stands.
    Connected(NodeId),
    /// The peer closed the connection, and every call on it is lost.
    Closed(NodeId),
    /// Nobody listens there.
    Refused(NodeId),
    /// What a node can work with; `None` when it did not say.
    KRaftVersions(CallId, Option<KRaftVersions>),
}

/// Calls that may wait for a connection; further ones fail at once.
const QUEUE_MAX: usize = 256;

/// The feature that says whether the log names the voters.
const KRAFT_VERSION: &str = "kraft.version";

/// The version of ApiVersions that tells of features whose lowest level is 0; later ones name cluster and node.
const FEATURES_VERSION: i16 = 4;

/// All other members of the quorum, and whoever may tell who they are.
pub struct Peers {
    network: Arc<dyn Network>,
    context: Arc<WireContext>,
    client_id: Arc<str>,
    /// Where to ask while no voter is known, under names of their own.
    bootstrap: BTreeMap<NodeId, Endpoint>,
    timeout: Duration,
    events: Option<mpsc::Sender<PeerEvent>>,
    peers: BTreeMap<NodeId, Known>,
}

/// A peer that was called.
struct Known {
    endpoint: Endpoint,
    queue: mpsc::Sender<(CallId, Request)>,
    _task: Task,
}

impl Peers {
    /// No connections yet. `timeout` is `controller.quorum.request.timeout.ms`.
    pub fn new(
        network: Arc<dyn Network>,
        context: Arc<WireContext>,
        node_id: NodeId,
        bootstrap: BTreeMap<NodeId, Endpoint>,
        timeout: Duration,
    ) -> Peers {
        Peers {
            network,
            context,
            client_id: format!("raft-client-{node_id}").into(),
            bootstrap,
            timeout,
            events: None,
            peers: BTreeMap::new(),
        }
    }

    /// Says where events go. Before the first call.
    pub(super) fn report_to(&mut self, events: mpsc::Sender<PeerEvent>) {
        self.events = Some(events);
    }

    /// How others are reached.
    pub(super) fn network(&self) -> Arc<dyn Network> {
        self.network.clone()
    }

    /// What every message says besides.
    pub(super) fn context(&self) -> Arc<WireContext> {
        self.context.clone()
    }

    /// How long a request may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a request, dialling if need be. `endpoint` is where that node listens; of those to begin with it is
    /// known here.
    pub(super) fn send(&mut self, to: NodeId, endpoint: Option<Endpoint>, call: CallId, request: Request) {
        let events = self.events.clone().expect("`report_to` was called");
        let Some(endpoint) = endpoint.or_else(|| self.bootstrap.get(&to).cloned()) else {
            // It was forgotten meanwhile.
            if events.try_send(PeerEvent::Failed(call)).is_err() {
                tracing::warn!(peer = to.0, "too many quorum events");
            }
            return;
        };
        // Who listens elsewhere by now is called there; calls that are under way end with their connection.
        self.peers.retain(|&id, known| id != to || known.endpoint == endpoint);
        let Known { queue, .. } = self.peers.entry(to).or_insert_with(|| {
            let (sender, calls) = mpsc::channel(QUEUE_MAX);
            let peer = Peer {
                id: to,
                endpoint: endpoint.clone(),
                network: self.network.clone(),
                context: self.context.clone(),
                client_id: self.client_id.clone(),
                timeout: self.timeout,
                events: events.clone(),
            };
            Known { endpoint, queue: sender, _task: task::spawn("quorum peer", peer.run(calls)) }
        });
        if queue.try_send((call, request)).is_err() {
            // The peer has not taken 256 calls: this one fails like those will.
            if events.try_send(PeerEvent::Failed(call)).is_err() {
                tracing::warn!(peer = to.0, "too many quorum events");
            }
        }
    }
}

impl Peers {
    /// Asks a node that is no voter yet which kraft.versions it can work with.
    pub(super) fn ask_kraft_versions(&self, endpoint: Endpoint, call: CallId) {
        let events = self.events.clone().expect("`report_to` was called");
        let (network, client_id, timeout) = (self.network.clone(), self.client_id.clone(), self.timeout);
        // Not waited for: the answer comes back as an event, the machine has a limit of its own.
        task::detach("quorum newcomer", async move {
            let asking = async {
                let Endpoint { host, port } = &endpoint;
                let connection = Outgoing::connect(&*network, host, *port, client_id, timeout).await?;
                // A connection's first question is in a version that leaves out features with a level of 0.
                let question = ApiVersionsRequest {
                    client_software_name: "ottla".to_owned(),
                    client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..ApiVersionsRequest::default()
                };
                let version = connection.version::<ApiVersionsRequest>()?.min(FEATURES_VERSION);
                connection.call_version(&question, version, timeout).await
            };
            let versions = asking.await.ok().filter(|answer| answer.error_code == 0).map(|answer| {
                let known = answer.supported_features.iter().find(|feature| feature.name == KRAFT_VERSION);
                known.map_or(KRaftVersions::UNKNOWN, |feature| KRaftVersions {
                    min: feature.min_version,
                    max: feature.max_version,
                })
            });
            // An error means that the quorum has stopped.
            let _ = events.send(PeerEvent::KRaftVersions(call, versions)).await;
        });
    }
}

struct Peer {
    id: NodeId,
    endpoint: Endpoint,
    network: Arc<dyn Network>,
    context: Arc<WireContext>,
    client_id: Arc<str>,
    timeout: Duration,
    events: mpsc::Sender<PeerEvent>,
}

impl Peer {
    async fn run(self, mut calls: mpsc::Receiver<(CallId, Request)>) {
        while let Some((call, request)) = calls.recv().await {
            let connecting = Outgoing::connect(
                &*self.network,
                &self.endpoint.host,
                self.endpoint.port,
                self.client_id.clone(),
                self.timeout,
            );
            match connecting.await {
                Ok(connection) => {
                    self.report(PeerEvent::Connected(self.id)).await;
                    self.converse(Arc::new(connection), (call, request), &mut calls).await;
                }
                Err(CallError::Refused(_)) => self.report(PeerEvent::Refused(self.id)).await,
                // Accepted and then closed: nothing is known of who listens there. The machine dials again.
                Err(CallError::Closed) => self.report(PeerEvent::Closed(self.id)).await,
                Err(error) => {
                    tracing::debug!(peer = self.id.0, %error, "no connection");
                    self.report(PeerEvent::Failed(call)).await;
                }
            }
        }
    }

    /// Sends calls over one connection until it ends.
    async fn converse(
        &self,
        connection: Arc<Outgoing>,
        first: (CallId, Request),
        calls: &mut mpsc::Receiver<(CallId, Request)>,
    ) {
        let mut running = JoinSet::new();
        let mut is_foreign = false;
        let mut next = Some(first);
        loop {
            if let Some((id, request)) = next.take() {
                running.spawn(answer(connection.clone(), self.context.clone(), id, request, self.timeout));
            }
            tokio::select! {
                biased;
                Some(done) = running.join_next(), if !running.is_empty() => match done {
                    Ok((id, Ok(response))) => {
                        // Once for a connection, which is asked over and over.
                        let refused = response.error() == ottla_raft::ErrorCode::InconsistentClusterId;
                        if refused && !std::mem::replace(&mut is_foreign, true) {
                            self.tell_foreign();
                        }
                        self.report(PeerEvent::Response(id, response)).await;
                    }
                    // The end of the connection is told once, for all calls.
                    Ok((_, Err(CallError::Closed))) | Err(_) => {}
                    Ok((id, Err(error))) => {
                        tracing::debug!(peer = self.id.0, %error, "call failed");
                        self.report(PeerEvent::Failed(id)).await;
                    }
                },
                () = connection.closed() => {
                    self.report(PeerEvent::Closed(self.id)).await;
                    return;
                }
                call = calls.recv() => match call {
                    Some(call) => next = Some(call),
                    None => return,
                },
            }
        }
    }

    fn tell_foreign(&self) {
        tracing::error!(
            voter = self.id.0,
            address = %format_args!("{}:{}", self.endpoint.host, self.endpoint.port),
            cluster_id = self.context.cluster_id,
            "INCONSISTENT_CLUSTER_ID: this voter is not of the cluster that log.dirs was formatted for; name \
             this node's own directory in log.dirs, or that cluster's controllers in controller.quorum.voters or controller.quorum.bootstrap.servers"
        );
    }

    async fn report(&self, event: PeerEvent) {
        // An error means that the quorum has stopped, and this task with it.
        let _ = self.events.send(event).await;
    }
}

async fn answer(
    connection: Arc<Outgoing>,
    context: Arc<WireContext>,
    id: CallId,
    request: Request,
    timeout: Duration,
) -> (CallId, Result<Response, CallError>) {
    (id, exchange(&connection, &context, request, timeout).await)
}

async fn exchange(
    connection: &Outgoing,
    context: &WireContext,
    request: Request,
    timeout: Duration,
) -> Result<Response, CallError> {
    let malformed = |error: wire::Refusal| CallError::Malformed(error.to_string());
    match request {
        Request::Vote(request) => {
            let response = connection.call(&wire::vote_request_to_wire(&request, context), timeout).await?;
            wire::vote_response_from_wire(response).map(Response::Vote).map_err(malformed)
        }
        Request::BeginQuorumEpoch(request) => {
            let response = connection.call(&wire::begin_request_to_wire(&request, context), timeout).await?;
            wire::begin_response_from_wire(response).map(Response::BeginQuorumEpoch).map_err(malformed)
        }
        Request::EndQuorumEpoch(request) => {
            let response = connection.call(&wire::end_request_to_wire(&request, context), timeout).await?;
            wire::end_response_from_wire(response).map(Response::EndQuorumEpoch).map_err(malformed)
        }
        Request::Fetch(request) => {
            let wire_request = wire::fetch_request_to_wire(&request, context);
            let version = connection
                .version::<ottla_protocol::messages::fetch_request::FetchRequest>()
                .inspect_err(|_| tracing::warn!(api = ApiKey::Fetch.name(), "a voter does not serve it"))?;
            let response =
                connection.call_version(&wire_request, version, timeout + request.max_wait).await?;
            wire::fetch_response_from_wire(response, version).map(Response::Fetch).map_err(malformed)
        }
        Request::AddVoter(request) => {
            let request = wire::add_voter_request_to_wire(&request, timeout, context);
            let response = connection.call(&request, timeout).await?;
            Ok(Response::AddVoter(wire::add_voter_response_from_wire(response)))
        }
        Request::RemoveVoter(request) => {
            let request = wire::remove_voter_request_to_wire(&request, context);
            let response = connection.call(&request, timeout).await?;
            Ok(Response::RemoveVoter(wire::remove_voter_response_from_wire(response)))
        }
        Request::UpdateVoter(request) => {
            let request = wire::update_voter_request_to_wire(&request, context);
            let response = connection.call(&request, timeout).await?;
            Ok(Response::UpdateVoter(wire::update_voter_response_from_wire(response)))
        }
    }
}
