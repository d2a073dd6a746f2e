//! What goes wrong, and when.

use super::cluster::Cluster;
use super::wire::HostId;
use ottla_types::Random;
use std::fmt;
use std::time::Duration;

/// One thing that goes wrong. Nodes are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed; restarted at the end.
    Kill(usize),
    /// A host loses power; restarted at the end.
    LosePower(usize),
    /// All hosts lose power at once; all are restarted at the end. Nothing else that ends a process is under way.
    Blackout,
    /// A process is stopped, and goes on at the end.
    Freeze(usize),
    /// Nobody reaches a node, and it reaches nobody.
    Isolate(usize),
    /// Two nodes do not reach each other.
    Cut(usize, usize),
    /// The first does not reach the second.
    CutOneWay(usize, usize),
    /// Clients do not reach a node.
    CutFromClients(usize),
    /// Of what a node sends and is sent, one segment in ten is lost.
    Lossy(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |node: &usize| node + 1;
        match self {
            Fault::Kill(node) => write!(f, "node {} is killed", id(node)),
            Fault::LosePower(node) => write!(f, "node {} loses power", id(node)),
            Fault::Blackout => write!(f, "all hosts lose power"),
            Fault::Freeze(node) => write!(f, "node {} is frozen", id(node)),
            Fault::Isolate(node) => write!(f, "node {} is cut off", id(node)),
            Fault::Cut(one, other) => {
                write!(f, "nodes {} and {} are cut from each other", id(one), id(other))
            }
            Fault::CutOneWay(from, to) => write!(f, "node {} does not reach node {}", id(from), id(to)),
            Fault::CutFromClients(node) => write!(f, "clients do not reach node {}", id(node)),
            Fault::Lossy(node) => write!(f, "node {} loses a tenth", id(node)),
        }
    }
}

/// A fault with its beginning and its end, since the start of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What goes wrong.
    pub fault: Fault,
    /// When.
    pub from: Duration,
    /// Until when.
    pub until: Duration,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3?} to {:>9.3?}: {}", self.from, self.until, self.fault)
    }
}

/// A plan by a seed, in the order of beginnings. Faults overlap as they come; but of all hosts only one loses power, as
/// often as it may be: two could lose what the smallest in-sync set has acknowledged, and that is not against the promise
/// (ACK-1).
pub fn plan(random: &mut Random, nodes: usize, from: Duration, until: Duration) -> Vec<Planned> {
    let millis = Duration::from_millis;
    let calmness = random.duration(millis(300), millis(4_000));
    let without_power = random.index(nodes);
    let mut planned: Vec<Planned> = Vec::new();
    let mut at = from;
    loop {
        at += random.duration(Duration::ZERO, calmness * 2);
        let end = at + random.duration(millis(20), millis(6_000));
        if end >= until {
            return planned;
        }
        let node = random.index(nodes);
        let other = (node + 1 + random.index(nodes - 1)) % nodes;
        let fault = match random.below(12) {
            0..=3 => Fault::Kill(node),
            4..=5 => Fault::LosePower(without_power),
            6 => Fault::Freeze(node),
            7 => Fault::Isolate(node),
            8 => Fault::Cut(node, other),
            9 => Fault::CutOneWay(node, other),
            10 => Fault::Lossy(node),
            _ => Fault::CutFromClients(node),
        };
        planned.push(Planned { fault, from: at, until: end });
    }
}

/// Carries out a plan as time goes on.
pub struct Faults {
    waiting: Vec<Planned>,
    under_way: Vec<Planned>,
}

impl Faults {
    /// Nothing of it has begun yet.
    pub fn new(plan: Vec<Planned>) -> Faults {
        Faults { waiting: plan, under_way: Vec::new() }
    }

    /// Returns whether all of it is over.
    pub fn are_over(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Begins and ends what is due.
    pub fn apply(&mut self, cluster: &mut Cluster) {
        let now = cluster.elapsed();
        let under_way = std::mem::take(&mut self.under_way);
        for planned in under_way {
            if planned.until > now {
                self.under_way.push(planned);
                continue;
            }
            tracing::info!("over: {}", planned.fault);
            end(planned.fault, cluster);
        }
        while self.waiting.first().is_some_and(|next| next.from <= now) {
            let planned = self.waiting.remove(0);
            // A process that is ended cannot be ended once more.
            if let Fault::Kill(node) | Fault::LosePower(node) = planned.fault
                && !cluster.is_running(node)
            {
                continue;
            }
            tracing::info!("{}", planned.fault);
            begin(planned.fault, cluster);
            self.under_way.push(planned);
        }
    }
}

/// Of a thousand segments, so many are lost where a tenth is.
const TENTH: u64 = 100;

/// The links that a fault cuts.
fn links(fault: Fault, cluster: &Cluster) -> Vec<(HostId, HostId)> {
    let both = |one: HostId, other: HostId| [(one, other), (other, one)];
    match fault {
        Fault::Kill(_) | Fault::LosePower(_) | Fault::Blackout | Fault::Freeze(_) => Vec::new(),
        Fault::Isolate(node) | Fault::Lossy(node) => {
            let others = cluster.others(HostId(node)).into_iter();
            others.flat_map(|other| both(HostId(node), other)).collect()
        }
        Fault::Cut(one, other) => both(HostId(one), HostId(other)).to_vec(),
        Fault::CutOneWay(from, to) => vec![(HostId(from), HostId(to))],
        Fault::CutFromClients(node) => both(cluster.clients(), HostId(node)).to_vec(),
    }
}

fn begin(fault: Fault, cluster: &mut Cluster) {
    match fault {
        Fault::Kill(node) => cluster.kill(node),
        Fault::LosePower(node) => cluster.lose_power(node),
        Fault::Blackout => (0..cluster.node_names().len()).for_each(|node| cluster.lose_power(node)),
        Fault::Freeze(node) => cluster.freeze(node),
        Fault::Lossy(_) => {
            for (from, to) in links(fault, cluster) {
                cluster.wire.lose(from, to, TENTH);
            }
        }
        _ => {
            for (from, to) in links(fault, cluster) {
                cluster.wire.cut(from, to);
            }
        }
    }
}

fn end(fault: Fault, cluster: &mut Cluster) {
    match fault {
        Fault::Kill(node) | Fault::LosePower(node) => cluster.restart(node),
        Fault::Blackout => (0..cluster.node_names().len()).for_each(|node| cluster.restart(node)),
        Fault::Freeze(node) => cluster.thaw(node),
        Fault::Lossy(_) => {
            for (from, to) in links(fault, cluster) {
                cluster.wire.lose(from, to, 0);
            }
        }
        _ => {
            for (from, to) in links(fault, cluster) {
                cluster.wire.mend(from, to);
            }
        }
    }
}
