//! Runs of a world in which everything goes wrong for a while, and then nothing any more.

use super::checker::Violation;
use super::memory_log::voter_at;
use super::network::Network;
use super::world::{Setup, World, key_of};
use crate::bug::Bug;
use crate::log::ReplicatedLog;
use crate::message::{AddVoterRequest, RemoveVoterRequest, Request, UpdateVoterRequest};
use crate::role::RoleName;
use ottla_types::{LeaderEpoch, Monotonic, NodeId, Offset, Random};
use std::time::Duration;

/// How long a quorum may take, once nothing new goes wrong, to commit something new everywhere.
///
/// The worst is a leader that falls silent when nobody knows its habits: 2 s for the voters, and for an
/// observer that others send back to it up to 4.1 s more.
pub const RECOVERY_MAX: Duration = Duration::from_secs(8);

/// What to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many voters.
    pub voters: i32,
    /// How many observers.
    pub observers: i32,
    /// Decides every matter of chance.
    pub seed: u64,
    /// Whether the voters change, and then whether observers sync and whether they join by themselves.
    pub changes: Option<VoterChanges>,
    /// Whether the configuration names the voters at first, and then the log does.
    pub upgrades: bool,
    /// The mistake that every node makes.
    pub bug: Option<Bug>,
    /// Whether nodes write snapshots, and forget what is in them.
    pub has_snapshots: bool,
    /// For how long things go wrong.
    pub disturbed_for: Duration,
    /// Whether to write down everything that happens.
    pub is_traced: bool,
}

/// How the voters of a run change.
#[derive(Clone, Copy, Debug)]
pub struct VoterChanges {
    /// Whether observers sync before they fetch on.
    pub observers_sync: bool,
    /// Whether observers join by themselves.
    pub observers_join: bool,
    /// How often somebody asks a leader for a change, of a thousand times that records are appended.
    pub per_mille: u64,
}

/// What came of a run in which nothing happened that must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many batches were committed.
    pub committed: usize,
    /// How many epochs had a leader.
    pub leaders: usize,
    /// How often a node installed another's snapshot.
    pub installations: u64,
    /// How many voter sets were committed.
    pub voter_sets: usize,
    /// How long the quorum took to recover.
    pub recovery: Duration,
}

