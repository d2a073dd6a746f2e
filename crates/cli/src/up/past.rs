//! `ottla events`: the story of past failovers, in words or as JSON.

use super::history::{self, Event, Moved, What};
use super::layout::Layout;
use super::watcher;
use crate::output;
use anyhow::{Context, Result};
use ottla_server::quorum::{JournalEntry, journal};
use ottla_storage::RealDisk;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where a line goes on.
const INDENT: &str = "        ";

/// Tells what happened in a cluster that runs: a paragraph an event, or an object of JSON a line.
pub(super) async fn describe(layout: &Layout, as_json: bool) -> Result<String> {
    let journals = journals(layout)?;
    let mut quorum = watcher::quorum(layout);
    let shown = layout.directory.display();
    let events = history::read(&mut quorum, journals).await.with_context(|| {
        format!("the metadata log cannot be read from a controller; if the cluster is down: ottla up --data {shown}")
    })?;
    if as_json {
        return Ok(events.iter().map(|event| to_json(event).to_string()).collect::<Vec<_>>().join("\n"));
    }
    Ok(events.iter().map(tell).collect::<Vec<_>>().join("\n"))
}

/// What the nodes' journals hold.
pub(super) fn journals(layout: &Layout) -> Result<Vec<JournalEntry>> {
    let mut all = Vec::new();
    for node in layout.nodes() {
        let data = node.data();
        all.extend(journal::read(&RealDisk, &data).with_context(|| data.display().to_string())?);
    }
    Ok(all)
}

fn tell(event: &Event) -> String {
    let Event { broker, broker_epoch: epoch, offset, .. } = event;
    let mut lines = vec![match &event.what {
        What::Fenced(Some(entry)) => format!("node {broker} fenced (broker epoch {epoch}): {}", entry.cause),
        What::Fenced(None) => format!("node {broker} fenced (broker epoch {epoch}): reason unknown"),
        What::Condemned(entry) => {
            format!("node {broker} to be fenced (broker epoch {epoch}): {}", entry.cause)
        }
        What::Stops => format!("node {broker} stops in order (broker epoch {epoch})"),
        What::Stopped => {
            format!(
                "node {broker} fenced (broker epoch {epoch}): it had begun to stop in order, and led nothing"
            )
        }
        What::Replaced => {
            format!("node {broker} replaced by a new process (broker epoch {epoch}, now {offset})")
        }
        What::Serves => format!("node {broker} serves (broker epoch {epoch})"),
    }];
    if let Some(entry) = reason(&event.what) {
        let sign = |before_us: u64, what: &str| format!("{INDENT}{:>10} {what}", before(before_us));
        lines.extend(entry.evidence.iter().map(|seen| sign(seen.before_us, &seen.what)));
        let decided = if event.moved.is_some() { "fenced by" } else { "decided by" };
        lines.push(sign(0, &format!("{decided} controller {}, metadata offset {offset}", entry.controller)));
    }
    match &event.moved {
        Some(moved) => lines.extend(tell_moved(moved)),
        None => {
            lines.push(format!("{INDENT}whether it was, and who took over, is no longer in the metadata log"))
        }
    }
    format!("{} {}", output::date_and_time(event.time), lines.join("\n"))
}

/// What a journal says of an event.
fn reason(what: &What) -> Option<&JournalEntry> {
    match what {
        What::Fenced(entry) => entry.as_ref(),
        What::Condemned(entry) => Some(entry),
        What::Stops | What::Stopped | What::Replaced | What::Serves => None,
    }
}

/// A line for each topic.
fn tell_moved(moved: &[Moved]) -> Vec<String> {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Moved { topic, partition, leader, epoch } in moved {
        topics.entry(topic).or_default().push(match leader {
            Some(leader) => format!("-{partition} -> {leader} (epoch {epoch})"),
            None => format!("-{partition} has none"),
        });
    }
    let line = |(topic, moves): (&str, Vec<String>)| {
        format!("{INDENT}leaders of {topic} moved: {}", moves.join(", "))
    };
    topics.into_iter().map(line).collect()
}

/// A time before the verdict, as people say it.
fn before(micros: u64) -> String {
    let sign = if micros == 0 { "" } else { "-" };
    match Duration::from_micros(micros).as_millis() {
        0..1000 => format!("{sign}{}.{} ms", micros / 1000, micros % 1000 / 100),
        millis => format!("{sign}{}.{:03} s", millis / 1000, millis % 1000),
    }
}

