//! A properties file, checked against the table: each mistake is named with its setting, its value and
//! what to do.

use super::table::{self, Kind};
use ottla_metadata::topic_config::{self, Owner, TOPIC_CONFIGS};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read as properties.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A setting is needed and not there.
    #[error("{name} is not set: {help}")]
    Missing {
        /// The setting.
        name: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// A value is wrong.
    #[error("{name}={value}: {reason}")]
    Invalid {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A setting asks for something that Ottla does not have.
    #[error("{name}={value} is not supported: remove it; nothing here would do what it asks for")]
    Unsupported {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
    },
    /// There is no such setting, but one much like it.
    #[error("there is no setting {name}; did you mean {like}?")]
    Misspelt {
        /// What was written.
        name: String,
        /// What was probably meant.
        like: String,
    },
}

/// Settings by name, as written.
#[derive(Clone, Debug, Default)]
pub struct Properties {
    values: BTreeMap<String, String>,
}

impl Properties {
    /// Reads the text of a Java properties file (line continuation, `\u` escapes, `=`, `:` or space).
    ///
    /// # Errors
    /// When an escape is malformed.
    pub fn parse(path: &str, text: &[u8]) -> Result<Properties, ConfigError> {
        let values = java_properties::read(text).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            reason: match error.line_number() {
                Some(line) => format!("line {line}: {error}"),
                None => error.to_string(),
            },
        })?;
        Ok(Properties { values: values.into_iter().collect() })
    }

    /// Sets a value, as `--override` does.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// All settings as written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.trim()))
    }

    /// A value as written, or the table's default.
    ///
    /// # Panics
    /// When the table has no such setting.
    pub fn text(&self, name: &str) -> Option<&str> {
        let setting = table::find(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        self.written(name).or(setting.default)
    }

    /// A value as written; empty values count as none.
    pub fn written(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Returns whether a setting is written down and left empty.
    pub fn is_blank(&self, name: &str) -> bool {
        self.values.contains_key(name) && self.written(name).is_none()
    }

    /// A number that has a default.
    ///
    /// # Panics
    /// When the table has no such setting, or no default for it.
    pub fn number(&self, name: &str) -> i64 {
        let text = self.text(name).expect("a setting with a default");
        text.parse().expect("checked by `check`")
    }

    /// A number of milliseconds that has a default.
    ///
    /// # Panics
    /// As [`Properties::number`].
    pub fn millis(&self, name: &str) -> std::time::Duration {
        std::time::Duration::from_millis(self.number(name).unsigned_abs())
    }

    /// A switch that has a default.
    ///
    /// # Panics
    /// As [`Properties::number`].
    pub fn switch(&self, name: &str) -> bool {
        self.text(name).expect("a setting with a default").eq_ignore_ascii_case("true")
    }

    /// A list, empty when there is no value.
    ///
    /// # Panics
    /// When the table has no such setting.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.text(name).unwrap_or("").split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
    }

    /// What this node sets in place of topics' own configuration, by the topic configuration's name.
    ///
    /// # Errors
    /// When a value is not one that the topic configuration takes.
    pub fn topic_defaults(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut defaults = BTreeMap::new();
        for def in TOPIC_CONFIGS {
            let Some((name, value)) = def.synonyms.iter().find_map(|&name| Some((name, self.written(name)?)))
            else {
                continue;
            };
            let invalid = |reason: String| ConfigError::Invalid {
                name: name.to_owned(),
                value: value.to_owned(),
                reason,
            };
            let value = match unit_ms(name) {
                1 => value.to_owned(),
                unit => {
                    let number: i64 =
                        value.parse().map_err(|_| invalid("must be a whole number".to_owned()))?;
                    if number < 0 { "-1".to_owned() } else { number.saturating_mul(unit).to_string() }
                }
            };
            topic_config::validate(def.name, &value, Owner::User).map_err(|e| invalid(e.to_string()))?;
            defaults.insert(def.name.to_owned(), value);
        }
        Ok(defaults)
    }

    /// Checks every setting on its own.
    ///
    /// # Errors
    /// The first mistake: a value that is not one, a setting that asks for what does not exist, a name
    /// that is nearly one. Names that are nothing like any are allowed, as in Kafka, with a warning.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (name, value) in self.iter() {
            let unsupported =
                || Err(ConfigError::Unsupported { name: name.to_owned(), value: value.to_owned() });
            match Known::find(name) {
                Some(Known::Setting(setting)) => check_value(name, value, setting.kind)?,
                // Topic defaults are checked where they are read.
                Some(Known::TopicDefault | Known::WithoutEffect) => {}
                Some(Known::Fixed(allowed)) => {
                    let value = without_spaces(value);
                    if !allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(&value)) {
                        return unsupported();
                    }
                }
                Some(Known::Warned(part)) => {
                    tracing::warn!(name, value, "without effect: there are no {part} here");
                }
                Some(Known::Refused) if value.is_empty() => {}
                Some(Known::Refused) => return unsupported(),
                None => match nearest(name) {
                    Some(like) => {
                        return Err(ConfigError::Misspelt { name: name.to_owned(), like: like.to_owned() });
                    }
                    None => tracing::warn!(name, value, "unknown setting, without effect"),
                },
            }
        }
        Ok(())
    }
}

/// How many milliseconds the unit of a setting is, by the end of its name.
pub(crate) fn unit_ms(name: &str) -> i64 {
    if name.ends_with(".hours") {
        3_600_000
    } else if name.ends_with(".minutes") {
        60_000
    } else {
        1
    }
}

