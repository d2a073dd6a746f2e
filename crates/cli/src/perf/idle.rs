//! `ottla perf idle`: what the brokers spend without clients.

use super::processes::Brokers;
use super::report::Report;
use anyhow::{Result, bail};
use ottla_net::Clock;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    brokers: Brokers,
    /// How long is measured.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Report> {
    let processes = arguments.brokers.find().await?;
    let before = processes.cpu_seconds()?;
    if before.is_none() {
        bail!("which processes are the brokers? Name them with --pid, or their cluster with --data");
    }
    let clock = Clock::new();
    tokio::time::sleep(Duration::from_secs_f64(arguments.seconds)).await;
    let elapsed = clock.monotonic().0 as f64 / 1e6;
    let cpu = processes.cpu_since(before)?;

    let mut report = Report::default();
    report.add("seconds", "measured for", elapsed, "s");
    report.add("cpu_share", "brokers' share of a core", cpu / elapsed * 100.0, "%");
    processes.report_memory(&mut report)?;
    Ok(report)
}
