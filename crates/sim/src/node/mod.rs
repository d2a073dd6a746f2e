//! The shipped server, whole, on a simulated network, disk and clock.
//!
//! A run is a function of its seed: three nodes are formatted and started, clients write and read, faults come and go
//! by a plan ([`faults`]), then all is calm. Within a bound every in-sync set must be full again and every partition
//! take records; then everything is read and judged by what clients were told.
//!
//! Reading order: [`hosts`], [`wire`], [`network`], [`cluster`], [`faults`], [`plan`], [`workload`], [`group`], [`topics`], [`transactions`], [`moves`],
//! [`deletions`], [`segments`], [`quorum`], [`logs`], [`story`], [`blackout`], [`directories`].

pub mod blackout;
pub mod cluster;
pub mod deletions;
pub mod directories;
pub mod faults;
pub mod group;
pub mod hosts;
pub mod logs;
pub mod mounts;
pub mod moves;
pub mod network;
pub mod plan;
pub mod quorum;
pub mod segments;
pub mod story;
pub mod topics;
pub mod transactions;
pub mod wire;
pub mod workload;

use cluster::Cluster;
use faults::{Fault, Faults, Planned};
use ottla_types::{Offset, Random, TopicPartition};
use ottla_verify::{Commits, History, Transactions, Verdict, judge};
use parking_lot::Mutex;
use plan::{Hazards, Severity};
use quorum::Voting;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use story::Story;
use tokio::sync::watch;
use transactions::transfers;
use workload::{Found, TOPIC, Workload};

/// How long faults come and go.
const FAULTS_LAST: Duration = Duration::from_secs(25);

/// How long the cluster may take from the first start to running clients.
const START_MAX: Duration = Duration::from_secs(30);

/// How long a run may take altogether.
const RUN_MAX: Duration = Duration::from_secs(180);

/// How many nodes there are.
const NODES: usize = 3;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// What decides everything.
    pub seed: u64,
    /// Which log lines are kept, as `RUST_LOG` has it.
    pub filter: String,
    /// How much may be lost.
    pub severity: Severity,
    /// The plan; by the seed if `None`.
    pub plan: Option<Vec<Planned>>,
}

/// What the loss of all power at once excuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excused {
    /// What was acknowledged and not synced may be gone.
    Unsynced,
    /// Nothing: every record counts once it is on disk.
    Nothing,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The plan that was carried out.
    pub plan: Vec<Planned>,
    /// Why it failed, each in a line; none when all promises were kept.
    pub failures: Vec<String>,
    /// What was found at the end.
    pub verdict: Verdict,
    /// How many records were acknowledged.
    pub acknowledged: usize,
    /// How often a member of the group was told what is committed.
    pub told: usize,
    /// How many batches were compared on all replicas.
    pub compared: usize,
    /// How many changes of the voters an administrator made.
    pub voter_changes: usize,
    /// How many transactions were committed.
    pub transactions: usize,
    /// How long it took, in simulated time.
    pub lasted: Duration,
    /// The log lines that were kept.
    pub story: String,
}

thread_local! {
    /// Panics since the run began: a task that panics ends quietly, but it is a failure.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Lets panics of simulated tasks be found. Once for a process, before the first run.
pub fn notice_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.with_borrow_mut(|panics| panics.push(panic.to_string().replace('\n', " ")));
        before(panic);
    }));
}

/// Runs one simulation to its end.
pub fn run(options: &Options) -> Report {
    run_with(options, "", Excused::Unsynced)
}

/// Runs one simulation of nodes with these settings besides their own, a line each.
pub fn run_with(options: &Options, settings: &str, excused: Excused) -> Report {
    PANICS.take();
    hosts::align_tasks();
    let story = Story::default();
    let subscriber = story.subscriber(&options.filter);
    let mut report = tracing::subscriber::with_default(subscriber, || simulate(options, settings, excused));
    report.failures.extend(PANICS.take().into_iter().map(|panic| format!("panic: {panic}")));
    report.story = story.text();
    report
}

/// Leaves out of a plan that fails what it fails without, one fault after the other; returns the run that is left.
pub fn minimise(options: &Options, failed: Report) -> Report {
    let mut least = failed;
    let mut at = 0;
    while at < least.plan.len() {
        let mut plan = least.plan.clone();
        plan.remove(at);
        let report = run(&Options { plan: Some(plan), ..options.clone() });
        if report.failures.is_empty() {
            at += 1;
        } else {
            least = report;
        }
    }
    least
}