impl Scenario {
    /// The scenario that belongs to a seed: 3 or 5 voters, sometimes 1, up to 2 observers.
    pub fn of_seed(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x5ca1_ab1e);
        let voters = match random.below(20) {
            0 => 1,
            1..12 => 3,
            _ => 5,
        };
        Scenario {
            voters,
            observers: random.below(3) as i32,
            seed,
            changes: None,
            upgrades: false,
            bug: None,
            has_snapshots: Random::new(seed ^ 0x5a95).chance(500),
            disturbed_for: Duration::from_secs(4),
            is_traced: false,
        }
    }

    /// The same, of a quorum whose voters come and go: 1 to 5 to begin with, and two more observers.
    pub fn with_changing_voters(self) -> Scenario {
        let mut random = Random::new(self.seed ^ 0xc4a6_e500);
        let changes = VoterChanges {
            observers_sync: random.chance(500),
            observers_join: random.chance(200),
            per_mille: [10, 60, 300][random.index(3)],
        };
        let voters = 1 + random.below(5) as i32;
        Scenario { changes: Some(changes), voters, observers: self.observers + 2, ..self }
    }

    /// The same, of a quorum that is told again and again to let the log name the voters.
    pub fn with_upgrade(self) -> Scenario {
        Scenario { upgrades: true, ..self }
    }

    /// The same, with a mistake.
    pub fn with_bug(self, bug: Bug) -> Scenario {
        Scenario { bug: Some(bug), ..self }
    }

    /// Runs it, and leaves in `trace`, if the scenario asks for it, what happened.
    ///
    /// # Errors
    /// When something happens that must not, or the quorum does not recover.
    pub fn run(&self, trace: &mut Vec<String>) -> Result<Outcome, Violation> {
        let mut random = Random::new(self.seed ^ 0xfa17);
        let mut setup = Setup::sound(self.voters, self.observers, self.seed);
        setup.bug = self.bug;
        if let Some(changes) = self.changes {
            setup.is_dynamic = true;
            (setup.observers_sync, setup.observers_join) = (changes.observers_sync, changes.observers_join);
        }
        setup.may_upgrade = self.upgrades;
        setup.is_traced = self.is_traced;
        // Now and then a fetch brings only a batch or two, so that a follower is long behind.
        setup.config.fetch_bytes_max = if random.chance(500) { 40 } else { 1 << 20 };
        let mut world = World::new(setup)?;
        let recovery =
            self.disturb(&mut world, &mut random).and_then(|()| self.recover(&mut world, &mut random));
        *trace = std::mem::take(&mut world.trace);
        Ok(Outcome {
            committed: world.checker.committed().len(),
            leaders: world.checker.leaders_count(),
            installations: world.installations(),
            voter_sets: world.checker.committed().iter().filter(|batch| batch.voters().is_some()).count(),
            recovery: recovery?,
        })
    }

    /// What goes wrong is of one of two kinds: a little of everything, or a storm of restarts on a slow
    /// network, in which elections overlap and hardly anything is replicated before the next one.
    fn disturb(&self, world: &mut World, random: &mut Random) -> Result<(), Violation> {
        if self.voters > 1 && random.chance(500) {
            self.storm(world, random)
        } else {
            self.disturb_mixed(world, random)
        }
    }

    fn storm(&self, world: &mut World, random: &mut Random) -> Result<(), Violation> {
        let end = world.now() + self.disturbed_for;
        world.network.delay.1 = random.duration(Duration::from_millis(2), Duration::from_millis(60));
        world.network.doubling = random.below(300);
        let downtime_max = random.duration(Duration::from_millis(5), Duration::from_millis(400));
        let pause_max = random.duration(Duration::from_millis(20), Duration::from_millis(400));
        let mut next_fault = world.now();
        let mut restarts: Vec<(Monotonic, NodeId)> = Vec::new();
        let mut snapshots = Random::new(self.seed ^ 0x5a96);
        let mut changes = Random::new(self.seed ^ 0xc4a6);
        while world.now() < end {
            self.take_snapshots(world, &mut snapshots);
            world.run_for(random.duration(Duration::from_millis(1), Duration::from_millis(10)))?;
            for id in world.ids() {
                if random.chance(300) {
                    world.append(id, 1)?;
                }
            }
            self.change_voters(world, &mut changes)?;
            self.upgrade(world, &mut changes)?;
            let now = world.now();
            for (_, id) in restarts.extract_if(.., |(at, _)| *at <= now) {
                world.start(id)?;
            }
            if next_fault <= now {
                next_fault = now + random.duration(Duration::from_millis(2), pause_max);
                let ids = world.ids();
                let any = ids[random.index(ids.len())];
                let victim = world.leader().filter(|_| random.chance(600)).unwrap_or(any);
                world.kill(victim);
                restarts.push((now + random.duration(Duration::from_millis(1), downtime_max), victim));
            }
        }
        Ok(())
    }

    fn disturb_mixed(&self, world: &mut World, random: &mut Random) -> Result<(), Violation> {
        let end = world.now() + self.disturbed_for;
        let mut next_fault = world.now() + random.duration(Duration::ZERO, Duration::from_millis(500));
        let mut restarts: Vec<(Monotonic, NodeId)> = Vec::new();
        let mut snapshots = Random::new(self.seed ^ 0x5a96);
        let mut changes = Random::new(self.seed ^ 0xc4a6);
        while world.now() < end {
            self.take_snapshots(world, &mut snapshots);
            world.run_for(random.duration(Duration::from_millis(1), Duration::from_millis(25)))?;
            for id in world.ids() {
                // Whoever believes to lead is given records, also when another does by now.
                if random.chance(800) {
                    world.append(id, 1 + random.below(3))?;
                }
            }
            self.change_voters(world, &mut changes)?;
            self.upgrade(world, &mut changes)?;
            let now = world.now();
            for (_, id) in restarts.extract_if(.., |(at, _)| *at <= now) {
                world.start(id)?;
            }
            if next_fault <= now {
                next_fault = now + random.duration(Duration::from_millis(20), Duration::from_millis(500));
                disturb_once(world, random, &mut restarts)?;
            }
        }
        Ok(())
    }

    /// Now and then somebody asks whoever believes to lead for another voter set.
    fn change_voters(&self, world: &mut World, random: &mut Random) -> Result<(), Violation> {
        let Some(changes) = self.changes.filter(|changes| random.chance(changes.per_mille)) else {
            return Ok(());
        };
        let leads = |id: &NodeId| world.quorum(*id).is_some_and(|quorum| quorum.role() == RoleName::Leader);
        let leaders: Vec<NodeId> = world.ids().into_iter().filter(leads).collect();
        for leader in leaders {
            // Several at once, when they come often.
            for _ in 0..1 + random.below(1 + changes.per_mille / 100) {
                let ids = world.ids();
                let id = ids[random.index(ids.len())];
                let is_voter = world.quorum(leader).is_some_and(|quorum| quorum.voters().has(key_of(id)));
                let request = match (is_voter, random.below(4)) {
                    (true, 0) => moved(world, leader, id, random),
                    (true, _) => Request::RemoveVoter(RemoveVoterRequest { voter: key_of(id) }),
                    (false, _) => add(id),
                };
                world.administer(leader, request)?;
            }
        }
        Ok(())
    }

    /// Now and then whoever believes to lead is told to let the log name the voters.
    fn upgrade(&self, world: &mut World, random: &mut Random) -> Result<(), Violation> {
        if self.upgrades && random.chance(20) {
            for id in world.ids() {
                world.upgrade(id)?;
            }
        }
        Ok(())
    }

    /// Now and then a node writes a snapshot; half of those forget at once what is in it.
    fn take_snapshots(&self, world: &mut World, random: &mut Random) {
        if self.has_snapshots {
            for id in world.ids().into_iter().filter(|_| random.chance(30)).collect::<Vec<_>>() {
                world.take_snapshot(id, random.chance(500));
            }
        }
    }

    /// Ends all disturbance, except that a minority of the voters may stay dead, dark or frozen, and waits
    /// until something new is committed on every other node.
    fn recover(&self, world: &mut World, random: &mut Random) -> Result<Duration, Violation> {
        world.network = Network::sound(Duration::from_micros(500), Duration::from_millis(2));
        world.sync = (Duration::from_millis(1), Duration::from_millis(3));
        world.thaw();
        let mut up = world.ids();
        // Where voters change, nobody can say yet who would be a minority; see `recover_again`.
        let down_max =
            if self.changes.is_some() || self.upgrades { 0 } else { (self.voters as usize - 1) / 2 };
        for _ in 0..random.index(up.len()).min(down_max) {
            let voters_up = up.iter().filter(|id| id.0 <= self.voters).count();
            let id = up.remove(random.index(voters_up));
            world.start(id)?;
            match random.below(3) {
                0 => world.kill(id),
                1 => world.lose_power(id),
                _ => world.freeze(id, RECOVERY_MAX * 2),
            }
        }
        for &id in &up {
            world.start(id)?;
        }
        let recovery = Self::commits_everywhere(world, &up)?;
        if self.changes.is_some() {
            self.recover_again(world, random)?;
        }
        if self.upgrades {
            Self::recover_upgraded(world)?;
        }
        Ok(recovery)
    }

    /// The log can be made to name the voters, unless it does; then a minority of them dies, and the rest goes on.
    fn recover_upgraded(world: &mut World) -> Result<(), Violation> {
        let done = world.run_until_holds(RECOVERY_MAX, |world| {
            let Some(leader) = world.leader() else { return Ok(false) };
            world.upgrade(leader)?;
            let quorum = world.quorum(leader).expect("it leads");
            let committed = quorum.high_watermark().unwrap_or_default();
            Ok(quorum.voters_before(committed).is_some())
        })?;
        if done.is_none() {
            let detail = format!("the log does not name the voters: {}", describe(world));
            return Err(Violation { invariant: "RAFT-LIVE", detail });
        }
        Self::lose_minority(world)
    }

    /// A minority of the voters dies, and the rest goes on.
    fn lose_minority(world: &mut World) -> Result<(), Violation> {
        let leader = world.leader().expect("it was there just now");
        let voters = world.quorum(leader).expect("it leads").voters().clone();
        let mut up = world.ids();
        for voter in voters.iter().take((voters.len() - 1) / 2) {
            world.kill(voter.key.id);
            up.retain(|&id| id != voter.key.id);
        }
        Self::commits_everywhere(world, &up).map(drop)
    }

    /// A voter set can still be changed; then a minority of the voters dies, and the rest goes on.
    fn recover_again(&self, world: &mut World, random: &mut Random) -> Result<(), Violation> {
        let others: Vec<NodeId> = world.ids();
        let newcomer = others[random.index(others.len())];
        let done = world.run_until_holds(RECOVERY_MAX, |world| {
            let Some(leader) = world.leader() else { return Ok(false) };
            let quorum = world.quorum(leader).expect("it leads");
            if quorum.voters().has(key_of(newcomer)) {
                let is_committed = quorum.voters_before(quorum.high_watermark().unwrap_or_default());
                return Ok(is_committed == Some(quorum.voters()));
            }
            if world.now().0 / 1000 % 50 == 0 {
                world.administer(leader, add(newcomer))?;
            }
            Ok(false)
        })?;
        if done.is_none() {
            let detail = format!("{newcomer} did not become a voter: {}", describe(world));
            return Err(Violation { invariant: "RAFT-LIVE", detail });
        }
        Self::lose_minority(world)
    }

    /// Waits until something new is committed on all these nodes.
    fn commits_everywhere(world: &mut World, up: &[NodeId]) -> Result<Duration, Violation> {
        let mut target: Option<(NodeId, Offset)> = None;
        let recovered = world.run_until_holds(RECOVERY_MAX, |world| {
            let leader = world.leader().filter(|leader| up.contains(leader));
            if let (None, Some(leader)) = (target, leader) {
                target = world.append(leader, 1)?.map(|end| (leader, end));
            }
            if target.is_some_and(|(appended_at, _)| leader != Some(appended_at)) {
                target = None;
            }
            let Some((_, end)) = target else { return Ok(false) };
            let has_it =
                |id| world.quorum(id).and_then(|q| q.high_watermark()).is_some_and(|mark| mark >= end);
            Ok(up.iter().copied().all(has_it))
        })?;
        for &id in up {
            if let Some(quorum) = world.quorum(id).filter(|_| recovered.is_some()) {
                let end = target.map_or(Offset::ZERO, |(_, end)| end);
                world.checker.finished(id, end, quorum.log())?;
            }
        }
        recovered.ok_or_else(|| Violation {
            invariant: "RAFT-LIVE",
            detail: format!(
                "nothing new is committed everywhere after {RECOVERY_MAX:?}: {}",
                describe(world)
            ),
        })
    }
}

