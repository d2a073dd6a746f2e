//! `kafka-topics --zookeeper`: asks the controllers of the metadata quorum, and needs no broker.
//!
//! What topics there are is read from the metadata log itself, as an observer.

use super::describe::Context;
use super::{check_found, failure, filter, select, topic_id};
use crate::observer::read_image;
use crate::output;
use crate::tools::java_map::in_sized_hash_order;
use crate::tools::options::Parsed;
use crate::tools::{Failure, connect};
use ottla_client::admin::configs::ConfigEntry;
use ottla_client::admin::topics::{NewTopic, PartitionDescription, Reassignment, TopicDescription};
use ottla_client::{ClientConfig, ClientError, HostPort, Quorum};
use ottla_metadata::topic_config::{TOPIC_CONFIGS, TopicConfigDef};
use ottla_metadata::{ConfigResource, MetadataImage, TopicImage};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_types::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs;

/// What a controller's request may take on its side.
const TIMEOUT_MS: i32 = 30_000;

/// What the other controllers of a small cluster on one machine have for ports, beside the one given.
const NEIGHBOURS: std::ops::RangeInclusive<i32> = -2..=2;

fn failed(error: ClientError) -> Failure {
    connect::failed("topic")(error)
}

/// The quorum that `--zookeeper` means.
fn quorum(parsed: &Parsed) -> Result<Quorum, Failure> {
    let text = parsed.value("zookeeper").unwrap_or_default();
    // A path below which ZooKeeper kept a cluster's data has no meaning here.
    let text = text.split('/').next().unwrap_or_default();
    let mut config = connect::config(text, parsed.value("command-config"), "kafka-topics")?;
    for address in &mut config.bootstrap {
        // The name that tutorials use, on a machine that does not know it.
        if address.host == "zookeeper" && (address.host.as_str(), address.port).to_socket_addrs().is_err() {
            output::error_line(format_args!(
                "zookeeper:{port} does not resolve: asking localhost:{port} instead",
                port = address.port
            ));
            address.host = "localhost".to_owned();
        }
    }
    Ok(Quorum::new(config))
}

/// Runs `ask` against the quorum; when nobody listens at the one address given, against those beside it.
async fn with_quorum<T>(
    parsed: &Parsed,
    mut ask: impl AsyncFnMut(&mut Quorum) -> Result<T, ClientError>,
) -> Result<T, Failure> {
    let mut given = quorum(parsed)?;
    match ask(&mut given).await {
        Err(error @ ClientError::Unreachable { .. }) => match beside(given.voters()) {
            Some((address, config)) => {
                output::error_line(format_args!(
                    "{address} does not answer: asking the controllers beside it"
                ));
                ask(&mut Quorum::new(config)).await.map_err(|_| failed(error))
            }
            None => Err(failed(error)),
        },
        other => other.map_err(failed),
    }
}

/// The controllers of a cluster on one machine have ports in a row: those beside the only one given.
fn beside(voters: &[HostPort]) -> Option<(HostPort, ClientConfig)> {
    let [given] = voters else { return None };
    let ports = NEIGHBOURS.filter(|&step| step != 0);
    let neighbours: Vec<HostPort> = ports
        .filter_map(|step| u16::try_from(i32::from(given.port) + step).ok())
        .map(|port| HostPort::new(given.host.clone(), port))
        .collect();
    Some((given.clone(), ClientConfig::new(neighbours, "kafka-topics", crate::format::seed())))
}

