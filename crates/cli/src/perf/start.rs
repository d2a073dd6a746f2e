//! `ottla perf start`: how long after the start of a cluster the first record is acknowledged.

use super::cluster::Target;
use super::connection;
use super::load::{self, Outcome, PRODUCE_VERSION};
use super::report::Report;
use anyhow::{Context, Result, bail};
use ottla_client::client::Topics;
use ottla_client::{Client, HostPort};
use ottla_net::Clock;
use ottla_protocol::messages::produce_request::ProduceRequest;
use std::process::{Command, Stdio};
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// How long to wait for the first record.
    #[arg(long, default_value_t = 60.0)]
    patience_seconds: f64,
    /// What starts the cluster, in which the topic exists already.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// How long between two attempts: little beside what is measured.
const ATTEMPT_PERIOD: Duration = Duration::from_millis(2);

pub(crate) async fn run(arguments: &Arguments) -> Result<Report> {
    let (program, rest) = arguments.command.split_first().context("no command")?;
    let clock = Clock::new();
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| program.clone())?;
    let mut last = anyhow::anyhow!("no attempt was made");
    let elapsed = loop {
        let elapsed = clock.monotonic().0 as f64 / 1e6;
        if elapsed > arguments.patience_seconds {
            return Err(last.context("no record was acknowledged in time"));
        }
        if let Some(status) = child.try_wait()?.filter(|status| !status.success()) {
            bail!("{program}: {status}");
        }
        match tokio::time::timeout(Duration::from_secs(1), attempt(&arguments.target)).await {
            Ok(Ok(())) => break clock.monotonic().0 as f64 / 1e6,
            Ok(Err(error)) => last = error,
            Err(error) => last = error.into(),
        }
        tokio::time::sleep(ATTEMPT_PERIOD).await;
    };
    let mut report = Report::default();
    report.add("first_record_s", "start to first acknowledged record", elapsed, "s");
    Ok(report)
}

/// Sends one record to partition 0, anew from the first connection on.
async fn attempt(target: &Target) -> Result<()> {
    let client: Client = target.client()?;
    let names = [target.topic.clone()];
    let known = client.refresh(Topics::Named(&names)).await?;
    let leader = known.topics.get(&target.topic).and_then(|topic| topic.partitions.get(&0)?.leader);
    let address: &HostPort = leader
        .and_then(|leader| known.brokers.get(&leader))
        .map(|broker| &broker.address)
        .context("partition 0 has no leader")?;
    let (mut sender, mut receiver) = connection::connect(address).await?;
    sender.send(&mut load::request(&target.topic, 0, -1, &[b"first"])?).await?;
    match load::outcome(&receiver.receive::<ProduceRequest>(PRODUCE_VERSION).await?)? {
        Outcome::Acknowledged => Ok(()),
        Outcome::TooEarly => bail!("partition 0 is not led where it is said to be"),
    }
}
