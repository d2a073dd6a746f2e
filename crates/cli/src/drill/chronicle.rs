//! What the controllers of an `ottla up` cluster say about a fault: when they noticed, why, and who took over.

use super::report::Step;
use crate::up::history::{Event, Follower, Moved, What};
use crate::up::layout::Layout;
use anyhow::Result;
use ottla_net::{Task, task};
use ottla_types::{NodeId, Timestamp};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait before a controller is asked again that did not answer.
const PAUSE: Duration = Duration::from_millis(300);

/// How long the story of a fault may take to be known.
const PATIENCE: Duration = Duration::from_secs(3);

/// Follows the metadata log while it lives.
pub(super) struct Chronicle {
    events: Arc<Mutex<Vec<Event>>>,
    _following: Task,
}

impl Chronicle {
    /// Begins where the log ends now.
    ///
    /// # Errors
    /// When no controller answers.
    pub(super) async fn start(layout: &Layout) -> Result<Chronicle> {
        // What happened before is no matter of the drill.
        let (mut follower, _) = Follower::start(layout).await?;
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let told = events.clone();
        let following = task::spawn("chronicle", async move {
            loop {
                match follower.next().await {
                    Ok(events) => told.lock().extend(events),
                    Err(error) => {
                        tracing::debug!(%error, "the metadata log");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
        Ok(Chronicle { events, _following: following })
    }

    /// What happened to these nodes between two moments, as steps after the first. Where the second is not given, it is the
    /// present, and news of each node are waited for a little.
    pub(super) async fn steps(
        &self,
        nodes: &[NodeId],
        since: Timestamp,
        until: Option<Timestamp>,
        topic: &str,
    ) -> Vec<Step> {
        let span = (since, until.unwrap_or(Timestamp(i64::MAX)));
        let deadline = Instant::now() + if until.is_none() { PATIENCE } else { Duration::ZERO };
        loop {
            let is_told = |node: &NodeId| {
                self.events.lock().iter().any(|event| event.broker == *node && event.time >= since)
            };
            if Instant::now() >= deadline || nodes.iter().all(is_told) {
                return steps(&self.events.lock(), nodes, span, topic);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn steps(
    events: &[Event],
    nodes: &[NodeId],
    (since, until): (Timestamp, Timestamp),
    topic: &str,
) -> Vec<Step> {
    let is_of = |event: &&Event| (since..until).contains(&event.time) && nodes.contains(&event.broker);
    let tell = |event: &Event| {
        let after = Duration::from_millis(u64::try_from(event.time.0 - since.0).unwrap_or(0));
        let metadata = format!("metadata offset {}", event.offset);
        let by = match &event.what {
            What::Fenced(Some(entry)) => format!("controller {}, {metadata}", entry.controller),
            _ => metadata.clone(),
        };
        let happened =
            Step { after: Some(after), what: format!("node {} {}", event.broker, verb(event)), by };
        let moved = event.moved.iter().flatten().filter(|moved| moved.topic == topic).map(show);
        let moved = moved.collect::<Vec<_>>().join(", ");
        let moves = (!moved.is_empty()).then(|| Step {
            after: Some(after),
            what: format!("leaders: {moved}"),
            by: metadata,
        });
        [Some(happened), moves].into_iter().flatten()
    };
    events.iter().filter(is_of).flat_map(tell).collect()
}

fn verb(event: &Event) -> String {
    match &event.what {
        What::Fenced(Some(entry)) => format!("fenced: {}", entry.cause),
        What::Fenced(None) => "fenced: cause unknown".to_owned(),
        What::Condemned(entry) => format!("to be fenced: {}", entry.cause),
        What::Stops => "begins to stop in order".to_owned(),
        What::Stopped => "has handed over what it led".to_owned(),
        What::Replaced => "replaced by a new process before it was fenced".to_owned(),
        What::Serves => "serves again".to_owned(),
    }
}

fn show(moved: &Moved) -> String {
    match moved.leader {
        Some(leader) => format!("-{} -> {leader} (epoch {})", moved.partition, moved.epoch),
        None => format!("-{} has none", moved.partition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_server::quorum::JournalEntry;
    use ottla_types::{LeaderEpoch, Offset};

    #[test]
    fn a_fault_is_told_by_what_the_controllers_wrote_down() {
        let entry = JournalEntry {
            time_ms: 0,
            controller: 1,
            broker: 3,
            broker_epoch: 41,
            offset: 1843,
            rule: "gone".to_owned(),
            cause: "gone: refused twice".to_owned(),
            absent_us: 2000,
            evidence: Vec::new(),
        };
        let moved = |topic: &str| Moved {
            topic: topic.to_owned(),
            partition: 3,
            leader: Some(NodeId(1)),
            epoch: LeaderEpoch(6),
        };
        let event = |millis, broker| Event {
            time: Timestamp(millis),
            offset: Offset(1843),
            broker: NodeId(broker),
            broker_epoch: 41,
            what: What::Fenced(Some(entry.clone())),
            moved: Some(vec![moved("t"), moved("u")]),
        };
        let events = [event(900, 3), event(1002, 3), event(1003, 2), event(2000, 3)];

        let told = steps(&events, &[NodeId(3)], (Timestamp(1000), Timestamp(2000)), "t");

        let after = Some(Duration::from_millis(2));
        let step = |what: &str, by: &str| Step { after, what: what.to_owned(), by: by.to_owned() };
        assert_eq!(
            told,
            [
                step("node 3 fenced: gone: refused twice", "controller 1, metadata offset 1843"),
                step("leaders: -3 -> 1 (epoch 6)", "metadata offset 1843"),
            ]
        );
    }
}
