//! The way to the active controller: one connection, made anew whenever the controller moves.

use crate::quorum::{Leadership, QuorumHandle};
use ottla_net::{CallError, Network, Outgoing};
use ottla_protocol::{ErrorCode, Request};
use ottla_types::NodeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// How long a call to the controller may take, finding it included.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before trying again when there is no sign of what changed.
const BACKOFF: Duration = Duration::from_millis(20);

/// No active controller answered in time.
#[derive(Debug)]
pub struct ControllerUnreachable {
    last: Option<CallError>,
}

impl fmt::Display for ControllerUnreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last {
            Some(error) => write!(f, "the active controller cannot be reached: {error}"),
            None => f.write_str("the active controller cannot be reached: none is known"),
        }
    }
}

impl std::error::Error for ControllerUnreachable {}

/// Calls the active controller. Clones share the connection.
#[derive(Clone)]
pub struct ControllerChannel {
    inner: Arc<Inner>,
}

struct Inner {
    network: Arc<dyn Network>,
    client_id: Arc<str>,
    leadership: watch::Receiver<Leadership>,
    connection: Mutex<Option<(NodeId, Arc<Outgoing>)>>,
}

impl ControllerChannel {
    /// A channel that follows the quorum's leadership.
    pub fn new(network: Arc<dyn Network>, node_id: NodeId, quorum: &QuorumHandle) -> ControllerChannel {
        ControllerChannel {
            inner: Arc::new(Inner {
                network,
                client_id: format!("broker-{node_id}").into(),
                leadership: quorum.leadership(),
                connection: Mutex::new(None),
            }),
        }
    }

    /// How other nodes are reached.
    pub fn network(&self) -> Arc<dyn Network> {
        self.inner.network.clone()
    }

    /// Who leads, now and whenever that changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// The quorum's kraft.version, as this node knows it.
    pub fn kraft_version(&self) -> i16 {
        self.inner.leadership.borrow().kraft_version
    }

    /// Calls whoever is the active controller, and whoever becomes it meanwhile.
    ///
    /// # Errors
    /// When none answered within [`PATIENCE`]. The request may have been carried out.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, ControllerUnreachable>
    where
        R::Response: TopLevelError,
    {
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        let mut leadership = self.inner.leadership.clone();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ControllerUnreachable { last });
            }
            let asked = leadership.borrow_and_update().leader.as_ref().map(|(id, _)| *id);
            let answer = tokio::select! {
                biased;
                answer = self.call_once(request, left) => answer,
                // Whoever led before may be frozen, and say nothing for as long as it is.
                () = another_leads(leadership.clone(), asked) => continue,
            };
            match answer {
                Ok(Some(response)) if response.is_not_controller() => {}
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
            // Try again at once when the leadership moves, else shortly.
            let pause = tokio::time::timeout(BACKOFF.min(left), leadership.changed());
            if let Ok(Err(_)) = pause.await {
                return Err(ControllerUnreachable { last });
            }
        }
    }

    /// The connection to the active controller, if one is known and answers.
    pub async fn connection(&self, timeout: Duration) -> Result<Option<(NodeId, Arc<Outgoing>)>, CallError> {
        let leader = self.inner.leadership.borrow().leader.clone();
        let Some((id, endpoint)) = leader else { return Ok(None) };
        let mut connection = self.inner.connection.lock().await;
        if let Some((to, open)) = &*connection
            && *to == id
            && !open.is_closed()
        {
            return Ok(Some((id, open.clone())));
        }
        *connection = None;
        let client_id = self.inner.client_id.clone();
        let open = Outgoing::connect(&*self.inner.network, &endpoint.host, endpoint.port, client_id, timeout)
            .await?;
        let open = Arc::new(open);
        *connection = Some((id, open.clone()));
        Ok(Some((id, open)))
    }

    async fn call_once<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> Result<Option<R::Response>, CallError> {
        let Some((_, connection)) = self.connection(timeout).await? else { return Ok(None) };
        connection.call(request, timeout).await.map(Some)
    }
}

/// Waits until the active controller is known, and is not `asked`.
async fn another_leads(mut leadership: watch::Receiver<Leadership>, asked: Option<NodeId>) {
    let is_another = |known: &Leadership| known.leader.as_ref().is_some_and(|(id, _)| Some(*id) != asked);
    if leadership.wait_for(is_another).await.is_err() {
        // The quorum has stopped: whoever asks hears that from its own answer, or from its time-out.
        std::future::pending::<()>().await;
    }
}

/// Answers by which a node says that it is not the active controller.
pub trait TopLevelError {
    /// Returns whether the question must be put to another node.
    fn is_not_controller(&self) -> bool;
}

fn is_not_controller(code: i16) -> bool {
    code == ErrorCode::NotController.code()
}

/// What the quorum itself says, rather than its controller.
fn is_not_leader(code: i16) -> bool {
    code == ErrorCode::NotLeaderOrFollower.code()
}

mod answers {
    use super::{TopLevelError, is_not_controller, is_not_leader};
    use ottla_protocol::messages as m;

    impl TopLevelError for m::BrokerRegistrationResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::BrokerHeartbeatResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::AlterPartitionResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::AssignReplicasToDirsResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::AllocateProducerIdsResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::ControllerRegistrationResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::AlterPartitionReassignmentsResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::ListPartitionReassignmentsResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::AddRaftVoterResponse {
        fn is_not_controller(&self) -> bool {
            is_not_leader(self.error_code)
        }
    }

    impl TopLevelError for m::RemoveRaftVoterResponse {
        fn is_not_controller(&self) -> bool {
            is_not_leader(self.error_code)
        }
    }

    impl TopLevelError for m::UpdateFeaturesResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::UnregisterBrokerResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::ElectLeadersResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
        }
    }

    impl TopLevelError for m::DescribeQuorumResponse {
        fn is_not_controller(&self) -> bool {
            is_not_controller(self.error_code)
                || self.topics.iter().flat_map(|t| &t.partitions).any(|p| p.error_code == 6)
        }
    }

    impl TopLevelError for m::CreateTopicsResponse {
        fn is_not_controller(&self) -> bool {
            self.topics.iter().any(|topic| is_not_controller(topic.error_code))
        }
    }

    impl TopLevelError for m::DeleteTopicsResponse {
        fn is_not_controller(&self) -> bool {
            self.responses.iter().any(|topic| is_not_controller(topic.error_code))
        }
    }

    impl TopLevelError for m::CreatePartitionsResponse {
        fn is_not_controller(&self) -> bool {
            self.results.iter().any(|topic| is_not_controller(topic.error_code))
        }
    }

    impl TopLevelError for m::AlterConfigsResponse {
        fn is_not_controller(&self) -> bool {
            self.responses.iter().any(|resource| is_not_controller(resource.error_code))
        }
    }

    impl TopLevelError for m::IncrementalAlterConfigsResponse {
        fn is_not_controller(&self) -> bool {
            self.responses.iter().any(|resource| is_not_controller(resource.error_code))
        }
    }
}
