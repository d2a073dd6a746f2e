//! `ottla drill`: what is asked for, of which clusters, and the exit status.

use super::drive::{self, Drill, Target};
use super::nodes::Owner;
use super::page;
use super::plant::Plant;
use super::processes_file::ProcessesFile;
use super::report::Report;
use super::scenario::Scenario;
use super::story::{Extent, Story};
use crate::output;
use crate::up::commands::{self as up, Data};
use crate::up::control;
use crate::up::layout::Layout;
use crate::up::since;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use ottla_client::HostPort;
use ottla_net::{Task, task};
use ottla_types::Random;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Kills nodes of a cluster under load, and judges what its clients saw.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What is done to the nodes.
    #[arg(value_enum, required_unless_present = "list")]
    scenario: Option<Scenario>,
    /// Lists the scenarios, and what none of them shows.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    data: Data,
    /// Not a cluster of `ottla up`, but one that this file describes: `ottla drill --list` shows how.
    #[arg(long, value_name = "FILE")]
    processes: Option<PathBuf>,
    /// The same once more on the cluster that this file describes, afterwards; both are shown side by side.
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// The seed of all choices: who is hit, and for how long.
    #[arg(long)]
    seed: Option<u64>,
    /// How many faults.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "time")]
    kills: Option<u32>,
    /// Goes on for so long instead: 90s, 10m, 2h.
    #[arg(long = "for", id = "time", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
    /// How many records to send in a second.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Prints lines of JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Writes a page with the timeline as a picture.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Shows that the judge can see: plants a violation, which must end in FAIL. Without a name all of them, one after
    /// the other; then the exit status is 0 if each was found.
    #[arg(long, value_name = "VIOLATION", num_args = 0..=1, require_equals = true, conflicts_with = "beside")]
    #[expect(clippy::option_option, reason = "not given, given without a name, given with one")]
    self_test: Option<Option<Plant>>,
    /// Also hits nodes of a cluster that is not on this machine.
    #[arg(long)]
    yes: bool,
}

/// Seeds that nobody chose are below this: they are to be typed again.
const SEED_CHOSEN_MAX: u64 = 10_000;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Some(scenario) = arguments.scenario.filter(|_| !arguments.list) else {
        output::text(&list());
        return Ok(());
    };
    let mut targets = Vec::new();
    let mut started = None;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no thread")?;
    // From the beginning on: what is started for the drill must not outlive it.
    let (stop, _listening) = runtime.block_on(async { interruption() })?;
    match &arguments.processes {
        Some(path) => targets.push(foreign(path)?),
        None => {
            let interrupted = is_asked_to_stop(stop.clone());
            let (layout, is_started) = runtime.block_on(up::running(&arguments.data, interrupted))?;
            targets.push(own(&layout)?);
            started = is_started.then_some(layout);
        }
    }
    let done = runtime.block_on(async {
        if let Some(path) = &arguments.beside {
            targets.push(foreign(path)?);
        }
        drill_all(arguments, scenario, &targets, stop).await
    });
    let ended = match &started {
        Some(layout) => runtime.block_on(control::send(layout, control::Command::Down)).map(drop),
        None => Ok(()),
    };
    done.and(ended)
}

async fn drill_all(
    arguments: &Arguments,
    scenario: Scenario,
    targets: &[Target],
    stop: watch::Receiver<bool>,
) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| Random::new(crate::format::seed()).below(SEED_CHOSEN_MAX));
    let faults_default = if arguments.self_test.is_some() { 1 } else { scenario.faults_default() };
    let extent = match (arguments.kills, arguments.time) {
        (_, Some(time)) => Extent::Time(time),
        (Some(kills), None) => Extent::Faults(kills as usize),
        (None, None) => Extent::Faults(faults_default),
    };
    let (rate, only_loopback) = (arguments.rate, !arguments.yes);
    let drill = Drill { scenario, extent, seed, rate, plant: None, only_loopback };
    let mut story = Story::new(arguments.json);
    if let Some(plant) = arguments.self_test {
        let target = targets.first().context("there is a cluster")?;
        return self_test(arguments, &drill, plant, target, &mut story, &stop).await;
    }
    let mut reports: Vec<Report> = Vec::new();
    for target in targets {
        if !*stop.borrow() {
            let report = drive::run(&drill, target, &mut story, stop.clone()).await?;
            story.verdict(&report);
            reports.push(report);
        }
    }
    if reports.len() > 1 {
        story.side_by_side(&reports);
    }
    write_page(arguments, &reports, &mut story)?;
    let failed: Vec<&str> =
        reports.iter().filter(|report| !report.holds()).map(|report| report.cluster.as_str()).collect();
    ensure!(failed.is_empty(), "{}: promises were not kept", failed.join(", "));
    Ok(())
}

