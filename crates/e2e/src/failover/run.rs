//! One client on one cluster, and one fault after the other.

use super::client::{Client, Driver, Place};
use super::fault::{self, Kind, Victim};
use super::history::History;
use super::table::Row;
use super::verdict::{self, Verdict};
use super::{Micros, now, topology};
use crate::cluster::PATIENCE;
use crate::{Cluster, eventually};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The topic under load.
pub const TOPIC: &str = "failover";

/// Its partitions: fifty kills of a node that leads a third of them make 200 samples, enough for a p99.
pub const PARTITIONS: usize = 12;

/// How far apart the records of a partition are sent.
pub const INTERVAL_MS: u32 = 5;

/// The group whose coordinator is killed.
const GROUP: &str = "failover-group";

/// Its members.
const MEMBERS: usize = 3;

/// How far apart a member's commits are.
const COMMIT_INTERVAL_MS: u32 = 20;

/// How long a node stays away.
const AWAY: Duration = Duration::from_secs(2);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The client that is watched.
    pub client: Client,
    /// The faults, one kind after the other.
    pub kinds: Vec<Kind>,
    /// How many of each.
    pub faults: usize,
    /// How long after a node is back in sync the next fault comes.
    pub settle: Duration,
    /// Settings of the client's that are not its defaults, each `NAME=VALUE`.
    pub settings: Vec<String>,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The figures.
    pub rows: Vec<Row>,
    /// Whether anything was lost.
    pub verdict: Verdict,
    /// Commits that went back behind earlier ones.
    pub set_back: usize,
    /// Assignments that a killed coordinator changed.
    pub rebalances: usize,
}

/// Carries out a plan on a cluster of three in an empty directory: those of its kinds that are in [`Kind::ENDS`]. `say` is
/// told of each fault.
///
/// # Panics
/// When the cluster or the client does not recover, or the logs differ in the end.
pub fn carry_out(plan: &Plan, directory: &Path, mut say: impl FnMut(String)) -> Report {
    let mut cluster = Cluster::start_in(directory, 3, "");
    create_topic(&cluster);
    let bootstrap = cluster.bootstrap();
    let place = Place { bootstrap: &bootstrap, topic: TOPIC, settings: &plan.settings, directory };
    let mut producer = Driver::produce(plan.client, &place, PARTITIONS, INTERVAL_MS);
    let mut report = Report { rows: Vec::new(), verdict: Verdict::default(), set_back: 0, rebalances: 0 };
    for &kind in plan.kinds.iter().filter(|kind| Kind::ENDS.contains(kind)) {
        let mut samples = Samples::default();
        let mut group = (kind == Kind::Coordinator)
            .then(|| Driver::group(plan.client, &place, GROUP, MEMBERS, COMMIT_INTERVAL_MS));
        if let Some(group) = &mut group {
            group.wait_for("every member commits", |told| (told.commits.len() == MEMBERS).then_some(()));
        }
        await_acknowledgements(&mut producer);
        for number in 1..=plan.faults {
            let story = match (kind, &mut group) {
                (Kind::Stop, _) => stop(&mut cluster, &mut producer, &mut samples),
                (_, group) => kill(&mut cluster, kind, &mut producer, group.as_mut(), &mut samples),
            };
            say(format!("{} {kind} {number}/{}: {story}", plan.client, plan.faults));
            topology::wait_until_in_sync(&cluster);
            topology::wait_until_balanced(&cluster, TOPIC);
            pause(plan.settle);
        }
        if let Some(group) = group {
            let told = group.finish();
            report.set_back += told.set_back.len();
            report.rebalances += samples.rebalances;
        }
        report.rows.extend(samples.rows(plan.client, kind));
    }
    let told = producer.finish();
    verdict::wait_for_equal_logs(&cluster, TOPIC, PARTITIONS);
    report.verdict = verdict::judge(&cluster, TOPIC, &[&told], &[]);
    cluster.stop();
    verdict::wait_for_equal_logs(&cluster, TOPIC, PARTITIONS);
    report
}

/// The topic, on every node.
pub(super) fn create_topic(cluster: &Cluster) {
    let (bootstrap, partitions) = (cluster.bootstrap(), PARTITIONS.to_string());
    let to = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", TOPIC];
    cluster.tool(&[&to[..], &["--partitions", &partitions, "--replication-factor", "3"]].concat());
}

/// Waits until every partition has acknowledged something new.
pub(super) fn await_acknowledgements(producer: &mut Driver) {
    let begun = now();
    producer.wait_for("every partition acknowledges", |told| silences(told, begun));
}

