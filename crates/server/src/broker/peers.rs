//! Which fellow brokers have closed all their connections to this one, or do not answer it.
//!
//! A broker that is killed is known to its peers at once: the system closes its connections. One that is frozen or cut off
//! is known when it is asked ([`super::dialing`]). Until the controller has drawn its conclusions, this broker does not
//! name such a peer to clients as a leader: one stale answer costs a client a second, or a time-out of its own.

use ottla_metadata::ClusterImage;
use ottla_net::{Clock, ConnectionId};
use ottla_types::{BrokerEpoch, Monotonic, NodeId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;

/// How long a broker goes on fetching that stops, at the longest.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A connection with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Connection {
    /// The peer's, to fetch from here.
    Inbound(ConnectionId),
    /// Ours, to fetch from there.
    Outbound,
}

/// What is known of a peer.
#[derive(Debug, Default)]
struct Peer {
    open: BTreeSet<Connection>,
    /// How often something came from it.
    contacts: u64,
    /// When something came last, or a connection ended.
    heard_at: Option<Monotonic>,
    /// It was asked and did not answer, and nothing came from it since.
    is_silent: bool,
    /// When it was asked and nobody listened there. One that stops in order goes on fetching meanwhile: that it is heard of
    /// proves nothing for a while, only that it answers.
    refused_at: Option<Monotonic>,
}

impl Peer {
    fn is_lost(&self) -> bool {
        self.open.is_empty() || self.is_silent || self.refused_at.is_some()
    }

    /// Something came from it.
    fn is_heard(&mut self, now: Monotonic) {
        self.contacts = self.contacts.wrapping_add(1);
        self.is_silent = false;
        self.heard_at = Some(now);
        self.refused_at = self.refused_at.filter(|&at| now - at < STOP_MAX);
    }

    /// A connection has ended. A process that ends says so by that.
    fn closes(&mut self, connection: Connection, now: Monotonic) {
        if self.open.remove(&connection) {
            self.heard_at = Some(now);
        }
    }
}

/// The connections with all peers.
#[derive(Debug)]
pub struct PeerConnections {
    clock: Clock,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    changed: watch::Sender<()>,
}

