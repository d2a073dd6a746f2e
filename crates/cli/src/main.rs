//! The `ottla` binary: a cluster on a laptop, a node, and Kafka's tools.
//!
//! Reading order: [`output`], [`properties_file`], [`server`], [`format`]; Kafka's tools: [`tools`].

mod format;
mod output;
mod properties_file;
mod server;
mod tools;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Kafka without the JVM.
#[derive(Parser)]
#[command(name = "ottla", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one node.
    Server(server::Arguments),
    /// Prepares the log directories of a node for its first start.
    Format(format::Arguments),
    /// Makes links by which Kafka's tools are called under their own names.
    InstallTools(tools::install::Arguments),
}

fn main() -> ExitCode {
    if let Some(code) = tools::dispatch(std::env::args_os()) {
        return code;
    }
    let done = match Cli::parse().command {
        Command::Server(arguments) => server::run(&arguments),
        Command::Format(arguments) => format::run(&arguments),
        Command::InstallTools(arguments) => tools::install::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
