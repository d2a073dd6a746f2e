//! `cargo xtask oracle`: do others read our bytes as we do? Apache Kafka's own classes, and the crate `kafka-protocol`.
//!
//! Needs a JDK and Maven (Debian: `default-jdk-headless maven`), and the network the first time.

use crate::steps::run;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

const SOURCE: &str = "crates/protocol/tests/oracle";
const TARGET: &str = "target/oracle";

/// Random messages of each message and version, unless told otherwise.
const ROUNDS: &str = "50";

/// The same in CI.
pub(crate) const ROUNDS_IN_CI: &str = "10";

/// Compares `rounds` random messages of each message and version, made from `seed`.
pub(crate) fn compare(rounds: Option<&str>, seed: Option<&str>) -> Result<()> {
    fs::create_dir_all(TARGET)?;
    let class_path = class_path()?;
    let cases = format!("{TARGET}/cases.tsv");
    let mut generate = Command::new("cargo");
    generate.args(["run", "--quiet", "--package", "ottla-protocol", "--features", "arbitrary"]);
    generate.args(["--example", "oracle_cases", "--", rounds.unwrap_or(ROUNDS), seed.unwrap_or("0")]);
    let status = generate.stdout(File::create(&cases)?).status().context("cargo run")?;
    if !status.success() {
        bail!("oracle_cases: {status}");
    }
    let mut java = Command::new("java");
    java.args(["-cp", class_path.trim(), &format!("{SOURCE}/Oracle.java")]);
    let status = java.stdin(Stdio::from(File::open(&cases)?)).status().context("java")?;
    if !status.success() {
        bail!("Apache Kafka disagrees");
    }
    let manifest = ["--quiet", "--release", "--manifest-path", "oracle/Cargo.toml", "--target-dir", TARGET];
    let mut other = Command::new("cargo");
    let status = other.arg("run").args(manifest).stdin(Stdio::from(File::open(&cases)?)).status()?;
    if !status.success() {
        bail!("the crate kafka-protocol disagrees");
    }
    Ok(())
}

/// The class path, which Maven works out once for each version of the pom.
fn class_path() -> Result<String> {
    let (pom, known) = (format!("{SOURCE}/pom.xml"), format!("{TARGET}/pom.xml"));
    let file = std::env::current_dir()?.join(TARGET).join("class-path");
    let text = fs::read_to_string(&pom)?;
    let fresh = Path::new(&file).exists() && fs::read_to_string(&known).is_ok_and(|before| before == text);
    if !fresh {
        let output = format!("-Dmdep.outputFile={}", file.display());
        run("mvn", &["-q", "-B", "-f", &pom, "dependency:build-classpath", &output])?;
        fs::write(known, text)?;
    }
    Ok(fs::read_to_string(file)?)
}
