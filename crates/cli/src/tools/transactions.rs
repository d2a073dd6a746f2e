//! `kafka-transactions`: transactions and their producers, and what hangs (`TransactionsCommand`).

mod hanging;
mod table;

use super::options::{Opt, Parsed, Tool, value};
use super::{Failure, connect};
use crate::output;
use ottla_client::admin::transactions::AbortSpec;
use ottla_client::{Admin, ClientError};
use ottla_net::Clock;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ListTransactionsRequest;
use ottla_protocol::messages::describe_producers_response::ProducerState;
use ottla_types::{NodeId, Timestamp, TopicPartition};
use std::time::Duration;

const OPTIONS: &[Opt] = &[
    value("bootstrap-server", "host:port", "The brokers to begin with, as host:port,..."),
    value("command-config", "FILE", "A client's properties."),
    value("topic", "TOPIC", "The topic."),
    value("partition", "PARTITION", "The partition's number."),
    value("broker-id", "BROKER_ID", "The broker whose replicas are asked, instead of the leaders."),
    value("transactional-id", "TRANSACTIONAL_ID", "The transactional id that is described."),
    value("transactionalId", "TRANSACTIONALID", "The transactional id whose producer is fenced."),
    value("duration-filter", "DURATION_FILTER", "Lists what takes longer than so many ms; less than 0: all."),
    value("transactional-id-pattern", "PATTERN", "Lists the ids that this regular expression fits."),
    value(
        "max-transaction-timeout",
        "MINUTES",
        "How long a transaction may take before it may hang; 15 minutes.",
    ),
    value("start-offset", "START_OFFSET", "Where the transaction that is aborted begins."),
    value("producer-id", "PRODUCER_ID", "The producer whose transaction is aborted."),
    value("producer-epoch", "PRODUCER_EPOCH", "Its epoch."),
    value("coordinator-epoch", "COORDINATOR_EPOCH", "The epoch of its coordinator."),
];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-transactions",
    purpose: "This tool is used to analyze the transactional state of producers in the cluster. It can be used to detect \
              and recover from hanging transactions.",
    short_purpose: None,
    commands: &[
        "list",
        "describe",
        "describe-producers",
        "abort",
        "find-hanging",
        "forceTerminateTransaction",
    ],
    options: OPTIONS,
};

/// The options of each command, and those of them that it cannot do without.
const OPTIONS_OF: &[(&str, &[&str], &[&str])] = &[
    ("list", &["duration-filter", "transactional-id-pattern"], &[]),
    ("describe", &["transactional-id"], &["transactional-id"]),
    ("describe-producers", &["broker-id", "topic", "partition"], &["topic", "partition"]),
    (
        "abort",
        &["topic", "partition", "start-offset", "producer-id", "producer-epoch", "coordinator-epoch"],
        &["topic", "partition"],
    ),
    ("find-hanging", &["broker-id", "max-transaction-timeout", "topic", "partition"], &[]),
    ("forceTerminateTransaction", &["transactionalId"], &["transactionalId"]),
];

/// How long a transaction of a producer that is fenced could take: it makes none.
const FENCED_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let usage = |message: String| Err(Failure::Usage(message));
    let Some(command) = parsed.command else { return usage("too few arguments".to_owned()) };
    if !parsed.has("bootstrap-server") {
        return usage("argument --bootstrap-server is required".to_owned());
    }
    let found = OPTIONS_OF.iter().find(|(name, ..)| *name == command);
    let (_, own, needed) = found.expect("the commands are those of the table");
    for Opt { name, .. } in OPTIONS.iter().skip(2) {
        if parsed.has(name) && !own.contains(name) {
            return usage(format!("unrecognized arguments: '--{name}'"));
        }
        if !parsed.has(name) && needed.contains(name) {
            return usage(format!("argument --{name} is required"));
        }
    }
    let admin = || connect::admin(parsed, TOOL.name).map_err(Failure::from);
    connect::block_on(async {
        match command {
            "list" => list(&admin()?, parsed).await,
            "describe" => describe(&admin()?, parsed).await,
            "describe-producers" => describe_producers(&admin()?, parsed).await,
            "abort" => abort(&admin()?, parsed).await,
            "find-hanging" => hanging::find(parsed, admin).await,
            _ => terminate(&admin()?, parsed).await,
        }
    })
}

