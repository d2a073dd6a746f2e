//! Clients for tools: from `--bootstrap-server` and `--command-config`.

use super::Failure;
use super::options::Parsed;
use crate::format;
use ottla_client::{Admin, Client, ClientConfig, ClientError, HostPort};
use ottla_server::Properties;
use std::future::Future;
use std::net::ToSocketAddrs;
use std::time::Duration;

/// Runs a tool's work.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Refused(format!("no runtime: {error}")))?;
    runtime.block_on(work)
}

/// Why there is no client. Kafka's tools show these as exceptions, each with what caused it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoClient {
    /// The addresses cannot be used.
    #[error("Failed to create new KafkaAdminClient")]
    Addresses(String),
    /// The file of `--command-config` cannot be read.
    #[error("{0}")]
    File(String, std::io::Error),
    /// A property means nothing to us.
    #[error("{0}")]
    Property(String),
}

impl NoClient {
    /// The line below the error, if there is more to say.
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            NoClient::Addresses(cause) => Some(format!("Caused by: {cause}")),
            NoClient::File(_, cause) => Some(format!("Caused by: {cause}")),
            NoClient::Property(_) => None,
        }
    }
}

impl From<NoClient> for Failure {
    fn from(error: NoClient) -> Failure {
        let lines: Vec<String> = [Some(error.to_string()), error.cause()].into_iter().flatten().collect();
        Failure::Refused(lines.join("\n"))
    }
}

/// What a tool's client is told: the addresses, and what a file of Kafka's client properties says.
pub(crate) fn config(addresses: &str, file: Option<&str>, client_id: &str) -> Result<ClientConfig, NoClient> {
    let file = match file {
        None => None,
        Some(file) => {
            let text = std::fs::read(file).map_err(|error| NoClient::File(file.to_owned(), error))?;
            let properties =
                Properties::parse(file, &text).map_err(|error| NoClient::Property(error.to_string()))?;
            Some(properties)
        }
    };
    let addresses =
        HostPort::parse_list(addresses).map_err(|error| NoClient::Addresses(error.to_string()))?;
    let mut config = ClientConfig::new(addresses, client_id, format::seed());
    if let Some(properties) = file {
        apply(&properties, &mut config)?;
    }
    Ok(config)
}

/// As [`config`], and leaves out the addresses whose hosts have no name here; fails when none is left, rather than
/// asking again and again.
pub(crate) fn resolved_config(
    addresses: &str,
    file: Option<&str>,
    client_id: &str,
) -> Result<ClientConfig, NoClient> {
    let mut config = config(addresses, file, client_id)?;
    config.bootstrap.retain(|address| {
        let resolves = (address.host.as_str(), address.port).to_socket_addrs().is_ok();
        if !resolves {
            tracing::warn!(
                "Couldn't resolve server {address} from bootstrap.servers as DNS resolution failed for {}",
                address.host
            );
        }
        resolves
    });
    if config.bootstrap.is_empty() {
        let cause = "No resolvable bootstrap urls given in bootstrap.servers";
        return Err(NoClient::Addresses(cause.to_owned()));
    }
    Ok(config)
}

/// What a client's properties mean to us. Those that secure the connection are refused rather than left out.
fn apply(properties: &Properties, config: &mut ClientConfig) -> Result<(), NoClient> {
    let refuse = |message: String| Err(NoClient::Property(message));
    let millis = |name: &str| match properties.written(name).map(str::parse) {
        None => Ok(None),
        Some(Ok(millis)) => Ok(Some(Duration::from_millis(millis))),
        Some(Err(_)) => Err(NoClient::Property(format!("{name} is not a number of milliseconds"))),
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
pub(crate) fn admin(parsed: &Parsed, client_id: &str) -> Result<Admin, NoClient> {
    let addresses = parsed.value("bootstrap-server").unwrap_or_default();
    let config = resolved_config(addresses, parsed.value("command-config"), client_id)?;
    Ok(Admin::new(Client::new(config)))
}

/// As [`admin`], with this file of a client's properties.
pub(crate) fn admin_with(parsed: &Parsed, file: Option<&str>, client_id: &str) -> Result<Admin, NoClient> {
    let addresses = parsed.value("bootstrap-server").unwrap_or_default();
    Ok(Admin::new(Client::new(resolved_config(addresses, file, client_id)?)))
}

/// As [`admin`], where `--command-config` is something else than a client's properties.
pub(crate) fn admin_without_file(parsed: &Parsed, client_id: &str) -> Result<Admin, NoClient> {
    admin_with(parsed, None, client_id)
}

/// As [`admin`], with so long for every operation.
pub(crate) fn admin_within(parsed: &Parsed, client_id: &str, limit: Duration) -> Result<Admin, NoClient> {
    admin_with_within(parsed, parsed.value("command-config"), client_id, limit)
}

/// As [`admin_with`], with so long for every operation.
pub(crate) fn admin_with_within(
    parsed: &Parsed,
    file: Option<&str>,
    client_id: &str,
    limit: Duration,
) -> Result<Admin, NoClient> {
    let addresses = parsed.value("bootstrap-server").unwrap_or_default();
    let mut config = resolved_config(addresses, file, client_id)?;
    config.deadline = limit;
    Ok(Admin::new(Client::new(config)))
}

/// What a tool says of an error of the cluster's.
pub(crate) fn failed(what: &'static str) -> impl Fn(ClientError) -> Failure {
    move |error| Failure::Failed(format!("Error while executing {what} command : {error}"))
}
