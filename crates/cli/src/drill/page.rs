//! A drill as one page that needs nothing else: what was measured, and the timeline as a picture.

use super::figures::{Figures, thousands, whole_millis};
use super::replicas::Replicas;
use super::report::{Fault, Report, signal};
use super::scenario::How;
use super::watch::BUCKET;
use ottla_types::NodeId;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

/// How wide the picture is, in its own units, and where time begins in it.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 90.0;

/// How high a lane is, and how far apart lanes are.
const LANE: f64 = 14.0;
const LANE_STEP: f64 = 18.0;

/// How high the curve of acknowledgements is.
const CURVE: f64 = 70.0;

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:64em;padding:0 1em;color:#222}\
h1{font-size:1.4em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse;margin:1em 0}\
td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top}td.n{text-align:right}\
.pass{color:#0a7d32;font-weight:bold}.fail{color:#c0182b;font-weight:bold}svg{width:100%;height:auto;background:#fafafa}\
text{font:11px system-ui,sans-serif;fill:#444}.up{fill:#cfe8d5}.killed{fill:#c0182b}.stopped{fill:#d9822b}\
.frozen{fill:#3b6fb6}.silent{fill:#c0182b}.curve{fill:#cfe8d5;stroke:#0a7d32;stroke-width:1}.axis{stroke:#bbb}\
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}svg{background:#1e1e1e}text{fill:#bbb}\
.up,.curve{fill:#24422c}}";

/// The page of one drill, or of several side by side.
pub(super) fn page(reports: &[Report]) -> String {
    let title = reports.first().map_or_else(String::new, title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    for report in reports {
        html += &section(report);
    }
    html + "<p>Silence of a partition: from a fault to the first acknowledgement of a record sent after it, for each \
            partition that the node led. Not shown here: power loss, broken disks, networks.</p>\n</body></html>\n"
}

fn title(report: &Report) -> String {
    format!("ottla drill {}, seed {}", scenario_name(report), report.seed)
}

fn scenario_name(report: &Report) -> String {
    let value = clap::ValueEnum::to_possible_value(&report.scenario);
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn section(report: &Report) -> String {
    let (class, result) = if report.holds() { ("pass", "PASS") } else { ("fail", "FAIL") };
    let mut html = format!(
        "<h2>{} <span class=\"{class}\">{result}</span></h2>\n{}\n<table>\n",
        escape(&report.cluster),
        picture(report)
    );
    let mut row = |name: &str, value: String| {
        writeln!(html, "<tr><th>{name}</th><td>{value}</td></tr>").expect("text takes all");
    };
    for (name, figures) in [
        ("silence, partition", report.partition_silence()),
        ("longest gap at a stop, partition", report.partition_gap()),
        ("silence, group", report.group_silence()),
    ] {
        if let Some(figures) = figures {
            row(name, figures_text(figures));
        }
    }
    let counts = &report.counts;
    row("acknowledged", thousands(report.acknowledged));
    row(
        "lost, doubled, reordered, changed, invented, otherwise wrong",
        [counts.lost, counts.doubled, counts.reordered, counts.changed, counts.invented, counts.other]
            .map(thousands)
            .join(", "),
    );
    let (present, absent) = report.unacknowledged;
    row("never acknowledged", format!("{present} present, {absent} absent (both allowed)"));
    row(
        "committed offsets",
        match report.commit_violations.len() {
            0 => format!("never went back, asked {} times", report.commits_told),
            count => format!("wrong: {count}"),
        },
    );
    row(
        "replicas",
        match &report.replicas {
            Replicas::Compared { equal, unequal } => {
                format!("byte-identical {equal}/{}", equal + unequal.len())
            }
            Replicas::Unknown => "not compared".to_owned(),
        },
    );
    for wrong in report.violations.iter().chain(&report.commit_violations).chain(&report.failures) {
        row("wrong", escape(wrong));
    }
    html += "</table>\n<table>\n<tr><th></th><th>at</th><th>fault</th><th>what happened</th></tr>\n";
    for fault in &report.faults {
        html += &fault_row(report, fault);
    }
    html + "</table>\n"
}

fn figures_text(figures: Figures) -> String {
    let p99 = figures.p99.map_or_else(String::new, |p99| format!(", p99 {} ms", whole_millis(p99)));
    let (p50, max) = (whole_millis(figures.p50), whole_millis(figures.max));
    format!("n {}, p50 {p50} ms{p99}, max {max} ms", figures.count)
}

fn fault_row(report: &Report, fault: &Fault) -> String {
    let at = fault.at.monotonic - report.begun.monotonic;
    let steps: Vec<String> = fault
        .steps
        .iter()
        .map(|step| {
            let after =
                step.after.map_or_else(|| "–".to_owned(), |after| format!("{} ms", whole_millis(after)));
            format!("{after}: {} <em>({})</em>", escape(&step.what), escape(&step.by))
        })
        .collect();
    format!(
        "<tr><td class=\"n\">{}</td><td class=\"n\">{:.1} s</td><td>{} {}</td><td>{}</td></tr>\n",
        fault.number,
        at.as_secs_f64(),
        signal(fault.how),
        escape(&fault.title()),
        steps.join("<br>")
    )
}

/// The timeline: acknowledgements, the nodes, and the silences of partitions and group.
fn picture(report: &Report) -> String {
    let seconds = report.took.as_secs_f64().max(0.1);
    let mut picture = Picture { report, seconds, y: CURVE + 16.0, body: String::new() };
    picture.body += &curve(report, |at| picture.x(at));
    let faults = || report.faults.iter();
    let nodes: BTreeSet<NodeId> = faults().flat_map(|fault| fault.victims.iter().copied()).collect();
    for node in nodes {
        picture.label(&format!("node {node}"));
        picture.bar("up", 0.0, seconds, &format!("node {node} runs"));
        for fault in faults().filter(|fault| fault.victims.contains(&node)) {
            let class = match fault.how {
                How::Kill => "killed",
                How::Stop => "stopped",
                How::Freeze => "frozen",
            };
            let title = format!("{} {}", signal(fault.how), fault.title());
            picture.since(fault, class, fault.away.unwrap_or(report.took), &title);
        }
        picture.y += LANE_STEP;
    }
    picture.y += 6.0;
    let silencing = || faults().filter(|fault| fault.how != How::Stop);
    let partitions: BTreeSet<i32> = silencing().flat_map(|fault| fault.led.iter().copied()).collect();
    for partition in partitions {
        picture.label(&format!("partition {partition}"));
        for fault in silencing() {
            fault
                .waits()
                .filter(|&(at, _)| at == partition)
                .for_each(|(_, wait)| picture.silent(fault, wait));
        }
        picture.y += LANE_STEP;
    }
    picture.label("group");
    for fault in silencing().filter(|fault| fault.is_coordinator) {
        fault.group.into_iter().for_each(|wait| picture.silent(fault, wait));
    }
    picture.y += LANE_STEP + 4.0;
    picture.body += &axis(seconds, picture.y, |at| picture.x(at));
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"timeline\">\n{}</svg>",
        picture.y + 20.0,
        picture.body
    )
}

/// A picture that is being drawn, lane by lane.
struct Picture<'a> {
    report: &'a Report,
    /// How long the time is that it shows.
    seconds: f64,
    /// Where the lane is.
    y: f64,
    body: String,
}

impl Picture<'_> {
    /// Where a moment is.
    fn x(&self, at: f64) -> f64 {
        LEFT + at.clamp(0.0, self.seconds) / self.seconds * (WIDTH - LEFT - 10.0)
    }

    fn label(&mut self, text: &str) {
        let y = self.y + LANE - 3.0;
        writeln!(self.body, "<text x=\"4\" y=\"{y:.1}\">{text}</text>").expect("text takes all");
    }

    fn bar(&mut self, class: &str, from: f64, to: f64, title: &str) {
        let (left, right, y) = (self.x(from), self.x(to), self.y);
        let (width, title) = ((right - left).max(1.0), escape(title));
        writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{LANE}\">\
             <title>{title}</title></rect>"
        )
        .expect("text takes all");
    }

    /// A bar that begins at a fault.
    fn since(&mut self, fault: &Fault, class: &str, lasted: Duration, title: &str) {
        let from = (fault.at.monotonic - self.report.begun.monotonic).as_secs_f64();
        self.bar(class, from, from + lasted.as_secs_f64(), title);
    }

    fn silent(&mut self, fault: &Fault, wait: Duration) {
        self.since(fault, "silent", wait, &format!("silent for {} ms", whole_millis(wait)));
    }
}

/// Acknowledgements a second.
fn curve(report: &Report, x: impl Fn(f64) -> f64) -> String {
    let per_second = 1.0 / BUCKET.as_secs_f64();
    let begun = report.begun.monotonic.0 / BUCKET.as_micros() as u64;
    let max = report.counts_over_time.values().copied().max().unwrap_or(0).max(1);
    let last = report.counts_over_time.keys().copied().max().unwrap_or(begun);
    let y = |count: u32| CURVE + 6.0 - f64::from(count) / f64::from(max) * CURVE;
    let mut points = format!("M{:.1},{:.1}", x(0.0), y(0));
    for at in begun..=last {
        let count = report.counts_over_time.get(&at).copied().unwrap_or(0);
        let seconds = (at - begun) as f64 * BUCKET.as_secs_f64();
        write!(points, " L{:.1},{:.1}", x(seconds), y(count)).expect("text takes all");
    }
    let end = (last - begun) as f64 * BUCKET.as_secs_f64();
    write!(points, " L{:.1},{:.1}Z", x(end), y(0)).expect("text takes all");
    let most = thousands((f64::from(max) * per_second) as usize);
    format!(
        "<path class=\"curve\" d=\"{points}\"/>\n<text x=\"4\" y=\"16\">{most}/s</text>\n\
         <text x=\"4\" y=\"{:.0}\">acknowledged</text>\n",
        CURVE + 4.0
    )
}

/// A mark every so many seconds.
fn axis(all: f64, y: f64, x: impl Fn(f64) -> f64) -> String {
    let step = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0].into_iter().find(|step| all / step <= 12.0);
    let step = step.unwrap_or(3600.0);
    let mut marks = String::new();
    let mut at = 0.0;
    while at <= all {
        writeln!(
            marks,
            "<line class=\"axis\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"0\" y2=\"{y:.1}\"/>\
             <text x=\"{0:.1}\" y=\"{1:.1}\">{at} s</text>",
            x(at),
            y + 14.0
        )
        .expect("text takes all");
        at += step;
    }
    marks
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn a_page_needs_nothing_else_and_shows_every_fault() {
        let html = page(&[report()]);

        for outside in ["http://", "https://", "src=", "href=", "<script", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert_eq!(html.matches("class=\"killed\"").count(), 2, "one node, two kills");
        assert_eq!(html.matches("class=\"silent\"").count(), 6, "two partitions and the group, twice");
        assert!(html.contains("<title>ottla drill leader-kill, seed 7</title>"), "{html}");
        assert!(html.contains("<span class=\"pass\">PASS</span>"), "{html}");
    }

    #[test]
    fn names_and_causes_are_no_markup() {
        let mut spoilt = report();
        spoilt.cluster = "<b>".to_owned();
        spoilt.failures = vec!["a & b".to_owned()];

        let html = page(&[spoilt, report()]);

        assert!(
            html.contains("&lt;b&gt; <span class=\"fail\">FAIL</span>") && html.contains("a &amp; b"),
            "{html}"
        );
        assert_eq!(html.matches("<svg").count(), 2);
    }
}
