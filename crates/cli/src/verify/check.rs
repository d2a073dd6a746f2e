//! `ottla verify check`: reads everything back, and compares.

use super::{Servers, history_file};
use anyhow::{Context, Result, bail, ensure};
use ottla_client::client::Topics;
use ottla_client::consumer::offsets::{EARLIEST, LATEST, list_offsets};
use ottla_client::consumer::{ConsumerConfig, Isolation, StartAt};
use ottla_client::{Client, Consumer};
use ottla_net::Clock;
use ottla_types::{Offset, TopicPartition};
use ottla_verify::judge::Partition;
use ottla_verify::{History, Outcome, Spoilt, Stamp, Verdict, Violation, judge};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    servers: Servers,
    /// The file that `ottla verify produce` has written.
    #[arg(long, value_name = "FILE")]
    history: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// How long nothing may come before reading is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Violations that are shown one by one.
pub(crate) const SHOWN_MAX: usize = 10;

pub(super) async fn run(arguments: &Arguments) -> Result<()> {
    let (subject, history) = history_file::read(&arguments.history)?;
    let client = arguments.servers.client()?;
    let found = read_all(&client, &subject.topic, &history).await?;
    let verdict = judge(&history, &found);
    let counts = Counts::of(&verdict);
    if arguments.json {
        crate::output::line(counts.json(&history, &verdict));
    } else {
        crate::output::text(&counts.text(&history, &verdict));
    }
    ensure!(verdict.holds(), "{}: promises were not kept", subject.topic);
    Ok(())
}

/// How many violations there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Acknowledged or read, and not there.
    pub(crate) lost: usize,
    /// There more than once.
    pub(crate) doubled: usize,
    /// Behind what was sent later.
    pub(crate) reordered: usize,
    /// Not as it was written.
    pub(crate) changed: usize,
    /// Never sent.
    pub(crate) invented: usize,
    /// Somewhere else than was said, or there though refused.
    pub(crate) other: usize,
}

impl Counts {
    /// Counts what a comparison has found.
    pub(crate) fn of(verdict: &Verdict) -> Counts {
        let mut counts = Counts::default();
        for violation in &verdict.violations {
            let count = match violation {
                Violation::Lost { .. } | Violation::Vanished { .. } => &mut counts.lost,
                Violation::Doubled { .. } => &mut counts.doubled,
                Violation::Reordered { .. } | Violation::Disordered { .. } => &mut counts.reordered,
                Violation::Changed { .. } | Violation::Contradiction { .. } => &mut counts.changed,
                Violation::Invented { .. } => &mut counts.invented,
                Violation::Moved { .. } | Violation::NotRefused { .. } => &mut counts.other,
            };
            *count += 1;
        }
        counts
    }

    fn text(&self, history: &History, verdict: &Verdict) -> String {
        let Counts { lost, doubled, reordered, changed, invented, other } = self;
        let mut text = format!(
            "acknowledged {}  kept {}  lost {lost}  doubled {doubled}  reordered {reordered}  changed {changed}  \
             invented {invented}  otherwise wrong {other}\nnot acknowledged and there all the same: {} (allowed)\n",
            history.acknowledged(),
            verdict.kept,
            verdict.unacknowledged,
        );
        for violation in verdict.violations.iter().take(SHOWN_MAX) {
            text += &format!("  {violation}\n");
        }
        if verdict.violations.len() > SHOWN_MAX {
            text += &format!("  and {} more\n", verdict.violations.len() - SHOWN_MAX);
        }
        text + if verdict.holds() { "PASS\n" } else { "FAIL\n" }
    }

    fn json(&self, history: &History, verdict: &Verdict) -> serde_json::Value {
        let shown: Vec<String> = verdict.violations.iter().map(ToString::to_string).collect();
        json!({
            "pass": verdict.holds(),
            "acknowledged": history.acknowledged(),
            "kept": verdict.kept,
            "unacknowledged_found": verdict.unacknowledged,
            "lost": self.lost,
            "doubled": self.doubled,
            "reordered": self.reordered,
            "changed": self.changed,
            "invented": self.invented,
            "otherwise_wrong": self.other,
            "violations": shown,
        })
    }
}