impl PeerConnections {
    /// Nobody is known.
    pub fn new(clock: Clock) -> PeerConnections {
        PeerConnections { clock, peers: Mutex::default(), changed: watch::Sender::new(()) }
    }

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
            self.heard_by(peer, Connection::Inbound(connection));
        }
    }

    /// A connection of somebody's has ended.
    pub fn inbound_closed(&self, connection: ConnectionId) {
        let now = self.clock.monotonic();
        self.change(|peers| {
            for peer in peers.values_mut() {
                peer.closes(Connection::Inbound(connection), now);
            }
        });
    }

    /// The connection to a peer stands, or has brought something.
    pub fn outbound(&self, peer: NodeId) {
        self.heard_by(peer, Connection::Outbound);
    }

    /// The connection to a peer has ended.
    pub fn outbound_closed(&self, peer: NodeId) {
        let now = self.clock.monotonic();
        self.change(|peers| {
            if let Some(known) = peers.get_mut(&peer) {
                known.closes(Connection::Outbound, now);
            }
        });
    }

    /// A peer refuses connections: it has ended, whether we have read so or not, or is about to. It counts as lost until it
    /// answers, is registered anew, or is still heard of when it would have stopped.
    pub fn refused(&self, peer: NodeId) {
        let now = self.clock.monotonic();
        self.change(|peers| {
            let known = peers.entry(peer).or_default();
            known.open.clear();
            known.refused_at = Some(now);
        });
    }

    /// A peer has answered a question: whatever it had, it is there.
    pub fn accepted(&self, peer: NodeId) {
        let now = self.clock.monotonic();
        self.change(|peers| {
            if let Some(known) = peers.get_mut(&peer) {
                known.is_heard(now);
                known.refused_at = None;
                if known.open.is_empty() {
                    peers.remove(&peer);
                }
            }
        });
    }

    /// When something came from a peer last, or a connection with it ended; `None` if that never happened.
    pub fn heard_at(&self, peer: NodeId) -> Option<Monotonic> {
        self.peers.lock().get(&peer)?.heard_at
    }

    /// How often something came from a peer, for [`PeerConnections::silent_since`].
    pub fn contacts(&self, peer: NodeId) -> u64 {
        self.peers.lock().get(&peer).map_or(0, |known| known.contacts)
    }

    /// A peer does not answer. If nothing else came from it either since so many contacts, it counts as lost until
    /// something does.
    pub fn silent_since(&self, peer: NodeId, contacts: u64) {
        self.change(|peers| {
            let known = peers.entry(peer).or_default();
            known.is_silent |= known.contacts == contacts;
        });
    }

    /// Forgets what is known of all but these peers: of those that have left, and of those that were registered anew.
    pub fn retain(&self, is_the_same: impl Fn(NodeId) -> bool) {
        self.peers.lock().retain(|&peer, _| is_the_same(peer));
    }

    /// Returns whether a peer had connections and has none left, or is silent, or refuses them.
    pub fn is_lost(&self, peer: NodeId) -> bool {
        self.peers.lock().get(&peer).is_some_and(Peer::is_lost)
    }

    /// Returns whether a peer was asked, did not answer, and has sent nothing since.
    pub fn is_silent(&self, peer: NodeId) -> bool {
        self.peers.lock().get(&peer).is_some_and(|known| known.is_silent)
    }

    /// Changes when a peer is lost or heard of again.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn heard_by(&self, peer: NodeId, connection: Connection) {
        let now = self.clock.monotonic();
        let mut peers = self.peers.lock();
        let is_new = !peers.contains_key(&peer);
        let known = peers.entry(peer).or_default();
        let was_lost = is_new || known.is_lost();
        known.is_heard(now);
        known.open.insert(connection);
        drop(peers);
        if was_lost {
            self.changed.send_replace(());
        }
    }

    /// Changes what is known, and says so when somebody is lost by it, or is no longer.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<NodeId, Peer>)) {
        let lost = |peers: &BTreeMap<NodeId, Peer>| -> Vec<NodeId> {
            peers.iter().filter(|(_, known)| known.is_lost()).map(|(&peer, _)| peer).collect()
        };
        let mut peers = self.peers.lock();
        let before = lost(&peers);
        change(&mut peers);
        let has_changed = lost(&peers) != before;
        drop(peers);
        if has_changed {
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
        let peers = PeerConnections::new(Clock::new());
        let claims = [(NodeId(3), EPOCH), (NodeId(2), BrokerEpoch(40)), (NodeId(2), BrokerEpoch::NONE)];
        for (peer, epoch) in claims {
            peers.inbound(&cluster(), peer, epoch, ConnectionId(7));
            assert!(peers.peers.lock().is_empty(), "{peer} {epoch}");

            peers.inbound_closed(ConnectionId(7));
            assert!(!peers.is_lost(peer), "{peer} {epoch}");
        }
    }

    #[test]
    fn a_peer_is_lost_with_the_last_of_its_connections() {
        let peers = PeerConnections::new(Clock::new());
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
    fn a_peer_that_refuses_is_lost_until_it_answers() {
        let peers = PeerConnections::new(Clock::new());
        let peer = NodeId(2);
        peers.outbound(peer);
        let mut changes = peers.changes();

        peers.refused(peer);
        assert!(peers.is_lost(peer));
        assert!(changes.has_changed().unwrap());

        changes.mark_unchanged();
        peers.refused(peer);
        assert!(!changes.has_changed().unwrap(), "no news");

        // It stops in order, and fetches meanwhile.
        peers.inbound(&cluster(), peer, EPOCH, ConnectionId(8));
        peers.outbound(peer);
        assert!(peers.is_lost(peer));

        peers.accepted(peer);
        assert!(!peers.is_lost(peer));
        assert!(changes.has_changed().unwrap());
    }

    /// A peer with which this broker shares no partition fetches nothing here, and is fetched from by nobody.
    #[test]
    fn a_peer_without_connections_that_refused_is_found_again() {
        let peers = PeerConnections::new(Clock::new());
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

    #[test]
    fn a_peer_that_does_not_answer_is_lost_until_something_comes() {
        let peers = PeerConnections::new(Clock::new());
        let peer = NodeId(2);
        peers.silent_since(peer, 0);
        assert!(peers.is_lost(peer), "never heard of");

        peers.inbound(&cluster(), peer, EPOCH, ConnectionId(7));
        let before = peers.contacts(peer);
        peers.outbound(peer);
        peers.silent_since(peer, before);
        assert!(!peers.is_lost(peer), "it said something else");

        let mut changes = peers.changes();
        peers.silent_since(peer, peers.contacts(peer));
        assert!(peers.is_lost(peer));
        assert!(changes.has_changed().unwrap());

        changes.mark_unchanged();
        peers.inbound(&cluster(), peer, EPOCH, ConnectionId(7));
        assert!(!peers.is_lost(peer));
        assert!(changes.has_changed().unwrap());

        peers.silent_since(peer, peers.contacts(peer));
        peers.accepted(peer);
        assert!(!peers.is_lost(peer), "it answered at last");
    }
}
