//! `ottla verify produce`: records that say who they are, and a file of what was said about them.

use super::Servers;
use super::history_file::{Subject, Writer};
use anyhow::{Context, Result, bail};
use ottla_client::admin::topics::NewTopic;
use ottla_client::client::Topics;
use ottla_client::producer::{Acks, Delivery, Producer, ProducerConfig, ProducerRecord, SendError};
use ottla_client::{Admin, Client};
use ottla_net::{Clock, task};
use ottla_types::{Monotonic, Random};
use ottla_verify::{Guarantee, Stamp};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long until a broker is asked again for a topic that it does not know yet.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    servers: Servers,
    /// The topic. It is made when it does not exist.
    #[arg(long, default_value = "ottla-verify")]
    topic: String,
    /// How many partitions a topic that is made gets.
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// How many replicas each of them gets. By default as many as the cluster gives.
    #[arg(long)]
    replication_factor: Option<i16>,
    /// The file to write. It must not exist.
    #[arg(long, value_name = "FILE")]
    history: PathBuf,
    /// How many records to send.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// How many records to send in a second.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// How large each record is, in bytes.
    #[arg(long, default_value_t = 100)]
    record_size: usize,
    /// Who must have a record: all in-sync replicas, or the leader, who promises less.
    #[arg(long, value_parser = ["all", "1"], default_value = "all")]
    acks: String,
    /// A record that is sent again may be there twice.
    #[arg(long)]
    no_idempotence: bool,
}

/// Records that wait for their answers.
const UNDER_WAY_MAX: usize = 100_000;

/// What has been heard so far.
#[derive(Default)]
struct Heard {
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    last_at: Option<Monotonic>,
    longest_silence: Duration,
}

pub(super) async fn run(arguments: &Arguments) -> Result<()> {
    if arguments.rate == 0 {
        bail!("--rate 0: how many records a second are to be sent?");
    }
    let client = arguments.servers.client()?;
    let partitions = partitions(arguments, &client).await?;
    let durable = arguments.acks == "all";
    let guarantee = Guarantee { durable, idempotent: durable && !arguments.no_idempotence };
    let run = Random::new(crate::format::seed()).next_u64();
    let subject = Subject { run, topic: arguments.topic.clone(), guarantee };
    let history = Arc::new(Mutex::new(Writer::create(&arguments.history, &subject)?));
    let config = ProducerConfig {
        acks: if durable { Acks::All } else { Acks::Leader },
        idempotent: guarantee.idempotent,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client, config);
    let (under_way, answers) = mpsc::channel(UNDER_WAY_MAX);
    let listening = task::spawn("answers", listen(answers, history.clone()));
    let sent = send(arguments, &producer, &partitions, &history, under_way).await;
    // What was sent is answered, or expires: the producer sees to that.
    let heard = listening.join().await.context("the task of answers panicked")??;
    history.lock().flush()?;
    sent?;
    let Heard { acknowledged, refused, unknown, longest_silence, .. } = heard;
    crate::output::line(format_args!(
        "acknowledged {acknowledged}, refused {refused}, unknown {unknown}; \
         longest time without an acknowledgement {} ms",
        longest_silence.as_millis()
    ));
    crate::output::line(format_args!(
        "check it with: ottla verify check --bootstrap-server {} --history {}",
        arguments.servers.bootstrap_server,
        arguments.history.display()
    ));
    Ok(())
}

/// The partitions of the topic, which is made if need be.
async fn partitions(arguments: &Arguments, client: &Client) -> Result<Vec<i32>> {
    let names = [arguments.topic.clone()];
    let known = client.refresh(Topics::Named(&names)).await?;
    if !known.topics.contains_key(&arguments.topic) {
        let topic = NewTopic {
            name: arguments.topic.clone(),
            partitions: Some(arguments.partitions),
            replication_factor: arguments.replication_factor,
            ..NewTopic::default()
        };
        Admin::new(client.clone()).create_topic(&topic).await.context(arguments.topic.clone())?;
    }
    // Whoever is asked may not have heard of a topic that was made a moment ago.
    let heard_of = async {
        loop {
            let described = Admin::new(client.clone()).describe_topics(&names).await?;
            let partitions: Vec<i32> =
                described.iter().flat_map(|topic| topic.partitions.keys().copied()).collect();
            if !partitions.is_empty() {
                return Ok(partitions);
            }
            tokio::time::sleep(RETRY_BACKOFF).await;
        }
    };
    let patience = client.config().request_timeout;
    match tokio::time::timeout(patience, heard_of).await {
        Ok(partitions) => partitions,
        Err(_) => bail!("topic {}: no partitions are known after {patience:?}", arguments.topic),
    }
}

/// Sends at a steady rate, to one partition after the other, until all are sent or Ctrl-C is pressed.
async fn send(
    arguments: &Arguments,
    producer: &Producer,
    partitions: &[i32],
    history: &Mutex<Writer>,
    under_way: mpsc::Sender<(Stamp, Result<Delivery, SendError>)>,
) -> Result<()> {
    let period = Duration::from_secs(1) / arguments.rate;
    let clock = Clock::new();
    let begun = clock.monotonic();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    for count in 0..arguments.records {
        let due = begun + period * u32::try_from(count).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            _ = &mut interrupted => return Ok(()),
            () = clock.sleep_until(Some(due)) => {}
        }
        let partition = partitions[(count % partitions.len() as u64) as usize];
        let stamp = history.lock().next(partition)?;
        let record = ProducerRecord {
            partition: Some(partition),
            ..ProducerRecord::of(&arguments.topic, stamp.value(arguments.record_size))
        };
        let accepted = producer.send(record).await;
        if under_way.send((stamp, accepted)).await.is_err() {
            // The history cannot be written: its task says so.
            return Ok(());
        }
    }
    Ok(())
}

/// Writes down what is said of each record, in the order of sending.
async fn listen(
    mut answers: mpsc::Receiver<(Stamp, Result<Delivery, SendError>)>,
    history: Arc<Mutex<Writer>>,
) -> Result<Heard> {
    let clock = Clock::new();
    let mut heard = Heard::default();
    while let Some((stamp, accepted)) = answers.recv().await {
        let told = match accepted {
            Ok(delivery) => delivery.await,
            Err(error) => Err(error),
        };
        match told {
            Ok(written) => {
                history.lock().acknowledged(stamp, written.offset)?;
                heard.acknowledged += 1;
                let now = clock.monotonic();
                if let Some(last_at) = heard.last_at.replace(now) {
                    heard.longest_silence = heard.longest_silence.max(now - last_at);
                }
            }
            Err(error) if error.was_never_sent() => {
                history.lock().refused(stamp)?;
                heard.refused += 1;
            }
            Err(_) => heard.unknown += 1,
        }
    }
    Ok(heard)
}
