//! Every topic configuration of Kafka 4.4: name, type, default, range, and whether Ottla enforces it.
//!
//! One table serves validation on the controller, the log's settings on the broker, DescribeConfigs and
//! the documentation. A value that would be accepted and then ignored is refused.

use ottla_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What values a configuration takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A 32-bit number in a range, both ends inclusive.
    Int(i64, i64),
    /// A 64-bit number in a range, both ends inclusive.
    Long(i64, i64),
    /// A fraction in 0..=1.
    Fraction,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A comma-separated list of these words.
    ListOf(&'static [&'static str]),
    /// A comma-separated list of any words.
    Words,
    /// `*`, or a comma-separated list of replicas as `partition:broker`.
    Replicas,
}

impl Kind {
    /// Returns whether values are lists, to which words may be added.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::ListOf(_) | Kind::Words | Kind::Replicas)
    }

    /// Kafka's number of the type in DescribeConfigs.
    pub fn wire_type(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::OneOf(_) => 2,
            Kind::Int(..) => 3,
            Kind::Long(..) => 5,
            Kind::Fraction => 6,
            Kind::ListOf(_) | Kind::Words | Kind::Replicas => 7,
        }
    }
}

/// Whether a value other than the default has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Every legal value does what Kafka's documentation says.
    Enforced,
    /// Only the default is accepted: what another value asks for does not exist here.
    DefaultOnly,
}

/// One topic configuration.
#[derive(Clone, Copy, Debug)]
pub struct TopicConfigDef {
    /// Kafka's name.
    pub name: &'static str,
    /// Its values.
    pub kind: Kind,
    /// The value of a topic that sets none, on a broker that sets none.
    pub default: &'static str,
    /// The broker settings that replace the default, first set wins.
    pub synonyms: &'static [&'static str],
    /// Whether it is enforced.
    pub support: Support,
    /// One sentence for people.
    pub documentation: &'static str,
}

/// `Long.MAX_VALUE` in Kafka's tables.
pub(crate) const LONG_MAX: &str = "9223372036854775807";
const INT: i64 = i32::MAX as i64;
pub(crate) const LONG: i64 = i64::MAX;

pub(crate) const fn def(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    synonyms: &'static [&'static str],
    support: Support,
    documentation: &'static str,
) -> TopicConfigDef {
    TopicConfigDef { name, kind, default, synonyms, support, documentation }
}

use Support::{DefaultOnly, Enforced};

