//! What goes wrong, and when.

use super::cluster::Cluster;
use super::wire::HostId;
use ottla_storage::sim_disk::FaultOn;
use std::fmt;
use std::time::Duration;

/// One thing that goes wrong. Nodes are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed; restarted at the end.
    Kill(usize),
    /// A host loses power; restarted at the end.
    LosePower(usize),
    /// All hosts lose power at once; restarted at the end.
    LoseAllPower,
    /// A process is asked to end in order; restarted at the end, and ended by force before that if need be.
    Stop(usize),
    /// A process is stopped, and goes on at the end.
    Freeze(usize),
    /// A disk fails, after so many more operations of a kind. Its process ends sooner or later; restarted at the end.
    BreakDisk(usize, FaultOn, u64),
    /// The disk of the second log directory fails, after so many more operations of a kind. Its process is killed at the
    /// end, and finds it whole.
    BreakDirectory(usize, FaultOn, u64),
    /// A disk has room for so many more bytes. Its process may end; restarted at the end.
    FillDisk(usize, u64),
    /// A disk takes so many times longer than usual.
    SlowDisk(usize, u32),
    /// The time of day is wrong by so many milliseconds.
    Skew(usize, i64),
    /// The time of day gains so many milliseconds a second, and is right again at the end.
    Drift(usize, i64),
    /// The clock that timers go by goes so many thousandths faster than that of others.
    Pace(usize, i64),
    /// A host comes back with empty disks, formatted anew; its process is killed first, and restarted at the end.
    Wipe(usize),
    /// Each node hears only the one before it.
    Ring,
    /// Each node hears only the one behind it.
    RingBackwards,
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
            Fault::LoseAllPower => f.write_str("all nodes lose power"),
            Fault::Stop(node) => write!(f, "node {} is stopped in order", id(node)),
            Fault::BreakDisk(node, on, later) => {
                write!(f, "the disk of node {} fails: {on:?} after {later} more", id(node))
            }
            Fault::BreakDirectory(node, on, later) => {
                write!(f, "the second disk of node {} fails: {on:?} after {later} more", id(node))
            }
            Fault::FillDisk(node, room) => write!(f, "the disk of node {} has {room} bytes left", id(node)),
            Fault::SlowDisk(node, times) => {
                write!(f, "the disk of node {} is {times} times slower", id(node))
            }
            Fault::Skew(node, ms) => write!(f, "the clock of node {} is {ms} ms off", id(node)),
            Fault::Drift(node, ms) => write!(f, "the clock of node {} gains {ms} ms a second", id(node)),
            Fault::Pace(node, faster) => {
                write!(f, "the timers of node {} are {faster} thousandths faster", id(node))
            }
            Fault::Wipe(node) => write!(f, "node {} loses its disks", id(node)),
            Fault::Ring => f.write_str("each node hears only the one before it"),
            Fault::RingBackwards => f.write_str("each node hears only the one behind it"),
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

    /// Begins and ends what is due. Returns what has begun.
    pub fn apply(&mut self, cluster: &mut Cluster) -> Vec<Fault> {
        let (mut begun, mut has_ended) = (Vec::new(), false);
        let now = cluster.elapsed();
        let under_way = std::mem::take(&mut self.under_way);
        for planned in under_way {
            if planned.until > now {
                self.under_way.push(planned);
                continue;
            }
            tracing::info!("over: {}", planned.fault);
            end(planned.fault, cluster);
            has_ended = true;
        }
        if has_ended {
            self.restart(cluster);
        }
        while self.waiting.first().is_some_and(|next| next.from <= now) {
            let planned = self.waiting.remove(0);
            // A process that is ended cannot be ended once more.
            if let Fault::Kill(node) | Fault::LosePower(node) | Fault::Stop(node) = planned.fault
                && !cluster.is_running(node)
            {
                continue;
            }
            tracing::info!("{}", planned.fault);
            begin(planned.fault, cluster);
            begun.push(planned.fault);
            self.under_way.push(planned);
        }
        // A process may end by itself after the fault that made it.
        if self.are_over() {
            self.restart(cluster);
        }
        begun
    }

    /// Starts every node that does not run, unless something is under way that keeps it down.
    fn restart(&self, cluster: &mut Cluster) {
        for node in 0..cluster.nodes_count() {
            let keeps_down = |planned: &Planned| match planned.fault {
                Fault::Kill(down) | Fault::LosePower(down) | Fault::Stop(down) => down == node,
                Fault::Wipe(down) => down == node,
                Fault::BreakDisk(down, ..) | Fault::FillDisk(down, _) => down == node,
                Fault::LoseAllPower => true,
                _ => false,
            };
            if !cluster.is_running(node) && !self.under_way.iter().any(keeps_down) {
                cluster.restart(node);
            }
        }
    }
}

