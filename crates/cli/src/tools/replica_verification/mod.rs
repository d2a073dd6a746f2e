//! `kafka-replica-verification`: whether the replicas of partitions hold the same records (`ReplicaVerificationTool`).
//!
//! Every broker is asked, again and again, for what comes next in its replicas; when all have answered, the checksums of their
//! batches are compared as far as the high watermarks go, and the largest lag is told from time to time. It goes on until it is
//! ended, or replicas hold different offsets, or what is no batch. Unlike Kafka's tool, ours tells times in UTC, and begins without brokers that are
//! down.
//!
//! Reading order: [`fetch`], [`comparison`], [`lag`].

mod comparison;
mod fetch;
mod lag;

use super::connect;
use super::options::{Parsed, Tool, require, value};
use super::{Failure, exceptions, include_list, java_map};
use crate::output;
use comparison::{Comparison, Verdict};
use fetch::{Fetcher, Limits};
use lag::Lag;
use ottla_client::admin::places::Places;
use ottla_client::consumer::offsets::{EARLIEST, LATEST};
use ottla_client::{Admin, Client, ClientError, HostPort};
use ottla_types::{NodeId, Timestamp, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-replica-verification",
    purpose: "Validate that all replicas for a set of topics have the same data.",
    short_purpose: None,
    commands: &[],
    options: &[
        value("broker-list", "hostname:port,...,hostname:port", "REQUIRED: the brokers to begin with."),
        value(
            "fetch-size",
            "bytes",
            "How many bytes of a partition are asked for at once; 1048576 if not given.",
        ),
        value("max-wait-ms", "ms", "How long a broker waits for records; 1000 if not given."),
        value("report-interval-ms", "ms", "How often the lag is told; 30000 if not given."),
        value(
            "time",
            "timestamp",
            "Begins at the first record that is not older than this, in milliseconds; or -1, the end (the default), or -2, \
             the first record.",
        ),
        value("topics-include", "regex", "The topics, by a regular expression; all if not given."),
    ],
};

/// What is asked, and how.
struct Settings {
    limits: Limits,
    time: Timestamp,
    report_interval: Duration,
    topics: String,
}

impl Settings {
    fn read(parsed: &Parsed) -> Result<Settings, Failure> {
        Ok(Settings {
            limits: Limits {
                partition_bytes_max: parsed.number("fetch-size")?.unwrap_or(1 << 20),
                wait_max: Duration::from_millis(parsed.number("max-wait-ms")?.unwrap_or(1000)),
            },
            time: parsed.number("time")?.map_or(LATEST, Timestamp),
            report_interval: Duration::from_millis(parsed.number("report-interval-ms")?.unwrap_or(30_000)),
            topics: parsed.value("topics-include").unwrap_or(".*").to_owned(),
        })
    }
}

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    tracing::warn!("This tool is deprecated and may be removed in a future major release.");
    require(parsed, &["broker-list"])?;
    let brokers = parsed.value("broker-list").unwrap_or_default();
    if HostPort::parse_list(brokers).is_err() {
        return Err(Failure::Usage("Please provide valid host:port like host1:9091,host2:9092\n".to_owned()));
    }
    let settings = Settings::read(parsed)?;
    let config = connect::resolved_config(brokers, None, TOOL.name)?;
    connect::block_on(async { verify(&Admin::new(Client::new(config)), settings).await })
}

async fn verify(admin: &Admin, settings: Settings) -> Result<(), Failure> {
    let replicas = replicas(admin, &settings.topics).await?;
    let mut places = beginnings(admin, &replicas, settings.time).await?;
    let fetcher = Fetcher::new(admin.client().clone(), settings.limits, &replicas);
    say("verification process is started");
    let mut told_at = Instant::now();
    let mut lag = Lag::default();
    loop {
        let mut answers = fetcher.fetch(&places).await;
        lag.begin();
        for (at, nodes) in &replicas {
            let answers =
                nodes.iter().filter_map(|node| Some((*node, answers.remove(&(*node, at.clone()))?)));
            let answers: BTreeMap<NodeId, _> = answers.collect();
            let Some(place) = places.get_mut(at) else { continue };
            let comparison = Comparison::of(&answers, *place);
            comparison.differences.iter().for_each(|difference| say(difference.shown(at)));
            if comparison.verdict == Verdict::Parted {
                return Err(Failure::Quiet);
            }
            *place = comparison.next;
            lag.look(at, comparison.high_watermark, *place);
        }
        if told_at.elapsed() > settings.report_interval {
            say(lag.shown(replicas.len()));
            told_at = Instant::now();
        }
    }
}

/// The brokers that hold the partitions of these topics; in the order in which a Java map has them, for the first of those that
/// lag as far as any is named.
async fn replicas(admin: &Admin, topics: &str) -> Result<Vec<(TopicPartition, Vec<NodeId>)>, Failure> {
    let known = admin.list_topics().await.map_err(refused)?;
    let invalid = |_| Failure::Refused(format!("{topics} is an invalid regex"));
    let pattern = include_list::pattern(topics).map_err(invalid)?;
    let metadata = admin.client().metadata();
    let chosen =
        known.keys().filter(|name| pattern.is_match(name)).filter_map(|name| metadata.topics.get(name));
    let partitions = chosen.flat_map(|topic| {
        topic.partitions.iter().map(|(&number, partition)| {
            (TopicPartition::new(topic.name.clone(), number), partition.replicas.clone())
        })
    });
    let partitions: Vec<_> = partitions.collect();
    if partitions.is_empty() {
        tracing::error!(
            "No topics found. [topics-include] if specified, is either filtering out all topics or there is no topic."
        );
        return Err(Failure::Quiet);
    }
    Ok(java_map::partitions_in_hash_order(partitions, |(at, _)| at))
}

/// Where each partition is begun.
async fn beginnings(
    admin: &Admin,
    replicas: &[(TopicPartition, Vec<NodeId>)],
    time: Timestamp,
) -> Result<Places, Failure> {
    let partitions: Vec<TopicPartition> = replicas.iter().map(|(at, _)| at.clone()).collect();
    if time.0 < 0 && time != LATEST && time != EARLIEST {
        let first = &partitions[0];
        return Err(Failure::Refused(format!(
            "The target time for partition {first} is {time}. The target time cannot be negative."
        )));
    }
    let places = admin.places_at(&partitions, time).await.map_err(refused)?;
    match places.iter().find(|(_, offset)| offset.0 < 0) {
        None => Ok(places),
        Some((at, _)) => Err(Failure::Refused(format!("{at} has no record that late"))),
    }
}

fn refused(error: ClientError) -> Failure {
    Failure::Refused(exceptions::shown(&error))
}

/// A line with the time before it.
fn say(text: impl std::fmt::Display) {
    let now = output::date_and_time(ottla_net::clock::wall()).replace('.', ",");
    output::line(format_args!("{now}: {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options::parse_line;

    #[test]
    fn what_is_not_given_is_as_with_kafkas_tool() {
        let settings = Settings::read(&parse_line(&TOOL, "--broker-list a:1").unwrap()).unwrap();

        assert_eq!(
            settings.limits,
            Limits { partition_bytes_max: 1 << 20, wait_max: Duration::from_secs(1) }
        );
        assert_eq!((settings.time, settings.topics.as_str()), (LATEST, ".*"));
        assert_eq!(settings.report_interval, Duration::from_secs(30));
        assert!(Settings::read(&parse_line(&TOOL, "--fetch-size x").unwrap()).is_err());
    }
}
