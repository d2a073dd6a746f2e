//! `kafka-topics --bootstrap-server`: asks brokers.

use super::describe::Context;
use super::{assignment, check_found, failure, filter, number, select, topic_id};
use crate::output;
use crate::tools::java_map::in_sized_hash_order;
use crate::tools::options::Parsed;
use crate::tools::{Failure, connect};
use ottla_client::Admin;
use ottla_client::admin::topics::{NewTopic, PARTITIONS_PER_ANSWER_MAX};
use ottla_protocol::ErrorCode;
use ottla_types::Uuid;

fn admin(parsed: &Parsed) -> Result<Admin, Failure> {
    Ok(connect::admin(parsed, "kafka-topics")?)
}

fn failed(error: ottla_client::ClientError) -> Failure {
    connect::failed("topic")(error)
}

pub(super) async fn create(parsed: &Parsed, topic: &NewTopic) -> Result<(), Failure> {
    match admin(parsed)?.create_topic(topic).await {
        Ok(_) => output::line(format_args!("Created topic {}.", topic.name)),
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) && parsed.has("if-not-exists") => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(())
}

/// The topics that the command line selects.
async fn selected(parsed: &Parsed, admin: &Admin) -> Result<Vec<String>, Failure> {
    let topics = admin.list_topics().await.map_err(failed)?;
    select(parsed, topics.iter().map(|(name, is_internal)| (name.as_str(), *is_internal)))
}

pub(super) async fn list(parsed: &Parsed) -> Result<(), Failure> {
    let names = selected(parsed, &admin(parsed)?).await?;
    output::line(names.join("\n"));
    Ok(())
}

pub(super) async fn delete(parsed: &Parsed) -> Result<(), Failure> {
    let admin = admin(parsed)?;
    let names = selected(parsed, &admin).await?;
    check_found(parsed, &names)?;
    for name in &names {
        admin.delete_topic(name).await.map_err(failed)?;
    }
    Ok(())
}

pub(super) async fn alter(parsed: &Parsed) -> Result<(), Failure> {
    let admin = admin(parsed)?;
    let names = selected(parsed, &admin).await?;
    check_found(parsed, &names)?;
    let count = number(parsed, "partitions")?.unwrap_or_default();
    let all = parsed.value("replica-assignment").map(assignment).transpose()?;
    for topic in admin.describe_topics(&names).await.map_err(failed)? {
        // Those of the partitions that are there already come first, and are left out.
        let new = all.as_ref().map(|all| all.iter().skip(topic.partitions.len()).cloned().collect());
        admin.create_partitions(&topic.name, count, new).await.map_err(failed)?;
    }
    Ok(())
}

pub(super) async fn describe(parsed: &Parsed) -> Result<(), Failure> {
    let admin = admin(parsed)?;
    let names = match topic_id(parsed) {
        Some(id) => named(&admin, id, parsed.has("if-exists")).await?,
        None => {
            let names = selected(parsed, &admin).await?;
            check_found(parsed, &names)?;
            names
        }
    };
    if names.is_empty() {
        return Ok(());
    }
    let limit = number(parsed, "partition-size-limit-per-response")?.unwrap_or(PARTITIONS_PER_ANSWER_MAX);
    let topics = admin.describe_topics_by(limit, &names).await.map_err(failed)?;
    let described: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let configs = admin.describe_topic_configs(&described).await.map_err(failed)?;
    let live = admin.describe_cluster().await.map_err(failed)?.brokers;
    let reassignments = admin.list_reassignments().await.map_err(failed)?;
    let context = Context { filter: filter(parsed), live: &live, reassignments: &reassignments };
    let mut out = String::new();
    for topic in in_sized_hash_order(topics, |topic| &topic.name) {
        let configs = configs.get(&topic.name).map(Vec::as_slice).unwrap_or_default();
        super::describe::describe(&mut out, &topic, configs, context);
    }
    output::text(&out);
    Ok(())
}

/// The name of the topic with this id.
async fn named(admin: &Admin, id: &str, may_be_missing: bool) -> Result<Vec<String>, Failure> {
    let wanted: Uuid =
        id.parse().map_err(|_| failure(&format!("TopicId '{id}' does not exist as expected")))?;
    let topics = admin.list_topics().await.map_err(failed)?;
    let metadata = admin.client().metadata();
    let found: Vec<String> = topics
        .into_keys()
        .filter(|name| metadata.topics.get(name).is_some_and(|topic| topic.id == wanted))
        .collect();
    if found.is_empty() && !may_be_missing {
        return Err(failure(&format!("TopicId '{id}' does not exist as expected")));
    }
    Ok(found)
}
