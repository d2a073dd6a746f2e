//! `ottla perf latency`: batches at a steady rate, one connection to each broker.

use super::cluster::{self, Led, Target};
use super::connection::{self, Encoded};
use super::load::{self, Batches, Outcome, PRODUCE_VERSION};
use super::processes::Brokers;
use super::report::Report;
use anyhow::{Result, bail};
use ottla_net::{Clock, Task, task};
use ottla_protocol::messages::produce_request::ProduceRequest;
use ottla_types::Monotonic;
use std::time::Duration;
use tokio::sync::mpsc;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    brokers: Brokers,
    #[command(flatten)]
    batches: Batches,
    /// MB (10^6 bytes) of values a second.
    #[arg(long, default_value_t = 5.0)]
    rate: f64,
    /// How long the load lasts before measuring begins.
    #[arg(long, default_value_t = 2.0)]
    warm_up_seconds: f64,
    /// How long is measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// Requests that may be under way on a connection: so many that the rate is kept while a broker stalls.
const UNDER_WAY_MAX: usize = 10_000;

pub(crate) async fn run(arguments: &Arguments) -> Result<Report> {
    let rate = arguments.rate;
    if rate.is_nan() || rate <= 0.0 {
        bail!("--rate {rate}: the rate is a number of MB a second above 0");
    }
    let processes = arguments.brokers.find().await?;
    let led = arguments.target.leaders().await?;
    let led = cluster::deal(&led, led.len());
    let batches_per_second = rate * 1e6 / arguments.batches.payload_bytes() as f64;
    let period = Duration::from_secs_f64(led.len() as f64 / batches_per_second);
    let clock = Clock::new();
    let micros = |seconds: f64| (seconds * 1e6) as u64;
    let from = Monotonic(micros(arguments.warm_up_seconds));
    let until = Monotonic(from.0 + micros(arguments.seconds));
    let mut connections = Vec::new();
    for (index, led) in led.iter().enumerate() {
        let requests = arguments.batches.encode(&arguments.target, led)?;
        // Taking turns: three requests at once would wait for each other.
        let first = Duration::from_millis(10) + period.mul_f64(index as f64 / 3.0);
        connections
            .push(task::spawn("latency", measure(clock, led.clone(), requests, first, period, from, until)));
    }
    clock.sleep_until(Some(from)).await;
    let cpu_before = processes.cpu_seconds()?;
    clock.sleep_until(Some(until)).await;
    let cpu = processes.cpu_since(cpu_before)?;

    let mut all = Vec::new();
    for connection in connections {
        all.extend(connection.join().await.unwrap_or_else(|| bail!("a connection's task panicked"))?);
    }
    let mut report = Report::default();
    report.add_latencies(["p50_ms", "p99_ms", "max_ms"], all);
    report.add("cpu_share", "brokers' share of a core", cpu / arguments.seconds * 100.0, "%");
    Ok(report)
}

/// Sends a request every `period`; returns how many microseconds the answers took to those sent between `from`
/// and `until`. A request's time begins when it was due: what waits behind a stall counts (no coordinated
/// omission).
async fn measure(
    clock: Clock,
    led: Led,
    mut requests: Vec<Encoded>,
    first: Duration,
    period: Duration,
    from: Monotonic,
    until: Monotonic,
) -> Result<Vec<u64>> {
    let (mut sender, mut receiver) = connection::connect(&led.address).await?;
    let (sent, mut due_times) = mpsc::channel::<Monotonic>(UNDER_WAY_MAX);
    let sending: Task<Result<()>> = task::spawn("send", async move {
        let mut due = clock.monotonic() + first;
        let mut next = 0;
        while due < until {
            clock.sleep_until(Some(due)).await;
            // The timer's grain is a millisecond; that is ours, not the broker's.
            let at = clock.monotonic();
            let late = at - due;
            let counted_from = if late <= TIMER_GRAIN { at } else { due };
            sent.send(counted_from).await?;
            sender.send(&mut requests[next]).await?;
            next = (next + 1) % requests.len();
            due = due + period;
        }
        Ok(())
    });
    let mut latencies = Vec::new();
    while let Some(due) = due_times.recv().await {
        let outcome = load::outcome(&receiver.receive::<ProduceRequest>(PRODUCE_VERSION).await?)?;
        if due >= from {
            if outcome != Outcome::Acknowledged {
                bail!("the topic's partitions are not led where they were; measure again");
            }
            latencies.push((clock.monotonic() - due).as_micros() as u64);
        }
    }
    sending.join().await.unwrap_or(Ok(()))?;
    Ok(latencies)
}

/// How late the runtime's timer may be without anything being wrong.
const TIMER_GRAIN: Duration = Duration::from_millis(2);
