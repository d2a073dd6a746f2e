//! Which fellow brokers have closed all their connections to this one.
//!
//! A broker that is killed is known to its peers at once: the system closes its connections. Until the
//! controller has drawn its conclusions, this broker does not name such a peer to clients as a leader: one
//! stale answer costs a client up to a second.

use ottla_metadata::ClusterImage;
use ottla_net::ConnectionId;
use ottla_types::{BrokerEpoch, NodeId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;

/// A connection with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Connection {
    /// The peer's, to fetch from here.
    Inbound(ConnectionId),
    /// Ours, to fetch from there.
    Outbound,
}

/// The connections with all peers.
#[derive(Debug)]
pub struct PeerConnections {
    open: Mutex<BTreeMap<NodeId, BTreeSet<Connection>>>,
    changed: watch::Sender<()>,
}

impl Default for PeerConnections {
    fn default() -> Self {
        PeerConnections { open: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl PeerConnections {
    /// Somebody has sent a request by this connection and says that it is this incarnation of a peer. Any client can
    /// say so: what is not registered does not count, or clients could fill the memory with names, and one that is
    /// mistaken could have a peer taken for lost by closing its connection.
    pub fn inbound(
        &self,
        cluster: &ClusterImage,
        peer: NodeId,
        epoch: BrokerEpoch,
        connection: ConnectionId,
    ) {
        if cluster.broker(peer).is_some_and(|registered| registered.epoch == epoch) {
            self.opened(peer, Connection::Inbound(connection));
        }
    }

    /// A connection of somebody's has ended.
    pub fn inbound_closed(&self, connection: ConnectionId) {
        let mut open = self.open.lock();
        let mut lost = false;
        for connections in open.values_mut() {
            lost |= connections.remove(&Connection::Inbound(connection)) && connections.is_empty();
        }
        drop(open);
        if lost {
            self.changed.send_replace(());
        }
    }

    /// The connection to a peer stands.
    pub fn outbound(&self, peer: NodeId) {
        self.opened(peer, Connection::Outbound);
    }

    /// The connection to a peer has ended.
    pub fn outbound_closed(&self, peer: NodeId) {
        let mut open = self.open.lock();
        let lost = open
            .get_mut(&peer)
            .is_some_and(|connections| connections.remove(&Connection::Outbound) && connections.is_empty());
        drop(open);
        if lost {
            self.changed.send_replace(());
        }
    }

    /// A peer refuses connections: those that it had are closed, whether we have read so or not.
    pub fn refused(&self, peer: NodeId) {
        let was_open = self.open.lock().insert(peer, BTreeSet::new()).is_none_or(|open| !open.is_empty());
        if was_open {
            self.changed.send_replace(());
        }
    }

    /// A peer accepts connections: whatever it had, it is there.
    pub fn accepted(&self, peer: NodeId) {
        let mut open = self.open.lock();
        if open.get(&peer).is_some_and(BTreeSet::is_empty) {
            open.remove(&peer);
            drop(open);
            self.changed.send_replace(());
        }
    }

    /// Forgets what is known of all but these peers: of those that have left, and of those that were registered anew.
    pub fn retain(&self, is_the_same: impl Fn(NodeId) -> bool) {
        self.open.lock().retain(|&peer, _| is_the_same(peer));
    }

    /// Returns whether a peer had connections and has none left.
    pub fn is_lost(&self, peer: NodeId) -> bool {
        self.open.lock().get(&peer).is_some_and(BTreeSet::is_empty)
    }

    /// Changes when a peer is lost or heard of again.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn opened(&self, peer: NodeId, connection: Connection) {
        let mut open = self.open.lock();
        let connections = open.entry(peer).or_default();
        let was_lost = connections.is_empty();
        if connections.insert(connection) && was_lost {
            drop(open);
            self.changed.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::{MetadataDelta, MetadataImage};
    use ottla_protocol::records::metadata::{MetadataRecord, RegisterBrokerRecord};

    const EPOCH: BrokerEpoch = BrokerEpoch(41);

    /// Broker 2 is registered.
    fn cluster() -> ClusterImage {
        let record = RegisterBrokerRecord { broker_id: 2, broker_epoch: EPOCH.0, ..Default::default() };
        let mut image = MetadataImage::default();
        image.replay(&MetadataRecord::RegisterBroker(record), &mut MetadataDelta::default()).unwrap();
        (*image.cluster).clone()
    }

    #[test]
    fn who_only_says_that_it_is_a_peer_is_none() {
        let peers = PeerConnections::default();
        let claims = [(NodeId(3), EPOCH), (NodeId(2), BrokerEpoch(40)), (NodeId(2), BrokerEpoch::NONE)];
        for (peer, epoch) in claims {
            peers.inbound(&cluster(), peer, epoch, ConnectionId(7));
            assert!(peers.open.lock().is_empty(), "{peer} {epoch}");

            peers.inbound_closed(ConnectionId(7));
            assert!(!peers.is_lost(peer), "{peer} {epoch}");
        }
    }

    #[test]
    fn a_peer_is_lost_with_the_last_of_its_connections() {
        let peers = PeerConnections::default();
        let peer = NodeId(2);
        assert!(!peers.is_lost(peer), "never heard of");

        peers.outbound(peer);
        peers.inbound(&cluster(), peer, EPOCH, ConnectionId(7));
        peers.inbound_closed(ConnectionId(7));
        assert!(!peers.is_lost(peer));

        peers.outbound_closed(peer);
        assert!(peers.is_lost(peer));

        peers.inbound(&cluster(), peer, EPOCH, ConnectionId(8));
        assert!(!peers.is_lost(peer));
    }

    #[test]
    fn a_peer_that_refuses_is_lost_until_it_is_heard_of() {
        let peers = PeerConnections::default();
        let peer = NodeId(2);
        peers.outbound(peer);
        let mut changes = peers.changes();

        peers.refused(peer);
        assert!(peers.is_lost(peer));
        assert!(changes.has_changed().unwrap());

        changes.mark_unchanged();
        peers.refused(peer);
        assert!(!changes.has_changed().unwrap(), "no news");

        peers.inbound(&cluster(), peer, EPOCH, ConnectionId(8));
        assert!(!peers.is_lost(peer));
    }

    /// A peer with which this broker shares no partition fetches nothing here, and is fetched from by nobody.
    #[test]
    fn a_peer_without_connections_that_refused_is_found_again() {
        let peers = PeerConnections::default();
        let peer = NodeId(2);

        peers.refused(peer);
        assert!(peers.is_lost(peer));
        peers.accepted(peer);
        assert!(!peers.is_lost(peer));

        peers.refused(peer);
        peers.retain(|_| true);
        assert!(peers.is_lost(peer));
        peers.retain(|_| false);
        assert!(!peers.is_lost(peer), "its next incarnation");
    }
}