/// What is known of a setting, by its name.
enum Known {
    Setting(&'static table::Setting),
    TopicDefault,
    WithoutEffect,
    Fixed(&'static [&'static str]),
    Warned(&'static str),
    Refused,
}

impl Known {
    fn find(name: &str) -> Option<Known> {
        let begins = |prefix: &&str| name.starts_with(*prefix);
        if let Some(setting) = table::find(name) {
            return Some(Known::Setting(setting));
        }
        if is_topic_default(name) {
            return Some(Known::TopicDefault);
        }
        if table::WITHOUT_EFFECT.binary_search(&name).is_ok() {
            return Some(Known::WithoutEffect);
        }
        if let Some((_, allowed)) = table::FIXED.iter().find(|(fixed, _)| *fixed == name) {
            return Some(Known::Fixed(allowed));
        }
        if let Some((_, part)) = table::WARNED_PREFIXES.iter().find(|(prefix, _)| begins(prefix)) {
            return Some(Known::Warned(part));
        }
        table::REFUSED_PREFIXES.iter().any(begins).then_some(Known::Refused)
    }
}

fn without_spaces(list: &str) -> String {
    list.chars().filter(|c| !c.is_whitespace()).collect()
}

fn is_topic_default(name: &str) -> bool {
    TOPIC_CONFIGS.iter().any(|def| def.synonyms.contains(&name))
}

fn check_value(name: &str, value: &str, kind: Kind) -> Result<(), ConfigError> {
    let invalid =
        |reason: String| Err(ConfigError::Invalid { name: name.to_owned(), value: value.to_owned(), reason });
    match kind {
        Kind::Boolean if !matches!(value.to_ascii_lowercase().as_str(), "true" | "false") => {
            invalid("must be true or false".to_owned())
        }
        Kind::Number(min, max) => match value.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            _ => invalid(format!("must be a whole number from {min} to {max}")),
        },
        Kind::Boolean | Kind::Text | Kind::List => Ok(()),
    }
}

/// The known name that `name` is at most two slips away from.
fn nearest(name: &str) -> Option<&'static str> {
    let settings = table::SETTINGS.iter().map(|setting| setting.name);
    let defaults = TOPIC_CONFIGS.iter().flat_map(|def| def.synonyms.iter().copied());
    settings
        .chain(defaults)
        .chain(table::WITHOUT_EFFECT.iter().copied())
        .chain(table::FIXED.iter().map(|(name, _)| *name))
        .map(|known| (edits(name, known), known))
        .filter(|&(edits, _)| edits <= 2)
        .min()
        .map(|(_, known)| known)
}

/// How many characters must be added, removed or changed to turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let properties = Properties::parse("server.properties", text.as_bytes()).unwrap();
        let error = properties.check().and_then(|()| properties.topic_defaults().map(|_| ()));
        error.expect_err(text).to_string()
    }

    #[test]
    fn a_mistake_is_named_with_its_setting_its_value_and_what_to_do() {
        let cases = [
            ("num.partitions=many", "num.partitions=many: must be a whole number from 1 to 2147483647"),
            ("num.partition=3", "there is no setting num.partition; did you mean num.partitions?"),
            ("auto.create.topics.enable=yes", "auto.create.topics.enable=yes: must be true or false"),
            (
                "ssl.keystore.location=/k",
                "ssl.keystore.location=/k is not supported: remove it; nothing here would do what it asks for",
            ),
            ("log.retention.hours=week", "log.retention.hours=week: must be a whole number"),
            (
                "security.inter.broker.protocol=SSL",
                "security.inter.broker.protocol=SSL is not supported: remove it; nothing here would do what it asks for",
            ),
            (
                "listener.name.client.max.connections=7",
                "listener.name.client.max.connections=7 is not supported: remove it; nothing here would do what it asks \
                 for",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(error(text), expected);
        }
    }

    /// What is known by name works, or is refused or warned of by name, with the reason; any other name is only called unknown.
    #[test]
    fn every_setting_of_kafka_4_4_is_known_by_name() {
        let names = include_str!("kafka-4.4.txt").lines();
        let unknown: Vec<&str> = names.filter(|name| Known::find(name).is_none()).collect();

        assert_eq!(unknown, Vec::<&str>::new());
        assert!(Known::find("log.cleaner.enabled").is_none() && Known::find("broker").is_none());
    }

    #[test]
    fn what_is_written_out_as_it_is_anyway_is_accepted() {
        let text = "security.inter.broker.protocol=plaintext\nmax.connections.per.ip.overrides=\n\
            group.coordinator.rebalance.protocols=classic, consumer, streams\nqueued.max.request.bytes=-1\n\
            metric.reporters=org.apache.kafka.common.metrics.JmxReporter\ngroup.share.max.size=200\n";

        Properties::parse("server.properties", text.as_bytes()).unwrap().check().unwrap();
    }

    #[test]
    fn kafkas_own_server_properties_are_accepted() {
        let text = "process.roles=broker,controller\nnode.id=1\n\
            controller.quorum.bootstrap.servers=localhost:9093\n\
            listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
            num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
            socket.receive.buffer.bytes=102400\nsocket.request.max.bytes=104857600\n\
            log.dirs=/tmp/kraft-combined-logs\nnum.partitions=1\nnum.recovery.threads.per.data.dir=1\n\
            offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
            transaction.state.log.min.isr=1\nlog.retention.hours=168\nlog.segment.bytes=1073741824\n\
            log.retention.check.interval.ms=300000\n";
        let properties = Properties::parse("server.properties", text.as_bytes()).unwrap();

        properties.check().unwrap();
        assert_eq!(properties.topic_defaults().unwrap()["retention.ms"], "604800000");
        assert_eq!(properties.list("process.roles"), ["broker", "controller"]);
    }
}