fn simulate(options: &Options, settings: &str, excused: Excused) -> Report {
    let mut random = Random::new(options.seed);
    let mut report = Report {
        plan: Vec::new(),
        failures: Vec::new(),
        verdict: Verdict::default(),
        acknowledged: 0,
        told: 0,
        compared: 0,
        voter_changes: 0,
        transactions: 0,
        lasted: Duration::ZERO,
        story: String::new(),
    };
    let voting = Voting::of(options.seed);
    let deletes = deletions::are_wanted(options.seed);
    let short_segments = deletes || segments::are_short(options.seed);
    let settings = settings.to_owned()
        + if deletes { deletions::SETTINGS } else { "" }
        + if short_segments { segments::SETTINGS } else { "" };
    let begun = Cluster::start(NODES, random.next_u64(), &settings, voting);
    let begun = begun.and_then(|cluster| Ok((cluster.directory_ids()?, cluster)));
    let (directory_ids, mut cluster) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            report.failures.push(format!("not started: {error:#}"));
            return report;
        }
    };
    let history = Arc::new(Mutex::new(History::new(options.seed)));
    let commits = Arc::new(Mutex::new(Commits::default()));
    let transactions = Arc::new(Mutex::new(Transactions::default()));
    let found = Arc::new(Mutex::new(Found::default()));
    let calm = watch::Sender::new(false);
    let running = Arc::new(watch::Sender::new(false));
    let workload = Workload {
        history: history.clone(),
        commits: commits.clone(),
        // A coordinator that has lost what partitions keep ends no transaction there, in Kafka neither.
        transfers: options.severity == Severity::WithinPromise && transfers::are_wanted(options.seed),
        transactions: transactions.clone(),
        network: cluster.clients_network(),
        nodes: cluster.node_names(),
        directory_ids,
        voting,
        deletes,
        short_segments,
        seed: random.next_u64(),
        calm: calm.subscribe(),
        running: running.clone(),
    };
    let places = found.clone();
    cluster.run_clients(Box::new(move || Box::pin(workload.clone().run(places.clone()))));

    let mut faults: Option<Faults> = None;
    loop {
        let elapsed = cluster.elapsed();
        match &mut faults {
            None if *running.borrow() => {
                let begin = elapsed + Duration::from_millis(500);
                // Whoever has lost its disks has lost what was synced too.
                let wipes = voting.wipes && options.severity == Severity::WithinPromise;
                let hazards = Hazards { severity: options.severity, wipes, nodes: NODES };
                let plan = options.plan.clone();
                report.plan =
                    plan.unwrap_or_else(|| plan::plan(&mut random, hazards, begin, begin + FAULTS_LAST));
                faults = Some(Faults::new(report.plan.clone()));
            }
            None if elapsed > START_MAX => {
                report.failures.push(format!("clients do not run {START_MAX:?} after the start"));
                break;
            }
            None => {}
            Some(faults) => {
                let begun = faults.apply(&mut cluster);
                if excused == Excused::Unsynced && begun.contains(&Fault::LoseAllPower) {
                    history.lock().lost_power_everywhere();
                    commits.lock().lost_power_everywhere();
                    transactions.lock().lost_power_everywhere();
                }
                calm.send_if_modified(|calm| faults.are_over() && !std::mem::replace(calm, true));
            }
        }
        match cluster.step() {
            Ok(true) => break,
            Ok(false) if elapsed < RUN_MAX => {}
            Ok(false) => {
                report.failures.push(format!("not over after {RUN_MAX:?}"));
                break;
            }
            Err(error) => {
                report.failures.push(format!("{error:#}"));
                break;
            }
        }
    }
    report.lasted = cluster.elapsed();
    let history = history.lock();
    report.acknowledged = history.acknowledged();
    let (commits, found) = (commits.lock(), found.lock());
    report.told = commits.told_count();
    report.verdict = judge(&history, &found.records);
    report.voter_changes = found.voter_changes;
    let transactions = transactions.lock();
    report.transactions = transactions.committed_count();
    // What was seen meanwhile counts though the run did not come to its end.
    report.failures.extend(commits.violations().iter().map(ToString::to_string));
    if !report.failures.is_empty() {
        return report;
    }
    report.failures.extend(report.verdict.violations.iter().map(ToString::to_string));
    let transfers = &found.transfers;
    let judged = transactions.judge(&transfers.numbers, &transfers.offsets);
    report.failures.extend(judged.iter().map(ToString::to_string));
    let mut compared = Vec::new();
    for (&partition, records) in &found.records {
        let seen = records.last().map_or(Offset::ZERO, |(last, _)| *last + 1);
        let may_begin_at = history.may_begin_at(partition);
        let at = TopicPartition::new(TOPIC, partition);
        compared.push(logs::compare(cluster.disks(), &at, may_begin_at, seen));
    }
    compared.push(logs::compare_metadata(cluster.disks(), found.metadata));
    compared.push(logs::check_strays(cluster.disks(), &found.unmoved));
    for compared in compared {
        match compared {
            Ok(compared) => report.compared += compared,
            Err(error) => report.failures.push(format!("{error:#}")),
        }
    }
    report
}
