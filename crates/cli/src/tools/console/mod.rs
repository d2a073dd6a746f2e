//! `kafka-console-producer` and `kafka-console-consumer`.

pub(super) mod consumer;
pub(super) mod formatter;
pub(crate) mod producer;
pub(crate) mod reader;

use super::Failure;
use super::options::Parsed;
use std::collections::BTreeMap;

/// The `key=value` pairs given by any of these options; a later one wins.
fn properties(parsed: &Parsed, options: &[&str]) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    for text in options.iter().flat_map(|option| parsed.values(option)) {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Failure::Refused(format!("{text}: must have the form key=value")));
        };
        found.insert(key.to_owned(), value.to_owned());
    }
    Ok(found)
}

/// The separator that a property says. Escapes are those of Java's property files.
fn separator(properties: &BTreeMap<String, String>, name: &str, default: &str) -> String {
    let text = properties.get(name).map_or(default, String::as_str);
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// Refuses properties that nobody here reads: what is not obeyed is not accepted.
fn check_known(properties: &BTreeMap<String, String>, known: &[&str]) -> Result<(), Failure> {
    match properties.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            Err(Failure::Refused(format!("the property {name} is not supported by Ottla: leave it out")))
        }
        None => Ok(()),
    }
}
