//! `kafka-metadata-shell`: a file of the metadata log as a tree to look around in (`MetadataShell`).
//!
//! The file is read once, at the start; nothing is written. What a cluster keeps secret, such as keys of passwords, is shown as
//! Kafka's tool shows it: whoever may read the file may see it.
//!
//! Reading order: [`load`], [`node`], [`image_nodes`] with [`registrations`] and [`security`]; [`paths`], [`commands`] with
//! [`arguments`] and [`columns`]; [`interactive`] with [`history`].

mod arguments;
mod columns;
mod commands;
mod history;
mod image_nodes;
mod interactive;
mod load;
mod node;
mod paths;
mod registrations;
mod security;

use super::Failure;
use super::options::{Parsed, Tool, require, value, words};
use crate::output;
use commands::Shell;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-metadata-shell",
    purpose: "The Apache Kafka metadata shell",
    short_purpose: None,
    commands: &[],
    options: &[
        value("snapshot", "file", "REQUIRED: the metadata snapshot, or log, to read.").or('s'),
        words("command", "The command to run. Without one, lines of standard input are."),
    ],
};

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["snapshot"])?;
    let command: Vec<String> = parsed.values("command").map(str::to_owned).collect();
    let is_interactive = command.is_empty();
    if is_interactive {
        output::line("Loading...");
    }
    let image = load::image(parsed.value("snapshot").unwrap_or_default())?;
    let mut shell = Shell::new(image_nodes::root(&image));
    if is_interactive {
        output::line("Starting...");
        return interactive::run(&mut shell);
    }
    output::text(&commands::run(&mut shell, &command, false));
    Ok(())
}
