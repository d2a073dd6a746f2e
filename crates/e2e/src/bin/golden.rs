//! Takes the golden texts of `crates/e2e/tests/golden/tools` anew: Kafka's own tools play each story against a
//! cluster of Apache Kafka that has no topics yet, and what they say is written down.
//!
//! `cargo run --release -p ottla-e2e --bin ottla-golden -- HOST:PORT FILE…`

use anyhow::Context;
use ottla_e2e::jars;
use ottla_e2e::transcript::{self, Tools};
use std::fs;
use std::path::PathBuf;

#[derive(clap::Parser)]
struct Arguments {
    /// A cluster of three brokers with the ids 1 to 3.
    bootstrap: String,
    /// The stories, in the order in which they are played.
    stories: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments: Arguments = clap::Parser::parse();
    let directory = tempfile::tempdir()?;
    let mut tools = Tools::Kafka(jars::Tools::start(directory.path()));
    for path in arguments.stories {
        let story = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let told = transcript::play(&story, &arguments.bootstrap, &mut tools, directory.path());
        fs::write(&path, told).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
