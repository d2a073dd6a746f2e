//! `ottla perf produce`: several connections, several requests under way on each.

use super::cluster::{self, Led, Target};
use super::connection::{self, Encoded};
use super::load::{self, Batches, Outcome, PRODUCE_VERSION};
use super::processes::Brokers;
use super::report::Report;
use anyhow::{Result, bail};
use ottla_net::{Clock, Task, task};
use ottla_protocol::messages::produce_request::ProduceRequest;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    brokers: Brokers,
    #[command(flatten)]
    batches: Batches,
    /// Connections, dealt out to the brokers that lead; at least one to each.
    #[arg(long, default_value_t = 6)]
    connections: usize,
    /// Requests under way on each connection.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    in_flight: u16,
    /// How long the load lasts before measuring begins.
    #[arg(long, default_value_t = 2.0)]
    warm_up_seconds: f64,
    /// How long is measured, unless --bytes ends it before.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Bytes of values after which measuring ends.
    #[arg(long)]
    bytes: Option<u64>,
    /// Produce no more than so many MB (10^6 bytes) of values a second.
    #[arg(long)]
    rate: Option<f64>,
}

/// How often the end of the measurement is looked for.
const LOOK_PERIOD: Duration = Duration::from_millis(10);

pub(crate) async fn run(arguments: &Arguments) -> Result<Report> {
    let processes = arguments.brokers.find().await?;
    let led = cluster::deal(&arguments.target.leaders().await?, arguments.connections);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let pause = pause(arguments, led.len())?;
    let mut connections: Vec<Task<Result<()>>> = Vec::new();
    for led in &led {
        let requests = arguments.batches.encode(&arguments.target, led)?;
        let in_flight = usize::from(arguments.in_flight);
        let work = produce(led.clone(), requests, in_flight, pause, acknowledged.clone());
        connections.push(task::spawn("produce", work));
    }
    let clock = Clock::new();
    let seconds = || clock.monotonic().0 as f64 / 1e6;
    watch(&mut connections, || seconds() >= arguments.warm_up_seconds).await?;

    let (began, cpu_before) = (seconds(), processes.cpu_seconds()?);
    let before = acknowledged.load(Ordering::Relaxed);
    let payload = |requests: u64| requests * arguments.batches.payload_bytes();
    let requests = || acknowledged.load(Ordering::Relaxed) - before;
    watch(&mut connections, || {
        seconds() - began >= arguments.seconds
            || arguments.bytes.is_some_and(|bytes| payload(requests()) >= bytes)
    })
    .await?;

    let (requests, elapsed) = (requests(), seconds() - began);
    let cpu = processes.cpu_since(cpu_before)?;
    let mut report = Report::default();
    report.add("seconds", "measured for", elapsed, "s");
    report.add("requests", "requests acknowledged", requests as f64, "");
    report.add("requests_per_s", "requests", requests as f64 / elapsed, "/s");
    report.add("records_per_s", "records", (requests * arguments.batches.records()) as f64 / elapsed, "/s");
    report.add("mb_per_s", "values", payload(requests) as f64 / 1e6 / elapsed, "MB/s");
    report.add("cpu_s", "brokers' CPU", cpu, "s");
    report.add("cpu_s_per_gb", "brokers' CPU per GB", cpu / (payload(requests) as f64 / 1e9), "s");
    report.add("cpu_us_per_request", "brokers' CPU per request", cpu * 1e6 / requests as f64, "us");
    processes.report_memory(&mut report)?;
    Ok(report)
}

/// How long each connection rests between two requests to keep to the rate.
fn pause(arguments: &Arguments, connections: usize) -> Result<Option<Duration>> {
    let Some(rate) = arguments.rate else { return Ok(None) };
    if rate.is_nan() || rate <= 0.0 {
        bail!("--rate {rate}: the rate is a number of MB a second above 0");
    }
    let batches_per_second = rate * 1e6 / arguments.batches.payload_bytes() as f64;
    Ok(Some(Duration::from_secs_f64(connections as f64 / batches_per_second)))
}

/// Waits until `is_over`. A connection that ends is an error.
async fn watch(connections: &mut [Task<Result<()>>], is_over: impl Fn() -> bool) -> Result<()> {
    while !is_over() {
        if let Some(ended) = connections.iter_mut().find(|connection| connection.is_finished()) {
            let outcome = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *ended).poll_task(cx)).await;
            return outcome.unwrap_or_else(|| bail!("a connection's task panicked"));
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
    Ok(())
}

/// Keeps `in_flight` requests under way until the task is dropped.
async fn produce(
    led: Led,
    mut requests: Vec<Encoded>,
    in_flight: usize,
    pause: Option<Duration>,
    acknowledged: Arc<AtomicU64>,
) -> Result<()> {
    let (mut sender, mut receiver) = connection::connect(&led.address).await?;
    let mut next = 0;
    let mut under_way = 0;
    let mut pacer = pause.map(tokio::time::interval);
    loop {
        while under_way < in_flight {
            if let Some(pacer) = &mut pacer {
                // Answers that came meanwhile are counted below; they do not hold up the pace before `in_flight`.
                pacer.tick().await;
            }
            sender.send(&mut requests[next]).await?;
            next = (next + 1) % requests.len();
            under_way += 1;
        }
        let answer = receiver.receive::<ProduceRequest>(PRODUCE_VERSION).await?;
        under_way -= 1;
        match load::outcome(&answer)? {
            Outcome::Acknowledged => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::TooEarly => tokio::time::sleep(LOOK_PERIOD).await,
        }
    }
}
