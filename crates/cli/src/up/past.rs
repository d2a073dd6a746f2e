//! `ottla events`: the story of past failovers, in words or as JSON.

use super::history::{Event, Follower, Moved, What};
use super::layout::Layout;
use crate::output;
use anyhow::{Context, Result};
use ottla_server::quorum::{JournalEntry, journal};
use ottla_storage::RealDisk;
use ottla_types::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where a line goes on.
const INDENT: &str = "        ";

/// What is told, and how.
#[derive(Clone, Debug, Default)]
pub(super) struct Telling {
    /// Only what happened at this moment or later.
    pub(super) since: Option<Timestamp>,
    /// Only what moved leaders of this topic, or may have.
    pub(super) topic: Option<String>,
    /// An object of JSON a line, instead of a paragraph an event.
    pub(super) as_json: bool,
}

impl Telling {
    /// The event as it is told; `None` when it is not asked for.
    fn tell(&self, event: &Event) -> Option<String> {
        if self.since.is_some_and(|since| event.time < since) {
            return None;
        }
        let mut event = event.clone();
        if let (Some(topic), Some(moved)) = (&self.topic, &mut event.moved) {
            moved.retain(|moved| moved.topic == *topic);
            if moved.is_empty() {
                return None;
            }
        }
        Some(if self.as_json { to_json(&event).to_string() } else { tell(&event) })
    }
}

/// How long to wait before a controller is asked again that did not answer.
const PAUSE: Duration = Duration::from_millis(300);

/// Tells what happened in a cluster that runs, and what happens then if that is to be followed.
pub(super) async fn tell_all(layout: &Layout, telling: &Telling, follow: bool) -> Result<()> {
    let shown = layout.directory.display();
    let (mut follower, events) = Follower::start(layout).await.with_context(|| {
        format!("the metadata log cannot be read from a controller; if the cluster is down: ottla up --data {shown}")
    })?;
    events.iter().filter_map(|event| telling.tell(event)).for_each(output::line);
    if !follow {
        return Ok(());
    }
    loop {
        match follower.next().await {
            Ok(events) => events.iter().filter_map(|event| telling.tell(event)).for_each(output::line),
            // An election, or too few voters: it goes on when there is a controller again.
            Err(error) => {
                tracing::debug!(%error, "the metadata log");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// What the nodes' journals hold.
pub(crate) fn journals(layout: &Layout) -> Result<Vec<JournalEntry>> {
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
    use ottla_types::{LeaderEpoch, NodeId, Offset};

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
    fn only_what_is_asked_for_is_told() {
        let told = |telling: Telling, event: &Event| telling.tell(event);
        let at = |millis| Telling { since: Some(Timestamp(millis)), ..Telling::default() };
        let of = |topic: &str| Telling { topic: Some(topic.to_owned()), ..Telling::default() };
        let event = fenced(true);

        assert_eq!(told(at(event.time.0), &event), Some(tell(&event)));
        assert_eq!(told(at(event.time.0 + 1), &event), None);
        assert_eq!(told(of("t"), &event), Some(tell(&event)));
        assert_eq!(told(of("u"), &event), None, "it moved no leader of that");
        assert_eq!(told(of("u"), &condemned()), Some(tell(&condemned())), "nobody knows what it moved");
        let mut both = event.clone();
        both.moved.as_mut().unwrap().push(Moved {
            topic: "u".to_owned(),
            partition: 0,
            leader: None,
            epoch: LeaderEpoch(1),
        });
        assert_eq!(told(of("t"), &both), Some(tell(&event)), "others are left out");
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