/// Reads every partition from its beginning to the end that it has now.
pub(crate) async fn read_all(
    client: &Client,
    topic: &str,
    history: &History,
) -> Result<BTreeMap<i32, Partition>> {
    let names = [topic.to_owned()];
    let known = client.refresh(Topics::Named(&names)).await?;
    let partitions =
        &known.topics.get(topic).with_context(|| format!("there is no topic {topic}"))?.partitions;
    let all = || partitions.keys().map(|&partition| TopicPartition::new(topic, partition));
    let starts =
        list_offsets(client, &all().map(|at| (at, EARLIEST)).collect(), Isolation::ReadUncommitted).await?;
    for (stamp, outcome) in history.sent() {
        let start = starts.get(&TopicPartition::new(topic, stamp.partition)).map(|found| found.offset);
        if let (Outcome::Acknowledged(offset), Some(start)) = (outcome, start)
            && offset != Offset::UNKNOWN
            && offset < start
        {
            bail!(
                "{topic}-{} begins at offset {start}: retention or somebody has deleted what was acknowledged at {offset}; \
                 produce to a topic with retention.ms=-1 and retention.bytes=-1",
                stamp.partition
            );
        }
    }
    let ends =
        list_offsets(client, &all().map(|at| (at, LATEST)).collect(), Isolation::ReadUncommitted).await?;
    let mut found: BTreeMap<i32, Partition> =
        partitions.keys().map(|&partition| (partition, Partition::new())).collect();
    let mut next: BTreeMap<i32, Offset> =
        starts.iter().map(|(at, start)| (at.partition, start.offset)).collect();
    let mut consumer = Consumer::new(client.clone(), ConsumerConfig::default());
    consumer.assign(all().map(|at| (at, StartAt::Earliest)));
    let clock = Clock::new();
    let mut deadline = clock.monotonic() + PATIENCE;
    while ends.iter().any(|(at, end)| next[&at.partition] < end.offset) {
        ensure!(clock.monotonic() < deadline, "{topic}: nothing more could be read for {PATIENCE:?}");
        for record in consumer.poll(Duration::from_secs(1), 10_000).await? {
            deadline = clock.monotonic() + PATIENCE;
            let partition = record.partition.partition;
            let value = record.value.as_deref().map_or(Err(Spoilt::Foreign), Stamp::read);
            next.insert(partition, record.offset + 1);
            found.entry(partition).or_default().push((record.offset, value));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_verify::Guarantee;

    fn judged(change: impl FnOnce(&mut Partition)) -> (History, Verdict) {
        let mut history = History::new(7);
        let producer = history.add_producer(Guarantee::FULL);
        let mut partition = Partition::new();
        for offset in 0..20 {
            let stamp = history.send(producer, 0);
            history.told(stamp, Outcome::Acknowledged(Offset(offset)));
            partition.push((Offset(offset), Ok(stamp)));
        }
        change(&mut partition);
        let verdict = judge(&history, &[(0, partition)].into());
        (history, verdict)
    }

    #[test]
    fn what_holds_passes() {
        let (history, verdict) = judged(|_| {});

        let text = Counts::of(&verdict).text(&history, &verdict);
        assert!(text.starts_with("acknowledged 20  kept 20  lost 0  doubled 0"), "{text}");
        assert!(text.ends_with("(allowed)\nPASS\n"), "{text}");
    }

    #[test]
    fn each_kind_of_violation_fails_under_its_name() {
        type Spoil = fn(&mut Partition);
        let cases: [(&str, Spoil); 3] = [
            ("lost 15", |partition| partition.truncate(5)),
            ("doubled 1", |partition| {
                let (_, stamp) = partition[3];
                partition.push((Offset(20), stamp));
            }),
            ("changed 1", |partition| partition[4].1 = Err(Spoilt::Checksum)),
        ];
        for (expected, spoil) in cases {
            let (history, verdict) = judged(spoil);

            let text = Counts::of(&verdict).text(&history, &verdict);
            assert!(text.contains(expected), "{text}");
            assert!(text.ends_with("FAIL\n"), "{text}");
        }
        let (history, verdict) = judged(|partition| partition.truncate(5));
        let text = Counts::of(&verdict).text(&history, &verdict);
        assert!(text.contains("  and 5 more\n"), "{text}");
    }
}
