//! What a leader knows of its followers.

use crate::isr::{IsrChange, IsrMember, IsrState};
use crate::partition::{Assignment, Peer};
use ottla_types::{BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, PartitionEpoch, TopicIdPartition};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long after a leader takes over, or has refused a batch, a producer may take to send again what did not reach it. Ten
/// times what clients take when nothing keeps them waiting.
const GAPS_CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A follower as its fetches show it.
#[derive(Clone, Debug)]
pub struct PeerState {
    /// Its log's end: the offset of its last fetch, which says that it has all before.
    pub log_end: Offset,
    /// Its log's start, as its last fetch said.
    pub log_start: Offset,
    /// The incarnation that fetched.
    pub broker_epoch: BrokerEpoch,
    /// The last moment at which it had everything that the leader had.
    pub caught_up_at: Option<Monotonic>,
    /// When it last fetched.
    fetched_at: Option<Monotonic>,
    /// The leader's log end at that moment.
    leader_end_at_fetch: Offset,
}

impl PeerState {
    fn unknown(caught_up_at: Option<Monotonic>) -> PeerState {
        PeerState {
            log_end: Offset::UNKNOWN,
            log_start: Offset::UNKNOWN,
            broker_epoch: BrokerEpoch::NONE,
            caught_up_at,
            fetched_at: None,
            leader_end_at_fetch: Offset::UNKNOWN,
        }
    }

    /// Returns whether it has all of the leader's log, or had it less than `lag_max` ago.
    pub(crate) fn is_caught_up(&self, leader_end: Offset, lag_max: Duration, now: Monotonic) -> bool {
        self.log_end >= leader_end
            || self.caught_up_at.is_some_and(|caught_up_at| now - caught_up_at <= lag_max)
    }

    fn fetched(&mut self, from: Range, epoch: BrokerEpoch, leader_end: Offset, now: Monotonic) {
        let offset = from.end;
        if offset >= leader_end {
            self.caught_up_at = Some(now);
        } else if offset >= self.leader_end_at_fetch
            && let Some(fetched_at) = self.fetched_at
        {
            // It has what the leader had when it last asked.
            self.caught_up_at = self.caught_up_at.max(Some(fetched_at));
        }
        self.log_end = offset;
        self.log_start = from.start;
        self.broker_epoch = epoch;
        self.fetched_at = Some(now);
        self.leader_end_at_fetch = leader_end;
    }
}

/// What a follower's log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// Its start.
    pub(crate) start: Offset,
    /// Its end.
    pub(crate) end: Offset,
}

/// A follower that a consumer could read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The broker.
    pub node: NodeId,
    /// Its log's end.
    pub log_end: Offset,
    /// For how long it has not had everything that the leader has.
    pub lag: Duration,
}

/// A term of leadership.
#[derive(Clone, Debug)]
pub struct Leader {
    /// The term.
    pub epoch: LeaderEpoch,
    /// Where the log ended when it began.
    pub epoch_start: Offset,
    /// All replicas, this one too.
    pub replicas: Vec<NodeId>,
    /// The in-sync set.
    pub isr: IsrState,
    /// All replicas but this one.
    pub peers: BTreeMap<NodeId, PeerState>,
    /// What the image says of the brokers that hold replicas.
    brokers: BTreeMap<NodeId, Peer>,
    /// Until when a gap before a producer's batch may close by itself.
    gaps_close_until: Monotonic,
}

impl Leader {
    pub(crate) fn new(
        local: NodeId,
        assignment: &Assignment,
        brokers: BTreeMap<NodeId, Peer>,
        log_end: Offset,
        now: Monotonic,
    ) -> Leader {
        let peers = assignment
            .replicas
            .iter()
            .filter(|&&node| node != local)
            .map(|&node| {
                // Members of the in-sync set get a full measure of time to be heard of.
                let in_sync = assignment.isr.contains(&node);
                (node, PeerState::unknown(in_sync.then_some(now)))
            })
            .collect();
        Leader {
            epoch: assignment.leader_epoch,
            epoch_start: log_end,
            replicas: assignment.replicas.clone(),
            isr: IsrState::committed(assignment.isr.clone(), assignment.partition_epoch),
            peers,
            brokers,
            gaps_close_until: now + GAPS_CLOSE_WITHIN,
        }
    }

    /// Producers' batches were refused, or went elsewhere: what came behind them is ahead of the log for a while.
    pub(crate) fn expect_gaps(&mut self, now: Monotonic) {
        self.gaps_close_until = now + GAPS_CLOSE_WITHIN;
    }

    /// Returns whether a gap before a producer's batch may close by itself: what is missing is on its way then.
    pub(crate) fn expects_gaps(&self, now: Monotonic) -> bool {
        now < self.gaps_close_until
    }

    /// Takes over a newer state of the same term.
    pub(crate) fn update(&mut self, local: NodeId, assignment: &Assignment) {
        self.peers.retain(|node, _| assignment.replicas.contains(node));
        for &node in &assignment.replicas {
            if node != local {
                self.peers.entry(node).or_insert_with(|| PeerState::unknown(None));
            }
        }
        self.replicas.clone_from(&assignment.replicas);
        self.isr = IsrState::committed(assignment.isr.clone(), assignment.partition_epoch);
    }

    pub(crate) fn set_brokers(&mut self, brokers: BTreeMap<NodeId, Peer>) {
        self.brokers = brokers;
    }

