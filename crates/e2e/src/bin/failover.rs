//! `cargo xtask failover`: prints how long clients are kept waiting when nodes die.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use anyhow::{Context, Result, bail};
use clap::Parser;
use ottla_e2e::cluster::profile_directory;
use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::fault::Kind;
use ottla_e2e::failover::run::{self, Plan, Report};
use ottla_e2e::failover::{restart, rolling, saturated, silent, table};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

/// Measures silence after faults, by foreign clients with their defaults, on three nodes with shipped defaults.
#[derive(Parser)]
#[command(name = "cargo xtask failover")]
struct Options {
    /// How many faults of each kind.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
    /// A client; may be repeated. All when none is named.
    #[arg(long)]
    client: Vec<Client>,
    /// A kind of fault; may be repeated. Those that end a process when none is named.
    #[arg(long)]
    kind: Vec<Kind>,
    /// Seconds between the return of a node's leaderships and the next fault.
    #[arg(long, default_value_t = 1)]
    settle: u32,
    /// A setting of the client's, such as librdkafka's debug=all; may be repeated. Defaults otherwise.
    #[arg(long, value_name = "NAME=VALUE")]
    setting: Vec<String>,
    /// Each client on a cluster of its own, all at the same time: in a third of the time, on a busier machine.
    #[arg(long)]
    at_once: bool,
    /// Instead: keeps the machine saturated for so many minutes, and fails when anybody is fenced.
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["kills", "kind", "settle", "setting", "at_once"])]
    saturated: Option<u32>,
    /// Instead: fills each node with so many GB in 1,000 partitions, kills nodes, and tells how long they take to be back.
    #[arg(long, value_name = "GIGABYTES", conflicts_with_all = ["kills", "kind", "settle", "setting", "at_once", "client", "saturated"])]
    restart: Option<u32>,
}

/// What a restarted node may take until it is in sync everywhere, in seconds.
const RESTART_MAX_S: f64 = 5.0;

fn main() -> Result<()> {
    let options = Options::parse();
    match (options.saturated, options.restart) {
        (Some(minutes), _) => saturate(&options, minutes),
        (None, Some(gigabytes)) => restart(gigabytes),
        (None, None) => measure(&options),
    }
}

fn measure(options: &Options) -> Result<()> {
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    let (mut acknowledged, mut given_up, mut lost) = (0, 0, 0);
    let plans = clients(options).into_iter().map(|client| Plan {
        client,
        kinds: if options.kind.is_empty() { Kind::ENDS.to_vec() } else { options.kind.clone() },
        faults: options.kills as usize,
        settle: Duration::from_secs(options.settle.into()),
        settings: options.setting.clone(),
    });
    for (client, report) in reports(&plans.collect::<Vec<_>>(), options.at_once)? {
        acknowledged += report.verdict.acknowledged;
        given_up += report.verdict.given_up;
        lost += report.verdict.lost();
        if !report.verdict.is_clean() || report.set_back > 0 || report.rebalances > 0 {
            wrong.push(format!(
                "{client}: {:?}, {} commits set back, {} rebalances",
                report.verdict, report.set_back, report.rebalances
            ));
        }
        rows.extend(report.rows);
    }
    println!("\n{}", table::header());
    rows.iter().for_each(|row| println!("{row}"));
    println!(
        "acknowledged {acknowledged}, given up by the client {given_up}, lost {lost}; logs byte-identical"
    );
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

/// Carries out all plans, one after the other or all at once.
fn reports(plans: &[Plan], at_once: bool) -> Result<Vec<(Client, Report)>> {
    if !at_once {
        let reports: Vec<_> = plans.iter().map(carry_out).collect::<Result<_>>()?;
        return Ok(reports.into_iter().flatten().collect());
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = plans.iter().map(|plan| scope.spawn(move || carry_out(plan))).collect();
        let join = |thread: ScopedJoinHandle<'_, Result<_>>| match thread.join() {
            Ok(report) => report,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let reports: Vec<Vec<_>> = running.into_iter().map(join).collect::<Result<_>>()?;
        Ok(reports.into_iter().flatten().collect())
    })
}

/// Carries out a plan: what ends processes on one cluster, every other kind on one of its own.
fn carry_out(plan: &Plan) -> Result<Vec<(Client, Report)>> {
    let say = |story: String| println!("{story}");
    let name = plan.client.to_string();
    let mut reports = Vec::new();
    if plan.kinds.iter().any(|kind| Kind::ENDS.contains(kind)) {
        reports.push((plan.client, run::carry_out(plan, &directory(&name)?, say)));
    }
    for &kind in plan.kinds.iter().filter(|kind| !Kind::ENDS.contains(kind)) {
        let directory = directory(&format!("{name}, {kind}").replace([' ', ','], "-"))?;
        let report = match kind {
            Kind::Rolling => rolling::carry_out(plan, &directory, say),
            _ => silent::carry_out(plan, kind, &directory, say),
        };
        reports.push((plan.client, report));
    }
    Ok(reports)
}

fn restart(gigabytes: u32) -> Result<()> {
    let seen = restart::measure(gigabytes.into(), &directory("restart")?, |story| println!("{story}"));
    let seconds = |micros| micros as f64 / 1e6;
    println!(
        "\n{gigabytes} GB a node in {} partitions; seconds until it serves, until all are in sync",
        restart::PARTITIONS
    );
    for restart in &seen {
        let who = restart.node.map_or_else(|| "all nodes".to_owned(), |id| format!("node {id}"));
        println!("{who:<10} {:>6.2} {:>6.2}", seconds(restart.serving), seconds(restart.in_sync));
    }
    if seen.iter().any(|restart| seconds(restart.in_sync) > RESTART_MAX_S) {
        bail!("a restart took more than {RESTART_MAX_S} s");
    }
    Ok(())
}

fn saturate(options: &Options, minutes: u32) -> Result<()> {
    for client in clients(options).into_iter().take(1) {
        let how_long = Duration::from_secs(60 * u64::from(minutes));
        let report = saturated::saturate(client, how_long, &directory(&client.to_string())?);
        println!(
            "saturated for {minutes} min, loaded by {client}: fenced {}, stalls noticed {}, elections {}, longest gap {} ms, {:?}",
            report.fenced.len(),
            report.stalls,
            report.elections,
            report.longest_gap / 1000,
            report.verdict,
        );
        if !report.fenced.is_empty() || !report.verdict.is_clean() {
            bail!("brokers that lived were fenced:\n{}", report.fenced.join("\n"));
        }
    }
    Ok(())
}

fn clients(options: &Options) -> Vec<Client> {
    if options.client.is_empty() { Client::ALL.to_vec() } else { options.client.clone() }
}

/// An empty directory for a cluster, kept afterwards: its logs explain a bad figure.
fn directory(name: &str) -> Result<PathBuf> {
    let target = profile_directory().parent().map(Path::to_owned).context("target/<profile>")?;
    let directory = target.join("failover").join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
    }
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}
