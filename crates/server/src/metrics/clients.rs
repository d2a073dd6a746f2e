//! What clients have told of themselves (KIP-714), beside what the node tells.

use super::levels::{Page, count};
use crate::broker::Broker;
use crate::telemetry::clients::Client;
use std::collections::BTreeMap;
use std::fmt;

/// How long a name or a value of a client may be here, in characters.
const TEXT_MAX: usize = 256;

pub(super) fn told(page: &mut Page<'_>, broker: &Broker) -> fmt::Result {
    let clients = broker.telemetry.clients.lock();
    let present: Vec<&Client> = clients.present(broker.clock.monotonic()).collect();
    let name = |name| format!("kafka_server_client_metrics_{name}");
    let help = "Clients that have asked here what they are to measure.";
    page.gauge(&name("instance_count"), help, count(present.len()))?;
    let help = "Pushes of what nobody has asked for, or not any more.";
    page.counter(&name("unknown_subscription_request"), help, clients.unknown_subscriptions())?;
    page.counter(&name("throttle"), "What clients asked or told too early.", clients.throttled())?;
    let told = present.iter().filter(|client| !client.samples.is_empty());
    let who: Vec<_> = told.map(|client| (introduction(client), 1.0)).collect();
    if !who.is_empty() {
        let help = "Clients that have told what they measure.";
        page.numbers("ottla_client", help, false, &who)?;
    }
    for (name, family) in families(&present) {
        let values: Vec<_> =
            family.values.into_iter().map(|(labels, value)| (labels.into_iter().collect(), value)).collect();
        page.numbers(&name, "As clients measure it.", family.is_counter, &values)?;
    }
    Ok(())
}

type Labels = BTreeMap<String, String>;

/// All that clients have told under one name.
struct Family {
    is_counter: bool,
    values: BTreeMap<Labels, f64>,
}

fn families(clients: &[&Client]) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    for client in clients {
        for sample in &client.samples {
            let name = metric_name(&sample.name, sample.is_total);
            // What one calls a total and another does not is shown as the first has it.
            let new = || Family { is_counter: sample.is_total, values: BTreeMap::new() };
            let family: &mut Family = families.entry(name).or_insert_with(new);
            let mut labels: Labels =
                sample.labels.iter().map(|(name, value)| (label_name(name), label_value(value))).collect();
            labels.extend(identity(client));
            family.values.insert(labels, sample.value);
        }
    }
    families
}

/// Which client it is: what tells it from all others.
fn identity(client: &Client) -> [(String, String); 2] {
    [
        ("client_id".to_owned(), label_value(&client.profile.client_id)),
        ("client_instance_id".to_owned(), client.profile.instance_id.to_string()),
    ]
}

fn introduction(client: &Client) -> Vec<(String, String)> {
    let profile = &client.profile;
    let more = [
        ("client_software_name", label_value(&profile.software_name)),
        ("client_software_version", label_value(&profile.software_version)),
        ("client_source_address", profile.source_address.clone()),
    ];
    identity(client).into_iter().chain(more.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// What clients call `org.apache.kafka.…` keeps its name. What they call otherwise cannot be taken for this node's own.
fn metric_name(name: &str, is_total: bool) -> String {
    let name = word(name);
    // It is written with `_total` where it is a counter.
    let name = if is_total { name.strip_suffix("_total").unwrap_or(&name) } else { &name };
    match name.starts_with("org_apache_kafka_") {
        true => name.to_owned(),
        false => format!("client_{name}"),
    }
}

/// A label that the client has named: not one that says whose it is.
fn label_name(name: &str) -> String {
    let name = word(name);
    match name.starts_with(|first: char| first.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}

/// Letters, digits and `_`.
fn word(text: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    text.chars().take(TEXT_MAX).map(legal).collect()
}

/// What stands between quotation marks.
fn label_value(text: &str) -> String {
    text.chars().take(TEXT_MAX).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_clients_are_no_others() {
        assert_eq!(metric_name("org.apache.kafka.a-b.c", false), "org_apache_kafka_a_b_c");
        assert_eq!(metric_name("org.apache.kafka.sent.total", true), "org_apache_kafka_sent");
        assert_eq!(metric_name("org.apache.kafka.sent.total", false), "org_apache_kafka_sent_total");
        assert_eq!(metric_name("kafka.server.fake", false), "client_kafka_server_fake");
        assert_eq!(metric_name("", true), "client_");
        assert_eq!(label_name("node.id"), "node_id");
        assert_eq!(label_name("1st"), "_1st");
        assert_eq!(label_value("a\nb\"c"), "ab\"c");
        assert_eq!(label_value(&"x".repeat(TEXT_MAX + 1)).len(), TEXT_MAX);
    }
}