    /// Returns whether the controller would let a follower join: unfenced, not leaving, and it is the
    /// registered incarnation that fetches.
    pub(crate) fn may_join(&self, node: NodeId) -> bool {
        let Some(broker) = self.brokers.get(&node) else { return false };
        let Some(peer) = self.peers.get(&node) else { return false };
        broker.eligible
            && (peer.broker_epoch == BrokerEpoch::NONE || peer.broker_epoch == broker.broker_epoch)
    }

    /// A follower asks for what comes after `holds`: it has all of that.
    pub(crate) fn fetched(
        &mut self,
        node: NodeId,
        epoch: BrokerEpoch,
        holds: Range,
        leader_end: Offset,
        now: Monotonic,
    ) {
        let peer = self.peers.get_mut(&node).expect("checked to be a replica");
        peer.fetched(holds, epoch, leader_end, now);
    }

    /// The followers in sync that have `offset` (KIP-392). One that lags would send its readers back, and they would be
    /// sent to it again.
    pub fn readers(&self, offset: Offset, now: Monotonic) -> Vec<Reader> {
        let has_it = |peer: &PeerState| peer.log_start <= offset && peer.log_end >= offset;
        let lag = |peer: &PeerState| peer.caught_up_at.map_or(Duration::MAX, |at| now - at);
        self.peers
            .iter()
            .filter(|(node, peer)| self.isr.committed.contains(node) && has_it(peer))
            .map(|(&node, peer)| Reader { node, log_end: peer.log_end, lag: lag(peer) })
            .collect()
    }

    /// Where the logs of all live replicas have begun, this one's at `log_start`.
    pub(crate) fn low_watermark(&self, log_start: Offset) -> Offset {
        let is_live = |node: &NodeId| self.brokers.get(node).is_some_and(|broker| broker.eligible);
        let live = self.peers.iter().filter(|(node, _)| is_live(node));
        live.map(|(_, peer)| peer.log_start).fold(log_start, Offset::min)
    }

    /// The change that lets `node` join, if it has come far enough: to the high watermark, and past the
    /// start of this term, lest it join with a history that diverges.
    pub(crate) fn expansion(&self, node: NodeId, high_watermark: Offset) -> Option<Vec<NodeId>> {
        let peer = self.peers.get(&node)?;
        let far_enough = peer.log_end >= high_watermark && peer.log_end >= self.epoch_start;
        if !self.isr.is_settled() || self.isr.committed.contains(&node) || !far_enough || !self.may_join(node)
        {
            return None;
        }
        let mut isr: Vec<NodeId> = self.isr.committed.iter().copied().chain([node]).collect();
        isr.sort_unstable();
        Some(isr)
    }

    /// The change that takes out who has lagged for too long.
    pub(crate) fn shrinkage(
        &self,
        local: NodeId,
        log_end: Offset,
        lag_max: Duration,
        now: Monotonic,
    ) -> Option<Vec<NodeId>> {
        if !self.isr.is_settled() {
            return None;
        }
        let stays = |node: &NodeId| {
            *node == local
                || self.peers.get(node).is_some_and(|peer| peer.is_caught_up(log_end, lag_max, now))
        };
        let remaining: Vec<NodeId> = self.isr.committed.iter().copied().filter(stays).collect();
        (remaining.len() < self.isr.committed.len()).then_some(remaining)
    }

    /// Nobody could fetch for a while, through no fault of their own: their lag counts from `now`.
    pub(crate) fn forgive_lag(&mut self, now: Monotonic) {
        for peer in self.peers.values_mut() {
            peer.caught_up_at = peer.caught_up_at.map(|at| at.max(now)).or(peer.caught_up_at);
        }
    }

    /// When the next member of the in-sync set will have lagged for too long.
    pub(crate) fn shrink_deadline(&self, log_end: Offset, lag_max: Duration) -> Option<Monotonic> {
        let lagging = |node: &NodeId| {
            let peer = self.peers.get(node)?;
            let caught_up_at = peer.caught_up_at.unwrap_or_default();
            (peer.log_end < log_end).then(|| caught_up_at + lag_max + Duration::from_millis(1))
        };
        self.isr.committed.iter().filter_map(lagging).min()
    }

    /// Asks for a change; it counts as possible from now on.
    pub(crate) fn ask_for(
        &mut self,
        partition: TopicIdPartition,
        local: NodeId,
        isr: Vec<NodeId>,
    ) -> IsrChange {
        assert!(isr.contains(&local), "ISR-1: the leader is in the in-sync set");
        assert!(isr.iter().all(|node| self.replicas.contains(node)), "ISR-1: it is a subset of the replicas");
        let member = |node: NodeId| IsrMember {
            node,
            epoch: self.brokers.get(&node).map_or(BrokerEpoch::NONE, |broker| broker.broker_epoch),
        };
        let change = IsrChange {
            partition,
            leader_epoch: self.epoch,
            partition_epoch: self.isr.partition_epoch,
            isr: isr.iter().copied().map(member).collect(),
        };
        self.isr.pending = Some(isr);
        change
    }

    /// The controller has committed a state of this term.
    pub(crate) fn committed(&mut self, isr: Vec<NodeId>, partition_epoch: PartitionEpoch) {
        self.isr = IsrState::committed(isr, partition_epoch);
    }
}
