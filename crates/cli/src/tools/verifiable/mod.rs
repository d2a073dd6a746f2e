//! `kafka-verifiable-producer` and `kafka-verifiable-consumer`: a line of JSON for each thing that happens, for programs that
//! judge whether what was acknowledged was read.

pub(super) mod consumer;
pub(super) mod producer;

use super::Failure;
use super::options::Parsed;
use crate::output;
use serde_json::Value;

/// A member of an object: its name, and its value as JSON.
type Member<'a> = (&'a str, String);

fn say(name: &str, members: &[Member<'_>]) {
    output::line(event(ottla_net::clock::wall().0, name, members));
}

/// A line of JSON, in Kafka's order.
fn event(timestamp: i64, name: &str, members: &[Member<'_>]) -> String {
    let mut all = vec![("timestamp", timestamp.to_string()), ("name", json(name))];
    all.extend_from_slice(members);
    object(&all)
}

fn object(members: &[Member<'_>]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn list(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

/// A number, a text or nothing, as JSON.
fn json(value: impl Into<Value>) -> String {
    value.into().to_string()
}

fn require(parsed: &Parsed, names: &[&str]) -> Result<(), Failure> {
    match names.iter().find(|name| !parsed.has(name)) {
        Some(name) => Err(Failure::Usage(format!("argument --{name} is required"))),
        None => Ok(()),
    }
}

/// The file of a client's properties, which an older option may name.
fn properties_file<'a>(parsed: &'a Parsed, deprecated: &str) -> Result<Option<&'a str>, Failure> {
    if parsed.has(deprecated) {
        if parsed.has("command-config") {
            return Err(Failure::Refused(format!(
                "Options --{deprecated} and --command-config are mutually exclusive."
            )));
        }
        output::line(format_args!(
            "Option --{deprecated} has been deprecated and will be removed in a future version. Use --command-config instead."
        ));
    }
    Ok(parsed.value("command-config").or(parsed.value(deprecated)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_in_kafkas_order() {
        assert_eq!(event(7, "startup_complete", &[]), r#"{"timestamp":7,"name":"startup_complete"}"#);
        assert_eq!(
            event(7, "n", &[("key", json(None::<&str>)), ("value", json("a\"b"))]),
            r#"{"timestamp":7,"name":"n","key":null,"value":"a\"b"}"#
        );
    }
}
