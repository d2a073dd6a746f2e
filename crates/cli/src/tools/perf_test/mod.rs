//! `kafka-producer-perf-test`, `kafka-consumer-perf-test` and `kafka-e2e-latency`: how fast this machine's client and a cluster are together.
//! What the brokers alone cost is told by `ottla perf`.

pub(super) mod consumer;
pub(super) mod latency;
pub(super) mod positional;
pub(super) mod producer;

mod stats;

use super::Failure;
use super::options::Parsed;
use ottla_server::Properties;
use std::collections::BTreeMap;

/// Bytes in what Kafka's tools call a megabyte.
const MEGABYTE: f64 = 1024.0 * 1024.0;

/// The properties of a client, from the file and then from the pairs that these options give.
pub(super) fn properties(
    parsed: &Parsed,
    file: Option<&str>,
    options: &[&str],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    if let Some(path) = file {
        let text = std::fs::read(path).map_err(|error| Failure::Refused(format!("{path}: {error}")))?;
        let read = Properties::parse(path, &text).map_err(|error| Failure::Refused(error.to_string()))?;
        found.extend(read.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    for pair in options.iter().flat_map(|option| parsed.values(option)) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Failure::Refused(format!("Invalid property: {pair}")))?;
        found.insert(name.to_owned(), value.to_owned());
    }
    Ok(found)
}
