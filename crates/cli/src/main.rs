//! The `ottla` binary: a cluster on a laptop, a node, and Kafka's tools.
//!
//! Reading order: [`output`], [`program`], [`properties_file`], [`observer`], [`server`], [`log_lines`], [`log_levels`],
//! [`format`];
//! the cluster on a laptop: [`up`]; Kafka's tools: [`tools`]; the same in a style of our own: [`commands`]; what it all
//! costs: [`perf`]; whether it keeps its promises: [`verify`], [`drill`].

mod commands;
mod drill;
mod format;
mod log_levels;
mod log_lines;
mod observer;
mod output;
mod perf;
mod program;
mod properties_file;
mod server;
mod signals;
mod tools;
mod up;
mod verify;

use clap::{CommandFactory, Parser, Subcommand};
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
    /// Starts a cluster on this machine and tells what happens to it. Ctrl-C stops it.
    Up(up::commands::Up),
    /// Ends a node of the cluster as `kill -9` does.
    Kill(up::commands::OneNode),
    /// Starts a node of the cluster that was killed or stopped.
    Start(up::commands::OneNode),
    /// Stops a node of the cluster in order.
    Stop(up::commands::OneNode),
    /// Tells how the cluster is, and how many nodes it can lose.
    Status(up::commands::Status),
    /// Tells the failovers of the past: who was fenced, when and why, and who took over.
    Events(up::commands::Events),
    /// Stops the cluster; its data stays.
    Down(up::commands::Data),
    /// Prints what a shell needs to speak to the cluster: eval "$(ottla env)"
    Env(up::commands::Data),
    /// Lists, describes, makes, changes and deletes topics.
    Topic(commands::topic::Arguments),
    /// Lists, describes and deletes groups of consumers, and sets where they go on.
    Group(commands::group::Arguments),
    /// Tells who is in the cluster, who leads it, and whether all is well.
    Cluster(commands::cluster::Arguments),
    /// Writes records to a topic: one for each line of standard input.
    Produce(commands::produce::Arguments),
    /// Reads records of topics, and writes one line for each.
    Consume(commands::consume::Arguments),
    /// Runs one node.
    Server(server::Arguments),
    /// Prepares the log directories of a node for its first start.
    Format(format::Arguments),
    /// Puts a measured load on a cluster, and tells what it costs the brokers.
    Perf(perf::Arguments),
    /// Finds out whether a cluster keeps what it acknowledges; any Kafka.
    Verify(verify::Arguments),
    /// Kills or freezes nodes under load, and judges what clients saw; of `ottla up`'s cluster or any other.
    Drill(drill::commands::Arguments),
    /// Makes links by which Kafka's tools are called under their own names.
    InstallTools(tools::install::Arguments),
    /// Prints what completes these commands in a shell.
    Completion(commands::completion::Arguments),
    /// Writes manual pages.
    Man(commands::manual::Arguments),
}

fn main() -> ExitCode {
    program::locate();
    if let Some(code) = tools::dispatch(std::env::args_os()) {
        return code;
    }
    let done = match Cli::parse().command {
        Command::Up(arguments) => up::commands::up(&arguments),
        Command::Kill(arguments) => up::commands::kill(&arguments),
        Command::Start(arguments) => up::commands::start(&arguments),
        Command::Stop(arguments) => up::commands::stop(&arguments),
        Command::Status(arguments) => up::commands::status(&arguments),
        Command::Events(arguments) => up::commands::events(&arguments),
        Command::Down(data) => up::commands::down(&data),
        Command::Env(data) => up::commands::env(&data),
        Command::Topic(arguments) => commands::topic::run(&arguments),
        Command::Group(arguments) => commands::group::run(&arguments),
        Command::Cluster(arguments) => commands::cluster::run(&arguments),
        Command::Produce(arguments) => commands::produce::run(&arguments),
        Command::Consume(arguments) => commands::consume::run(&arguments),
        Command::Server(arguments) => server::run(&arguments),
        Command::Format(arguments) => format::run(&arguments),
        Command::Perf(arguments) => perf::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Drill(arguments) => drill::commands::run(&arguments),
        Command::InstallTools(arguments) => tools::install::run(&arguments),
        Command::Completion(arguments) => commands::completion::run(&arguments, Cli::command()),
        Command::Man(arguments) => commands::manual::run(&arguments, Cli::command()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
