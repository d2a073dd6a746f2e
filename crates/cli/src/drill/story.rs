//! What the person in front of a drill reads, or a program: as it happens, and the verdict at the end.

use super::cluster::Topic;
use super::figures::{Figures, P99_SAMPLES_MIN, thousands, whole_millis};
use super::group::MEMBERS;
use super::replicas::Replicas;
use super::report::{Fault, Report, Step, signal};
use super::scenario::{How, Scenario};
use crate::verify::check::SHOWN_MAX;
use serde_json::json;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

/// How many more faults there will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many in all.
    Faults(usize),
    /// As many as there is time for.
    Time(Duration),
}

/// Where a drill is told.
pub(super) struct Story {
    as_json: bool,
    is_terminal: bool,
    /// Whether a progress bar is the last that stands on the terminal.
    bar_stands: bool,
}

impl Story {
    /// Tells on standard output, in words or as lines of JSON.
    pub(super) fn new(as_json: bool) -> Story {
        Story { as_json, is_terminal: !as_json && std::io::stdout().is_terminal(), bar_stands: false }
    }

    /// Tells what is about to be done.
    pub(super) fn begins(&mut self, about: &About<'_>) {
        if self.as_json {
            return self.line(&about.json().to_string());
        }
        self.line(&about.text());
        self.line("");
    }

    /// Tells people of a fault among many, when it happens.
    pub(super) fn struck(&mut self, scenario: Scenario, extent: Extent, fault: &Fault) {
        if !self.as_json {
            self.line(&format!("{}; {}", title(scenario, extent, fault), signal(fault.how)));
        }
    }

    /// Tells of a fault that is over: the first one in full.
    pub(super) fn fault(&mut self, scenario: Scenario, extent: Extent, fault: &Fault) {
        if self.as_json {
            return self.line(&fault.json().to_string());
        }
        let title = title(scenario, extent, fault);
        if scenario.overlaps() {
            // Told when it happened.
        } else if fault.number == 1 {
            self.line(&title);
            fault.steps.iter().for_each(|step| self.line(&step_line(step)));
        } else {
            self.line(&format!("{title}{}", outcome(fault)));
        }
    }

    /// Shows how far it is, on a terminal.
    pub(super) fn progress(&mut self, scenario: Scenario, extent: Extent, done: usize, took: Duration) {
        if !self.is_terminal {
            return;
        }
        let (share, shown) = match extent {
            Extent::Faults(count) => (done as f64 / count.max(1) as f64, format!("{done}/{count}")),
            Extent::Time(time) => (took.as_secs_f64() / time.as_secs_f64(), done.to_string()),
        };
        let seconds = took.as_secs();
        let bar =
            format!("{}s {shown} {} {}:{:02}", scenario.fault(), bar(share), seconds / 60, seconds % 60);
        write_quietly(&format!("\r\x1b[K{bar}"));
        self.bar_stands = true;
    }

    /// Tells something by the way.
    pub(super) fn note(&mut self, text: &str) {
        if self.as_json {
            return self.line(&json!({ "event": "note", "text": text }).to_string());
        }
        self.line(text);
    }

    /// Tells the verdict.
    pub(super) fn verdict(&mut self, report: &Report) {
        if self.as_json {
            return self.line(&report.json().to_string());
        }
        self.line(&verdict(report));
    }

    /// Tells two drills side by side.
    pub(super) fn side_by_side(&mut self, reports: &[Report]) {
        if !self.as_json {
            self.line(&side_by_side(reports));
        }
    }

    /// Writes a line. That nobody reads any more is no reason to leave a cluster as it is: the drill goes on.
    fn line(&mut self, text: &str) {
        if std::mem::take(&mut self.bar_stands) {
            write_quietly("\r\x1b[K");
        }
        write_quietly(&format!("{text}\n"));
    }
}

fn write_quietly(text: &str) {
    let mut out = std::io::stdout().lock();
    // See [`Story::line`].
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What a drill is about.
pub(super) struct About<'a> {
    /// The cluster.
    pub(super) cluster: &'a str,
    /// How many nodes it has.
    pub(super) nodes: usize,
    /// The topic under load.
    pub(super) topic: &'a Topic,
    /// How many partitions it has.
    pub(super) partitions: usize,
    /// Records a second.
    pub(super) rate: u32,
    /// What is done.
    pub(super) scenario: Scenario,
    /// The seed.
    pub(super) seed: u64,
    /// How much of it.
    pub(super) extent: Extent,
    /// What is planted.
    pub(super) plant: Option<&'a str>,
}

