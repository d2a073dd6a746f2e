//! Leaders that fall silent: frozen, or cut off. Their connections stay open, and their kernel says nothing.
//!
//! How long a client is kept waiting depends on when it connects. One that connects afterwards has only the cluster to
//! wait for. One that was connected before waits for its own time-out as well: a second here instead of half a minute, by
//! the setting that its library has for it.
//!
//! Each node is silent for the first time: one that was so a while ago is given longer
//! (`docs/adr/2026-11-22-failure-detection.md`), so it is restarted afterwards.

use super::client::{Client, Driver, Manner, Place};
use super::fault::{self, Kind, Victim};
use super::run::{INTERVAL_MS, PARTITIONS, Plan, Report, TOPIC, create_topic, millis, pause, silences};
use super::table::Row;
use super::{Micros, now, topology, verdict};
use crate::cluster::PATIENCE;
use crate::network::Network;
use crate::{Cluster, eventually};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long nodes stay silent at least, in turn: less than a session, and more.
const HOLDS: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(12), Duration::from_secs(30)];

/// By how much later within a second each fault begins than the one before: all phases, whatever the number of faults.
const PHASE_STEP_MS: u64 = 381;

/// A client that asks a silent node first has time-outs of up to a minute.
const PATIENCE_OF_CLIENTS: Duration = Duration::from_secs(90);

/// How long partitions of a node that fell silent were silent, by kind of client.
#[derive(Default)]
struct Samples {
    by_the_living: Vec<Micros>,
    by_anybody: Vec<Micros>,
    before: Vec<Micros>,
}

impl Samples {
    fn rows(self, client: Client, kind: Kind) -> Vec<Row> {
        let rows = [
            (format!("{kind}: connects after"), self.by_the_living),
            ("  after, its name first or not".to_owned(), self.by_anybody),
            ("  connected before, 1 s time-out".to_owned(), self.before),
        ];
        let rows = rows.into_iter().filter(|(_, samples)| !samples.is_empty());
        rows.map(|(what, samples)| Row { client, what, samples }).collect()
    }
}

/// A node that can be made silent.
trait Silence {
    fn begin(&mut self, cluster: &mut Cluster, node: usize);
    fn end(&mut self, cluster: &mut Cluster, node: usize);
}

/// By SIGSTOP and SIGCONT.
struct Freeze;

impl Silence for Freeze {
    fn begin(&mut self, cluster: &mut Cluster, node: usize) {
        cluster.node(node).freeze();
    }

    fn end(&mut self, cluster: &mut Cluster, node: usize) {
        cluster.node(node).thaw();
    }
}

impl Silence for &Network {
    fn begin(&mut self, _cluster: &mut Cluster, node: usize) {
        self.isolate(node);
    }

    fn end(&mut self, _cluster: &mut Cluster, _node: usize) {
        self.heal();
    }
}

/// Carries out one kind of a plan, [`Kind::Freeze`], [`Kind::FreezeController`] or [`Kind::Cut`], on a cluster of three in an empty directory. `say` is
/// told of each fault.
///
/// # Panics
/// When the cluster or a client does not recover, or the logs differ in the end; [`Kind::Cut`] without the right to make
/// networks.
pub fn carry_out(plan: &Plan, kind: Kind, directory: &Path, say: impl FnMut(String) + Send) -> Report {
    if kind != Kind::Cut {
        return watch(plan, kind, Cluster::start_in(directory, 3, ""), &mut Freeze, directory, say);
    }
    let network = Network::new(3).expect("making networks takes root, `ip` and `nft`");
    let on_the_network = || {
        network.enter();
        let cluster = Cluster::start_on(&network, directory, "");
        watch(plan, kind, cluster, &mut &network, directory, say)
    };
    // A thread of its own: one that has entered a network stays there.
    let ended = std::thread::scope(|scope| scope.spawn(on_the_network).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn wait(client: &mut Driver, fault: Micros) -> BTreeMap<i32, Micros> {
    client.wait_long_for("every partition acknowledges", PATIENCE_OF_CLIENTS, |told| silences(told, fault))
}

fn watch(
    plan: &Plan,
    kind: Kind,
    mut cluster: Cluster,
    silence: &mut impl Silence,
    directory: &Path,
    mut say: impl FnMut(String),
) -> Report {
    create_topic(&cluster);
    let everybody = cluster.bootstrap();
    let place = Place { bootstrap: &everybody, topic: TOPIC, settings: &plan.settings, directory };
    let manner = Manner { settings: &[plan.client.impatient()], ..Manner::default() };
    let mut before = Driver::produce_as(plan.client, &place, PARTITIONS, INTERVAL_MS, &manner);
    let begun = now();
    before.wait_for("every partition acknowledges", |told| silences(told, begun));
    let mut samples = Samples::default();
    let mut producers = Vec::new();
    for number in 1..=plan.faults {
        let Victim { node, led, .. } =
            eventually("there is a node to hit that leads something", PATIENCE, || {
                fault::choose(&cluster, TOPIC, "", kind)
            });
        // Which node a client asks first is its own affair; one that asks a silent one waits for its own time-out first.
        let is_choosy = number % 2 == 1;
        let living = cluster.bootstrap_without(node);
        let place = Place { bootstrap: if is_choosy { &living } else { &everybody }, ..place };
        let manner = Manner { number: number as u32, later: true, ..Manner::default() };
        let mut after = Driver::produce_as(plan.client, &place, PARTITIONS, INTERVAL_MS, &manner);

        // Whatever a cluster or a client does once a second: each fault meets it elsewhere.
        pause(Duration::from_millis((number as u64 * PHASE_STEP_MS) % 1000));
        silence.begin(&mut cluster, node);
        // Cutting takes a while: what was sent meanwhile may be acknowledged yet.
        let fault = now();
        after.begin();
        let of = |all: BTreeMap<i32, Micros>| led.iter().map(|p| all[p]).collect::<Vec<_>>();
        let seen_after = of(wait(&mut after, fault));
        let seen_before = of(wait(&mut before, fault));
        let hold = HOLDS[(number - 1) % HOLDS.len()];
        pause(hold.saturating_sub(Duration::from_micros(u64::try_from(now() - fault).unwrap_or(0))));
        let held = now() - fault;
        silence.end(&mut cluster, node);

        say(format!(
            "{} {kind} {number}/{}: node {node} at {fault} us for {}: after {}{}, before {}",
            plan.client,
            plan.faults,
            millis(&[held]),
            millis(&seen_after),
            if is_choosy { "" } else { " (by anybody)" },
            millis(&seen_before),
        ));
        let seen = if is_choosy { &mut samples.by_the_living } else { &mut samples.by_anybody };
        seen.extend(seen_after);
        samples.before.extend(seen_before);
        producers.push(after.finish());
        topology::wait_until_in_sync(&cluster);
        // Whoever stands still again and again is given more and more time. Its next incarnation is not.
        cluster.node(node).stop();
        cluster.node(node).start();
        topology::wait_until_in_sync(&cluster);
        topology::wait_until_balanced(&cluster, TOPIC);
        pause(plan.settle);
    }
    producers.insert(0, before.finish());
    verdict::wait_for_equal_logs(&cluster, TOPIC, PARTITIONS);
    let verdict = verdict::judge(&cluster, TOPIC, &producers.iter().collect::<Vec<_>>(), &[]);
    cluster.stop();
    verdict::wait_for_equal_logs(&cluster, TOPIC, PARTITIONS);
    Report { rows: samples.rows(plan.client, kind), verdict, set_back: 0, rebalances: 0 }
}
