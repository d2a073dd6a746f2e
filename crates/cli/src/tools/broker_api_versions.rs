//! `kafka-broker-api-versions`: what each broker serves, and what of it a client of this release can use
//! (`BrokerApiVersionsCommand`).

use super::options::{Parsed, Tool, require, value};
use super::{Failure, connect};
use crate::output;
use ottla_client::HostPort;
use ottla_client::client::Topics;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::api_versions_response::ApiVersion;
use std::collections::BTreeMap;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-broker-api-versions",
    purpose: "This tool helps to retrieve broker version information.",
    short_purpose: None,
    commands: &[],
    options: &[
        value(
            "bootstrap-server",
            "server(s) to use for bootstrapping",
            "REQUIRED: the brokers to begin with, as host:port,...",
        ),
        value("command-config", "command config property file", "A client's properties."),
    ],
};

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["bootstrap-server"])?;
    let addresses = parsed.value("bootstrap-server").unwrap_or_default();
    if HostPort::parse_list(addresses).is_err() {
        return Err(Failure::Refused(format!("Invalid url in bootstrap.servers: {addresses}")));
    }
    connect::block_on(async {
        let admin = connect::admin(parsed, TOOL.name)?;
        let client = admin.client();
        let metadata = client.retry("listNodes", || client.refresh(Topics::Named(&[]))).await;
        let metadata = metadata.map_err(|error| Failure::Refused(error.to_string()))?;
        for (id, broker) in &metadata.brokers {
            let rack = broker.rack.as_deref().unwrap_or("null");
            // A broker that is fenced is not among those that are told of.
            let node = format!("{} (id: {id} rack: {rack} isFenced: false)", broker.address);
            match client.connection(*id).await {
                Ok(open) => output::line(format_args!("{node} -> {}", described(&open.hello().api_keys))),
                Err(error) => output::line(format_args!("{node} -> ERROR: {error}")),
            }
        }
        Ok(())
    })
}

/// A line for each API that either side knows.
fn described(served: &[ApiVersion]) -> String {
    let mut lines: BTreeMap<i16, String> =
        served.iter().map(|api| (api.api_key, line(api, ApiKey::try_from(api.api_key).ok()))).collect();
    for key in ApiKey::ALL.iter().filter(|key| key.is_on_brokers()) {
        let missing = || format!("{}({}): UNSUPPORTED", key.name(), key.code());
        lines.entry(key.code()).or_insert_with(missing);
    }
    let lines: Vec<String> = lines.into_values().collect();
    format!("(\n\t{}\n)", lines.join(",\n\t"))
}

/// What a broker serves of an API, and the version that we would use.
fn line(served: &ApiVersion, key: Option<ApiKey>) -> String {
    let ApiVersion { api_key, min_version, max_version } = *served;
    let versions = if min_version == max_version {
        min_version.to_string()
    } else {
        format!("{min_version} to {max_version}")
    };
    let Some(key) = key else { return format!("UNKNOWN({api_key}): {versions}") };
    let ours = key.valid_versions();
    let use_of_it = if *ours.end() < min_version {
        "unusable: node too new".to_owned()
    } else if max_version < *ours.start() {
        "unusable: node too old".to_owned()
    } else {
        format!("usable: {}", max_version.min(*ours.end()))
    };
    format!("{}({api_key}): {versions} [{use_of_it}]", key.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_as_far_usable_as_both_sides_know_it() {
        let served = |api_key, min_version, max_version| ApiVersion { api_key, min_version, max_version };
        let line = |served: ApiVersion| line(&served, ApiKey::try_from(served.api_key).ok());

        assert_eq!(line(served(3, 0, 2)), "Metadata(3): 0 to 2 [usable: 2]");
        assert_eq!(line(served(36, 0, 0)), "SaslAuthenticate(36): 0 [usable: 0]");
        assert_eq!(line(served(3, 100, 101)), "Metadata(3): 100 to 101 [unusable: node too new]");
        assert_eq!(line(served(1, 0, 1)), "Fetch(1): 0 to 1 [unusable: node too old]");
        assert_eq!(line(served(999, 0, 1)), "UNKNOWN(999): 0 to 1");
        let all = described(&[served(3, 0, 2)]);
        assert!(all.starts_with("(\n\tProduce(0): UNSUPPORTED,\n\t") && all.ends_with("\n)"), "{all}");
    }
}
