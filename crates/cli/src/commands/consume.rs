//! `ottla consume`: records become lines of standard output.

use super::advice::explain;
use super::block_on;
use super::connection::Connection;
use super::place::Place;
use super::progress::Progress;
use super::record_format::{RecordFormat, json_of};
use super::show::Shown;
use crate::{output, signals};
use anyhow::{Context, Result, bail};
use ottla_client::admin::places::Places;
use ottla_client::client::Topics;
use ottla_client::consumer::group::GroupConfig;
use ottla_client::consumer::offsets::{EARLIEST, LATEST, list_offsets};
use ottla_client::consumer::{ConsumerConfig, ConsumerRecord, Isolation, OffsetReset, StartAt};
use ottla_client::{Admin, Client, ClientError, Consumer};
use ottla_types::{Offset, Timestamp, TopicPartition};
use std::collections::BTreeMap;
use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

/// Reads records of topics, and writes one line for each. Ctrl-C ends it in order.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where to begin: earliest, latest, an offset, -N for the last N records of each partition, or a time: 2h ago is 2h, a moment
    /// in UTC "2026-11-29 20:15:02". With --group only where nothing is committed: earliest or latest.
    #[arg(long, value_name = "PLACE", default_value = "earliest", allow_hyphen_values = true)]
    from: Beginning,
    /// Ends when everything is read that was there at the beginning.
    #[arg(long, short = 'e')]
    exit: bool,
    /// Ends after so many records.
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Only this partition of each topic.
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Shares the topics with the other members of this group, and commits what was read.
    #[arg(long, short, conflicts_with_all = ["partition", "exit"])]
    group: Option<String>,
    /// Records of transactions only once they are committed.
    #[arg(long)]
    committed: bool,
    /// How a record is written: %t topic, %p partition, %o offset, %T time in milliseconds, %k key, %v value, %h headers, \n, \t.
    #[arg(long, short = 'f', value_name = "FORMAT", default_value = r"%v\n")]
    format: RecordFormat,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    shown: Shown,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    At(Place),
    /// So many records before the end.
    Last(i64),
}

impl FromStr for Beginning {
    type Err = String;

    fn from_str(text: &str) -> Result<Beginning, String> {
        if let Ok(count @ ..0) = text.parse::<i64>() {
            return Ok(Beginning::Last(count.saturating_neg()));
        }
        text.parse().map(Beginning::At).map_err(|_| {
            format!(
                "`{text}` is neither earliest, latest, an offset, -N, a time such as 2h nor a moment such as \
                 2026-11-29 20:15:02"
            )
        })
    }
}

/// Records taken at once.
const RECORDS_MAX: usize = 500;

/// How long to wait for records before looking whether all is read.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let reset = match (arguments.from, &arguments.group) {
        (Beginning::At(Place::Latest), _) => OffsetReset::Latest,
        (Beginning::At(Place::Earliest), _) | (_, None) => OffsetReset::Earliest,
        (_, Some(_)) => {
            bail!("with --group, --from can only be earliest or latest; `ottla group reset` moves a group")
        }
    };
    let isolation = if arguments.committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let client = arguments.connection.client()?;
    block_on(async {
        let asked_to_end = signals::asked_to_end().context("no signals")?;
        let partitions = partitions(arguments, &client).await?;
        let config = ConsumerConfig { reset, isolation, ..ConsumerConfig::default() };
        let mut consumer = Consumer::new(client.clone(), config);
        let mut reading = Reading { arguments, ends: None, progress: Progress::of_output("read", None) };
        let read = {
            let mut read = pin!(reading.read(&client, &mut consumer, partitions, isolation));
            tokio::select! {
                biased;
                () = asked_to_end => Ok(()),
                read = &mut read => read,
            }
        };
        reading.progress.clear();
        consumer.close().await.map_err(|error| explain(&client, error))?;
        read
    })
}

/// The partitions that are meant; fails when a topic or partition is not there.
async fn partitions(arguments: &Arguments, client: &Client) -> Result<Vec<TopicPartition>> {
    let metadata = client.retry("metadata", || client.refresh(Topics::Named(&arguments.topics))).await;
    let metadata = metadata.map_err(|error| explain(client, error))?;
    let mut found = Vec::new();
    for name in &arguments.topics {
        let Some(topic) = metadata.topics.get(name) else {
            bail!("there is no topic {name}. `ottla topic list` shows which there are");
        };
        match arguments.partition {
            Some(number) if !topic.partitions.contains_key(&number) => {
                bail!(
                    "topic {name} has no partition {number}: its partitions are 0 to {}",
                    topic.partitions.len() - 1
                )
            }
            Some(number) => found.push(TopicPartition::new(name.clone(), number)),
            None => found.extend(topic.partitions.keys().map(|&n| TopicPartition::new(name.clone(), n))),
        }
    }
    Ok(found)
}

/// What is being read.
struct Reading<'a> {
    arguments: &'a Arguments,
    /// Where it ends, if it does.
    ends: Option<Places>,
    progress: Progress,
}