/// All topic configurations, in the order of their names.
#[rustfmt::skip]
pub const TOPIC_CONFIGS: &[TopicConfigDef] = &[
    def("cleanup.policy", Kind::ListOf(&["compact", "delete"]), "delete", &["log.cleanup.policy"],
        Enforced, "Whether old segments are deleted, and whether only the latest record of a key is kept."),
    def("compression.gzip.level", Kind::Int(-1, 9), "-1", &["compression.gzip.level"], DefaultOnly,
        "The gzip level used when the broker compresses."),
    def("compression.lz4.level", Kind::Int(1, 17), "9", &["compression.lz4.level"], DefaultOnly,
        "The lz4 level used when the broker compresses."),
    def("compression.type", Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer", &["compression.type"], DefaultOnly, "The codec batches are stored in; `producer` keeps theirs."),
    def("compression.zstd.level", Kind::Int(-131_072, 22), "3", &["compression.zstd.level"], DefaultOnly,
        "The zstd level used when the broker compresses."),
    def("delete.retention.ms", Kind::Long(0, LONG), "86400000", &["log.cleaner.delete.retention.ms"], Enforced,
        "How long compaction keeps a deletion's marker."),
    def("errors.deadletterqueue.group.enable", Kind::Boolean, "false", &[], DefaultOnly,
        "Whether the topic takes what share groups could not process."),
    def("file.delete.delay.ms", Kind::Long(0, LONG), "60000", &["log.segment.delete.delay.ms"], Enforced,
        "How long a deleted segment's file stays on disk under another name."),
    def("flush.messages", Kind::Long(1, LONG), LONG_MAX, &["log.flush.interval.messages"], Enforced,
        "After how many records the log is synced to disk. With 1 nothing is acknowledged before it is."),
    def("flush.ms", Kind::Long(0, LONG), LONG_MAX, &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        Enforced, "After how many milliseconds the log is synced to disk."),
    def("follower.replication.throttled.replicas", Kind::Replicas, "", &[], Enforced,
        "The replicas whose fetching is throttled while they are behind; * for all."),
    def("index.interval.bytes", Kind::Int(0, INT), "4096", &["log.index.interval.bytes"], Enforced,
        "After how many bytes of records an index entry is made."),
    def("leader.replication.throttled.replicas", Kind::Replicas, "", &[], Enforced,
        "The replicas whose serving of followers out of sync is throttled; * for all."),
    def("local.retention.bytes", Kind::Long(-2, LONG), "-2", &["log.local.retention.bytes"], DefaultOnly,
        "How much of a tiered topic stays on local disks."),
    def("local.retention.ms", Kind::Long(-2, LONG), "-2", &["log.local.retention.ms"], DefaultOnly,
        "How long a tiered topic's segments stay on local disks."),
    def("max.compaction.lag.ms", Kind::Long(1, LONG), LONG_MAX, &["log.cleaner.max.compaction.lag.ms"], Enforced,
        "The longest a record stays uncompacted."),
    def("max.decompressed.message.bytes", Kind::Int(1, INT), "2147483639", &["max.decompressed.message.bytes"], DefaultOnly,
        "The largest record, decompressed. A batch of more than 134217728 bytes is refused in any case."),
    def("max.message.bytes", Kind::Int(0, INT), "1048588", &["message.max.bytes"], Enforced,
        "The largest batch, as stored."),
    def("message.timestamp.after.max.ms", Kind::Long(0, LONG), "3600000", &["log.message.timestamp.after.max.ms"],
        Enforced, "How far in the future a producer's timestamp may lie."),
    def("message.timestamp.before.max.ms", Kind::Long(0, LONG), LONG_MAX, &["log.message.timestamp.before.max.ms"],
        Enforced, "How far in the past a producer's timestamp may lie."),
    def("message.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime",
        &["log.message.timestamp.type"], Enforced, "Whose clock a record's timestamp is."),
    def("min.cleanable.dirty.ratio", Kind::Fraction, "0.5", &["log.cleaner.min.cleanable.ratio"], Enforced,
        "The share of uncompacted bytes from which on a log is compacted."),
    def("min.compaction.lag.ms", Kind::Long(0, LONG), "0", &["log.cleaner.min.compaction.lag.ms"], Enforced,
        "The shortest a record stays uncompacted."),
    def("min.insync.replicas", Kind::Int(1, INT), "1", &["min.insync.replicas"], Enforced,
        "How many replicas must be in sync for acks=all to be served."),
    def("preallocate", Kind::Boolean, "false", &["log.preallocate"], DefaultOnly,
        "Whether a segment's file gets its full size when it is created."),
    def("remote.copy.lag.bytes", Kind::Long(-1, LONG), "-1", &["log.remote.copy.lag.bytes"], DefaultOnly,
        "How much of a tiered topic may wait to be copied."),
    def("remote.copy.lag.ms", Kind::Long(-1, LONG), "0", &["log.remote.copy.lag.ms"], DefaultOnly,
        "How long a tiered topic's segments may wait to be copied."),
    def("remote.log.copy.disable", Kind::Boolean, "false", &[], DefaultOnly,
        "Whether a tiered topic stops copying."),
    def("remote.log.delete.on.disable", Kind::Boolean, "false", &[], DefaultOnly,
        "Whether remote segments go when tiering is turned off."),
    def("remote.storage.enable", Kind::Boolean, "false", &[], DefaultOnly, "Whether the topic is tiered."),
    def("retention.bytes", Kind::Long(i64::MIN, LONG), "-1", &["log.retention.bytes"], Enforced,
        "How large a partition may grow before old segments go; -1 is without limit."),
    def("retention.ms", Kind::Long(-1, LONG), "604800000",
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"], Enforced,
        "How old a segment may grow before it goes; -1 is without limit."),
    def("segment.bytes", Kind::Int(1_048_576, INT), "1073741824", &["log.segment.bytes"], Enforced,
        "The largest segment."),
    def("segment.index.bytes", Kind::Int(4, INT), "10485760", &["log.index.size.max.bytes"], Enforced,
        "The largest index of a segment."),
    def("segment.jitter.ms", Kind::Long(0, LONG), "0", &["log.roll.jitter.ms", "log.roll.jitter.hours"], DefaultOnly,
        "How much earlier than segment.ms a segment may be closed, at random."),
    def("segment.ms", Kind::Long(1, LONG), "604800000", &["log.roll.ms", "log.roll.hours"], Enforced,
        "After how long a segment is closed."),
    def("unclean.leader.election.enable", Kind::Boolean, "false", &["unclean.leader.election.enable"], DefaultOnly,
        "Whether a replica outside the in-sync set may lead when no other can."),
];

/// Why a topic configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig(pub String);

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The definition of the topic configuration called `name`.
pub fn topic_config(name: &str) -> Option<&'static TopicConfigDef> {
    TOPIC_CONFIGS.binary_search_by(|def| def.name.cmp(name)).ok().map(|i| &TOPIC_CONFIGS[i])
}

