//! Subscriptions to clients' metrics (KIP-714, `org.apache.kafka.server.metrics.ClientMetricsConfigs`): what clients are asked to
//! measure, how often they are to tell it, and which of them are meant.

use crate::expression;
use crate::topic_config::{self, Kind, Owner, Support, TopicConfigDef, def, list};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;

/// How often clients are to tell what they have measured.
pub const INTERVAL: &str = "interval.ms";
/// Which clients are meant.
pub const MATCH: &str = "match";
/// What they are to measure.
pub const METRICS: &str = "metrics";

/// The word for everything that clients can measure.
pub const ALL_METRICS: &str = "*";

/// How often clients tell what they have measured, and ask what is wanted, where no subscription says otherwise.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(300);

/// All that a subscription can be configured with, in the order of their names.
#[rustfmt::skip]
pub const CLIENT_METRICS_CONFIGS: &[TopicConfigDef] = &[
    def(INTERVAL, Kind::Int(i32::MIN as i64, i32::MAX as i64), "300000", &[], Support::Enforced,
        "How often clients tell what they have measured."),
    def(MATCH, Kind::Words, "", &[], Support::Enforced,
        "Which clients are meant, as attribute=expression,...; empty for all."),
    def(METRICS, Kind::Words, "", &[], Support::Enforced,
        "What the names of the metrics that are asked for begin with; * for all."),
];

/// The configuration of subscriptions called `name`.
pub fn client_metrics_config(name: &str) -> Option<&'static TopicConfigDef> {
    CLIENT_METRICS_CONFIGS.iter().find(|def| def.name == name)
}

/// What is known of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// The id that it was given when it first asked.
    InstanceId,
    /// What it calls itself.
    ClientId,
    /// The library it uses.
    SoftwareName,
    /// This library's version.
    SoftwareVersion,
    /// The address that its connection comes from.
    SourceAddress,
    /// The port that its connection comes from.
    SourcePort,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Attribute; 6] = [
        Attribute::InstanceId,
        Attribute::ClientId,
        Attribute::SoftwareName,
        Attribute::SoftwareVersion,
        Attribute::SourceAddress,
        Attribute::SourcePort,
    ];

    /// Its name in `match`.
    pub fn name(self) -> &'static str {
        match self {
            Attribute::InstanceId => "client_instance_id",
            Attribute::ClientId => "client_id",
            Attribute::SoftwareName => "client_software_name",
            Attribute::SoftwareVersion => "client_software_version",
            Attribute::SourceAddress => "client_source_address",
            Attribute::SourcePort => "client_source_port",
        }
    }
}

/// A subscription.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// What the names of the metrics that are asked for begin with.
    pub metrics: BTreeSet<String>,
    /// How often they are to be told.
    pub interval: Duration,
    clients: BTreeMap<Attribute, Regex>,
}

/// Why a subscription is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidSubscription {
    /// INVALID_REQUEST.
    #[error("{0}")]
    Request(String),
    /// INVALID_CONFIG.
    #[error("{0}")]
    Config(String),
}

impl Subscription {
    /// Reads all that a subscription is configured with. Where it says nothing, Kafka's defaults count.
    ///
    /// # Errors
    /// When a name is unknown, the interval is not between 100 ms and an hour, or `match` is not a list of attributes with
    /// regular expressions.
    pub fn parse(configs: &BTreeMap<String, String>) -> Result<Subscription, InvalidSubscription> {
        for (name, value) in configs {
            let def = client_metrics_config(name).ok_or_else(|| {
                InvalidSubscription::Request(format!("Unknown client metrics configuration: {name}"))
            })?;
            topic_config::check(def, name, value, Owner::User)
                .map_err(|why| InvalidSubscription::Config(why.to_string()))?;
        }
        let words = |name: &str| list(configs.get(name).map_or("", String::as_str));
        Ok(Subscription {
            metrics: words(METRICS).map(str::to_owned).collect(),
            interval: match configs.get(INTERVAL) {
                Some(text) => interval(text)?,
                None => INTERVAL_DEFAULT,
            },
            clients: words(MATCH).map(expected).collect::<Result<_, _>>()?,
        })
    }

    /// Returns whether the client with these attributes is meant.
    pub fn means<'a>(&self, attribute: impl Fn(Attribute) -> &'a str) -> bool {
        self.clients.iter().all(|(name, expression)| expression.is_match(attribute(*name)))
    }
}

fn interval(text: &str) -> Result<Duration, InvalidSubscription> {
    let millis = text.trim().parse::<u64>().ok().filter(|millis| (100..=3_600_000).contains(millis));
    millis.map(Duration::from_millis).ok_or_else(|| {
        let range = "interval must be between 100 and 3600000 (1 hour)";
        InvalidSubscription::Request(format!("Invalid value {text} for {INTERVAL}, {range}"))
    })
}

/// What an attribute must be like, as `client_id=a.*`.
fn expected(text: &str) -> Result<(Attribute, Regex), InvalidSubscription> {
    let illegal = || InvalidSubscription::Config(format!("Illegal client matching pattern: {text}"));
    let (name, expression) = text.split_once('=').ok_or_else(illegal)?;
    let (name, expression) = (name.trim(), expression.trim());
    let attribute = Attribute::ALL.into_iter().find(|known| known.name() == name).ok_or_else(illegal)?;
    let regex = expression::compile(expression).map_err(|_| illegal())?;
    Ok((attribute, regex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(set: &[(&str, &str)]) -> Result<Subscription, InvalidSubscription> {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Subscription::parse(&set)
    }

    #[test]
    fn a_subscription_says_what_how_often_and_whom() {
        let all = parse(&[(METRICS, " a., b,"), (INTERVAL, "100")]).unwrap();
        assert_eq!(all.metrics, BTreeSet::from(["a.".to_owned(), "b".to_owned()]));
        assert_eq!(all.interval, Duration::from_millis(100));
        assert!(all.means(|_| ""));

        let some = parse(&[(MATCH, "client_id = app-.*, client_software_version=4\\.[0-9=]+")]).unwrap();
        assert_eq!(some.interval, INTERVAL_DEFAULT);
        let client = |id: &'static str, version: &'static str| {
            move |attribute| match attribute {
                Attribute::ClientId => id,
                Attribute::SoftwareVersion => version,
                _ => "",
            }
        };
        assert!(some.means(client("app-1", "4.4")));
        assert!(!some.means(client("app-1", "4.4.0")));
        assert!(!some.means(client("my-app-1", "4.4")));
    }

    #[test]
    fn who_subscribes_is_told_what_is_wrong() {
        let refused = |name: &str, value: &str| parse(&[(name, value)]).unwrap_err();
        let request = |text: &str| InvalidSubscription::Request(text.to_owned());
        let config = |text: &str| InvalidSubscription::Config(text.to_owned());

        assert_eq!(refused("interval", "100"), request("Unknown client metrics configuration: interval"));
        for value in ["99", "3600001", "-1"] {
            let text = format!(
                "Invalid value {value} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
            );
            assert_eq!(refused(INTERVAL, value), request(&text));
        }
        assert_eq!(
            refused(INTERVAL, "soon"),
            config("Invalid value soon for configuration interval.ms: Not a number of type INT")
        );
        assert_eq!(refused(MATCH, "client_id"), config("Illegal client matching pattern: client_id"));
        assert_eq!(refused(MATCH, "host=a"), config("Illegal client matching pattern: host=a"));
        assert_eq!(refused(MATCH, "client_id=("), config("Illegal client matching pattern: client_id=("));
    }
}
