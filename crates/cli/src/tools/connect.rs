//! Clients for tools: from `--bootstrap-server` and `--command-config`.

use super::Failure;
use super::options::Parsed;
use crate::format;
use ottla_client::{Admin, Client, ClientConfig, ClientError, HostPort};
use ottla_server::Properties;
use std::future::Future;
use std::time::Duration;

/// Runs a tool's work.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Refused(format!("no runtime: {error}")))?;
    runtime.block_on(work)
}

/// What a tool's client is told: the addresses, and what a file of Kafka's client properties says.
pub(crate) fn config(addresses: &str, file: Option<&str>, client_id: &str) -> Result<ClientConfig, Failure> {
    let addresses = HostPort::parse_list(addresses).map_err(|error| Failure::Refused(error.to_string()))?;
    let mut config = ClientConfig::new(addresses, client_id, format::seed());
    if let Some(file) = file {
        let text = std::fs::read(file).map_err(|error| Failure::Refused(format!("{file}: {error}")))?;
        let properties =
            Properties::parse(file, &text).map_err(|error| Failure::Refused(error.to_string()))?;
        apply(&properties, &mut config)?;
    }
    Ok(config)
}

/// What a client's properties mean to us. Those that secure the connection are refused rather than left out.
fn apply(properties: &Properties, config: &mut ClientConfig) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::Refused(message));
    let millis = |name: &str| match properties.written(name).map(str::parse) {
        None => Ok(None),
        Some(Ok(millis)) => Ok(Some(Duration::from_millis(millis))),
        Some(Err(_)) => Err(Failure::Refused(format!("{name} is not a number of milliseconds"))),
    };
    match properties.written("security.protocol") {
        None | Some("PLAINTEXT") => {}
        Some(other) => {
            return refuse(format!("security.protocol={other} is not supported by Ottla: use PLAINTEXT"));
        }
    }
    if let Some(client_id) = properties.written("client.id") {
        config.client_id = client_id.into();
    }
    if let Some(timeout) = millis("request.timeout.ms")? {
        config.request_timeout = timeout;
    }
    if let Some(deadline) = millis("default.api.timeout.ms")? {
        config.deadline = deadline;
    }
    Ok(())
}

/// An administrator for `--bootstrap-server` and `--command-config`.
pub(crate) fn admin(parsed: &Parsed, client_id: &str) -> Result<Admin, Failure> {
    let addresses = parsed.value("bootstrap-server").unwrap_or_default();
    let config = config(addresses, parsed.value("command-config"), client_id)?;
    Ok(Admin::new(Client::new(config)))
}

/// What a tool says of an error of the cluster's.
pub(crate) fn failed(what: &'static str) -> impl Fn(ClientError) -> Failure {
    move |error| Failure::Failed(format!("Error while executing {what} command : {error}"))
}