impl Reading<'_> {
    async fn read(
        &mut self,
        client: &Client,
        consumer: &mut Consumer,
        partitions: Vec<TopicPartition>,
        isolation: Isolation,
    ) -> Result<()> {
        let refused = |error: ClientError| explain(client, error);
        if let Some(group) = &self.arguments.group {
            consumer.subscribe(self.arguments.topics.clone(), GroupConfig::new(group.clone()));
        } else {
            let begin = begin(self.arguments.from, client, &partitions).await.map_err(refused)?;
            if self.arguments.exit {
                let ends = places(client, &partitions, LATEST, isolation).await.map_err(refused)?;
                let total = total(&begin, &ends, client, isolation).await.map_err(refused)?;
                self.progress = Progress::of_output("read", Some(total));
                self.ends = Some(ends);
            }
            consumer.assign(begin);
        }
        loop {
            let left = self.arguments.count.map(|count| count.saturating_sub(self.progress.records()));
            let is_read = self.ends.as_ref().is_some_and(|ends| consumer.has_read_up_to(ends));
            if left == Some(0) || is_read {
                return Ok(());
            }
            let most =
                left.and_then(|left| usize::try_from(left).ok()).unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
            let records = consumer.poll(PATIENCE, most).await.map_err(refused)?;
            self.write(&records);
        }
    }

    fn write(&mut self, records: &[ConsumerRecord]) {
        let mut out = Vec::new();
        for record in records {
            // What came after the end that was there at the beginning is for the next time.
            let is_late = self.ends.as_ref().and_then(|ends| ends.get(&record.partition));
            if is_late.is_some_and(|&end| record.offset >= end) {
                continue;
            }
            let before = out.len();
            if self.arguments.shown.is_json() {
                out.extend_from_slice(json_of(record).to_string().as_bytes());
                out.push(b'\n');
            } else {
                self.arguments.format.write(&mut out, record);
            }
            self.progress.add(1, (out.len() - before) as u64);
        }
        if !out.is_empty() {
            output::bytes(&out);
        }
    }
}

async fn places(
    client: &Client,
    partitions: &[TopicPartition],
    time: Timestamp,
    isolation: Isolation,
) -> Result<Places, ClientError> {
    let asked = partitions.iter().map(|at| (at.clone(), time)).collect();
    let found = list_offsets(client, &asked, isolation).await?;
    Ok(found.into_iter().map(|(at, found)| (at, found.offset)).collect())
}

/// Where to begin in each partition.
async fn begin(
    from: Beginning,
    client: &Client,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, StartAt>, ClientError> {
    let all = |start: StartAt| Ok(partitions.iter().map(|at| (at.clone(), start)).collect());
    let admin = Admin::new(client.clone());
    let places = match from {
        Beginning::At(Place::Earliest) => return all(StartAt::Earliest),
        Beginning::At(Place::Latest) => return all(StartAt::Latest),
        // Outside what is there is nothing to read from, and the beginning is not what was asked for.
        Beginning::At(place) => place.find(&admin, partitions).await?,
        Beginning::Last(count) => {
            let ends = admin.places_at(partitions, LATEST).await?;
            let back = |(at, end): (TopicPartition, Offset)| (at, Offset(end.0.saturating_sub(count)));
            admin.places_within(ends.into_iter().map(back).collect()).await?
        }
    };
    Ok(places.into_iter().map(|(at, offset)| (at, StartAt::Offset(offset))).collect())
}

/// How many offsets lie between the beginnings and the ends.
async fn total(
    begin: &BTreeMap<TopicPartition, StartAt>,
    ends: &Places,
    client: &Client,
    isolation: Isolation,
) -> Result<u64, ClientError> {
    let partitions: Vec<TopicPartition> = ends.keys().cloned().collect();
    let first = places(client, &partitions, EARLIEST, isolation).await?;
    let left = ends.iter().map(|(at, end)| {
        let begin = match begin.get(at) {
            Some(StartAt::Offset(offset)) => *offset,
            Some(StartAt::Latest) => *end,
            Some(StartAt::Earliest) | None => first.get(at).copied().unwrap_or(*end),
        };
        u64::try_from(end.0.saturating_sub(begin.0)).unwrap_or_default()
    });
    Ok(left.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::since::Since;

    #[test]
    fn a_place_may_be_so_many_records_before_the_end() {
        assert_eq!("latest".parse(), Ok(Beginning::At(Place::Latest)));
        assert_eq!("0".parse(), Ok(Beginning::At(Place::Offset(Offset(0)))));
        assert_eq!("-5".parse(), Ok(Beginning::Last(5)));
        assert_eq!("10m".parse(), Ok(Beginning::At(Place::Since(Since::Ago(600_000)))));
        for text in ["", "-", "-m", "begin"] {
            assert!(text.parse::<Beginning>().is_err(), "{text}");
        }
    }
}