/// The silence of every partition; `None` while one lasts.
pub(super) fn silences(told: &History, fault: Micros) -> Option<BTreeMap<i32, Micros>> {
    let partitions = 0..i32::try_from(PARTITIONS).expect("a few");
    partitions.map(|partition| Some((partition, told.silence(partition, fault)?))).collect()
}

/// Lets time pass.
pub fn pause(how_long: Duration) {
    let until = now() + i64::try_from(how_long.as_micros()).expect("not for ever");
    eventually("time passes", how_long + PATIENCE, || (now() >= until).then_some(()));
}

/// What the faults of one kind have shown.
#[derive(Default)]
struct Samples {
    led: Vec<Micros>,
    followed: Vec<Micros>,
    commits: Vec<Micros>,
    gaps: Vec<Micros>,
    shut_down: Vec<Micros>,
    rebalances: usize,
}

impl Samples {
    fn rows(self, client: Client, kind: Kind) -> Vec<Row> {
        let named = match kind {
            Kind::Freeze | Kind::FreezeController | Kind::Cut | Kind::Rolling => {
                unreachable!("these have runs of their own")
            }
            Kind::Leader | Kind::Controller => {
                vec![(format!("{kind} killed"), self.led), (format!("  {FOLLOWED}"), self.followed)]
            }
            Kind::Coordinator => vec![
                (format!("{kind} killed: commits"), self.commits),
                ("  partitions that it led".to_owned(), self.led),
                (format!("  {FOLLOWED}"), self.followed),
            ],
            Kind::Stop => vec![
                (format!("{kind}: longest gap"), self.gaps),
                ("  time to shut down".to_owned(), self.shut_down),
            ],
        };
        named.into_iter().map(|(what, samples)| Row { client, what, samples }).collect()
    }
}

const FOLLOWED: &str = "partitions that it followed";

fn victim(cluster: &Cluster, kind: Kind) -> Victim {
    eventually("there is a node to hit that leads something", PATIENCE, || {
        fault::choose(cluster, TOPIC, GROUP, kind)
    })
}

fn kill(
    cluster: &mut Cluster,
    kind: Kind,
    producer: &mut Driver,
    mut group: Option<&mut Driver>,
    samples: &mut Samples,
) -> String {
    let Victim { node, led, followed } = victim(cluster, kind);
    let rebalances = group.as_ref().map(|group| group.history().rebalances);
    let fault = now();
    cluster.node(node).kill();
    let silences = producer.wait_for("every partition acknowledges again", |told| silences(told, fault));
    let of = |partitions: &[i32]| partitions.iter().map(|p| silences[p]).collect::<Vec<_>>();
    let (led, followed) = (of(&led), of(&followed));
    let mut story =
        format!("node {node} at {fault} us: led {}, followed {}", millis(&led), millis(&followed));
    samples.led.extend(led);
    samples.followed.extend(followed);
    if let Some(group) = &mut group {
        let commits = group.wait_for("every member commits again", |told| {
            (0..MEMBERS).map(|member| told.commit_silence(member, fault)).collect::<Option<Vec<_>>>()
        });
        story += &format!(", commits {}", millis(&commits));
        samples.commits.extend(commits);
    }
    pause(AWAY);
    cluster.node(node).start();
    if let (Some(group), Some(before)) = (group, rebalances) {
        samples.rebalances += group.history().rebalances - before;
    }
    story
}

fn stop(cluster: &mut Cluster, producer: &mut Driver, samples: &mut Samples) -> String {
    let Victim { node, led, .. } = victim(cluster, Kind::Stop);
    let begun = now();
    cluster.node(node).stop();
    let ended = now();
    producer.wait_for("every partition acknowledges still", |told| silences(told, ended));
    pause(AWAY);
    let told = producer.history();
    let until = ended + i64::try_from(AWAY.as_micros()).expect("seconds");
    let gaps: Vec<Micros> = led.iter().filter_map(|&p| told.longest_gap(p, begun, until)).collect();
    drop(told);
    let story = format!(
        "node {node} at {begun} us: gaps {}, shut down in {}",
        millis(&gaps),
        millis(&[ended - begun])
    );
    samples.gaps.extend(gaps);
    samples.shut_down.push(ended - begun);
    cluster.node(node).start();
    story
}

/// All of them, for people.
pub(super) fn millis(times: &[Micros]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let shown: Vec<String> = sorted.iter().map(|micros| (micros / 1000).to_string()).collect();
    format!("[{}] ms", shown.join(" "))
}
