//! `cargo xtask test`: everything, in the order in which it is cheapest to fail.

use crate::{codegen, docs, layers, tidy};
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Whether missing foreign clients may be installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Install {
    /// When running as root.
    IfRoot,
    /// As asked for.
    Yes,
}

/// Programs that the end-to-end tests use, and the Debian packages that hold them.
const PROGRAMS: &[(&str, &str)] = &[
    ("kcat", "kcat"),
    ("bash", "bash"),
    ("setsid", "util-linux"),
    ("ip", "iproute2"),
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
    foreign_programs(install)?;
    cargo(&["build", "--release", "--workspace"])?;
    cargo(&["test", "--release", "--workspace"])?;
    Ok(())
}

fn foreign_programs(install: Install) -> Result<()> {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !is_on_path(program)).map(|(_, package)| *package).collect();
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

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
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