/// Of a thousand segments, so many are lost where a tenth is.
const TENTH: u64 = 100;

/// The links that a fault cuts.
fn links(fault: Fault, cluster: &Cluster) -> Vec<(HostId, HostId)> {
    let both = |one: HostId, other: HostId| [(one, other), (other, one)];
    match fault {
        Fault::Kill(_)
        | Fault::LosePower(_)
        | Fault::LoseAllPower
        | Fault::Stop(_)
        | Fault::Freeze(_)
        | Fault::BreakDisk(..)
        | Fault::BreakDirectory(..)
        | Fault::FillDisk(..)
        | Fault::SlowDisk(..)
        | Fault::Skew(..)
        | Fault::Drift(..)
        | Fault::Pace(..)
        | Fault::Wipe(_) => Vec::new(),
        Fault::Ring | Fault::RingBackwards => {
            let count = cluster.nodes_count();
            let step = if fault == Fault::Ring { 1 } else { count - 1 };
            let is_heard = |from: usize, to: usize| (from + step) % count == to;
            let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
            let cut = pairs.filter(|&(from, to)| from != to && !is_heard(from, to));
            cut.map(|(from, to)| (HostId(from), HostId(to))).collect()
        }
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
        Fault::LoseAllPower => {
            (0..cluster.nodes_count()).for_each(|node| cluster.lose_power(node));
        }
        Fault::Stop(node) => cluster.stop(node),
        Fault::Freeze(node) => cluster.freeze(node),
        Fault::BreakDisk(node, on, later) => cluster.break_disk(node, on, later),
        Fault::BreakDirectory(node, on, later) => cluster.break_directory(node, on, later),
        Fault::FillDisk(node, room) => cluster.fill_disk(node, room),
        Fault::SlowDisk(node, times) => cluster.slow_disk(node, times),
        Fault::Skew(node, ms) => cluster.set_skew_ms(node, ms),
        Fault::Drift(node, ms) => cluster.set_drift_ms(node, ms),
        Fault::Pace(node, faster) => cluster.set_pace(node, faster),
        Fault::Wipe(node) => cluster.wipe(node),
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
        // Whoever does not run is started afterwards.
        Fault::Kill(_) | Fault::LosePower(_) | Fault::LoseAllPower | Fault::Wipe(_) => {}
        Fault::Stop(node) if cluster.is_leaving(node) => cluster.kill(node),
        Fault::Stop(_) => {}
        Fault::Freeze(node) => cluster.thaw(node),
        Fault::BreakDisk(node, ..) | Fault::FillDisk(node, _) => cluster.heal_disk(node),
        Fault::BreakDirectory(node, ..) => {
            cluster.heal_disk(node);
            cluster.kill(node);
        }
        Fault::SlowDisk(node, _) => cluster.slow_disk(node, 1),
        Fault::Skew(node, _) | Fault::Drift(node, _) => cluster.set_skew_ms(node, 0),
        Fault::Pace(node, _) => cluster.set_pace(node, 0),
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
