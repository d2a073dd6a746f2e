//! The parts of a node that are watched.

use super::levels::Levels;
use crate::broker::Broker;
use crate::broker::lifecycle::Standing;
use crate::quorum::QuorumHandle;
use ottla_metadata::MetadataImage;
use ottla_types::NodeId;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// The broker of a node, and where it stands.
pub(crate) struct ObservedBroker {
    pub(crate) broker: Arc<Broker>,
    pub(crate) standing: watch::Receiver<Standing>,
}

/// A node as it is watched.
pub struct Observed {
    pub(crate) node_id: NodeId,
    pub(crate) is_controller: bool,
    pub(crate) quorum: QuorumHandle,
    pub(crate) image: watch::Receiver<Arc<MetadataImage>>,
    pub(crate) broker: Option<ObservedBroker>,
}

impl Observed {
    /// Returns whether the node can do its work at all; where it cannot, only another process helps.
    pub fn is_live(&self) -> bool {
        self.broker.as_ref().is_none_or(|observed| !observed.broker.replicas.directories().is_given_up())
    }

    /// Why the node does not serve at the moment; `None` when it does: as a broker, when clients are told of it; as a
    /// controller, when it knows who leads the quorum.
    pub fn unready(&self) -> Option<&'static str> {
        if self.quorum.leadership().borrow().leader.is_none() {
            return Some("the quorum has no leader that this node knows");
        }
        let observed = self.broker.as_ref()?;
        match *observed.standing.borrow() {
            Standing::Starting => Some("not registered yet"),
            Standing::Fenced => Some("fenced"),
            Standing::Released => Some("stopping"),
            Standing::Active if observed.broker.replicas.is_cut_off() => Some("cut off from the controllers"),
            Standing::Active => None,
        }
    }

    /// All that can be said in numbers, in the text format of OpenMetrics.
    pub async fn text(self: &Arc<Self>) -> Result<String, fmt::Error> {
        let high_watermark = self.quorum.high_watermark().await;
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Levels::new(self.clone(), high_watermark)));
        let mut page = String::new();
        text::encode(&mut page, &registry)?;
        Ok(page)
    }
}