pub(super) async fn create(parsed: &Parsed, topic: &NewTopic) -> Result<(), Failure> {
    let request = topic.request(TIMEOUT_MS);
    let created = with_quorum(parsed, async |quorum| {
        let created = quorum
            .ask("createTopics", &request, |answer| {
                let result =
                    answer.topics.into_iter().next().ok_or(ClientError::Incomplete("CreateTopics"))?;
                ClientError::check(result.error_code, result.error_message)
            })
            .await;
        match created {
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(Err(error)),
            other => other.map(Ok),
        }
    })
    .await?;
    match created {
        Ok(()) => output::line(format_args!("Created topic {}.", topic.name)),
        Err(_) if parsed.has("if-not-exists") => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(())
}

pub(super) async fn list(parsed: &Parsed) -> Result<(), Failure> {
    let image = with_quorum(parsed, read_image).await?;
    output::line(selected(parsed, &image)?.join("\n"));
    Ok(())
}

pub(super) async fn delete(parsed: &Parsed) -> Result<(), Failure> {
    let image = with_quorum(parsed, read_image).await?;
    let names = selected(parsed, &image)?;
    check_found(parsed, &names)?;
    for name in names {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState { name: Some(name.clone()), ..Default::default() }],
            topic_names: vec![name],
            timeout_ms: TIMEOUT_MS,
        };
        with_quorum(parsed, async |quorum| {
            quorum
                .ask("deleteTopics", &request, |answer| {
                    let result = answer.responses.into_iter().next();
                    let result = result.ok_or(ClientError::Incomplete("DeleteTopics"))?;
                    ClientError::check(result.error_code, result.error_message)
                })
                .await
        })
        .await?;
    }
    Ok(())
}

pub(super) async fn describe(parsed: &Parsed) -> Result<(), Failure> {
    let image = with_quorum(parsed, read_image).await?;
    let names = match topic_id(parsed) {
        Some(id) => {
            let wanted = image.topics.iter().filter(|topic| topic.id.to_string() == id);
            let names: Vec<String> = wanted.map(|topic| topic.name.clone()).collect();
            if names.is_empty() && !parsed.has("if-exists") {
                return Err(failure(&format!("TopicId '{id}' does not exist as expected")));
            }
            names
        }
        None => {
            let names = selected(parsed, &image)?;
            check_found(parsed, &names)?;
            names
        }
    };
    output::text(&described(parsed, &image, names));
    Ok(())
}

fn described(parsed: &Parsed, image: &MetadataImage, names: Vec<String>) -> String {
    let live: BTreeSet<_> = image.cluster.unfenced().map(|broker| broker.id).collect();
    let context = Context { filter: filter(parsed), live: &live, reassignments: &reassignments(image) };
    let mut out = String::new();
    for name in in_sized_hash_order(names, |name| name) {
        if let Some(topic) = image.topics.by_name(&name) {
            super::describe::describe(&mut out, &description(topic), &configs(image, &name), context);
        }
    }
    out
}

fn selected(parsed: &Parsed, image: &MetadataImage) -> Result<Vec<String>, Failure> {
    let names: BTreeMap<&str, bool> =
        image.topics.iter().map(|topic| (topic.name.as_str(), is_internal(&topic.name))).collect();
    select(parsed, names.into_iter())
}

/// Kafka's own topics (`Topic.isInternal`).
fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

fn description(topic: &TopicImage) -> TopicDescription {
    let partitions = topic.partitions.iter().map(|(&index, partition)| {
        let described = PartitionDescription {
            leader: partition.leader,
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
            elr: Some(partition.eligible_leader_replicas.clone()),
            last_known_elr: Some(partition.last_known_elr.clone()),
        };
        (index, described)
    });
    TopicDescription {
        name: topic.name.clone(),
        id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
    }
}

/// The topic's settings. What the brokers' own files say is not in the log: those count as defaults here.
fn configs(image: &MetadataImage, name: &str) -> Vec<ConfigEntry> {
    let own = image.configs.get(&ConfigResource::topic(name));
    let entry = |def: &TopicConfigDef| {
        let set = own.and_then(|own| own.get(def.name));
        ConfigEntry {
            name: def.name.to_owned(),
            value: Some(set.map_or(def.default, String::as_str).to_owned()),
            is_default: set.is_none(),
        }
    };
    TOPIC_CONFIGS.iter().map(entry).collect()
}

fn reassignments(image: &MetadataImage) -> BTreeMap<TopicPartition, Reassignment> {
    let mut found = BTreeMap::new();
    for topic in image.topics.iter() {
        for (&index, partition) in &topic.partitions {
            if !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty() {
                let reassignment = Reassignment {
                    replicas: partition.replicas.clone(),
                    adding: partition.adding_replicas.clone(),
                    removing: partition.removing_replicas.clone(),
                };
                found.insert(TopicPartition::new(&topic.name, index), reassignment);
            }
        }
    }
    found
}
