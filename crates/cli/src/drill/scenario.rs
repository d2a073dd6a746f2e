//! What is done to the nodes: scenarios, and how each chooses its next victim.

use ottla_types::{NodeId, Random};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A series of faults of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// `kill -9` of a node that leads partitions and is not the active controller, if there is one.
    LeaderKill,
    /// `kill -9` of the active controller.
    ControllerKill,
    /// `kill -9` of the broker that coordinates the group.
    CoordinatorKill,
    /// A node that leads partitions stands still for 2 to 12 seconds, and goes on (SIGSTOP, SIGCONT).
    Freeze,
    /// One node after the other is stopped in order and started again.
    RollingRestart,
    /// Kills, stops and freezes of any nodes, before the last ones are back.
    Storm,
    /// `kill -9` of all nodes at the same moment.
    AllAtOnce,
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// SIGKILL.
    Kill,
    /// SIGTERM, and its end is waited for.
    Stop,
    /// SIGSTOP, and SIGCONT later.
    Freeze,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Who is hit.
    pub(super) victims: Vec<NodeId>,
    /// How.
    pub(super) how: How,
    /// How long they stay away at least.
    pub(super) away: Duration,
    /// How long after that the next fault comes, or in a storm after this one began.
    pub(super) pause: Duration,
}

/// Who is what in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles {
    /// All nodes that can be hit.
    pub(super) nodes: Vec<NodeId>,
    /// Those that are away.
    pub(super) away: BTreeSet<NodeId>,
    /// Who leads each partition of the topic, as far as anybody does.
    pub(super) leaders: BTreeMap<i32, NodeId>,
    /// The active controller.
    pub(super) controller: Option<NodeId>,
    /// The group's coordinator.
    pub(super) coordinator: Option<NodeId>,
}

impl Roles {
    /// The partitions that any of these leads.
    pub(super) fn led_by(&self, nodes: &[NodeId]) -> BTreeSet<i32> {
        let led = self.leaders.iter().filter(|(_, leader)| nodes.contains(leader));
        led.map(|(&partition, _)| partition).collect()
    }

    fn is_leader(&self, node: NodeId) -> bool {
        self.leaders.values().any(|&leader| leader == node)
    }
}

impl Scenario {
    /// How many faults there are when nobody says.
    pub(super) fn faults_default(self) -> usize {
        match self {
            Scenario::LeaderKill | Scenario::ControllerKill | Scenario::CoordinatorKill | Scenario::Storm => {
                20
            }
            Scenario::Freeze => 8,
            Scenario::RollingRestart => 6,
            Scenario::AllAtOnce => 3,
        }
    }

    /// What a fault of it is called.
    pub(super) fn fault(self) -> &'static str {
        match self {
            Scenario::LeaderKill
            | Scenario::ControllerKill
            | Scenario::CoordinatorKill
            | Scenario::AllAtOnce => "kill",
            Scenario::Freeze => "freeze",
            Scenario::RollingRestart => "restart",
            Scenario::Storm => "fault",
        }
    }

    /// Whether faults come whether or not everybody is back.
    pub(super) fn overlaps(self) -> bool {
        self == Scenario::Storm
    }

    /// What comes next; `None` when there is nobody to hit at the moment.
    pub(super) fn plan(self, roles: &Roles, number: usize, random: &mut Random) -> Option<Plan> {
        let up: Vec<NodeId> = roles.nodes.iter().copied().filter(|node| !roles.away.contains(node)).collect();
        let kill = |victims: Vec<NodeId>, random: &mut Random| Plan {
            victims,
            how: How::Kill,
            away: random.duration(Duration::from_millis(1500), Duration::from_millis(2500)),
            pause: random.duration(Duration::from_millis(200), Duration::from_millis(1000)),
        };
        let known = |node: Option<NodeId>| node.filter(|node| up.contains(node));
        let leaders: Vec<NodeId> = up.iter().copied().filter(|&node| roles.is_leader(node)).collect();
        match self {
            Scenario::LeaderKill => {
                let others: Vec<NodeId> =
                    leaders.iter().copied().filter(|&node| Some(node) != roles.controller).collect();
                let victim = pick(if others.is_empty() { &leaders } else { &others }, random)?;
                Some(kill(vec![victim], random))
            }
            Scenario::ControllerKill => Some(kill(vec![known(roles.controller)?], random)),
            Scenario::CoordinatorKill => Some(kill(vec![known(roles.coordinator)?], random)),
            Scenario::Freeze => Some(Plan {
                how: How::Freeze,
                away: random.duration(Duration::from_secs(2), Duration::from_secs(12)),
                ..kill(vec![pick(&leaders, random)?], random)
            }),
            Scenario::RollingRestart => {
                let victim = *up.get((number - 1) % up.len().max(1))?;
                Some(Plan { how: How::Stop, away: Duration::ZERO, ..kill(vec![victim], random) })
            }
            Scenario::Storm => {
                // Somebody must be left to say who is what.
                let victim = pick(&up, random).filter(|_| up.len() > 1)?;
                let how = match random.below(10) {
                    0..6 => How::Kill,
                    6..8 => How::Stop,
                    _ => How::Freeze,
                };
                Some(Plan {
                    victims: vec![victim],
                    how,
                    away: random.duration(Duration::from_millis(500), Duration::from_secs(5)),
                    pause: random.duration(Duration::from_millis(300), Duration::from_secs(3)),
                })
            }
            Scenario::AllAtOnce => Some(kill(up, random)).filter(|plan| !plan.victims.is_empty()),
        }
    }
}

