//! What the detector asks of its driver.

use super::{Cause, Evidence, ProbeEndpoint};
use ottla_types::{BrokerEpoch, NodeId};
use std::time::Duration;

/// Names a dial; chosen by the detector, handed back with its outcome. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetectorEffect {
    /// Open a new connection, ask ApiVersions on it, close it, and report the outcome, no later than after
    /// `timeout`, with `handle_probe_result`. The connection is not a contact.
    Probe {
        /// To be handed back.
        id: ProbeId,
        /// Whom it concerns, for logs.
        broker: NodeId,
        /// Which incarnation, for logs.
        epoch: BrokerEpoch,
        /// Where to dial.
        endpoint: ProbeEndpoint,
        /// From the dial to the answer.
        timeout: Duration,
    },
    /// Fence this incarnation. Void when another one is registered by then. It is asked for again when the
    /// registration is still unfenced a second later and nothing has been heard.
    Fence {
        /// Whom.
        broker: NodeId,
        /// Which incarnation.
        epoch: BrokerEpoch,
        /// By which rule, as a line of the story.
        cause: Cause,
        /// What was seen.
        evidence: Evidence,
    },
}
