//! Where the cluster is, and how long to wait for it.

use ottla_net::{Network, Tcp};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// An address to connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// The address `host:port`.
    pub fn new(host: impl Into<String>, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }

    /// The addresses in a comma-separated list, as `bootstrap.servers` has them.
    ///
    /// # Errors
    /// When one is not an address, or there is none.
    pub fn parse_list(text: &str) -> Result<Vec<HostPort>, InvalidAddress> {
        let addresses: Result<Vec<_>, _> =
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect();
        match addresses {
            Ok(addresses) if addresses.is_empty() => Err(InvalidAddress(text.to_owned())),
            other => other,
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The text does not have the form `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: expected host:port")]
pub struct InvalidAddress(String);

impl FromStr for HostPort {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<HostPort, InvalidAddress> {
        let error = || InvalidAddress(text.to_owned());
        // `PLAINTEXT://host:port` is what people copy from a server's configuration.
        let address = text.split_once("://").map_or(text, |(_, address)| address);
        let (host, port) = address.rsplit_once(':').ok_or_else(error)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(error)?;
        let is_name = |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || "-._%".contains(c));
        let is_address = host.split('%').next().is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
        if host.is_empty() || !(is_name(host) || is_address) {
            return Err(error());
        }
        Ok(HostPort { host: host.to_owned(), port })
    }
}

/// What every part of a client shares.
#[derive(Clone)]
pub struct ClientConfig {
    /// Where to begin: any of the brokers.
    pub bootstrap: Vec<HostPort>,
    /// What the client calls itself (`client.id`).
    pub client_id: Arc<str>,
    /// How long one request may wait for its answer (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// How long an operation may take, with everything that is tried again (`default.api.timeout.ms`).
    pub deadline: Duration,
    /// How long to wait before trying again (`retry.backoff.ms`); doubles up to [`ClientConfig::backoff_max`].
    pub backoff: Duration,
    /// The longest pause before trying again (`retry.backoff.max.ms`).
    pub backoff_max: Duration,
    /// How old metadata may grow (`metadata.max.age.ms`).
    pub metadata_age_max: Duration,
    /// The way to other machines.
    pub network: Arc<dyn Network>,
    /// The seed of the client's choices: of brokers, of partitions for records without a key.
    pub seed: u64,
}

impl ClientConfig {
    /// The client's settings, with Kafka's times, but for shorter pauses.
    pub fn new(bootstrap: Vec<HostPort>, client_id: &str, seed: u64) -> ClientConfig {
        ClientConfig {
            bootstrap,
            client_id: client_id.into(),
            request_timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(60),
            backoff: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
            metadata_age_max: Duration::from_secs(300),
            network: Arc::new(Tcp),
            seed,
        }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientConfig { bootstrap, client_id, .. } = self;
        f.debug_struct("ClientConfig")
            .field("bootstrap", bootstrap)
            .field("client_id", client_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let cases = [
            ("localhost:9092", "localhost:9092"),
            ("PLAINTEXT://10.0.0.1:9092", "10.0.0.1:9092"),
            ("[::1]:9092", "[::1]:9092"),
            ("[fe80::1%eth0]:9092", "[fe80::1%eth0]:9092"),
        ];
        for (text, shown) in cases {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), shown);
        }
        for text in ["", "localhost", ":9092", "localhost:0", "localhost:70000", "a:b", "a:1;b:2", "a b:1"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_needs_one_address() {
        assert_eq!(HostPort::parse_list("a:1, b:2,").unwrap().len(), 2);
        assert!(HostPort::parse_list(" , ").is_err());
        assert!(HostPort::parse_list("a:1,b").is_err());
    }
}
