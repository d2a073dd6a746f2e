//! `ottla perf`: puts a measured load on a cluster, and tells what it costs the brokers.
//!
//! It speaks to any Kafka. To leave the machine to the brokers it is thin: requests are encoded before the
//! measurement begins, answers are read and their errors looked at, and that is all. It cannot say how fast a
//! client is; it says what the brokers spend.
//!
//! Reading order: [`cluster`] (where the partitions lead), [`processes`] (what the brokers spend),
//! [`connection`], [`load`] (requests encoded in advance); then one module for each kind of measurement:
//! [`produce`], [`consume`], [`latency`], [`end_to_end`], [`transactions`], [`rebalance`], [`idle`], [`start`]; and [`report`].

mod cluster;
mod connection;
mod consume;
mod end_to_end;
mod idle;
mod latency;
mod load;
mod processes;
mod produce;
mod rebalance;
mod report;
mod start;
mod transactions;

use anyhow::{Context, Result};
use report::Report;
use std::future::Future;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// As many batches as the brokers take: CPU seconds a GB, CPU a request, memory.
    Produce(produce::Arguments),
    /// As many fetches as the brokers answer: CPU seconds a GB.
    Consume(consume::Arguments),
    /// Batches at a steady rate: how long acknowledgements take.
    Latency(latency::Arguments),
    /// Single records at a steady rate: how long they take from the producer to a consumer.
    EndToEnd(end_to_end::Arguments),
    /// Transactions one after the other: how many a second, and how long each takes.
    Transactions(transactions::Arguments),
    /// A group of the consumer protocol that one more member joins: how long until all have what is theirs.
    Rebalance(rebalance::Arguments),
    /// Nothing at all: what the brokers spend without clients.
    Idle(idle::Arguments),
    /// From the start of a command that starts a cluster to the first acknowledged record.
    Start(start::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let report = match &arguments.command {
        Command::Produce(arguments) => block_on(produce::run(arguments)),
        Command::Consume(arguments) => block_on(consume::run(arguments)),
        Command::Latency(arguments) => block_on(latency::run(arguments)),
        Command::EndToEnd(arguments) => block_on(end_to_end::run(arguments)),
        Command::Transactions(arguments) => block_on(transactions::run(arguments)),
        Command::Rebalance(arguments) => block_on(rebalance::run(arguments)),
        Command::Idle(arguments) => block_on(idle::run(arguments)),
        Command::Start(arguments) => block_on(start::run(arguments)),
    }?;
    if arguments.json {
        crate::output::line(report.json());
    } else {
        crate::output::text(&report.table());
    }
    Ok(())
}

/// One thread for all connections: what the load costs must not be what is measured.
fn block_on(measurement: impl Future<Output = Result<Report>>) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no thread")?;
    runtime.block_on(measurement)
}
