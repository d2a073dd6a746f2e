//! `kafka-log-dirs`: what is in the brokers' log directories (`LogDirsCommand`).

use super::options::{Parsed, Tool, flag, require, value};
use super::{Failure, connect, java_map};
use crate::output;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use ottla_types::{NodeId, TopicPartition};
use std::collections::BTreeSet;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-log-dirs",
    purpose: "This tool helps to query log directory usage on the specified brokers.",
    short_purpose: None,
    commands: &[],
    options: &[
        value(
            "bootstrap-server",
            "The server(s) to use for bootstrapping",
            "REQUIRED: the brokers to begin with, as host:port,...",
        ),
        value("broker-list", "Broker list", "The brokers that are asked, as 0,1,2; else all."),
        value("command-config", "Admin client property file", "A client's properties."),
        flag("describe", "REQUIRED: describes the directories."),
        value("topic-list", "Topic list", "The topics that are described, as topic1,topic2; else all."),
    ],
};

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["bootstrap-server", "describe"])?;
    let refuse = |message: String| Failure::Refused(message);
    let topics: BTreeSet<&str> = words(parsed, "topic-list").collect();
    let wanted = words(parsed, "broker-list")
        .map(|id| id.parse().map(NodeId).map_err(|_| refuse(format!("For input string: \"{id}\""))))
        .collect::<Result<BTreeSet<NodeId>, Failure>>()?;
    connect::block_on(async {
        let admin = connect::admin(parsed, TOOL.name)?;
        let failed = |error: ottla_client::ClientError| refuse(error.to_string());
        let there = admin.describe_cluster().await.map_err(failed)?.brokers;
        let absent: Vec<NodeId> = wanted.difference(&there).copied().collect();
        if !absent.is_empty() {
            return Err(refuse(format!(
                "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
                listed(absent),
                listed(there)
            )));
        }
        output::line("Querying brokers for log directories information");
        let asked = if wanted.is_empty() { there } else { wanted };
        let mut brokers = Vec::new();
        for &broker in &asked {
            let directories = admin.describe_log_dirs(broker).await.map_err(failed)?;
            brokers.push(json(broker, directories, &topics));
        }
        output::line(format!("Received log directory information from brokers {}", listed(asked)));
        output::line(format!("{{\"brokers\":[{}],\"version\":1}}", brokers.join(",")));
        Ok(())
    })
}

/// The words of a comma-separated list.
fn words<'a>(parsed: &'a Parsed, name: &str) -> impl Iterator<Item = &'a str> {
    parsed.value(name).unwrap_or_default().split(',').filter(|word| !word.is_empty())
}

fn listed(brokers: impl IntoIterator<Item = NodeId>) -> String {
    brokers.into_iter().map(|broker| broker.to_string()).collect::<Vec<_>>().join(",")
}

/// One broker's directories, with the fields in Kafka's order.
fn json(broker: NodeId, directories: Vec<DescribeLogDirsResult>, topics: &BTreeSet<&str>) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let directories = java_map::in_hash_order(directories, |directory| &directory.log_dir);
    let directories: Vec<String> = directories
        .into_iter()
        .map(|directory| {
            let mut partitions = Vec::new();
            for topic in directory.topics {
                if topics.is_empty() || topics.contains(topic.name.as_str()) {
                    let at = |partition| TopicPartition::new(&topic.name, partition);
                    partitions.extend(topic.partitions.into_iter().map(|p| (at(p.partition_index), p)));
                }
            }
            let partitions = java_map::partitions_in_hash_order(partitions, |(at, _)| at);
            let partitions: Vec<String> = partitions
                .iter()
                .map(|(at, partition)| {
                    format!(
                        "{{\"partition\":{},\"size\":{},\"offsetLag\":{},\"isFuture\":{}}}",
                        text(&at.to_string()),
                        partition.partition_size,
                        partition.offset_lag,
                        partition.is_future_key
                    )
                })
                .collect();
            let error = match ErrorCode::from(directory.error_code) {
                ErrorCode::None => "null".to_owned(),
                error => text(error.message()),
            };
            format!(
                "{{\"partitions\":[{}],\"error\":{error},\"logDir\":{}}}",
                partitions.join(","),
                text(&directory.log_dir)
            )
        })
        .collect();
    format!("{{\"broker\":{broker},\"logDirs\":[{}]}}", directories.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsTopic,
    };

    #[test]
    fn a_brokers_directories_are_one_object_of_the_topics_that_are_asked_for() {
        let partition = |partition_index, partition_size, is_future_key| DescribeLogDirsPartition {
            partition_index,
            partition_size,
            offset_lag: 0,
            is_future_key,
        };
        let topic = |name: &str, partitions| DescribeLogDirsTopic { name: name.to_owned(), partitions };
        let good = DescribeLogDirsResult {
            log_dir: "/a".to_owned(),
            topics: vec![
                topic("t", vec![partition(0, 5, false), partition(1, 6, true)]),
                topic("u", vec![partition(0, 7, false)]),
            ],
            ..Default::default()
        };

        assert_eq!(
            json(NodeId(1), vec![good], &BTreeSet::from(["t"])),
            "{\"broker\":1,\"logDirs\":[{\"partitions\":[\
             {\"partition\":\"t-1\",\"size\":6,\"offsetLag\":0,\"isFuture\":true},\
             {\"partition\":\"t-0\",\"size\":5,\"offsetLag\":0,\"isFuture\":false}],\
             \"error\":null,\"logDir\":\"/a\"}]}"
        );
    }
}
