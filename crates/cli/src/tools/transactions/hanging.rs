//! `find-hanging`: transactions that are open in a partition, and that no coordinator will end.

use super::table::table;
use super::{failed, now_ms, start_offset};
use crate::output;
use crate::tools::Failure;
use crate::tools::options::Parsed;
use ottla_client::{Admin, ClientError};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ListTransactionsRequest;
use ottla_protocol::messages::describe_producers_response::ProducerState;
use ottla_types::{NodeId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a transaction may take, in minutes, where nothing else is said.
const TIMEOUT_MINUTES: u64 = 15;

/// A producer with a transaction that has been open for long.
struct Open {
    at: TopicPartition,
    producer: ProducerState,
}

pub(super) async fn find(
    parsed: &Parsed,
    admin: impl FnOnce() -> Result<Admin, Failure>,
) -> Result<(), Failure> {
    let refuse = |message: &str| Err(Failure::Refused(message.to_owned()));
    let broker = parsed.number::<i32>("broker-id")?.map(NodeId);
    let topic = parsed.value("topic");
    if topic.is_none() && broker.is_none() {
        return refuse(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
        );
    }
    let partition = parsed.number::<i32>("partition")?;
    if partition.is_some() && topic.is_none() {
        return refuse("The --partition argument requires --topic to be provided");
    }
    let minutes = parsed.number("max-transaction-timeout")?.unwrap_or(TIMEOUT_MINUTES);
    let admin = admin()?;
    let partitions = match (topic, partition) {
        (Some(topic), Some(partition)) => vec![TopicPartition::new(topic, partition)],
        _ => partitions(&admin, topic, broker).await?,
    };
    let mut open = Vec::new();
    for at in partitions {
        open.extend(open_for(&admin, at, broker, Duration::from_secs(minutes * 60)).await?);
    }
    let hanging = hanging(&admin, open).await?;
    let rows: Vec<Vec<String>> = hanging.iter().map(row).collect();
    let headers = [
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ];
    output::text(&table(&headers, &rows));
    Ok(())
}

fn row(Open { at, producer }: &Open) -> Vec<String> {
    let minutes = (now_ms() - producer.last_timestamp) / 60_000;
    vec![
        at.topic.clone(),
        at.partition.to_string(),
        producer.producer_id.to_string(),
        producer.producer_epoch.to_string(),
        producer.coordinator_epoch.to_string(),
        producer.current_txn_start_offset.to_string(),
        producer.last_timestamp.to_string(),
        minutes.to_string(),
    ]
}

/// The partitions of a topic or of all, as far as a broker has them.
async fn partitions(
    admin: &Admin,
    topic: Option<&str>,
    broker: Option<NodeId>,
) -> Result<Vec<TopicPartition>, Failure> {
    let names = match topic {
        Some(topic) => vec![topic.to_owned()],
        None => {
            let topics = admin.list_topics().await;
            let topics = topics.map_err(|error| failed("Failed to list topics", &error.to_string()))?;
            topics.into_keys().collect()
        }
    };
    let described = admin
        .describe_topics(&names)
        .await
        .map_err(|error| failed(&format!("Failed to describe {} topics", names.len()), &error.to_string()))?;
    let mut found = Vec::new();
    for topic in described {
        for (index, partition) in topic.partitions {
            if broker.is_none_or(|broker| partition.replicas.contains(&broker)) {
                found.push(TopicPartition::new(&topic.name, index));
            }
        }
    }
    Ok(found)
}

/// The transactions of a partition that have been open for longer than `timeout`.
async fn open_for(
    admin: &Admin,
    at: TopicPartition,
    broker: Option<NodeId>,
    timeout: Duration,
) -> Result<Vec<Open>, Failure> {
    let producers = admin.describe_producers(&at, broker).await.map_err(|error| {
        let broker =
            broker.map_or_else(|| "Optional.empty".to_owned(), |broker| format!("Optional[{broker}]"));
        failed(
            &format!("Failed to describe producers for 1 partitions on broker {broker}"),
            &error.to_string(),
        )
    })?;
    let latest = now_ms().saturating_sub(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
    let is_old =
        |producer: &ProducerState| start_offset(producer).is_some() && producer.last_timestamp < latest;
    let old = producers.into_iter().filter(is_old);
    Ok(old.map(|producer| Open { at: at.clone(), producer }).collect())
}

/// Those of them that no coordinator knows to be a part of a transaction that it will end.
async fn hanging(admin: &Admin, open: Vec<Open>) -> Result<Vec<Open>, Failure> {
    if open.is_empty() {
        return Ok(open);
    }
    let producers: BTreeSet<i64> = open.iter().map(|open| open.producer.producer_id).collect();
    let request = ListTransactionsRequest {
        producer_id_filters: producers.iter().copied().collect(),
        duration_filter: -1,
        ..Default::default()
    };
    let listed = admin.list_transactions(&request).await.map_err(|error| {
        let count = producers.len();
        failed(&format!("Failed to list transactions for {count} producers"), &error.to_string())
    })?;
    let ids: BTreeMap<i64, String> =
        listed.into_values().flatten().map(|listed| (listed.producer_id, listed.transactional_id)).collect();
    let mut known: BTreeMap<i64, BTreeSet<TopicPartition>> = BTreeMap::new();
    for (producer, id) in &ids {
        match admin.describe_transaction(id).await {
            Ok((_, described)) => {
                let of = |topic: &str, indexes: &[i32]| -> Vec<TopicPartition> {
                    indexes.iter().map(|&index| TopicPartition::new(topic, index)).collect()
                };
                let partitions =
                    described.topics.iter().flat_map(|topic| of(&topic.topic, &topic.partitions));
                known.insert(*producer, partitions.collect());
            }
            Err(ClientError::Refused { code: ErrorCode::TransactionalIdNotFound, .. }) => {}
            Err(error) => {
                let count = ids.len();
                return Err(failed(&format!("Failed to describe {count} transactions"), &error.to_string()));
            }
        }
    }
    let is_known =
        |open: &Open| known.get(&open.producer.producer_id).is_some_and(|all| all.contains(&open.at));
    Ok(open.into_iter().filter(|open| !is_known(open)).collect())
}
