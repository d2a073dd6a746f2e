//! The `ottla` binary: a cluster on a laptop, a node, and Kafka's tools.
//!
//! Reading order: [`output`], [`properties_file`], [`server`], [`format`].

mod format;
mod output;
mod properties_file;
mod server;

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
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Server(arguments) => server::run(&arguments),
        Command::Format(arguments) => format::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