/// Who sets a configuration: internal topics are made as no user's may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A person or program.
    User,
    /// A broker, for an internal topic.
    Internal,
}

/// Checks one topic configuration.
///
/// # Errors
/// When the name is unknown, the value is not one of the type or out of its range, or what it asks for is
/// not supported.
pub fn validate(name: &str, value: &str, owner: Owner) -> Result<(), InvalidConfig> {
    let def =
        topic_config(name).ok_or_else(|| InvalidConfig(format!("Unknown topic config name: {name}")))?;
    check(def, name, value, owner)
}

/// Checks what a topic's configurations say together (`LogConfig.validateValues`). `set` is what counts instead of the defaults.
///
/// # Errors
/// When records must stay uncompacted for longer than they may.
pub fn validate_together<'a>(set: impl Fn(&str) -> Option<&'a str>) -> Result<(), InvalidConfig> {
    let number = |name: &str| {
        let value = set(name).or_else(|| topic_config(name).map(|def| def.default));
        value.and_then(|value| value.trim().parse::<i64>().ok()).unwrap_or_default()
    };
    let (min, max) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if min > max {
        return Err(InvalidConfig(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )));
    }
    Ok(())
}

/// Checks a value of a topic configuration, or of the broker's that stands in for it under the name `name`.
pub(crate) fn check(
    def: &TopicConfigDef,
    name: &str,
    value: &str,
    owner: Owner,
) -> Result<(), InvalidConfig> {
    let invalid =
        |why: &str| Err(InvalidConfig(format!("Invalid value {value} for configuration {name}: {why}")));
    let text = value.trim();
    match def.kind {
        Kind::Boolean if !matches!(text.to_ascii_lowercase().as_str(), "true" | "false") => {
            return invalid("Expected value to be either true or false");
        }
        Kind::Int(..) if text.parse::<i32>().is_err() => return invalid("Not a number of type INT"),
        Kind::Int(min, max) | Kind::Long(min, max) => match text.parse::<i64>() {
            Err(_) => return invalid("Not a number of type LONG"),
            Ok(number) if number < min => return invalid(&format!("Value must be at least {min}")),
            Ok(number) if number > max => return invalid(&format!("Value must be no more than {max}")),
            Ok(_) => {}
        },
        Kind::Fraction => match text.parse::<f64>() {
            Ok(number) if (0.0..=1.0).contains(&number) => {}
            Ok(number) if number.is_finite() => {
                let bound = if number < 0.0 { "at least 0" } else { "no more than 1" };
                // As Java writes it: with a point.
                let why = format!("Invalid value {number:?} for configuration {name}: Value must be {bound}");
                return Err(InvalidConfig(why));
            }
            _ => return invalid("Not a number of type DOUBLE"),
        },
        Kind::OneOf(words) if !words.contains(&text) => {
            return invalid(&format!("String must be one of: {}", words.join(", ")));
        }
        Kind::ListOf(words) if !list(text).all(|word| words.contains(&word)) => {
            return invalid(&format!("String must be one of: {}", words.join(", ")));
        }
        Kind::Replicas if ThrottledReplicas::parse(text).is_none() => {
            return invalid(&format!(
                "{name} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            ));
        }
        _ => {}
    }
    let supported = match def.support {
        Enforced => true,
        DefaultOnly if text.eq_ignore_ascii_case(def.default) => true,
        // Brokers of Apache Kafka ask for it for their transactions, whose records nobody compresses anyway.
        DefaultOnly => owner == Owner::Internal && (def.name, text) == ("compression.type", "uncompressed"),
    };
    if !supported {
        return invalid(&format!("not supported; only `{}` is", def.default));
    }
    Ok(())
}

/// The words of a comma-separated list.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Which replicas of a topic are throttled (KIP-73).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    /// All.
    All,
    /// These partitions' replicas on these brokers.
    Listed(BTreeSet<(i32, NodeId)>),
}

impl ThrottledReplicas {
    /// Reads a value of `leader.replication.throttled.replicas` or `follower…`; `None` when it is neither a list nor `*`.
    pub fn parse(text: &str) -> Option<ThrottledReplicas> {
        if text.trim() == "*" {
            return Some(ThrottledReplicas::All);
        }
        let number = |digits: &str| {
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i32>().ok()).flatten()
        };
        let replica = |word: &str| {
            let (partition, broker) = word.split_once(':')?;
            Some((number(partition)?, NodeId(number(broker)?)))
        };
        list(text).map(replica).collect::<Option<_>>().map(ThrottledReplicas::Listed)
    }

    /// Returns whether the replica of this partition on this broker is among them.
    pub fn contains(&self, partition: i32, broker: NodeId) -> bool {
        match self {
            ThrottledReplicas::All => true,
            ThrottledReplicas::Listed(listed) => listed.contains(&(partition, broker)),
        }
    }
}

