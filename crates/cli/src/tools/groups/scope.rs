//! The partitions that `--topic` and `--all-topics` mean.

use super::Trouble;
use crate::tools::options::Parsed;
use ottla_client::client::Topics;
use ottla_client::{Admin, ClientError};
use ottla_protocol::ErrorCode;
use ottla_types::TopicPartition;
use std::collections::BTreeSet;

/// What `--topic` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `topic`: all its partitions.
    Topic(String),
    /// `topic:0,1`: these.
    Partitions(Vec<TopicPartition>),
}

/// What every `--topic` names, in order.
pub(super) fn scopes(parsed: &Parsed) -> Result<Vec<Scope>, Trouble> {
    parsed.values("topic").map(|text| scope(text).map_err(Trouble::Usage)).collect()
}

/// What a text such as `topic` or `topic:0,1` names.
///
/// # Errors
/// What Kafka's tool says of one that names nothing.
pub(crate) fn scope(text: &str) -> Result<Scope, String> {
    let Some((topic, list)) = text.split_once(':') else { return Ok(Scope::Topic(text.to_owned())) };
    if list.is_empty() || list.contains(':') {
        return Err(format!("Invalid topic arg '{text}', expected topic name and partitions"));
    }
    let partitions = list.split(',').map(|number| match number.parse() {
        Ok(number) => Ok(TopicPartition::new(topic, number)),
        // The quotes are Kafka's.
        Err(_) => Err(format!("Invalid partition '{number}' specified in topic arg '{text}''")),
    });
    partitions.collect::<Result<_, _>>().map(Scope::Partitions)
}

/// The partitions in these scopes: first those that are named one by one.
pub(super) async fn partitions(scopes: &[Scope], admin: &Admin) -> Result<Vec<TopicPartition>, Trouble> {
    let (mut named, mut of_topics) = (Vec::new(), Vec::new());
    for scope in scopes {
        match scope {
            Scope::Partitions(partitions) => named.extend(partitions.iter().cloned()),
            Scope::Topic(topic) => match partitions_of(topic, admin).await? {
                Some(numbers) => {
                    of_topics.extend(numbers.into_iter().map(|n| TopicPartition::new(topic.clone(), n)));
                }
                None => {
                    return Err(Trouble::Exception(ErrorCode::UnknownTopicOrPartition.message().to_owned()));
                }
            },
        }
    }
    named.append(&mut of_topics);
    Ok(named)
}

/// The numbers of a topic's partitions; `None` when there is no such topic.
pub(super) async fn partitions_of(topic: &str, admin: &Admin) -> Result<Option<Vec<i32>>, Trouble> {
    let names = [topic.to_owned()];
    let client = admin.client();
    let metadata = client.retry("describeTopics", || client.refresh(Topics::Named(&names))).await?;
    Ok(metadata.topics.get(topic).map(|topic| topic.partitions.keys().copied().collect()))
}

/// Fails unless all these partitions exist.
pub(super) async fn check_exist<'a>(
    asked: impl IntoIterator<Item = &'a TopicPartition>,
    admin: &Admin,
) -> Result<(), Trouble> {
    let asked: BTreeSet<&TopicPartition> = asked.into_iter().collect();
    let topics: BTreeSet<&str> = asked.iter().map(|at| at.topic.as_str()).collect();
    let mut absent = Vec::new();
    for topic in topics {
        let Some(numbers) = partitions_of(topic, admin).await? else {
            let unknown = ClientError::refused(ErrorCode::UnknownTopicOrPartition, None);
            let exception = super::exception(&unknown);
            return Err(Trouble::Exception(format!("java.util.concurrent.ExecutionException: {exception}")));
        };
        let mine = asked.iter().filter(|at| at.topic == topic && !numbers.contains(&at.partition));
        absent.extend(mine.map(|at| at.to_string()));
    }
    if absent.is_empty() {
        return Ok(());
    }
    Err(Trouble::Exception(format!("The partitions \"{}\" do not exist", absent.join(","))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_topic_or_partitions_of_it() {
        let at = |partition| TopicPartition::new("t", partition);

        assert_eq!(scope("t").unwrap(), Scope::Topic("t".to_owned()));
        assert_eq!(scope("t:0,12").unwrap(), Scope::Partitions(vec![at(0), at(12)]));
        for text in ["t:", "t:zero", "t:0,", "t:0:1"] {
            assert!(scope(text).is_err(), "{text}");
        }
    }
}
