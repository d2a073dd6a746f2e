//! `cargo xtask <command>`: what the project does to itself.

mod clients;
mod codegen;
mod docs;
mod documents;
mod failover;
mod figures;
mod fuzz;
mod java;
mod layers;
mod libraries;
mod mutants;
mod oracle;
mod steps;
mod tidy;

use anyhow::{Result, bail};
use std::path::PathBuf;

const USAGE: &str = "usage: cargo xtask <command>

  test [--install]   everything CI runs: layers, tidy, formatting, lints, all tests
  clients [NAME...] [--quick]  shows that libraries and programs of others work: all, or those named; --help lists them
  codegen [--check]  writes crates/protocol/src/generated from its schemas, or checks that it is up to date
  docs [--check]     writes the documents that are made from the code, or checks that they are up to date
  figures [options]  measures Ottla, beside another Kafka if one is named; --help says more
  failover [OPTIONS] measures how long clients are kept waiting when nodes die; --help lists the options
  fuzz [SECONDS [TARGET]]  runs the fuzz targets, 60 seconds each unless told otherwise
  layers             checks which crate may depend on which, and what the pure ones may name
  mutants [OPTIONS]  sends requests that are wrong to Ottla and to Apache Kafka, and compares; --help lists the options
  oracle [N [SEED]]  compares N random messages of each kind with Apache Kafka (needs java and mvn)
  sim [OPTIONS]      runs simulated clusters by their seeds; --help lists the options
  machines [ROUNDS [FIRST]]  simulates each machine alone, with seeds from FIRST on: some thousands a round
  tidy               checks file lengths, headers and documents";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    std::env::set_current_dir(root())?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["test"] => steps::test(steps::Install::IfRoot),
        ["test", "--install"] => steps::test(steps::Install::Yes),
        ["clients", options @ ..] => libraries::show(options),
        ["codegen"] => codegen::write(),
        ["codegen", "--check"] => codegen::check(),
        ["docs"] => docs::write(),
        ["docs", "--check"] => docs::check(),
        ["figures", "--help"] => bail!("{}", figures::USAGE),
        ["figures", rest @ ..] => figures::print(rest),
        ["failover", options @ ..] => failover::measure(options),
        ["fuzz"] => fuzz::fuzz(fuzz::SECONDS, None),
        ["fuzz", seconds] => fuzz::fuzz(seconds.parse()?, None),
        ["fuzz", seconds, target] => fuzz::fuzz(seconds.parse()?, Some(target)),
        ["layers"] => layers::check(),
        ["mutants", "--help"] => bail!("{}", mutants::USAGE),
        ["mutants", options @ ..] => mutants::run(options),
        ["oracle"] => oracle::compare(None, None),
        ["oracle", rounds] => oracle::compare(Some(rounds), None),
        ["oracle", rounds, seed] => oracle::compare(Some(rounds), Some(seed)),
        ["machines"] => steps::simulate_machines(1, steps::FIRST_SEED),
        ["machines", rounds] => steps::simulate_machines(rounds.parse()?, steps::FIRST_SEED),
        ["machines", rounds, first] => steps::simulate_machines(rounds.parse()?, first.parse()?),
        ["sim", options @ ..] => steps::simulate(options),
        ["tidy"] => tidy::check(),
        _ => bail!("{USAGE}"),
    }
}

/// The repository, wherever the command was typed.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}