/// As Kafka's tool ends: what was to be done, and why it was not.
fn failed(what: &str, why: &str) -> Failure {
    Failure::Refused(format!("{what}: {why}. Enable debug logging for additional detail."))
}

fn partition(parsed: &Parsed) -> Result<TopicPartition, Failure> {
    let topic = parsed.value("topic").unwrap_or_default();
    Ok(TopicPartition::new(topic, parsed.number("partition")?.unwrap_or(0)))
}

/// The time of day, in ms.
fn now_ms() -> i64 {
    Clock::new().now().wall.0
}

async fn list(admin: &Admin, parsed: &Parsed) -> Result<(), Failure> {
    let request = ListTransactionsRequest {
        duration_filter: parsed.number("duration-filter")?.unwrap_or(-1),
        transactional_id_pattern: parsed.value("transactional-id-pattern").map(str::to_owned),
        ..Default::default()
    };
    let found = admin.list_transactions(&request).await;
    let found = found.map_err(|error| failed("Failed to list transactions", &error.to_string()))?;
    let mut rows = Vec::new();
    for (broker, transactions) in found {
        rows.extend(transactions.into_iter().map(|transaction| {
            vec![
                transaction.transactional_id,
                broker.to_string(),
                transaction.producer_id.to_string(),
                transaction.transaction_state,
            ]
        }));
    }
    let headers = ["TransactionalId", "Coordinator", "ProducerId", "TransactionState"];
    output::text(&table::table(&headers, &rows));
    Ok(())
}

async fn describe(admin: &Admin, parsed: &Parsed) -> Result<(), Failure> {
    let id = parsed.value("transactional-id").unwrap_or_default();
    let (coordinator, found) = admin.describe_transaction(id).await.map_err(|error| {
        let why = match error.code() {
            Some(ErrorCode::TransactionalIdNotFound) => format!(
                "DescribeTransactions request for transactionalId `{id}` failed because the ID could not be found"
            ),
            _ => error.to_string(),
        };
        failed(&format!("Failed to describe transaction state of transactional-id `{id}`"), &why)
    })?;
    let started =
        Some(found.transaction_start_time_ms).filter(|&started| Timestamp(started) != Timestamp::NONE);
    let or_none = |value: Option<i64>| value.map_or_else(|| "None".to_owned(), |value| value.to_string());
    let partitions: Vec<String> = found
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|index| format!("{}-{index}", topic.topic)))
        .collect();
    let row = vec![
        coordinator.to_string(),
        found.transactional_id,
        found.producer_id.to_string(),
        found.producer_epoch.to_string(),
        found.transaction_state,
        found.transaction_timeout_ms.to_string(),
        or_none(started),
        or_none(started.map(|started| now_ms() - started)),
        partitions.join(","),
    ];
    let headers = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    output::text(&table::table(&headers, &[row]));
    Ok(())
}

async fn describe_producers(admin: &Admin, parsed: &Parsed) -> Result<(), Failure> {
    let at = partition(parsed)?;
    let broker = parsed.number::<i32>("broker-id")?.map(NodeId);
    let producers = admin.describe_producers(&at, broker).await.map_err(|error| {
        let whom = broker.map_or_else(|| "leader".to_owned(), |broker| format!("broker {broker}"));
        failed(&format!("Failed to describe producers for partition {at} on {whom}"), &error.to_string())
    })?;
    let rows: Vec<Vec<String>> = producers
        .iter()
        .map(|producer| {
            vec![
                producer.producer_id.to_string(),
                producer.producer_epoch.to_string(),
                producer.coordinator_epoch.to_string(),
                producer.last_sequence.to_string(),
                producer.last_timestamp.to_string(),
                start_offset(producer).map_or_else(|| "None".to_owned(), |offset| offset.to_string()),
            ]
        })
        .collect();
    let headers = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    output::text(&table::table(&headers, &rows));
    Ok(())
}

