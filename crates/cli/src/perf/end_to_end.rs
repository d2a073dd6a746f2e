//! `ottla perf end-to-end`: single records at a steady rate, and a consumer that waits for them.

use super::cluster::{self, Led, Target};
use super::connection;
use super::consume::Consumer;
use super::load::{self, PRODUCE_VERSION};
use super::processes::Brokers;
use super::report::Report;
use anyhow::{Result, bail};
use ottla_net::{Clock, Task, task};
use ottla_protocol::messages::produce_request::ProduceRequest;
use ottla_records::{batches, validate::DECOMPRESSED_BYTES_MAX};
use ottla_types::Monotonic;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    brokers: Brokers,
    /// Records a second, each in a request of its own, over all partitions in turn.
    #[arg(long, default_value_t = 1000.0)]
    records_per_second: f64,
    /// Bytes of each record's value; the first eight are the time it was sent.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    record_size: u32,
    /// How long the load lasts before measuring begins.
    #[arg(long, default_value_t = 2.0)]
    warm_up_seconds: f64,
    /// How long is measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// How long records that were sent may take to arrive after the last.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn run(arguments: &Arguments) -> Result<Report> {
    let rate = arguments.records_per_second;
    if rate.is_nan() || rate <= 0.0 {
        bail!("--records-per-second {rate}: a number above 0 is needed");
    }
    let processes = arguments.brokers.find().await?;
    let led = arguments.target.leaders().await?;
    let led = cluster::deal(&led, led.len());
    let topic = &arguments.target.topic;
    let mut consumers = Vec::new();
    for led in &led {
        let mut consumer = Consumer::connect(topic, led).await?;
        consumer.seek_to_end().await?;
        consumers.push(consumer);
    }

    let clock = Clock::new();
    let micros = |seconds: f64| (seconds * 1e6) as u64;
    let from = Monotonic(micros(arguments.warm_up_seconds));
    let until = Monotonic(from.0 + micros(arguments.seconds));
    let consuming: Vec<Task<Result<Vec<u64>>>> = consumers
        .into_iter()
        .map(|consumer| task::spawn("consume", consume(clock, consumer, from, until)))
        .collect();
    let period = Duration::from_secs_f64(led.len() as f64 / rate);
    let mut producing: Vec<Task<Result<()>>> = Vec::new();
    for (index, led) in led.iter().enumerate() {
        let first = period.mul_f64(index as f64 / 3.0);
        let sender = Paced { clock, topic: topic.clone(), led: led.clone(), size: arguments.record_size };
        producing.push(task::spawn("produce", sender.run(first, period, until)));
    }
    clock.sleep_until(Some(from)).await;
    let cpu_before = processes.cpu_seconds()?;
    clock.sleep_until(Some(until)).await;
    let cpu = processes.cpu_since(cpu_before)?;

    for task in producing {
        task.join().await.unwrap_or_else(|| bail!("a producer's task panicked"))?;
    }
    let mut all = Vec::new();
    for task in consuming {
        all.extend(task.join().await.unwrap_or_else(|| bail!("a consumer's task panicked"))?);
    }
    let mut report = Report::default();
    report.add_latencies(["p50_ms", "p99_ms", "max_ms"], all);
    report.add("cpu_share", "brokers' share of a core", cpu / arguments.seconds * 100.0, "%");
    Ok(report)
}

/// A producer that keeps its pace whatever the answers do.
struct Paced {
    clock: Clock,
    topic: String,
    led: Led,
    size: u32,
}

impl Paced {
    async fn run(self, first: Duration, period: Duration, until: Monotonic) -> Result<()> {
        let (mut sender, mut receiver) = connection::connect(&self.led.address).await?;
        let clock = self.clock;
        let sending: Task<Result<u64>> = task::spawn("send", async move {
            let mut due = clock.monotonic() + first;
            let mut value = vec![b'x'; self.size as usize];
            let mut sent = 0;
            for partition in self.led.partitions.iter().copied().cycle() {
                if due >= until {
                    break;
                }
                clock.sleep_until(Some(due)).await;
                value[..8].copy_from_slice(&clock.monotonic().0.to_be_bytes());
                sender.send(&mut load::request(&self.topic, partition, -1, &[&value])?).await?;
                sent += 1;
                due = due + period;
            }
            Ok(sent)
        });
        // Answers are looked at as they come; one more than was sent never does.
        let mut answered = 0;
        let mut sending = std::pin::pin!(sending.join());
        let mut sent = None;
        while sent.is_none_or(|sent| answered < sent) {
            tokio::select! {
                biased;
                answer = receiver.receive::<ProduceRequest>(PRODUCE_VERSION) => {
                    // A record that was refused is missing from the figures: those of a new topic's first moments.
                    load::outcome(&answer?)?;
                    answered += 1;
                }
                done = &mut sending, if sent.is_none() => {
                    sent = Some(done.unwrap_or_else(|| bail!("a sender's task panicked"))?);
                }
            }
        }
        Ok(())
    }
}

/// Reads until all has arrived; returns how many microseconds the records took that were sent between `from`
/// and `until`.
async fn consume(
    clock: Clock,
    mut consumer: Consumer,
    from: Monotonic,
    until: Monotonic,
) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    let end = until + ARRIVAL_PATIENCE;
    loop {
        let fetched = tokio::select! {
            biased;
            fetched = consumer.fetch() => fetched?,
            () = clock.sleep_until(Some(end)) => return Ok(latencies),
        };
        let now = clock.monotonic();
        for (_, records) in fetched {
            for batch in batches(&records).map_while(Result::ok) {
                for record in batch.records(DECOMPRESSED_BYTES_MAX)?.iter() {
                    let record = record?;
                    let Some(sent) = record.value.and_then(|value| value.first_chunk::<8>()) else {
                        continue;
                    };
                    let sent = Monotonic(u64::from_be_bytes(*sent));
                    if sent >= from && sent < until {
                        latencies.push((now - sent).as_micros() as u64);
                    }
                }
            }
        }
    }
}
