//! `cargo xtask test`: everything, in the order in which it is cheapest to fail.

use crate::{clients, codegen, docs, fuzz, layers, libraries, oracle, tidy};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Whether missing foreign clients may be installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Install {
    /// When running as root.
    IfRoot,
    /// As asked for.
    Yes,
}

/// Programs that the end-to-end tests use, that the fuzzer is built with and that run Kafka's own classes, and the Debian
/// packages that hold them.
const PROGRAMS: &[(&str, &str)] = &[
    ("kcat", "kcat"),
    ("bash", "bash"),
    ("setsid", "util-linux"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("mkfs.ext4", "e2fsprogs"),
    ("c++", "g++"),
    ("java", "default-jdk-headless"),
    ("mvn", "maven"),
];

/// Runs every check that CI runs.
pub(crate) fn test(install: Install) -> Result<()> {
    layers::check()?;
    tidy::check()?;
    codegen::check()?;
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    docs::check()?;
    install_missing(PROGRAMS, install)?;
    clients::prepare(install)?;
    libraries::prepare(install)?;
    cargo(&["build", "--release", "--workspace"])?;
    // The first command of the README.
    cargo(&["run", "--release", "--quiet", "--", "--version"])?;
    cargo(&["test", "--release", "--workspace"])?;
    // Apart, for these servers make mistakes: nothing that is shipped may be built with them.
    cargo(&["test", "--release", "-p", "ottla-sim", "--features", "bugs", "--test", "bugs"])?;
    simulate_new_seeds()?;
    oracle::compare(Some(oracle::ROUNDS_IN_CI), None)?;
    fuzz::fuzz(fuzz::SECONDS, None)?;
    Ok(())
}

/// Seeds of simulated clusters that a run of CI tries.
const SEEDS: u64 = 500;

/// Runs simulated clusters with seeds that nobody has tried: each commit has its own.
fn simulate_new_seeds() -> Result<()> {
    let head = Command::new("git").args(["rev-parse", "--short=8", "HEAD"]).output().context("git")?;
    let head = String::from_utf8_lossy(&head.stdout);
    let first = u64::from_str_radix(head.trim(), 16).context("the commit's name is a number")?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    simulate(&["--seeds", &format!("{first}..{}", first + SEEDS), "--jobs", &jobs.to_string()])
}

/// Runs simulated clusters.
pub(crate) fn simulate(options: &[&str]) -> Result<()> {
    cargo(&["build", "--release", "--quiet", "-p", "ottla-sim"])?;
    run("target/release/ottla-sim", options)
}

/// The first seed that no test tries by itself.
pub(crate) const FIRST_SEED: u64 = 10_000;

/// No test tries more seeds than that.
const SEEDS_A_ROUND: u64 = 10_000;

/// What the tests are called that try seeds.
const SIMULATIONS: &[&str] = &["simulation::", "testing::tests::", "crashes::"];

/// Simulates each machine alone: the tests of the layers below, with other seeds than they have by themselves.
pub(crate) fn simulate_machines(rounds: u64, first: u64) -> Result<()> {
    for first in (0..rounds).map(|round| first + round * SEEDS_A_ROUND) {
        let tests = Command::new("cargo")
            .args(["test", "--release", "--quiet", "--workspace", "--lib", "--"])
            .args(SIMULATIONS)
            .args(["--skip", "notices"])
            .env("OTTLA_FIRST_SEED", first.to_string())
            .status()
            .context("cargo test")?;
        if !tests.success() {
            bail!("seeds from {first} on: {tests}; again with `cargo xtask machines 1 {first}`");
        }
        eprintln!("seeds from {first} on: none failed");
    }
    Ok(())
}

/// Installs the Debian packages of what is missing among `needed`: programs, or files with a path.
pub(crate) fn install_missing(needed: &[(&str, &str)], install: Install) -> Result<()> {
    let missing: Vec<&str> =
        needed.iter().filter(|(what, _)| !is_there(what)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if install == Install::IfRoot && !root {
        bail!("missing: run `apt-get install {packages}`, or `cargo xtask test --install`");
    }
    let apt = if root { "apt-get" } else { "sudo apt-get" };
    run("sh", &["-c", &format!("{apt} update -q && {apt} install -y -q {packages}")])
}

fn is_there(what: &str) -> bool {
    if what.starts_with('/') {
        return Path::new(what).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(what).is_file())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    run("cargo", arguments)
}

/// Runs a program, saying so.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let shown = format!("{program} {}", arguments.join(" "));
    eprintln!("== {shown}");
    let status = Command::new(program).args(arguments).status().with_context(|| shown.clone())?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}