fn add(id: NodeId) -> Request {
    let voter = voter_at(key_of(id), 9093);
    Request::AddVoter(AddVoterRequest {
        voter: voter.key,
        listeners: Vec::new(),
        endpoint: Some(voter.endpoint),
        ack_when_committed: true,
    })
}

/// A voter listens elsewhere.
fn moved(world: &World, leader: NodeId, id: NodeId, random: &mut Random) -> Request {
    let voter = voter_at(key_of(id), random.below(60_000) as u16);
    Request::UpdateVoter(UpdateVoterRequest {
        epoch: world.quorum(leader).map_or(LeaderEpoch(0), |quorum| quorum.epoch()),
        voter: voter.key,
        listeners: Vec::new(),
        endpoint: Some(voter.endpoint),
        kraft_versions: voter.kraft_versions,
    })
}

fn describe(world: &World) -> String {
    let line = |id: NodeId| {
        let quorum = world.quorum(id)?;
        let (role, epoch, end) = (quorum.role(), quorum.epoch(), quorum.log().end());
        let voters: Vec<i32> = quorum.voters().iter().map(|voter| voter.key.id.0).collect();
        let committed = quorum.high_watermark();
        Some(format!("{id} {role:?} in {epoch}, end {end}, committed {committed:?}, voters {voters:?}"))
    };
    world.ids().into_iter().filter_map(line).collect::<Vec<_>>().join("; ")
}

