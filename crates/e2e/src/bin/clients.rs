//! `cargo xtask clients`: shows what client libraries that others wrote can do with Ottla.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use anyhow::{Context, Result};
use clap::Parser;
use ottla_e2e::clients::{Effort, Library, show};
use ottla_e2e::cluster::profile_directory;
use std::fs;

/// Shows that client libraries work unmodified with three nodes: codecs, groups, transactions, administration, and a leader that is
/// killed ten times while they produce.
#[derive(Parser)]
#[command(name = "cargo xtask clients")]
struct Options {
    /// The library; all when none is named.
    library: Vec<Library>,
    /// As little as the tests do.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let libraries = if options.library.is_empty() { Library::ALL.to_vec() } else { options.library };
    let effort = if options.quick { Effort::QUICK } else { Effort::WHOLE };
    let target = profile_directory().parent().context("target/<profile>")?.join("clients-shown");
    for library in libraries {
        let directory = target.join(library.to_string());
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
        }
        show(library, effort, &directory, |what| println!("{what}"));
    }
    Ok(())
}