/// Where a producer's open transaction begins.
fn start_offset(producer: &ProducerState) -> Option<i64> {
    Some(producer.current_txn_start_offset).filter(|&offset| offset >= 0)
}

async fn abort(admin: &Admin, parsed: &Parsed) -> Result<(), Failure> {
    let refuse = |message: &str| Failure::Refused(message.to_owned());
    let partition = partition(parsed)?;
    let spec = match (parsed.number::<i64>("start-offset")?, parsed.number::<i64>("producer-id")?) {
        (None, None) => {
            return Err(refuse(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) \
                 or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
            ));
        }
        (None, Some(producer_id)) => {
            let missing = |name: &str| refuse(&format!("Missing required argument --{name}"));
            let producer_epoch = parsed.number("producer-epoch")?.ok_or_else(|| missing("producer-epoch"))?;
            let epoch =
                parsed.number::<i32>("coordinator-epoch")?.ok_or_else(|| missing("coordinator-epoch"))?;
            // Of a producer of which no transaction has ended yet it is -1; none is as early as 0.
            AbortSpec { partition, producer_id, producer_epoch, coordinator_epoch: epoch.max(0) }
        }
        (Some(offset), _) => begun_at(admin, partition, offset).await?,
    };
    admin.abort_transaction(&spec).await.map_err(|error| {
        let shown = shown(&spec);
        let why = refusal(&spec, &error);
        failed(&format!("Failed to abort transaction {shown}"), &why)
    })
}

/// The transaction that begins at an offset.
async fn begun_at(admin: &Admin, partition: TopicPartition, offset: i64) -> Result<AbortSpec, Failure> {
    let producers = admin.describe_producers(&partition, None).await.map_err(|error| {
        failed(&format!("Failed to validate producer state for partition {partition}"), &error.to_string())
    })?;
    let found = producers.into_iter().find(|producer| start_offset(producer) == Some(offset));
    let Some(producer) = found else {
        return Err(Failure::Refused(format!(
            "Could not find any open transactions starting at offset {offset} on partition {partition}"
        )));
    };
    Ok(AbortSpec {
        partition,
        producer_id: producer.producer_id,
        producer_epoch: i16::try_from(producer.producer_epoch).unwrap_or(i16::MAX),
        coordinator_epoch: producer.coordinator_epoch.max(0),
    })
}

fn shown(spec: &AbortSpec) -> String {
    let AbortSpec { partition, producer_id, producer_epoch, coordinator_epoch } = spec;
    format!(
        "AbortTransactionSpec(topicPartition={partition}, producerId={producer_id}, producerEpoch={producer_epoch}, \
         coordinatorEpoch={coordinator_epoch})"
    )
}

fn refusal(spec: &AbortSpec, error: &ClientError) -> String {
    let of = format!("WriteTxnMarkers request with {}", shown(spec));
    match error.code() {
        Some(ErrorCode::TransactionCoordinatorFenced) => {
            let epoch = spec.coordinator_epoch;
            format!(
                "{of} failed since the provided coordinator epoch {epoch} has been fenced by the active coordinator"
            )
        }
        Some(ErrorCode::InvalidProducerEpoch) => format!("{of} failed due an invalid producer epoch"),
        _ => error.to_string(),
    }
}

async fn terminate(admin: &Admin, parsed: &Parsed) -> Result<(), Failure> {
    let id = parsed.value("transactionalId").unwrap_or_default();
    admin.fence_producer(id, FENCED_TIMEOUT).await.map_err(|error| {
        failed(&format!("Failed to force terminate transactionalId `{id}`"), &error.to_string())
    })
}
