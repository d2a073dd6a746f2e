//! Where the application's group goes on: in the topics that it reads, and in those that it writes and reads.

use super::places::{self, Reset};
use super::{list, refused, shown};
use crate::output;
use crate::tools::Failure;
use crate::tools::java_map::{in_sized_hash_order, partitions_in_hash_order};
use crate::tools::options::Parsed;
use ottla_client::Admin;
use ottla_client::admin::places::Places;
use ottla_client::consumer::offsets::LATEST;
use ottla_types::TopicPartition;

/// Moves the group, and tells whether all topics were found.
pub(super) async fn seek(
    parsed: &Parsed,
    admin: &Admin,
    group: &str,
    topics: &[String],
) -> Result<bool, Failure> {
    let input = list(parsed, "input-topics");
    if parsed.has("intermediate-topics") {
        output::line("WARN: `--intermediate-topics` is deprecated and will be removed in a future release");
    }
    let intermediate = list(parsed, "intermediate-topics");
    if input.is_empty() && intermediate.is_empty() {
        output::line("No input or intermediate topics specified. Skipping seek.");
        return Ok(true);
    }
    if !input.is_empty() {
        output::line(format_args!("Reset-offsets for input topics {}", shown(&input)));
    }
    if !intermediate.is_empty() {
        output::line(format_args!("Seek-to-end for intermediate topics {}", shown(&intermediate)));
    }
    let is_known = |topic: &&str| topics.iter().any(|known| known == *topic);
    let (found, absent): (Vec<&str>, Vec<&str>) = input.iter().copied().partition(is_known);
    let (found_too, absent_too): (Vec<&str>, Vec<&str>) = intermediate.iter().copied().partition(is_known);
    // That the second lacks a space is Kafka's.
    complain("input", "Topic: ", &absent);
    complain("intermediate", "Topic:", &absent_too);
    let is_whole = absent.is_empty() && absent_too.is_empty();
    let partitions = partitions(admin, [found, found_too].concat());
    if partitions.is_empty() {
        return Ok(is_whole);
    }
    let (of_input, of_intermediate) =
        partitions.into_iter().partition(|at| input.contains(&at.topic.as_str()));
    let mut places = reset(parsed, admin, group, of_input).await?;
    places.append(&mut to_end(admin, group, of_intermediate).await?);
    if !parsed.has("dry-run") {
        admin.alter_offsets(group, &places).await.map_err(refused)?;
    }
    output::line("Done.");
    Ok(is_whole)
}

fn complain(kind: &str, before: &str, topics: &[&str]) {
    if !topics.is_empty() {
        output::line(format_args!("Following {kind} topics are not found, skipping them"));
    }
    topics.iter().for_each(|topic| output::line(format_args!("{before}{topic}")));
}

/// The partitions of topics that were listed, each once, in the order in which Kafka's tool puts them into its sets.
fn partitions(admin: &Admin, topics: Vec<&str>) -> Vec<TopicPartition> {
    let mut names: Vec<&str> = Vec::new();
    for topic in topics {
        if !names.contains(&topic) {
            names.push(topic);
        }
    }
    let metadata = admin.client().metadata();
    let known =
        in_sized_hash_order(names, |name| name).into_iter().filter_map(|name| metadata.topics.get(name));
    let partitions = known.flat_map(|topic| {
        topic.partitions.keys().map(move |&number| TopicPartition::new(topic.name.clone(), number))
    });
    partitions.collect()
}

/// Where the group goes on in the input topics.
async fn reset(
    parsed: &Parsed,
    admin: &Admin,
    group: &str,
    partitions: Vec<TopicPartition>,
) -> Result<Places, Failure> {
    if partitions.is_empty() {
        return Ok(Places::new());
    }
    output::line(format_args!(
        "Following input topics offsets will be reset to (for consumer group {group})"
    ));
    let partitions = partitions_in_hash_order(partitions, |at| at);
    let places = places::find(Reset { parsed, admin, group, partitions: &partitions }).await?;
    for at in &partitions {
        let Some(offset) = places.get(at) else { continue };
        output::line(format_args!("Topic: {} Partition: {} Offset: {offset}", at.topic, at.partition));
    }
    Ok(places)
}

/// The ends of the topics that the application writes and reads.
async fn to_end(admin: &Admin, group: &str, partitions: Vec<TopicPartition>) -> Result<Places, Failure> {
    if partitions.is_empty() {
        return Ok(Places::new());
    }
    output::line(format_args!(
        "Following intermediate topics offsets will be reset to end (for consumer group {group})"
    ));
    let partitions = partitions_in_hash_order(partitions, |at| at);
    partitions.iter().for_each(|at| output::line(format_args!("Topic: {}", at.topic)));
    admin.places_at(&partitions, LATEST).await.map_err(refused)
}