impl About<'_> {
    fn text(&self) -> String {
        let About { cluster, nodes, topic, partitions, rate, scenario, extent, .. } = self;
        let much = match extent {
            Extent::Faults(count) => format!("{count} {}s", scenario.fault()),
            Extent::Time(time) => format!("{}s for {} s", scenario.fault(), time.as_secs()),
        };
        let planted =
            self.plant.map_or_else(String::new, |plant| format!("; a {plant} is planted at the end"));
        format!(
            "{cluster}, {nodes} nodes; topic {}: {partitions} partitions x{}, min.insync {}\n{} records/s acks=all \
             idempotent, a group of {MEMBERS}; {much}{planted} (Ctrl-C stops and still judges)",
            topic.name,
            topic.replication_factor,
            topic.min_insync_replicas,
            thousands(*rate as usize),
        )
    }

    fn json(&self) -> serde_json::Value {
        let (faults, seconds) = match self.extent {
            Extent::Faults(count) => (Some(count), None),
            Extent::Time(time) => (None, Some(time.as_secs_f64())),
        };
        json!({
            "event": "drill",
            "cluster": self.cluster,
            "nodes": self.nodes,
            "topic": self.topic.name,
            "partitions": self.partitions,
            "replication_factor": self.topic.replication_factor,
            "min_insync_replicas": self.topic.min_insync_replicas,
            "rate": self.rate,
            "seed": self.seed,
            "faults": faults,
            "seconds": seconds,
            "planted": self.plant,
        })
    }
}

fn title(scenario: Scenario, extent: Extent, fault: &Fault) -> String {
    let of = match extent {
        Extent::Faults(count) => format!("{}/{count}", fault.number),
        Extent::Time(_) => fault.number.to_string(),
    };
    format!("{} {of}: {}", scenario.fault(), fault.title())
}

fn step_line(step: &Step) -> String {
    let after = step.after.map_or_else(|| "-".to_owned(), whole_millis);
    let unit = if step.after == Some(Duration::ZERO) { "ms" } else { "  " };
    format!("{after:>8} {unit}  {:<54}  {}", step.what, step.by)
}

/// What came of a fault, in a few words.
fn outcome(fault: &Fault) -> String {
    let waits: Vec<Duration> = fault.waits().map(|(_, wait)| wait).collect();
    let mut text = format!("; {}", signal(fault.how));
    if let Some(figures) = Figures::of(waits) {
        let what = if fault.how == How::Stop { "longest gap" } else { "silent" };
        write!(text, "; {what} up to {} ms", whole_millis(figures.max)).expect("text takes all");
    }
    if let Some(group) = fault.group.filter(|_| fault.is_coordinator && fault.how != How::Stop) {
        let rebalanced = if fault.rebalanced { ", new shares" } else { "" };
        write!(text, "; group {} ms{rebalanced}", whole_millis(group)).expect("text takes all");
    }
    if let Some(in_sync) = fault.in_sync {
        write!(text, "; in sync after {} ms", whole_millis(in_sync)).expect("text takes all");
    }
    text
}

/// `[=====>    ]`
fn bar(share: f64) -> String {
    const WIDTH: usize = 20;
    let filled = ((share * WIDTH as f64) as usize).min(WIDTH);
    format!("[{:<WIDTH$}]", "=".repeat(filled))
}

/// What was measured, in `faults` faults of any kind.
fn figures_line(name: &str, figures: Option<Figures>, faults: usize) -> Option<String> {
    let Figures { count, p50, p99, max } = figures?;
    let p99 = match p99 {
        Some(p99) => format!("p99 {} ms", whole_millis(p99)),
        None => {
            let needed = (P99_SAMPLES_MIN * faults).div_ceil(count);
            format!("(p99 needs n >= {P99_SAMPLES_MIN}: about --kills {needed})")
        }
    };
    Some(format!("{name:<19} n {count:<4} p50 {:<10} max {:<10} {p99}", ms(p50), ms(max)))
}

fn ms(duration: Duration) -> String {
    format!("{} ms", whole_millis(duration))
}

fn verdict(report: &Report) -> String {
    let (counts, faults) = (&report.counts, report.faults.len());
    let figures = [
        figures_line("silence, partition", report.partition_silence(), faults),
        figures_line("gap at a stop", report.partition_gap(), faults),
        figures_line("silence, group", report.group_silence(), faults),
    ];
    let mut lines: Vec<String> =
        std::iter::once(String::new()).chain(figures.into_iter().flatten()).collect();
    let mut found = format!(
        "acknowledged {}  kept {}  lost {}  doubled {}  reordered {}  changed {}",
        thousands(report.acknowledged),
        thousands(report.kept),
        counts.lost,
        counts.doubled,
        counts.reordered,
        counts.changed,
    );
    for (name, count) in [("invented", counts.invented), ("otherwise wrong", counts.other)] {
        if count > 0 {
            write!(found, "  {name} {count}").expect("text takes all");
        }
    }
    lines.push(found);
    let (present, absent) = report.unacknowledged;
    lines.push(format!(
        "never acknowledged {}: {present} present, {absent} absent (both allowed)",
        thousands(present + absent)
    ));
    let commits = if report.commit_violations.is_empty() {
        format!("committed offsets never went back, asked {} times", report.commits_told)
    } else {
        format!("committed offsets wrong: {}", report.commit_violations.len())
    };
    let replicas = match &report.replicas {
        Replicas::Compared { equal, unequal } => {
            format!("replicas byte-identical {equal}/{}", equal + unequal.len())
        }
        Replicas::Unknown => "replicas not compared: where they are is not known".to_owned(),
    };
    lines.push(format!("{commits}; {replicas}"));
    let wrong = report.violations.iter().chain(&report.commit_violations);
    lines.extend(wrong.take(SHOWN_MAX).chain(&report.failures).map(|wrong| format!("  {wrong}")));
    let result = if report.holds() { "PASS" } else { "FAIL" };
    lines.push(format!("{result}  the same choices again: --seed {}", report.seed));
    lines.push("Not shown: power loss, broken disks, networks (ottla drill --list)".to_owned());
    lines.join("\n")
}

