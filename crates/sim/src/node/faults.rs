//! What goes wrong, and when.

use super::cluster::Cluster;
use super::wire::HostId;
use ottla_storage::DISK_RESERVE_BYTES;
use ottla_storage::sim_disk::FaultOn;
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

/// How much may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing that is promised to be kept. Faults overlap as they come; but of all hosts only one loses power, as often as
    /// it may be, and only that one's disk fails: two could lose what the smallest in-sync set has acknowledged, and that is
    /// not against the promise (ACK-1). A broker whose disk has failed says itself that it may have lost something.
    WithinPromise,
    /// All hosts lose power at once, now and then: what was acknowledged and not synced may be lost, and no more than that.
    PowerLossEverywhere,
}

/// A plan by a seed, in the order of beginnings.
pub fn plan(
    random: &mut Random,
    severity: Severity,
    nodes: usize,
    from: Duration,
    until: Duration,
) -> Vec<Planned> {
    let millis = Duration::from_millis;
    let calmness = random.duration(millis(300), millis(4_000));
    // The host that may lose what it has.
    let unsafe_one = random.index(nodes);
    let mut planned: Vec<Planned> = Vec::new();
    let mut at = from;
    loop {
        at += random.duration(Duration::ZERO, calmness * 2);
        let end = at + random.duration(millis(20), millis(6_000));
        if end >= until {
            break;
        }
        let node = random.index(nodes);
        let other = (node + 1 + random.index(nodes - 1)) % nodes;
        let fault = match random.below(18) {
            0..=3 => Fault::Kill(node),
            4..=5 => Fault::LosePower(unsafe_one),
            6 => Fault::Freeze(node),
            7 => Fault::Isolate(node),
            8 => Fault::Cut(node, other),
            9 => Fault::CutOneWay(node, other),
            10 => Fault::Lossy(node),
            11 => Fault::CutFromClients(node),
            12..=13 => Fault::Stop(node),
            14 => {
                let on = [FaultOn::Write, FaultOn::Sync, FaultOn::Read][random.index(3)];
                Fault::BreakDisk(unsafe_one, on, random.below(50))
            }
            // The reserve is left to the metadata log, or else the process ends as if the disk had failed.
            15 if node == unsafe_one => Fault::FillDisk(node, random.below(2 * DISK_RESERVE_BYTES)),
            15 => Fault::FillDisk(node, DISK_RESERVE_BYTES + random.below(64 << 10)),
            16 => Fault::SlowDisk(node, 1 + random.below(100) as u32),
            _ => Fault::Skew(node, random.below(2 * SKEW_MS_MAX) as i64 - SKEW_MS_MAX as i64),
        };
        planned.push(Planned { fault, from: at, until: end });
    }
    if severity == Severity::PowerLossEverywhere {
        for _ in 0..1 + random.index(3) {
            let begin = random.duration(from, until - millis(4_000));
            let until = begin + random.duration(millis(20), millis(4_000));
            planned.push(Planned { fault: Fault::LoseAllPower, from: begin, until });
        }
        planned.sort_by_key(|planned| planned.from);
    }
    planned
}

/// A clock is wrong by a month at most.
const SKEW_MS_MAX: u64 = 30 * 24 * 3_600_000;

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
        | Fault::Skew(..) => Vec::new(),
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
        Fault::Kill(_) | Fault::LosePower(_) | Fault::LoseAllPower => {}
        Fault::Stop(node) if cluster.is_leaving(node) => cluster.kill(node),
        Fault::Stop(_) => {}
        Fault::Freeze(node) => cluster.thaw(node),
        Fault::BreakDisk(node, ..) | Fault::FillDisk(node, _) => cluster.heal_disk(node),
        Fault::BreakDirectory(node, ..) => {
            cluster.heal_disk(node);
            cluster.kill(node);
        }
        Fault::SlowDisk(node, _) => cluster.slow_disk(node, 1),
        Fault::Skew(node, _) => cluster.set_skew_ms(node, 0),
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