fn to_json(event: &Event) -> Value {
    let name = match &event.what {
        What::Fenced(_) => "fenced",
        What::Condemned(_) => "condemned",
        What::Stops => "stops",
        What::Stopped => "stopped",
        What::Replaced => "replaced",
        What::Serves => "serves",
    };
    let reason = reason(&event.what).map(|entry| {
        json!({
            "controller": entry.controller,
            "rule": entry.rule,
            "cause": entry.cause,
            "absent_us": entry.absent_us,
            "evidence": entry.evidence,
        })
    });
    let leaders = event.moved.as_ref().map(|moved| {
        let leader = |moved: &Moved| {
            json!({
                "topic": moved.topic,
                "partition": moved.partition,
                "leader": moved.leader.map(|leader| leader.0),
                "epoch": moved.epoch.0,
            })
        };
        moved.iter().map(leader).collect::<Vec<_>>()
    });
    json!({
        "time_ms": event.time.0,
        "event": name,
        "node": event.broker.0,
        "broker_epoch": event.broker_epoch,
        "offset": event.offset.0,
        "reason": reason,
        "leaders": leaders,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_server::quorum::journal::Sign;
    use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp};

    fn fenced(reason: bool) -> Event {
        let entry = JournalEntry {
            time_ms: 0,
            controller: 1,
            broker: 2,
            broker_epoch: 41,
            offset: 1843,
            rule: "gone".to_owned(),
            cause: "gone: its connections closed 6 ms ago, localhost:9093 refused twice".to_owned(),
            absent_us: 6_912,
            evidence: vec![
                Sign { before_us: 6_912, what: "a connection closed by its side".to_owned() },
                Sign { before_us: 1_250_000, what: "localhost:9093 answered".to_owned() },
            ],
        };
        let moved = |partition, leader, epoch| Moved {
            topic: "t".to_owned(),
            partition,
            leader,
            epoch: LeaderEpoch(epoch),
        };
        Event {
            time: Timestamp(1_763_842_502_120),
            offset: Offset(1843),
            broker: NodeId(2),
            broker_epoch: 41,
            what: What::Fenced(reason.then_some(entry)),
            moved: Some(vec![moved(1, Some(NodeId(3)), 6), moved(4, None, 7)]),
        }
    }

    fn condemned() -> Event {
        let What::Fenced(Some(entry)) = fenced(true).what else { panic!("it has a reason") };
        Event { what: What::Condemned(entry), moved: None, ..fenced(true) }
    }

    #[test]
    fn a_failover_is_a_story() {
        assert_eq!(
            tell(&fenced(true)),
            "2025-11-22 20:15:02.120 node 2 fenced (broker epoch 41): gone: its connections closed 6 ms ago, \
             localhost:9093 refused twice\n\
             \x20          -6.9 ms a connection closed by its side\n\
             \x20         -1.250 s localhost:9093 answered\n\
             \x20           0.0 ms fenced by controller 1, metadata offset 1843\n\
             \x20       leaders of t moved: -1 -> 3 (epoch 6), -4 has none"
        );
        assert_eq!(
            tell(&fenced(false)),
            "2025-11-22 20:15:02.120 node 2 fenced (broker epoch 41): reason unknown\n\
             \x20       leaders of t moved: -1 -> 3 (epoch 6), -4 has none"
        );
        assert_eq!(
            tell(&condemned()),
            "2025-11-22 20:15:02.120 node 2 to be fenced (broker epoch 41): gone: its connections closed 6 ms ago, \
             localhost:9093 refused twice\n\
             \x20          -6.9 ms a connection closed by its side\n\
             \x20         -1.250 s localhost:9093 answered\n\
             \x20           0.0 ms decided by controller 1, metadata offset 1843\n\
             \x20       whether it was, and who took over, is no longer in the metadata log"
        );
    }

    #[test]
    fn programs_read_the_same() {
        let told = to_json(&fenced(true));

        assert_eq!(told["event"], "fenced");
        assert_eq!((&told["node"], &told["offset"]), (&json!(2), &json!(1843)));
        assert_eq!(told["reason"]["rule"], "gone");
        assert_eq!(told["reason"]["evidence"][0]["before_us"], 6_912);
        assert_eq!(
            told["leaders"],
            json!([
                { "topic": "t", "partition": 1, "leader": 3, "epoch": 6 },
                { "topic": "t", "partition": 4, "leader": null, "epoch": 7 },
            ])
        );
        assert_eq!(to_json(&fenced(false))["reason"], Value::Null);
        let condemned = to_json(&condemned());
        assert_eq!((&condemned["event"], &condemned["leaders"]), (&json!("condemned"), &Value::Null));
        assert_eq!(condemned["reason"], told["reason"]);
    }
}