/// Something goes wrong, or is mended.
fn disturb_once(
    world: &mut World,
    random: &mut Random,
    restarts: &mut Vec<(Monotonic, NodeId)>,
) -> Result<(), Violation> {
    let ids = world.ids();
    let any = ids[random.index(ids.len())];
    // Half of what goes wrong hits the leader.
    let victim = world.leader().filter(|_| random.chance(500)).unwrap_or(any);
    let downtime = random.duration(Duration::from_millis(5), Duration::from_millis(1500));
    let restart_at = world.now() + downtime;
    match random.below(12) {
        0 | 1 => {
            world.kill(victim);
            restarts.push((restart_at, victim));
        }
        2 | 3 => {
            world.lose_power(victim);
            restarts.push((restart_at, victim));
        }
        4 => {
            for id in ids {
                world.lose_power(id);
                restarts.push((restart_at + random.duration(Duration::ZERO, Duration::from_millis(50)), id));
            }
        }
        5 => {
            // Two sides; now and then only one of them is not heard.
            let side: Vec<bool> = ids.iter().map(|_| random.chance(500)).collect();
            let is_one_way = random.chance(300);
            for (i, &from) in ids.iter().enumerate() {
                for (j, &to) in ids.iter().enumerate() {
                    if side[i] != side[j] && (side[i] || !is_one_way) {
                        world.network.cut(from, to);
                    }
                }
            }
        }
        6 => {
            for &other in ids.iter().filter(|&&id| id != victim) {
                let (from, to) = if random.chance(500) { (victim, other) } else { (other, victim) };
                world.network.cut(from, to);
            }
        }
        7 => world.network.restore(),
        8 => {
            world.network.loss = random.below(200);
            world.network.doubling = random.below(200);
            world.network.delay.1 = random.duration(Duration::from_millis(1), Duration::from_millis(80));
        }
        9 => world.sync.1 = random.duration(Duration::from_millis(2), Duration::from_millis(100)),
        10 => world.freeze(victim, downtime),
        _ => world.resign(victim)?,
    }
    Ok(())
}