/// A topic's values, with what the broker and Kafka put where it sets none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicConfig {
    overrides: BTreeMap<String, String>,
    broker_defaults: BTreeMap<String, String>,
}

impl TopicConfig {
    /// The configuration of a topic with these overrides on a broker with these defaults, both by topic
    /// configuration name.
    pub fn new(
        overrides: BTreeMap<String, String>,
        broker_defaults: BTreeMap<String, String>,
    ) -> TopicConfig {
        TopicConfig { overrides, broker_defaults }
    }

    /// The value in force.
    ///
    /// # Panics
    /// When there is no configuration called `name`: a mistake of the caller.
    pub fn value(&self, name: &str) -> &str {
        let set = self.overrides.get(name).or_else(|| self.broker_defaults.get(name));
        set.map_or_else(
            || topic_config(name).unwrap_or_else(|| panic!("no topic config is called {name}")).default,
            String::as_str,
        )
    }

    /// A numeric value in force.
    ///
    /// # Panics
    /// As [`TopicConfig::value`], or when the configuration is not a number.
    pub fn number(&self, name: &str) -> i64 {
        self.value(name).trim().parse().unwrap_or_else(|_| panic!("{name} was validated as a number"))
    }

    /// The throttled replicas in force; none where the value is not legal.
    ///
    /// # Panics
    /// As [`TopicConfig::value`].
    pub fn throttled_replicas(&self, name: &str) -> ThrottledReplicas {
        let none = || ThrottledReplicas::Listed(BTreeSet::new());
        ThrottledReplicas::parse(self.value(name)).unwrap_or_else(none)
    }

