//! `ottla man`: the manual pages.

use crate::output;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// Writes manual pages: ottla.1, and one for each command.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where they go, such as ~/.local/share/man/man1; made if it does not exist.
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, program: clap::Command) -> Result<()> {
    let directory = &arguments.directory;
    let shown = || directory.display().to_string();
    fs::create_dir_all(directory).with_context(shown)?;
    clap_mangen::generate_to(program, directory).with_context(shown)?;
    let pages = fs::read_dir(directory).with_context(shown)?;
    let is_ours = |name: &str| name.starts_with("ottla") && name.ends_with(".1");
    let count = pages
        .filter_map(|page| page.ok()?.file_name().into_string().ok())
        .filter(|name| is_ours(name))
        .count();
    output::line(format_args!("{count} pages in {}", directory.display()));
    Ok(())
}
