//! `cargo xtask clients`: shows what client libraries and programs that others wrote can do with Ottla.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use anyhow::{Context, Result};
use clap::builder::PossibleValue;
use clap::{Parser, ValueEnum};
use ottla_e2e::clients::{Effort, Library, show};
use ottla_e2e::cluster::profile_directory;
use ottla_e2e::programs::{self, Program};
use std::fs;
use std::sync::LazyLock;

/// Shows that client libraries and programs work unmodified with three nodes: codecs, groups, transactions, administration, and
/// a leader that is killed ten times while they produce; a Streams application, Connect and MirrorMaker that are killed ten times.
#[derive(Parser)]
#[command(name = "cargo xtask clients")]
struct Options {
    /// The library or program; all when none is named.
    subject: Vec<Subject>,
    /// As little as the tests do.
    #[arg(long)]
    quick: bool,
}

/// Who is shown.
#[derive(Clone, Copy)]
enum Subject {
    Library(Library),
    Program(Program),
}

static ALL: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let libraries = Library::ALL.into_iter().map(Subject::Library);
    libraries.chain(Program::ALL.into_iter().map(Subject::Program)).collect()
});

impl ValueEnum for Subject {
    fn value_variants<'a>() -> &'a [Subject] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Subject::Library(library) => library.to_possible_value(),
            Subject::Program(program) => program.to_possible_value(),
        }
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let subjects = if options.subject.is_empty() { ALL.clone() } else { options.subject };
    let effort = if options.quick { Effort::QUICK } else { Effort::WHOLE };
    let target = profile_directory().parent().context("target/<profile>")?.join("clients-shown");
    for subject in subjects {
        let name = subject.to_possible_value().context("each has a name")?;
        let directory = target.join(name.get_name());
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
        }
        let say = |what| println!("{what}");
        match subject {
            Subject::Library(library) => show(library, effort, &directory, say),
            Subject::Program(program) => programs::show(program, effort, &directory, say),
        }
    }
    Ok(())
}