/// Plants what is asked for; what was not found is an error, and so is what was found where only that was asked for.
async fn self_test(
    arguments: &Arguments,
    drill: &Drill,
    plant: Option<Plant>,
    target: &Target,
    story: &mut Story,
    stop: &watch::Receiver<bool>,
) -> Result<()> {
    let plants = plant.map_or_else(|| Plant::ALL.to_vec(), |plant| vec![plant]);
    let (mut reports, mut missed) = (Vec::new(), Vec::new());
    for &planted in &plants {
        let drill = Drill { plant: Some(planted), ..drill.clone() };
        let report = drive::run(&drill, target, story, stop.clone()).await?;
        story.verdict(&report);
        if !planted.is_found_in(&report) {
            missed.push(planted.name());
        }
        reports.push(report);
    }
    write_page(arguments, &reports, story)?;
    ensure!(
        missed.is_empty(),
        "self-test: what was planted was not found, or not it alone: {}",
        missed.join(", ")
    );
    ensure!(plant.is_none(), "{}: promises were not kept, as was planted", target.name);
    story.note(&format!("self-test: {} of {} were found", plants.len(), plants.len()));
    Ok(())
}

fn write_page(arguments: &Arguments, reports: &[Report], story: &mut Story) -> Result<()> {
    if let Some(path) = &arguments.report {
        std::fs::write(path, page::page(reports)).with_context(|| path.display().to_string())?;
        story.note(&format!("page: {}", path.display()));
    }
    Ok(())
}

/// Turns true when somebody wants the drill to end: Ctrl-C, or SIGTERM. It is judged all the same.
fn interruption() -> Result<(watch::Receiver<bool>, Task)> {
    let (sender, stop) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listening = task::spawn("interruption", async move {
        loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if !sender.send_replace(true) {
                output::error_line("stopping: whoever is away comes back, and all is judged");
            }
        }
    });
    Ok((stop, listening))
}

async fn is_asked_to_stop(mut stop: watch::Receiver<bool>) {
    // Whoever listens outlives this.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The cluster of `ottla up`.
fn own(layout: &Layout) -> Result<Target> {
    let name = layout.directory.file_name().map_or_else(|| "ottla".into(), |name| name.to_string_lossy());
    Ok(Target {
        name: name.into_owned(),
        bootstrap: HostPort::parse_list(&layout.bootstrap())?,
        owner: Owner::Supervisor(layout.clone()),
    })
}

/// A cluster that a file describes.
fn foreign(path: &std::path::Path) -> Result<Target> {
    let file = ProcessesFile::read(path)?;
    Ok(Target { name: file.name.clone(), bootstrap: file.bootstrap.clone(), owner: Owner::File(file) })
}

fn time(text: &str) -> Result<Duration, String> {
    let millis =
        since::millis(text).and_then(|millis| u64::try_from(millis).ok()).filter(|&millis| millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| format!("`{text}` is no time such as 90s, 10m or 2h"))
}

/// The scenarios, how a file describes a cluster, and what is not shown.
fn list() -> String {
    let mut text = String::new();
    for scenario in Scenario::value_variants() {
        let value = scenario.to_possible_value().expect("none is hidden");
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        text += &format!("{:<17} {help}; {} of them\n", value.get_name(), scenario.faults_default());
    }
    text + "\nA file for --processes and --beside, with a line for each node and each of these:\n  \
            name=Apache Kafka\n  \
            bootstrap.servers=localhost:19092,localhost:19093\n  \
            node.1.pid.file=FILE   its process id, or commands: node.1.kill=COMMAND and node.1.stop=COMMAND\n  \
            node.1.start=COMMAND\n  \
            node.1.data=DIRECTORY  where its partitions are; without it replicas are not compared\n\
            \nNot shown: power loss, broken disks, networks. Their tests run in simulation: docs/simulation.md\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_every_scenario() {
        let text = list();

        for name in [
            "leader-kill",
            "controller-kill",
            "coordinator-kill",
            "freeze",
            "rolling-restart",
            "storm",
            "all-at-once",
        ] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["10", "0s", "-1s", "soon"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