fn pick(nodes: &[NodeId], random: &mut Random) -> Option<NodeId> {
    (!nodes.is_empty()).then(|| nodes[random.index(nodes.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> Roles {
        let leaders = [(0, 1), (1, 2), (2, 3), (3, 2)].map(|(partition, node)| (partition, NodeId(node)));
        Roles {
            nodes: [1, 2, 3].map(NodeId).to_vec(),
            leaders: leaders.into(),
            controller: Some(NodeId(2)),
            coordinator: Some(NodeId(3)),
            ..Roles::default()
        }
    }

    fn victims(scenario: Scenario, roles: &Roles) -> BTreeSet<Vec<i32>> {
        let mut random = Random::new(7);
        let plans = (1..50).filter_map(|number| scenario.plan(roles, number, &mut random));
        plans.map(|plan| plan.victims.iter().map(|node| node.0).collect()).collect()
    }

    #[test]
    fn each_scenario_hits_whom_it_names() {
        let cases: [(Scenario, &[&[i32]]); 6] = [
            (Scenario::LeaderKill, &[&[1], &[3]]),
            (Scenario::ControllerKill, &[&[2]]),
            (Scenario::CoordinatorKill, &[&[3]]),
            (Scenario::Freeze, &[&[1], &[2], &[3]]),
            (Scenario::RollingRestart, &[&[1], &[2], &[3]]),
            (Scenario::AllAtOnce, &[&[1, 2, 3]]),
        ];
        for (scenario, expected) in cases {
            let expected: BTreeSet<Vec<i32>> = expected.iter().map(|nodes| nodes.to_vec()).collect();
            assert_eq!(victims(scenario, &roles()), expected, "{scenario:?}");
        }
        let mut alone = roles();
        alone.leaders.retain(|_, leader| *leader == NodeId(2));
        assert_eq!(victims(Scenario::LeaderKill, &alone), [vec![2]].into(), "nobody else leads");
    }

    #[test]
    fn who_is_away_is_not_hit_and_one_is_left() {
        let mut roles = roles();
        roles.away = [NodeId(3)].into();
        assert_eq!(victims(Scenario::Storm, &roles), [vec![1], vec![2]].into());
        assert!(victims(Scenario::CoordinatorKill, &roles).is_empty());

        roles.away.insert(NodeId(1));
        assert!(victims(Scenario::Storm, &roles).is_empty());
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let plans = |seed| {
            let mut random = Random::new(seed);
            (1..20).map(|number| Scenario::Storm.plan(&roles(), number, &mut random)).collect::<Vec<_>>()
        };

        assert_eq!(plans(7), plans(7));
        assert_ne!(plans(7), plans(8));
    }
}
