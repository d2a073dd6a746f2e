//! Drives the crate `rdkafka`, which is librdkafka; `../../../README.md` says how it is called.

use anyhow::{Context, Result, bail};
use ottla_drivers::{Input, acknowledged, each, listed, read, record, refused, say};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(100);

/// How long anything may take.
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["produce", bootstrap, topic, codec] => produce(bootstrap, topic, codec),
        ["consume", bootstrap, topic, isolation] => consume(bootstrap, topic, isolation),
        ["group", bootstrap, topic, group, protocol, session] => {
            take_part(bootstrap, topic, group, protocol, session)
        }
        ["transact", bootstrap, topic, id] => transact(bootstrap, topic, id),
        ["admin", bootstrap] => administer(bootstrap).await,
        _ => bail!("no such command: {words:?}"),
    }
}

fn settings(bootstrap: &str, pairs: &[(&str, &str)]) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", bootstrap);
    pairs.iter().for_each(|(name, value)| {
        settings.set(*name, *value);
    });
    settings
}

/// Says what becomes of each record.
struct Teller;

impl ClientContext for Teller {}

impl ProducerContext<NoCustomPartitioner> for Teller {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(record) => acknowledged(record.partition(), record.offset(), record.payload().unwrap_or_default()),
            Err((error, record)) => say(format!("fail {} {error}", record.partition())),
        }
    }
}

fn send(producer: &ThreadedProducer<Teller>, topic: &str, line: &str) -> Result<()> {
    let (partition, value) = record(line);
    let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(value);
    producer.send(record).map_err(|(error, _)| error).context("a record is not taken")
}

fn produce(bootstrap: &str, topic: &str, codec: &str) -> Result<()> {
    let own = [("compression.type", codec), ("enable.idempotence", "true"), ("linger.ms", "5")];
    let producer: ThreadedProducer<Teller> = settings(bootstrap, &own).create_with_context(Teller)?;
    for line in each() {
        send(&producer, topic, &line)?;
    }
    Ok(producer.flush(TIMEOUT)?)
}

fn tell(record: &impl Message) {
    read(record.partition(), record.offset(), record.payload().unwrap_or_default());
}

