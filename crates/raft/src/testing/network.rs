//! A network that delays, loses, doubles and reorders, and whose links can be cut in one direction.

use ottla_types::{NodeId, Random};
use std::collections::BTreeSet;
use std::time::Duration;

/// The state of the network.
#[derive(Clone, Debug)]
pub struct Network {
    /// The shortest and the longest time that a message travels.
    pub delay: (Duration, Duration),
    /// How many of 1000 messages are lost.
    pub loss: u64,
    /// How many of 1000 messages arrive twice.
    pub doubling: u64,
    cut: BTreeSet<(NodeId, NodeId)>,
}

impl Network {
    /// Nothing is lost; every message travels within these bounds.
    pub fn sound(delay_min: Duration, delay_max: Duration) -> Network {
        Network { delay: (delay_min, delay_max), loss: 0, doubling: 0, cut: BTreeSet::new() }
    }

    /// When the copies of a message from one node to another arrive: none, one or two.
    pub fn arrivals(&self, from: NodeId, to: NodeId, random: &mut Random) -> Vec<Duration> {
        if self.is_cut(from, to) || random.chance(self.loss) {
            return Vec::new();
        }
        let copies = if random.chance(self.doubling) { 2 } else { 1 };
        (0..copies).map(|_| random.duration(self.delay.0, self.delay.1)).collect()
    }

    /// Returns whether messages of the one do not reach the other.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Lets no message of the one reach the other.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Restores every link.
    pub fn restore(&mut self) {
        self.cut.clear();
    }
}
