//! Drives rskafka, which has no groups and no transactions; `../../../README.md` says how it is called.

use anyhow::{Context, Result, bail};
use ottla_drivers::{Input, acknowledged, listed, read, record, refused, say};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use std::collections::BTreeMap;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long administration may take.
const TIMEOUT_MS: i32 = 30_000;

/// How much a fetch asks for, and how long it waits for the first byte of it.
const FETCH_BYTES: std::ops::Range<i32> = 1..1_000_000;
const FETCH_WAIT_MS: i32 = 100;

/// How many lines wait for the batch before them.
const WAITING_MAX: usize = 10_000;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["produce", bootstrap, topic, codec] => produce(bootstrap, topic, compression(codec)?).await,
        // What no transaction wrote is committed.
        ["consume", bootstrap, topic, _isolation] => consume(bootstrap, topic).await,
        ["admin", bootstrap] => administer(bootstrap).await,
        _ => bail!("no such command: {words:?}"),
    }
}

async fn connect(bootstrap: &str) -> Result<Client> {
    Ok(ClientBuilder::new(bootstrap.split(',').map(str::to_owned).collect()).build().await?)
}

fn compression(codec: &str) -> Result<Compression> {
    Ok(match codec {
        "none" => Compression::NoCompression,
        "gzip" => Compression::Gzip,
        "lz4" => Compression::Lz4,
        "snappy" => Compression::Snappy,
        "zstd" => Compression::Zstd,
        _ => bail!("no such codec: {codec}"),
    })
}

fn input() -> Lines<BufReader<Stdin>> {
    BufReader::new(tokio::io::stdin()).lines()
}

async fn partition(client: &Client, topic: &str, number: i32) -> Result<PartitionClient> {
    Ok(client.partition_client(topic, number, UnknownTopicHandling::Retry).await?)
}

/// Sends lines as they come, one batch of a partition after the other: all that came while the one before was under way.
async fn produce(bootstrap: &str, topic: &str, compression: Compression) -> Result<()> {
    let client = connect(bootstrap).await?;
    let mut senders: BTreeMap<i32, mpsc::Sender<String>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut lines = input();
    while let Some(line) = lines.next_line().await? {
        let (number, value) = record(&line);
        if let std::collections::btree_map::Entry::Vacant(vacant) = senders.entry(number) {
            let (sender, values) = mpsc::channel(WAITING_MAX);
            tasks.spawn(send(partition(&client, topic, number).await?, number, values, compression));
            vacant.insert(sender);
        }
        senders[&number].send(value.to_owned()).await?;
    }
    drop(senders);
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

async fn send(client: PartitionClient, number: i32, mut values: mpsc::Receiver<String>, compression: Compression) {
    let mut batch = Vec::new();
    while values.recv_many(&mut batch, WAITING_MAX).await > 0 {
        let record = |value: &String| Record {
            key: None,
            value: Some(value.clone().into_bytes()),
            headers: BTreeMap::new(),
            timestamp: chrono::Utc::now(),
        };
        match client.produce(batch.iter().map(record).collect(), compression).await {
            Ok(offsets) => {
                batch.iter().zip(offsets).for_each(|(value, offset)| acknowledged(number, offset, value.as_bytes()));
            }
            Err(error) => batch.iter().for_each(|_| say(format!("fail {number} {error}"))),
        }
        batch.clear();
    }
}

async fn consume(bootstrap: &str, topic: &str) -> Result<()> {
    let client = connect(bootstrap).await?;
    let topics = client.list_topics().await?;
    let found = topics.into_iter().find(|one| one.name == topic).context("there is no such topic")?;
    let mut tasks = JoinSet::new();
    let input = Input::watch();
    for number in found.partitions {
        let client = partition(&client, topic, number).await?;
        tasks.spawn(read_all(client, number, input.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn read_all(client: PartitionClient, number: i32, input: Input) -> Result<()> {
    let mut next = client.get_offset(OffsetAt::Earliest).await?;
    while !input.is_over() {
        let (records, _) = client.fetch_records(next, FETCH_BYTES, FETCH_WAIT_MS).await?;
        for found in records {
            read(number, found.offset, found.record.value.as_deref().unwrap_or_default());
            next = found.offset + 1;
        }
    }
    Ok(())
}

async fn administer(bootstrap: &str) -> Result<()> {
    let client = connect(bootstrap).await?;
    let mut lines = input();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        match answer(&client, &words).await {
            Ok(answer) => say(answer),
            Err(error) => refused(error),
        }
    }
    Ok(())
}

async fn answer(client: &Client, words: &[&str]) -> Result<String> {
    match *words {
        ["create", topic, partitions, replicas] => {
            let controller = client.controller_client()?;
            controller.create_topic(topic, partitions.parse()?, replicas.parse()?, TIMEOUT_MS).await?;
        }
        ["topics"] => {
            let topics = client.list_topics().await?;
            return Ok(listed("topics", topics.into_iter().map(|topic| topic.name)));
        }
        ["truncate", topic, number, offset] => {
            partition(client, topic, number.parse()?).await?.delete_records(offset.parse()?, TIMEOUT_MS).await?;
        }
        ["delete", topic] => client.controller_client()?.delete_topic(topic, TIMEOUT_MS).await?,
        _ => bail!("no such command: {words:?}"),
    }
    Ok("done".to_owned())
}
