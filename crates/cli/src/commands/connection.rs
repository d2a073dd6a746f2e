//! Where the cluster is.

use crate::tools::connect::{self, NoClient};
use crate::up::since;
use anyhow::{Result, anyhow};
use ottla_client::{Admin, Client, ClientConfig};
use std::path::PathBuf;
use std::time::Duration;

/// Where the cluster is, and how long to wait for it.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Connection {
    /// Brokers to begin with, as host:port,host:port.
    #[arg(
        long,
        short = 'b',
        global = true,
        value_name = "SERVERS",
        env = "BOOTSTRAP",
        default_value = "localhost:9092"
    )]
    bootstrap_server: String,
    /// A file of a Kafka client's properties.
    #[arg(long, global = true, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// How long to try: 500ms, 10s, 2m.
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = time)]
    timeout: Duration,
}

/// A length of time as people type it.
fn time(text: &str) -> Result<Duration, String> {
    let millis =
        since::millis(text).and_then(|millis| u64::try_from(millis).ok()).filter(|&millis| millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| format!("`{text}` is no time such as 500ms, 10s or 2m"))
}

impl Connection {
    /// What the client is told.
    fn config(&self) -> Result<ClientConfig> {
        let file = self.command_config.as_ref().map(|file| file.to_string_lossy());
        let config = connect::resolved_config(&self.bootstrap_server, file.as_deref(), "ottla");
        let mut config = config.map_err(|error| match error {
            NoClient::Addresses(why) => anyhow!("--bootstrap-server {}: {why}", self.bootstrap_server),
            NoClient::File(file, why) => anyhow!("--command-config {file}: {why}"),
            NoClient::Property(why) => anyhow!("--command-config: {why}"),
        })?;
        config.deadline = self.timeout;
        config.request_timeout = config.request_timeout.min(self.timeout);
        Ok(config)
    }

    /// A client of the cluster.
    pub(super) fn client(&self) -> Result<Client> {
        Ok(Client::new(self.config()?))
    }

    /// An administrator of the cluster.
    pub(super) fn admin(&self) -> Result<Admin> {
        Ok(Admin::new(self.client()?))
    }

    /// How long to try.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_try_is_longer_than_nothing() {
        assert_eq!(time("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "0s", "10", "-1s", "soon"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
