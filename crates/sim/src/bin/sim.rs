//! Runs simulations by their seeds.

use clap::Parser;
use ottla_sim::node::plan::Severity;
use ottla_sim::node::{self, Options};
use std::num::NonZeroU64;
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Runs simulated clusters by their seeds, and prints those that fail.
#[derive(Debug, Parser)]
struct Arguments {
    /// The seeds, as FIRST..END: the last is not run.
    #[arg(long, value_parser = seeds, conflicts_with = "seed")]
    seeds: Option<Range<u64>>,
    /// One seed.
    #[arg(long)]
    seed: Option<u64>,
    /// All nodes lose power at once, now and then: more is lost than is promised to be kept, but nothing else goes wrong.
    #[arg(long)]
    power_loss_everywhere: bool,
    /// Prints everything that happens.
    #[arg(long)]
    trace: bool,
    /// Prints everything that happens, moment by moment, each after Enter.
    #[arg(long, requires = "seed")]
    step: bool,
    /// Does not look for the least that goes wrong in a run that fails.
    #[arg(long)]
    whole: bool,
    /// How many processes share the seeds.
    #[arg(long, default_value_t = NonZeroU64::MIN, conflicts_with_all = ["seed", "trace"])]
    jobs: NonZeroU64,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let read = || {
        let (first, end) = text.split_once("..")?;
        Some(first.parse().ok()?..end.parse().ok()?)
    };
    read().filter(|seeds| !seeds.is_empty()).ok_or_else(|| "not FIRST..END, such as 1..100".to_owned())
}

/// Lets processes of this program run a part of the seeds each: of two runs in one process neither would be the same twice, for
/// tasks are numbered process-wide.
#[expect(clippy::print_stderr, reason = "a program that prints")]
fn share(seeds: &Range<u64>, arguments: &Arguments) -> std::io::Result<ExitCode> {
    let (jobs, count) = (arguments.jobs.get(), seeds.end - seeds.start);
    let part = |job: u64| seeds.start + count * job / jobs..seeds.start + count * (job + 1) / jobs;
    let program = std::env::current_exe()?;
    let mut processes = Vec::new();
    for Range { start, end } in (0..jobs).map(part).filter(|part| !part.is_empty()) {
        let mut command = Command::new(&program);
        command.args(["--seeds", &format!("{start}..{end}")]);
        command.args(arguments.power_loss_everywhere.then_some("--power-loss-everywhere"));
        command.args(arguments.whole.then_some("--whole"));
        processes.push((start..end, command.spawn()?));
    }
    let mut exit = ExitCode::SUCCESS;
    for (part, mut process) in processes {
        let status = process.wait()?;
        if !status.success() {
            eprintln!("seeds {part:?}: {status}");
            exit = ExitCode::FAILURE;
        }
    }
    Ok(exit)
}

/// Prints the lines of one moment after the other. Goes on when a line is read, and at the end of the input ends.
#[expect(clippy::print_stdout, reason = "a program that prints")]
fn step_through(story: &str) {
    let mut lines = story.lines().peekable();
    let mut input = String::new();
    while let Some(line) = lines.next() {
        println!("{line}");
        // A line begins with its time, in milliseconds.
        let moment = line.get(..MOMENT_LEN);
        if lines.peek().is_none_or(|next| next.get(..MOMENT_LEN) == moment) {
            continue;
        }
        if !std::io::stdin().read_line(&mut input).is_ok_and(|read| read > 0) {
            return;
        }
    }
}

/// How long the time is with which a line of a story begins.
const MOMENT_LEN: usize = 10;

#[expect(clippy::disallowed_methods, reason = "how long the runs take is told, and decides nothing")]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = match (arguments.seed, &arguments.seeds) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(seeds)) => seeds.clone(),
        (None, None) => 1..11,
    };
    if arguments.jobs > NonZeroU64::MIN {
        return share(&seeds, &arguments).unwrap_or_else(|error| {
            eprintln!("ottla-sim: {error}");
            ExitCode::FAILURE
        });
    }
    node::notice_panics();
    let severity = match arguments.power_loss_everywhere {
        true => Severity::PowerLossEverywhere,
        false => Severity::WithinPromise,
    };
    let filter = if arguments.trace || arguments.step { "debug" } else { "off" };
    let (begun, mut failed, mut acknowledged, mut excused) = (Instant::now(), 0, 0, 0);
    for seed in seeds.clone() {
        let options = Options { seed, filter: filter.to_owned(), severity, plan: None };
        let mut report = node::run(&options);
        acknowledged += report.acknowledged;
        excused += report.verdict.excused;
        let has_failed = !report.failures.is_empty();
        if has_failed && !arguments.whole {
            report = node::minimise(&options, report);
        }
        if arguments.step {
            step_through(&report.story);
        } else if arguments.trace {
            print!("{}", report.story);
        }
        if !has_failed {
            continue;
        }
        failed += 1;
        println!("seed {seed} failed after {:?} of simulated time:", report.lasted);
        for planned in &report.plan {
            println!("  {planned}");
        }
        for failure in report.failures.iter().take(10) {
            println!("  {failure}");
        }
    }
    let count = seeds.end - seeds.start;
    if arguments.power_loss_everywhere {
        println!("{excused} acknowledged records lost with the power");
    }
    println!("{count} seeds, {failed} failed, {acknowledged} records acknowledged, {:.1?}", begun.elapsed());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
