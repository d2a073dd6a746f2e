//! Topics and their partitions, by name and by id.

use crate::Uuid;
use std::collections::BTreeMap;
use std::fmt;

/// The longest topic name: with `-` and a partition number it still fits a directory name.
pub const TOPIC_NAME_LEN_MAX: usize = 249;

/// One partition of a topic, by the topic's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition numbered `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }

    /// The partitions' numbers by their topics, as requests and records have them; in the order in which they come.
    pub fn by_topic<'a>(
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> BTreeMap<&'a str, Vec<i32>> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for TopicPartition { topic, partition } in partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        topics
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// One partition of a topic, by the topic's id: a topic deleted and created again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIdPartition {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicIdPartition {
    /// The partition numbered `partition` of the topic with this id.
    pub fn new(topic_id: Uuid, partition: i32) -> TopicIdPartition {
        TopicIdPartition { topic_id, partition }
    }
}

impl fmt::Display for TopicIdPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic_id, self.partition)
    }
}

/// Why a topic name is refused, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTopicName(String);

impl fmt::Display for InvalidTopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for InvalidTopicName {}

/// Checks a topic name by Kafka's rules (`org.apache.kafka.common.internals.Topic`).
///
/// # Errors
/// When it is empty, `.` or `..`, longer than [`TOPIC_NAME_LEN_MAX`], or has a character other than
/// ASCII letters, digits, `.`, `_` and `-`.
pub fn validate_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if name.is_empty() {
        "Topic name is invalid: the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("Topic name is invalid: '{name}' is not allowed")
    } else if name.len() > TOPIC_NAME_LEN_MAX {
        format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length {TOPIC_NAME_LEN_MAX}"
        )
    } else if !name.chars().all(legal) {
        format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    Err(InvalidTopicName(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_name_is_a_safe_directory_name() {
        let longest = "x".repeat(TOPIC_NAME_LEN_MAX);
        let too_long = "x".repeat(TOPIC_NAME_LEN_MAX + 1);

        for name in ["failsafe-test-topic", "a.b_c", "__consumer_offsets", "...", &longest] {
            assert_eq!(validate_topic_name(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "ä", "a\0", &too_long] {
            assert!(validate_topic_name(name).is_err(), "{name}");
        }
    }
}
