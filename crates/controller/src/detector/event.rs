//! What the detector is told.

use ottla_metadata::cluster::BrokerRegistration;
use ottla_types::{BrokerEpoch, Monotonic, NodeId};
use std::fmt;
use std::time::Duration;

/// Names a connection that this node has with a broker's process. Chosen by the driver, never used again
/// for another one, opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionRef(pub u64);

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The other side: the end of its stream, or a reset, was received.
    Peer,
    /// This node: it was idle, broke a rule, or nothing was acknowledged in time. Proves nothing.
    Us,
}

/// What is behind an endpoint of a broker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// A listener of the broker.
    Broker,
    /// The quorum's listener, of a process that is broker and controller.
    Quorum,
}

/// Where a broker's process can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeEndpoint {
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
    /// What listens there.
    pub kind: EndpointKind,
}

impl fmt::Display for ProbeEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A broker as the cluster's image has it, as far as the detector cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its `node.id`.
    pub broker: NodeId,
    /// Which incarnation.
    pub epoch: BrokerEpoch,
    /// Where its process can be dialled; the first [`ENDPOINTS_MAX`] count.
    pub endpoints: Vec<ProbeEndpoint>,
    /// Fenced brokers are not judged.
    pub fenced: bool,
    /// It is known to heartbeat as Ottla does: every 200 ms, and at once to a new controller. When that is
    /// not known its contacts are watched for longer before less than a session of silence counts.
    pub is_ottla: bool,
}

/// Whoever led the quorum before this node, and was given up because it said nothing for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilentController {
    /// Whose process it is; its broker's too, if it has that role.
    pub node: NodeId,
    /// When the quorum last heard it, by this node's clock.
    pub heard_at: Monotonic,
    /// The silence that the quorum allowed it, by what it heard of it before.
    pub allowed: Duration,
}

/// How many endpoints of a broker are dialled.
pub const ENDPOINTS_MAX: usize = 8;

impl Registration {
    /// The registration in an image, by a broker of which nothing more is known. The driver adds the
    /// quorum's endpoint where one process has both roles.
    pub fn from_image(broker: &BrokerRegistration) -> Registration {
        let endpoints = broker.endpoints.iter().map(|endpoint| ProbeEndpoint {
            host: endpoint.host.clone(),
            port: endpoint.port,
            kind: EndpointKind::Broker,
        });
        Registration {
            broker: broker.id,
            epoch: broker.epoch,
            endpoints: endpoints.collect(),
            fenced: broker.fenced,
            is_ottla: false,
        }
    }
}

/// What became of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The host refused the connection: nobody listens there.
    Refused,
    /// The connection was accepted, then closed without an answer. A proxy does that, and a process that is
    /// about to die.
    AcceptedThenClosed,
    /// ApiVersions was answered.
    Answered {
        /// The answer does not name another cluster.
        cluster_matches: bool,
        /// The node it names; `None` when it names none (brokers older than ApiVersions 5). Then it counts
        /// as alive, but proves no endpoint.
        node_id: Option<NodeId>,
    },
    /// No connection, or no answer, within the probe's time-out.
    TimedOut,
    /// No route, no such host, no descriptor left: whatever else went wrong on the way.
    Unreachable,
}

impl fmt::Display for ProbeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeOutcome::Refused => f.write_str("refused"),
            ProbeOutcome::AcceptedThenClosed => f.write_str("accepted, then closed"),
            ProbeOutcome::Answered { cluster_matches: false, .. } => {
                f.write_str("answered for another cluster")
            }
            ProbeOutcome::Answered { node_id: Some(node), .. } => write!(f, "answered as node {node}"),
            ProbeOutcome::Answered { node_id: None, .. } => f.write_str("answered without a name"),
            ProbeOutcome::TimedOut => f.write_str("timed out"),
            ProbeOutcome::Unreachable => f.write_str("was unreachable"),
        }
    }
}