fn side_by_side(reports: &[Report]) -> String {
    type Cell = Box<dyn Fn(&Report) -> String>;
    type Measured = fn(&Report) -> Option<Figures>;
    let figure = |of: Measured, what: fn(Figures) -> String| -> Cell {
        Box::new(move |report| of(report).map_or_else(|| "-".to_owned(), what))
    };
    let count = |of: fn(&Report) -> usize| -> Cell { Box::new(move |report| thousands(of(report))) };
    let mut rows: Vec<(&str, Cell)> = Vec::new();
    let measured: [(&str, Measured); 3] = [
        ("silence, partition", Report::partition_silence),
        ("gap at a stop", Report::partition_gap),
        ("silence, group", Report::group_silence),
    ];
    for (name, of) in measured {
        if reports.iter().any(|report| of(report).is_some()) {
            rows.push((name, figure(of, |figures| format!("n {}", figures.count))));
            rows.push(("  p50", figure(of, |figures| ms(figures.p50))));
            rows.push(("  p99", figure(of, |figures| figures.p99.map_or_else(|| "-".to_owned(), ms))));
            rows.push(("  max", figure(of, |figures| ms(figures.max))));
        }
    }
    rows.push(("acknowledged", count(|report| report.acknowledged)));
    rows.push(("lost", count(|report| report.counts.lost)));
    rows.push(("doubled", count(|report| report.counts.doubled)));
    rows.push(("reordered", count(|report| report.counts.reordered)));
    rows.push(("changed", count(|report| report.counts.changed)));
    rows.push(("verdict", Box::new(|report| if report.holds() { "PASS" } else { "FAIL" }.to_owned())));
    let mut text = format!("\n{:<20}", "side by side");
    reports.iter().for_each(|report| write!(text, "  {:>20}", report.cluster).expect("text takes all"));
    for (name, cell) in rows {
        write!(text, "\n{name:<20}").expect("text takes all");
        reports.iter().for_each(|report| write!(text, "  {:>20}", cell(report)).expect("text takes all"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{fault, report};
    use super::*;

    #[test]
    fn what_holds_passes_and_says_what_was_measured() {
        let text = verdict(&report());

        for expected in [
            "silence, partition  n 4    p50 31 ms      max 104 ms     (p99 needs n >= 200: about --kills 100)\n",
            "silence, group      n 2    p50 131 ms",
            "acknowledged 143,902  kept 143,902  lost 0  doubled 0  reordered 0  changed 0\n",
            "never acknowledged 61: 19 present, 42 absent (both allowed)\n",
            "never went back, asked 24 times; replicas byte-identical 8/8\n",
            "PASS  the same choices again: --seed 7\n",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_fails() {
        let mut report = report();
        report.counts.lost = 1;
        report.counts.invented = 2;
        report.violations = vec!["lost: that".to_owned()];
        report.failures = vec!["not in sync".to_owned()];

        let text = verdict(&report);

        assert!(text.contains("  lost 1  ") && text.contains("  invented 2\n"), "{text}");
        assert!(text.contains("\n  lost: that\n  not in sync\nFAIL  "), "{text}");
    }

    #[test]
    fn a_fault_is_told_step_by_step_or_in_a_line() {
        let fault = fault(1, How::Kill);

        assert_eq!(fault.title(), "node 3, leads 2 of 8, group coordinator");
        let lines: Vec<String> = fault.steps.iter().map(step_line).collect();
        let padded = |text: &str| format!("{text:<54}");
        assert_eq!(
            lines,
            [
                format!("       0 ms  {}  drill", padded("SIGKILL")),
                format!("       -     {}  nobody says", padded("cause unknown")),
                format!("   2,984     {}  cluster", padded("in sync 3/3")),
            ]
        );
        assert_eq!(outcome(&fault), "; SIGKILL; silent up to 104 ms; group 131 ms; in sync after 2,984 ms");
    }

    #[test]
    fn two_clusters_stand_side_by_side() {
        let mut other = report();
        other.cluster = "Apache Kafka".to_owned();
        other.faults.truncate(1);

        let text = side_by_side(&[report(), other]);

        let line = |name: &str| {
            text.lines()
                .find(|line| line.starts_with(name))
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("silence, partition"), "silence, partition n 4 n 2");
        assert_eq!(line("verdict"), "verdict PASS PASS");
    }

    #[test]
    fn progress_is_a_bar() {
        assert_eq!(bar(0.0), format!("[{}]", " ".repeat(20)));
        assert_eq!(bar(0.5), format!("[{}{}]", "=".repeat(10), " ".repeat(10)));
        assert_eq!(bar(7.0), format!("[{}]", "=".repeat(20)));
    }
}
