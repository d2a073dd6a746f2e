//! One drill on one cluster, from its topic to its verdict.

use super::chronicle::Chronicle;
use super::cluster::{Cluster, PARTITIONS, Topic};
use super::group::MEMBERS;
use super::nodes::{Nodes, Owner};
use super::plant::Plant;
use super::replicas::{self, Replicas};
use super::report::{Fault, Report};
use super::scenario::Scenario;
use super::story::{About, Extent, Story};
use super::workload::Workload;
use crate::verify::check::{Counts, read_all};
use anyhow::{Context, Result, ensure};
use ottla_client::HostPort;
use ottla_client::admin::groups::committed_offsets;
use ottla_net::Clock;
use ottla_types::{NodeId, Now, Offset, Random, TopicPartition};
use ottla_verify::{History, Outcome, judge};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long clients may take to be served again once a fault is over, and at the beginning.
pub(super) const SERVED_PATIENCE: Duration = Duration::from_secs(60);

/// How long replicas may take to be in sync, and to be equal.
pub(super) const IN_SYNC_PATIENCE: Duration = Duration::from_secs(120);

/// How often it is looked whether replicas are in sync.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often replicas are compared that are not equal yet.
const COMPARE_EVERY: Duration = Duration::from_millis(500);

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct Drill {
    /// The faults.
    pub(super) scenario: Scenario,
    /// How many.
    pub(super) extent: Extent,
    /// The seed of all choices.
    pub(super) seed: u64,
    /// Records a second.
    pub(super) rate: u32,
    /// A violation to be made, so that it is found.
    pub(super) plant: Option<Plant>,
    /// Whether brokers on other machines are left alone.
    pub(super) only_loopback: bool,
}

/// A cluster to be drilled.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// What it is called.
    pub(super) name: String,
    /// Where clients begin.
    pub(super) bootstrap: Vec<HostPort>,
    /// Who owns its processes.
    pub(super) owner: Owner,
}

/// A drill under way.
pub(super) struct Run<'a> {
    pub(super) drill: &'a Drill,
    pub(super) story: &'a mut Story,
    pub(super) clock: Clock,
    pub(super) begun: Now,
    pub(super) nodes: Nodes,
    pub(super) cluster: Cluster,
    pub(super) topic: Topic,
    /// How many brokers the cluster has when all are there.
    pub(super) brokers: usize,
    pub(super) workload: Workload,
    /// Where the cluster says why it did what it did.
    pub(super) chronicle: Option<Chronicle>,
    pub(super) random: Random,
    /// True once the drill is to be ended.
    pub(super) stop: watch::Receiver<bool>,
    pub(super) faults: Vec<Fault>,
    pub(super) failures: Vec<String>,
}

/// Carries out a drill. Whatever happens, every node that it has ended or held up is brought back.
///
/// # Errors
/// When the cluster cannot be drilled, or not be judged.
pub(super) async fn run(
    drill: &Drill,
    target: &Target,
    story: &mut Story,
    stop: watch::Receiver<bool>,
) -> Result<Report> {
    let cluster = Cluster::new(&target.bootstrap);
    if drill.only_loopback {
        cluster.check_loopback().await?;
    }
    let topic = cluster.make_topic(drill.seed).await?;
    let nodes = Nodes::new(target.owner.clone());
    let chronicle = match &target.owner {
        Owner::Supervisor(layout) => Some(Chronicle::start(layout).await?),
        Owner::File(_) => None,
    };
    story.begins(&About {
        cluster: &target.name,
        nodes: nodes.ids().len(),
        topic: &topic,
        partitions: PARTITIONS as usize,
        rate: drill.rate,
        scenario: drill.scenario,
        seed: drill.seed,
        extent: drill.extent,
        plant: drill.plant.map(Plant::name),
    });
    let clock = Clock::new();
    let mut run = Run {
        drill,
        story,
        clock,
        begun: clock.now(),
        nodes,
        workload: Workload::start(clock, &target.bootstrap, &topic, drill.rate),
        brokers: cluster.brokers(),
        cluster,
        topic,
        chronicle,
        random: Random::new(drill.seed),
        stop,
        faults: Vec::new(),
        failures: Vec::new(),
    };
    run.wait_until_served().await?;
    let struck = if drill.scenario.overlaps() { run.storm().await } else { run.one_after_the_other().await };
    if let Err(error) = struck {
        run.failures.push(format!("{error:#}"));
    }
    if let Err(error) = run.nodes.bring_all_back().await {
        run.failures.push(format!("{error:#}"));
    }
    run.conclude(&target.name).await
}