    /// A fraction in force.
    ///
    /// # Panics
    /// As [`TopicConfig::number`].
    pub fn fraction(&self, name: &str) -> f64 {
        self.value(name).trim().parse().unwrap_or_else(|_| panic!("{name} was validated as a fraction"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_legal() {
        assert!(TOPIC_CONFIGS.is_sorted_by_key(|def| def.name));
        for def in TOPIC_CONFIGS {
            assert_eq!(validate(def.name, def.default, Owner::User), Ok(()), "{}", def.name);
        }
    }

    #[test]
    fn refuses_what_it_would_have_to_ignore() {
        for (name, value) in [
            ("no.such.config", "1"),
            ("retention.ms", "soon"),
            ("retention.ms", "-2"),
            ("min.insync.replicas", "0"),
            ("cleanup.policy", "compact,shred"),
            ("cleanup.policy", "shred"),
            ("flush.messages", "0"),
            ("preallocate", "true"),
            ("message.timestamp.type", "createtime"),
            ("remote.storage.enable", "true"),
        ] {
            assert!(validate(name, value, Owner::User).is_err(), "{name}={value}");
        }
        for (name, value, shown, why) in [
            ("segment.bytes", "99999999999", "99999999999", "Not a number of type INT"),
            ("min.cleanable.dirty.ratio", "2", "2.0", "Value must be no more than 1"),
            ("min.cleanable.dirty.ratio", "-0.5", "-0.5", "Value must be at least 0"),
            ("min.cleanable.dirty.ratio", "half", "half", "Not a number of type DOUBLE"),
            ("min.cleanable.dirty.ratio", "NaN", "NaN", "Not a number of type DOUBLE"),
        ] {
            let refused = validate(name, value, Owner::User).unwrap_err();
            assert_eq!(refused.0, format!("Invalid value {shown} for configuration {name}: {why}"));
        }
        assert!(validate("preallocate", "true", Owner::Internal).is_err());
        assert_eq!(validate("compression.type", "uncompressed", Owner::Internal), Ok(()));
        assert_eq!(validate("flush.messages", "1", Owner::User), Ok(()));
        assert_eq!(validate("cleanup.policy", "compact, delete", Owner::User), Ok(()));
        assert_eq!(validate("retention.ms", "-1", Owner::User), Ok(()));
    }

    #[test]
    fn records_cannot_stay_uncompacted_for_longer_than_they_may() {
        let check = |min, max| {
            validate_together(|name| if name.starts_with("min.") { min } else { max })
                .map_err(|error| error.0)
        };

        assert_eq!(check(None, None), Ok(()));
        assert_eq!(check(Some("5"), None), Ok(()));
        assert_eq!(check(Some("5"), Some("5")), Ok(()));
        let conflict = "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)";
        assert_eq!(check(Some("5"), Some("4")), Err(conflict.to_owned()));
    }

    #[test]
    fn throttled_replicas_are_listed_or_all() {
        let contains = |text: &str, partition, broker| {
            ThrottledReplicas::parse(text).map(|replicas| replicas.contains(partition, NodeId(broker)))
        };

        assert_eq!(contains("*", 7, 7), Some(true));
        assert_eq!(contains("", 0, 1), Some(false));
        assert_eq!(contains("0:1, 1:2", 1, 2), Some(true));
        assert_eq!(contains("0:1,1:2", 1, 1), Some(false));
        for text in ["0", "0:", ":1", "*,0:1", "0:-1", "+0:1", "0:1:2", "a:b", "0:99999999999"] {
            assert_eq!(contains(text, 0, 1), None, "{text}");
            assert!(
                validate("leader.replication.throttled.replicas", text, Owner::User)
                    .is_err_and(|why| why.to_string().contains("must be the literal '*'")),
                "{text}"
            );
        }
    }

    #[test]
    fn an_override_beats_the_brokers_default_which_beats_kafkas() {
        let set = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let plain = TopicConfig::default();
        let broker = TopicConfig::new(BTreeMap::new(), set("retention.ms", "5"));
        let topic = TopicConfig::new(set("retention.ms", "6"), set("retention.ms", "5"));

        assert_eq!(plain.number("retention.ms"), 604_800_000);
        assert_eq!(broker.number("retention.ms"), 5);
        assert_eq!(topic.number("retention.ms"), 6);
    }
}