fn consume(bootstrap: &str, topic: &str, isolation: &str) -> Result<()> {
    let own = [("group.id", "nobody"), ("isolation.level", isolation), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = settings(bootstrap, &own).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        all.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let input = Input::watch();
    while !input.is_over() {
        match consumer.poll(POLL) {
            Some(Ok(record)) => tell(&record),
            Some(Err(error)) => eprintln!("{error}"),
            None => {}
        }
    }
    Ok(())
}

fn take_part(bootstrap: &str, topic: &str, group: &str, protocol: &str, session: &str) -> Result<()> {
    let own = [
        ("group.id", group),
        ("group.protocol", protocol),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    let mut settings = settings(bootstrap, &own);
    // The new protocol leaves this to the broker.
    if protocol == "classic" {
        settings.set("session.timeout.ms", session);
    }
    let member: BaseConsumer = settings.create()?;
    member.subscribe(&[topic])?;
    let input = Input::watch();
    let mut had = BTreeSet::new();
    let mut holds = false;
    while !input.is_over() {
        let record = member.poll(POLL);
        let has: BTreeSet<i32> = member.assignment()?.elements().iter().map(|one| one.partition()).collect();
        if has != had {
            let numbers: Vec<String> = has.iter().map(i32::to_string).collect();
            say(format!("assigned {}", numbers.join(",")));
            had = has;
        }
        if input.asked() {
            holds = true;
            say("held");
        }
        match record {
            Some(Ok(record)) => {
                tell(&record);
                if !holds {
                    commit(&member, topic, record.partition(), record.offset() + 1);
                }
            }
            Some(Err(error)) => eprintln!("{error}"),
            None => {}
        }
    }
    Ok(())
}

/// Commits, and says so; who is no longer asked may fail.
fn commit(member: &BaseConsumer, topic: &str, partition: i32, offset: i64) {
    let mut place = TopicPartitionList::new();
    let added = place.add_partition_offset(topic, partition, Offset::Offset(offset));
    match added.and_then(|()| member.commit(&place, CommitMode::Sync)) {
        Ok(()) => say(format!("committed {partition} {offset}")),
        Err(error) => eprintln!("{error}"),
    }
}

fn transact(bootstrap: &str, topic: &str, id: &str) -> Result<()> {
    let producer: ThreadedProducer<Teller> =
        settings(bootstrap, &[("transactional.id", id)]).create_with_context(Teller)?;
    producer.init_transactions(TIMEOUT)?;
    for line in each() {
        let words: Vec<&str> = line.split(' ').collect();
        let done = match words.as_slice() {
            ["begin"] => producer.begin_transaction().map(|()| "begun"),
            ["commit"] => producer.commit_transaction(TIMEOUT).map(|()| "committed"),
            ["abort"] => producer.abort_transaction(TIMEOUT).map(|()| "aborted"),
            ["offset", group, partition, offset] => {
                let consumer: BaseConsumer = settings(bootstrap, &[("group.id", group)]).create()?;
                let mut place = TopicPartitionList::new();
                place.add_partition_offset(topic, partition.parse()?, Offset::Offset(offset.parse()?))?;
                let who = consumer.group_metadata().context("it has a group")?;
                producer.send_offsets_to_transaction(&place, &who, TIMEOUT).map(|()| "written")
            }
            _ => {
                send(&producer, topic, &line)?;
                continue;
            }
        };
        match done {
            Ok(word) => say(word),
            Err(error) => refused(error),
        }
    }
    Ok(())
}

async fn administer(bootstrap: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = settings(bootstrap, &[]).create()?;
    for line in each() {
        let words: Vec<&str> = line.split(' ').collect();
        match answer(&admin, bootstrap, &words).await {
            Ok(answer) => say(answer),
            Err(error) => refused(error),
        }
    }
    Ok(())
}

async fn answer(admin: &AdminClient<DefaultClientContext>, bootstrap: &str, words: &[&str]) -> Result<String> {
    let options = AdminOptions::new();
    let consumer = || settings(bootstrap, &[]).create::<BaseConsumer>();
    match *words {
        ["create", topic, partitions, replicas] => {
            let topic = NewTopic::new(topic, partitions.parse()?, TopicReplication::Fixed(replicas.parse()?));
            only(admin.create_topics([&topic], &options).await)?;
        }
        ["describe", topic] => {
            let told = consumer()?.fetch_metadata(Some(topic), TIMEOUT)?;
            let partitions = told.topics()[0].partitions();
            let replicas = partitions.first().context("there is none")?.replicas().len();
            return Ok(format!("partitions {} replicas {replicas}", partitions.len()));
        }
        ["topics"] => {
            let told = consumer()?.fetch_metadata(None, TIMEOUT)?;
            return Ok(listed("topics", told.topics().iter().map(|topic| topic.name().to_owned())));
        }
        ["grow", topic, count] => {
            only(admin.create_partitions([&NewPartitions::new(topic, count.parse()?)], &options).await)?;
        }
        ["config", topic, name] => {
            let told = only(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await)?;
            let value = told.get(name).and_then(|entry| entry.value.clone());
            return Ok(format!("value {}", value.unwrap_or_default()));
        }
        ["set", topic, name, value] => {
            let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
            only(admin.alter_configs([&change], &options).await)?;
        }
        ["truncate", topic, partition, offset] => {
            let mut place = TopicPartitionList::new();
            place.add_partition_offset(topic, partition.parse()?, Offset::Offset(offset.parse()?))?;
            admin.delete_records(&place, &options).await?.elements()[0].error()?;
        }
        ["groups"] => {
            let told = consumer()?.fetch_group_list(None, TIMEOUT)?;
            return Ok(listed("groups", told.groups().iter().map(|group| group.name().to_owned())));
        }
        ["group", group] => {
            let told = consumer()?.fetch_group_list(Some(group), TIMEOUT)?;
            let group = told.groups().first().context("there is none")?;
            return Ok(format!("state {} members {}", group.state(), group.members().len()));
        }
        ["offsets", group, topic] => return offsets(bootstrap, group, topic),
        ["forget", group] => {
            only(admin.delete_groups(&[group], &options).await)?;
        }
        ["delete", topic] => {
            only(admin.delete_topics(&[topic], &options).await)?;
        }
        _ => bail!("no such command: {words:?}"),
    }
    Ok("done".to_owned())
}

fn offsets(bootstrap: &str, group: &str, topic: &str) -> Result<String> {
    let consumer: BaseConsumer = settings(bootstrap, &[("group.id", group)]).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let mut places = TopicPartitionList::new();
    metadata.topics()[0].partitions().iter().for_each(|partition| {
        places.add_partition(topic, partition.id());
    });
    let told = consumer.committed_offsets(places, TIMEOUT)?;
    let offset = |offset: Offset| if let Offset::Offset(offset) = offset { offset } else { -1 };
    let pairs: BTreeMap<i32, i64> =
        told.elements().iter().map(|one| (one.partition(), offset(one.offset()))).collect();
    let pairs: Vec<String> = pairs.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    Ok(format!("offsets {}", pairs.join(",")))
}

/// What came of the one thing that was asked for.
fn only<T, E: Debug>(told: std::result::Result<Vec<std::result::Result<T, E>>, KafkaError>) -> Result<T> {
    match told?.pop().context("one answer")? {
        Ok(done) => Ok(done),
        Err(error) => bail!("{error:?}"),
    }
}
