//! `ottla verify`: whether a cluster keeps what it acknowledges, for anyone to find out, of any Kafka.
//!
//! [`produce`] writes records that say who they are, and notes what it is told about each in a file ([`history_file`]).
//! Meanwhile, or afterwards, whatever one likes is done to the cluster. [`check`] reads everything back and compares.

pub(crate) mod check;
mod history_file;
mod produce;

use anyhow::{Context, Result};
use ottla_client::{Client, ClientConfig, HostPort};
use std::future::Future;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Writes records and notes in a file what the cluster says about each. Ctrl-C ends it in order.
    Produce(produce::Arguments),
    /// Reads everything back and compares it with the file. Fails if a promise was not kept.
    Check(check::Arguments),
}

/// Where the cluster is.
#[derive(clap::Args, Clone, Debug)]
struct Servers {
    /// Brokers to begin with, as host:port,host:port.
    #[arg(long, value_name = "SERVERS", default_value = "localhost:9092")]
    bootstrap_server: String,
}

impl Servers {
    fn client(&self) -> Result<Client> {
        let addresses = HostPort::parse_list(&self.bootstrap_server).context("--bootstrap-server")?;
        Ok(Client::new(ClientConfig::new(addresses, "ottla-verify", crate::format::seed())))
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Produce(arguments) => block_on(produce::run(arguments)),
        Command::Check(arguments) => block_on(check::run(arguments)),
    }
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no thread")?;
    runtime.block_on(work)
}