impl Run<'_> {
    /// Whether the drill is to be ended: somebody said so, or there was enough of it.
    pub(super) fn is_over(&self) -> bool {
        let is_enough = match self.drill.extent {
            Extent::Faults(count) => self.faults.len() >= count,
            Extent::Time(time) => self.took() >= time,
        };
        is_enough || *self.stop.borrow()
    }

    pub(super) fn took(&self) -> Duration {
        self.clock.monotonic() - self.begun.monotonic
    }

    /// Waits until every partition acknowledges, every member commits, and all replicas are in sync.
    async fn wait_until_served(&mut self) -> Result<()> {
        let watch = &self.workload.shared.watch;
        let from = watch.open(self.clock.monotonic());
        let all = (0..PARTITIONS).collect();
        let is_served = || {
            let silences = watch.silences(from);
            silences.are_over(&all) && silences.group(MEMBERS).is_some()
        };
        let served = self.wait(Instant::now() + SERVED_PATIENCE, is_served).await;
        watch.close(from);
        ensure!(served || *self.stop.borrow(), "clients are not served: is the cluster well?");
        let in_sync = self.wait_until_in_sync(Instant::now() + IN_SYNC_PATIENCE).await;
        ensure!(in_sync.is_some() || *self.stop.borrow(), "replicas are not in sync: is the cluster well?");
        Ok(())
    }

    /// Waits until clients have seen what is waited for; false when it was given up at the deadline, or the drill ends.
    pub(super) async fn wait(&self, deadline: Instant, is_so: impl Fn() -> bool) -> bool {
        let mut news = self.workload.shared.watch.subscribe();
        let mut stop = self.stop.clone();
        loop {
            news.borrow_and_update();
            if is_so() {
                return true;
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => return is_so(),
                // The sender lives as long as the workload does.
                _ = news.changed() => {}
                () = tokio::time::sleep_until(deadline) => return is_so(),
            }
        }
    }

    /// Waits until every replica is in sync; tells where each partition is. `None` when it was given up at the deadline,
    /// or the drill ends.
    pub(super) async fn wait_until_in_sync(&self, deadline: Instant) -> Option<BTreeMap<i32, Vec<NodeId>>> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|&stop| stop) => None,
            found = self.look_until_in_sync(deadline) => found,
        }
    }

    async fn look_until_in_sync(&self, deadline: Instant) -> Option<BTreeMap<i32, Vec<NodeId>>> {
        while Instant::now() < deadline {
            // Nobody may be there to say.
            if let Ok(Some(partitions)) = self.cluster.in_sync(&self.topic, self.brokers).await {
                return Some(partitions);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        None
    }

    /// Waits until the clients are through, reads everything back, and judges.
    async fn conclude(mut self, cluster: &str) -> Result<Report> {
        self.story.note("reading everything back");
        let partitions = self.look_until_in_sync(Instant::now() + IN_SYNC_PATIENCE).await;
        if partitions.is_none() {
            self.failures.push(format!("replicas are not in sync after {} s", IN_SYNC_PATIENCE.as_secs()));
        }
        if let Err(error) = self.workload.stop_sending().await {
            self.failures.push(format!("{error:#}"));
        }
        self.wait_until_committed().await;
        if let Some(plant) = self.drill.plant {
            plant
                .carry_out(&self.workload.shared, self.cluster.client())
                .await
                .context("nothing was planted")?;
        }
        let counts_over_time = self.workload.shared.watch.counts();
        let shared = self.workload.stop_group().await?;
        let client = self.cluster.client();
        let committed = committed_offsets(client, &shared.group).await?;
        let mut commits = std::mem::take(&mut *shared.commits.lock());
        for &partition in &shared.partitions {
            let at = TopicPartition::new(self.topic.name.clone(), partition);
            commits.told(&shared.group, partition, i32::MAX, committed.get(&at).map(|found| found.offset));
        }
        let history = std::mem::replace(&mut *shared.history.lock(), History::new(0));
        let found = read_all(client, &self.topic.name, &history).await?;
        let verdict = judge(&history, &found);
        let never = history.sent().filter(|(_, outcome)| *outcome == Outcome::Unknown).count();
        let replicas = match partitions {
            Some(partitions) => equal_replicas(&self.topic.name, &partitions, &self.nodes.data()).await,
            None => Replicas::Unknown,
        };
        let report = Report {
            cluster: cluster.to_owned(),
            scenario: self.drill.scenario,
            seed: self.drill.seed,
            begun: self.begun,
            took: self.clock.monotonic() - self.begun.monotonic,
            faults: self.faults,
            counts_over_time,
            acknowledged: history.acknowledged(),
            kept: verdict.kept,
            unacknowledged: (verdict.unacknowledged, never.saturating_sub(verdict.unacknowledged)),
            counts: Counts::of(&verdict),
            violations: verdict.violations.iter().map(ToString::to_string).collect(),
            commit_violations: commits.violations().iter().map(ToString::to_string).collect(),
            commits_told: commits.told_count(),
            replicas,
            failures: self.failures,
        };
        // What failed is left for who wants to look closer.
        if report.holds()
            && let Err(error) = self.cluster.delete(&self.topic, &shared.group).await
        {
            tracing::debug!(%error, "the topic or the group is left behind");
        }
        Ok(report)
    }

    /// The group must come to the end of what was acknowledged.
    async fn wait_until_committed(&mut self) {
        let mut ends: BTreeMap<i32, Offset> = BTreeMap::new();
        for (stamp, outcome) in self.workload.shared.history.lock().sent() {
            if let Outcome::Acknowledged(offset) = outcome
                && offset.is_some()
            {
                let end = ends.entry(stamp.partition).or_insert(offset + 1);
                *end = (*end).max(offset + 1);
            }
        }
        let shared = self.workload.shared.clone();
        let deadline = Instant::now() + SERVED_PATIENCE;
        let mut news = shared.watch.subscribe();
        while !shared.has_committed(&ends) {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(deadline) => {
                    let seconds = SERVED_PATIENCE.as_secs();
                    return self.failures.push(format!("the group has not come to the end of all records after {seconds} s"));
                }
                // The sender lives as long as what is shared does.
                _ = news.changed() => {}
            }
        }
    }
}

/// Compares replicas until they are equal, or it takes too long.
async fn equal_replicas(
    topic: &str,
    partitions: &BTreeMap<i32, Vec<NodeId>>,
    data: &BTreeMap<NodeId, std::path::PathBuf>,
) -> Replicas {
    let deadline = Instant::now() + IN_SYNC_PATIENCE;
    loop {
        let found = replicas::compare(topic, partitions, data);
        if found.are_equal() || Instant::now() >= deadline {
            return found;
        }
        tokio::time::sleep(COMPARE_EVERY).await;
    }
}
