//! Kafka's tools under Kafka's names: as `ottla kafka-topics …`, and as `kafka-topics` through a link.
//!
//! Options, output and exit codes are Kafka's; an option that Kafka has and Ottla has not is refused by name.
//!
//! Reading order: [`options`], [`connect`], [`exceptions`], [`java_map`], [`include_list`], [`membership`]; then the tools, one module each; [`install`].

mod all_groups;
mod broker_api_versions;
mod client_metrics;
mod cluster;
mod configs;
pub(crate) mod connect;
pub(crate) mod console;
mod delete_records;
mod dump_log;
mod exceptions;
mod features;
mod get_offsets;
pub(crate) mod groups;
mod include_list;
pub(crate) mod install;
mod java_map;
mod leader_election;
mod log_dirs;
mod membership;
mod metadata_quorum;
mod metadata_shell;
mod options;
mod perf_test;
mod reassign;
mod replica_verification;
mod storage;
mod streams_reset;
mod topics;
mod transactions;
mod verifiable;

use crate::output;
use options::{Invalid, Parsed, Tool};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The tools, and what runs them.
const TOOLS: &[(&Tool, Run)] = &[
    (&topics::TOOL, topics::run),
    (&console::producer::TOOL, console::producer::run),
    (&console::consumer::TOOL, console::consumer::run),
    (&groups::TOOL, groups::run),
    (&all_groups::TOOL, all_groups::run),
    (&get_offsets::TOOL, get_offsets::run),
    (&delete_records::TOOL, delete_records::run),
    (&storage::TOOL, storage::run),
    (&reassign::TOOL, reassign::run),
    (&metadata_quorum::TOOL, metadata_quorum::run),
    (&metadata_shell::TOOL, metadata_shell::run),
    (&dump_log::TOOL, dump_log::run),
    (&features::TOOL, features::run),
    (&cluster::TOOL, cluster::run),
    (&broker_api_versions::TOOL, broker_api_versions::run),
    (&configs::TOOL, configs::run),
    (&client_metrics::TOOL, client_metrics::run),
    (&leader_election::TOOL, leader_election::run),
    (&log_dirs::TOOL, log_dirs::run),
    (&transactions::TOOL, transactions::run),
    (&perf_test::producer::TOOL, perf_test::producer::run),
    (&perf_test::consumer::TOOL, perf_test::consumer::run),
    (&perf_test::latency::TOOL, perf_test::latency::run),
    (&verifiable::consumer::TOOL, verifiable::consumer::run),
    (&verifiable::producer::TOOL, verifiable::producer::run),
    (&streams_reset::TOOL, streams_reset::run),
    (&replica_verification::TOOL, replica_verification::run),
];

/// What a tool does with its command line.
type Run = fn(&Parsed) -> Result<(), Failure>;

/// Why a tool fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was called wrongly: the usage follows on standard error.
    Usage(String),
    /// What it prints on standard output before it ends with exit code 1.
    Failed(String),
    /// What it prints on standard error before it ends with exit code 1.
    Refused(String),
    /// It said all it has to say, and ends with exit code 1.
    Quiet,
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Failure {
        Failure::Refused(invalid.0)
    }
}

/// Runs the tool that this process was called as, or was told to be by its first argument; `None` when
/// that is none of them.
pub(crate) fn dispatch(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
    let called_as = arguments.next()?;
    let called_as = Path::new(&called_as).file_name()?.to_str()?.to_owned();
    if let Some(found) = find(&called_as) {
        return Some(run(found, arguments));
    }
    let found = find(&arguments.next()?)?;
    Some(run(found, arguments))
}

type Found = &'static (&'static Tool, Run);

fn find(name: &str) -> Option<Found> {
    let name = name.strip_suffix(".sh").unwrap_or(name);
    TOOLS.iter().find(|(tool, _)| tool.name == name)
}

/// What a tool's client warns of goes to standard error, as with Kafka's tools.
fn warn_on_stderr() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}

/// What it does, given its command line.
fn execute((tool, run): Found, arguments: Vec<String>) -> Result<(), Failure> {
    let arguments = if tool.name == perf_test::latency::TOOL.name {
        perf_test::positional::named(arguments)?
    } else {
        arguments
    };
    let parsed = options::parse(tool, &arguments)?;
    if parsed.has("help") {
        return Err(Failure::Usage(tool.purpose.to_owned()));
    }
    if parsed.has("version") {
        output::line(format_args!("{} (Ottla {})", KAFKA_VERSION, env!("CARGO_PKG_VERSION")));
        return Ok(());
    }
    if arguments.is_empty() {
        return Err(Failure::Usage(tool.summary().to_owned()));
    }
    run(&parsed)
}

fn run(found: Found, arguments: impl Iterator<Item = String>) -> ExitCode {
    warn_on_stderr();
    match execute(found, arguments.collect()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            output::error_line(message);
            output::error_line(options::usage(found.0));
        }
        Err(Failure::Failed(message)) => output::line(message),
        Err(Failure::Refused(message)) => output::error_line(message),
        Err(Failure::Quiet) => {}
    }
    ExitCode::FAILURE
}

/// The release of Kafka whose tools these are like.
const KAFKA_VERSION: &str = "4.4.0";

/// The names of all tools, for `ottla --help` and for links.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|(tool, _)| tool.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_found_by_its_name_with_and_without_suffix() {
        assert!(find("kafka-topics").is_some());
        assert!(find("kafka-topics.sh").is_some());
        assert!(find("kafka-topics.bat").is_none());
        assert!(find("ottla").is_none());
    }

    #[test]
    fn no_option_is_declared_twice() {
        for (tool, _) in TOOLS {
            let mut names: Vec<_> = tool.options.iter().map(|option| option.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", tool.name);
        }
    }
}
