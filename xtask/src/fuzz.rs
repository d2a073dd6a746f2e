//! `cargo xtask fuzz`: noise for everything that reads bytes from outside, with the corpus that is committed.
//!
//! libFuzzer on the stable compiler: coverage comes from LLVM's own passes, and what AddressSanitizer would add
//! does not matter here, since the targets count what they allocate themselves (`fuzz/src/lib.rs`).

use crate::steps::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::process::{Child, Command, Stdio};

/// Every target of `fuzz/Cargo.toml`.
const TARGETS: &[&str] = &["messages", "requests", "records", "batches", "recovery"];

/// How long each runs in CI.
pub(crate) const SECONDS: u64 = 60;

/// Coverage, and comparisons whose operands the fuzzer may guess.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The largest input, in bytes.
const INPUT_BYTES_MAX: usize = 4096;

/// Inputs that were found meanwhile, and those that failed.
const FOUND: &str = "target/fuzz";

/// Runs every target, or one, for `seconds`, as many at a time as there are cores.
pub(crate) fn fuzz(seconds: u64, only: Option<&str>) -> Result<()> {
    let host = host()?;
    build(&host)?;
    let chosen: Vec<&str> =
        TARGETS.iter().copied().filter(|target| only.is_none_or(|one| one == *target)).collect();
    if chosen.is_empty() {
        bail!("no such target; there are: {}", TARGETS.join(", "));
    }
    let at_a_time = std::thread::available_parallelism().map_or(1, usize::from);
    for group in chosen.chunks(at_a_time) {
        let running: Vec<(&str, Child)> = group
            .iter()
            .map(|target| Ok((*target, start(target, &host, seconds)?)))
            .collect::<Result<_>>()?;
        for (target, child) in running {
            let output = child.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                bail!("{said}\nfuzz target {target} failed; the input is in {FOUND}/{target}-failed/");
            }
            let done = said.lines().rfind(|line| line.starts_with("Done")).unwrap_or_default();
            eprintln!("== fuzz {target}: {done}");
        }
    }
    Ok(())
}

/// The compiler's own platform: with it named, build scripts are built without the flags.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("rustc -vV names no host"),
    }
}

fn build(host: &str) -> Result<()> {
    let flags = format!("RUSTFLAGS={RUSTFLAGS}");
    let arguments = ["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", host];
    run("env", &[&[flags.as_str(), "CARGO_TARGET_DIR=target/fuzz-build", "cargo"], &arguments[..]].concat())
}

/// Writes the committed corpus, an input a line in hexadecimal, as the files that libFuzzer reads.
fn unpack(target: &str) -> Result<String> {
    let directory = format!("{FOUND}/{target}-corpus");
    fs::create_dir_all(&directory)?;
    let packed = format!("fuzz/corpus/{target}.hex");
    let text = fs::read_to_string(&packed).with_context(|| packed.clone())?;
    for (number, line) in text.lines().enumerate() {
        let digits = |at: usize| line.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..line.len()).step_by(2).map(digits).collect();
        let bytes = bytes.with_context(|| format!("{packed}:{}: not hexadecimal", number + 1))?;
        fs::write(format!("{directory}/{number}"), bytes)?;
    }
    Ok(directory)
}

/// Starts a target. What it finds goes below `target`; the committed corpus is only read.
fn start(target: &str, host: &str, seconds: u64) -> Result<Child> {
    let (found, failed) = (format!("{FOUND}/{target}"), format!("{FOUND}/{target}-failed/"));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&failed)?;
    let mut command = Command::new(format!("target/fuzz-build/{host}/release/{target}"));
    command.args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-artifact_prefix={failed}"),
        // An input that takes so long, or so much memory in all, is a failure too.
        "-timeout=10".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-print_final_stats=1".to_owned(),
        found,
    ]);
    command.arg(unpack(target)?);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}
