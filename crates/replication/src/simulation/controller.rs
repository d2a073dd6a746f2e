//! The controller, as far as one partition sees it.

use crate::{Assignment, IsrChange, Peer};
use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch};
use std::collections::BTreeMap;

/// What the controller published at some moment.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) assignment: Assignment,
    pub(super) brokers: BTreeMap<NodeId, Peer>,
    /// The reassignment that is under way.
    pub(super) moving: Option<Moving>,
}

/// Replicas on their way.
#[derive(Clone, Debug)]
pub(super) struct Moving {
    /// Who is to hold the partition.
    target: Vec<NodeId>,
    /// Who held it when this began.
    original: Vec<NodeId>,
}

/// What becomes of a change that a leader asked for.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// The in-sync set is this now.
    Committed(Assignment),
    /// A member may not join; nothing changed.
    Ineligible,
    /// The leader does not know how things stand.
    Stale,
}

/// One registration, and every image of it.
#[derive(Debug)]
pub(super) struct Controller {
    pub(super) images: Vec<Image>,
    /// Whether a test asks it to let a term go on when a replica goes.
    keeps_term: bool,
}

impl Controller {
    pub(super) fn new(nodes: &[NodeId], keeps_term: bool) -> Controller {
        let assignment = Assignment {
            replicas: nodes.to_vec(),
            isr: nodes.to_vec(),
            leader: Some(nodes[0]),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        };
        let peer =
            |&node: &NodeId| (node, Peer { broker_epoch: BrokerEpoch(i64::from(node.0)), eligible: true });
        let brokers = nodes.iter().map(peer).collect();
        Controller { images: vec![Image { assignment, brokers, moving: None }], keeps_term }
    }

    pub(super) fn current(&self) -> &Image {
        self.images.last().expect("there is a first image")
    }

    fn publish(&mut self, mut image: Image) {
        let moving =
            image.moving.take_if(|moving| moving.target.iter().all(|n| image.assignment.isr.contains(n)));
        if let Some(Moving { target, .. }) = moving {
            self.hold(&mut image, target);
        }
        self.images.push(image);
    }

    /// These alone hold the partition from now on. What others ask, and what the leader remembers of them, is of an
    /// earlier term.
    fn hold(&self, image: &mut Image, replicas: Vec<NodeId>) {
        let assignment = &mut image.assignment;
        let some_go = assignment.replicas.iter().any(|node| !replicas.contains(node));
        assignment.isr.retain(|node| replicas.contains(node));
        let leader_goes = assignment.leader.is_some_and(|leader| !replicas.contains(&leader));
        if leader_goes {
            assignment.leader = None;
        }
        if leader_goes || some_go && !self.keeps_term {
            assignment.leader_epoch = assignment.leader_epoch.next();
        }
        assignment.replicas = replicas;
        assignment.partition_epoch.0 += 1;
        elect_if_none(image);
    }

    /// Others are to hold the partition.
    pub(super) fn reassign(&mut self, target: Vec<NodeId>) {
        let mut image = self.current().clone();
        let replicas = &mut image.assignment.replicas;
        let original = image.moving.take().map_or_else(|| replicas.clone(), |moving| moving.original);
        let to_go: Vec<NodeId> = replicas.iter().copied().filter(|node| !target.contains(node)).collect();
        *replicas = target.iter().copied().chain(to_go).collect();
        image.assignment.partition_epoch.0 += 1;
        image.moving = Some(Moving { target, original });
        self.publish(image);
    }

    /// The reassignment is taken back, if somebody who was there before is in sync.
    pub(super) fn take_back(&mut self) {
        let mut image = self.current().clone();
        let Some(Moving { original, .. }) = image.moving.take() else { return };
        if image.assignment.isr.iter().any(|node| original.contains(node)) {
            self.hold(&mut image, original);
            self.publish(image);
        }
    }

    /// Fences a broker: it leaves the in-sync set unless it is the last, and leads no more.
    pub(super) fn fence(&mut self, node: NodeId) {
        let mut image = self.current().clone();
        if let Some(peer) = image.brokers.get_mut(&node) {
            peer.eligible = false;
        }
        let assignment = &mut image.assignment;
        if assignment.isr.contains(&node) && assignment.isr.len() > 1 {
            assignment.isr.retain(|&member| member != node);
            assignment.partition_epoch.0 += 1;
        }
        if assignment.leader == Some(node) {
            assignment.leader = None;
            assignment.leader_epoch = assignment.leader_epoch.next();
            assignment.partition_epoch.0 += 1;
        }
        elect_if_none(&mut image);
        self.publish(image);
    }

    /// Registers a new incarnation, fenced; returns its epoch.
    pub(super) fn register(&mut self, node: NodeId) -> BrokerEpoch {
        self.fence(node);
        let mut image = self.current().clone();
        let broker_epoch = BrokerEpoch(1000 + self.images.len() as i64);
        image.brokers.insert(node, Peer { broker_epoch, eligible: false });
        self.publish(image);
        broker_epoch
    }

    pub(super) fn unfence(&mut self, node: NodeId) {
        let mut image = self.current().clone();
        image.brokers.get_mut(&node).expect("every node is registered").eligible = true;
        elect_if_none(&mut image);
        self.publish(image);
    }

    /// Moves the leadership to another member of the in-sync set.
    pub(super) fn elect(&mut self, node: NodeId) {
        let mut image = self.current().clone();
        let assignment = &mut image.assignment;
        if assignment.leader == Some(node)
            || !assignment.isr.contains(&node)
            || !image.brokers.get(&node).is_some_and(|peer| peer.eligible)
        {
            return;
        }
        assignment.leader = Some(node);
        assignment.leader_epoch = assignment.leader_epoch.next();
        assignment.partition_epoch.0 += 1;
        self.publish(image);
    }

    /// A leader asks for another in-sync set (`AlterPartition`).
    pub(super) fn alter(&mut self, from: NodeId, change: &IsrChange) -> Verdict {
        let mut image = self.current().clone();
        let assignment = &mut image.assignment;
        if assignment.leader != Some(from)
            || assignment.leader_epoch != change.leader_epoch
            || assignment.partition_epoch != change.partition_epoch
        {
            return Verdict::Stale;
        }
        let is_eligible = |member: &crate::IsrMember| {
            let peer = image.brokers.get(&member.node);
            peer.is_some_and(|peer| peer.eligible && peer.broker_epoch == member.epoch)
        };
        if !change.isr.iter().all(is_eligible) {
            return Verdict::Ineligible;
        }
        assignment.isr = change.isr.iter().map(|member| member.node).collect();
        assignment.partition_epoch.0 += 1;
        let committed = assignment.clone();
        self.publish(image);
        Verdict::Committed(committed)
    }
}

fn elect_if_none(image: &mut Image) {
    let Image { assignment, brokers, .. } = image;
    let may_lead = |node: &&NodeId| brokers.get(node).is_some_and(|peer| peer.eligible);
    if assignment.leader.is_none()
        && let Some(&leader) = assignment.isr.iter().find(may_lead)
    {
        assignment.leader = Some(leader);
        assignment.leader_epoch = assignment.leader_epoch.next();
        assignment.partition_epoch.0 += 1;
    }
}
