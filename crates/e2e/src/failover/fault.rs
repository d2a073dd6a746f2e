//! What is done to which node.

use super::topology;
use crate::Cluster;
use std::collections::BTreeMap;
use std::fmt;

/// What a node is when it is hit, and how it is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// `kill -9` of a leader that is not the active controller. Shows followers too: of the other partitions.
    Leader,
    /// `kill -9` of a leader that is the active controller.
    Controller,
    /// `kill -9` of the coordinator of a group.
    Coordinator,
    /// `kill` of a leader: it stops in order.
    Stop,
    /// SIGSTOP of a leader that is not the active controller, and SIGCONT after 2 to 30 s.
    Freeze,
    /// The same to a leader that is the active controller.
    FreezeController,
    /// A leader that is not the active controller is cut off from everybody, in network namespaces: takes root.
    Cut,
    /// Every node in turn is stopped in order and started again.
    Rolling,
}

impl Kind {
    /// Those that end a node's process.
    pub const ENDS: [Kind; 4] = [Kind::Leader, Kind::Controller, Kind::Coordinator, Kind::Stop];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Leader => "leader",
            Kind::Controller => "leader + controller",
            Kind::Coordinator => "coordinator",
            Kind::Stop => "planned stop",
            Kind::Freeze => "leader frozen",
            Kind::FreezeController => "leader + controller frozen",
            Kind::Cut => "leader cut off",
            Kind::Rolling => "rolling restart",
        })
    }
}

/// Who is hit, and what that is to the partitions measured.
#[derive(Debug)]
pub struct Victim {
    /// The node.
    pub node: usize,
    /// The partitions that it leads.
    pub led: Vec<i32>,
    /// The partitions that it follows: every node has all.
    pub followed: Vec<i32>,
}

/// Chooses a node for a fault: among those that may be, the one that leads most; `None` when it leads nothing.
pub fn choose(cluster: &Cluster, topic: &str, group: &str, kind: Kind) -> Option<Victim> {
    let leaders = topology::leaders(cluster, topic);
    let controller = topology::controller(cluster);
    let node = match kind {
        Kind::Controller | Kind::FreezeController => controller,
        Kind::Coordinator => topology::coordinator(cluster, group),
        Kind::Leader | Kind::Stop | Kind::Freeze | Kind::Cut | Kind::Rolling => {
            busiest(&leaders, controller)?
        }
    };
    let (led, followed): (Vec<i32>, Vec<i32>) = leaders.keys().partition(|at| leaders[at] == node);
    (!led.is_empty()).then_some(Victim { node, led, followed })
}

fn busiest(leaders: &BTreeMap<i32, usize>, but: usize) -> Option<usize> {
    let mut led: BTreeMap<usize, usize> = BTreeMap::new();
    for &leader in leaders.values().filter(|&&leader| leader != but) {
        *led.entry(leader).or_default() += 1;
    }
    led.into_iter().max_by_key(|&(_, count)| count).map(|(node, _)| node)
}
