//! `--reset-offsets`: where a group is to go on.

use super::{failed, refuse};
use crate::tools::Failure;
use crate::tools::options::Parsed;
use ottla_client::Admin;
use ottla_client::client::Topics;
use ottla_client::consumer::Isolation;
use ottla_client::consumer::offsets::{EARLIEST, LATEST, list_offsets};
use ottla_types::{Timestamp, TopicPartition};
use std::collections::BTreeMap;

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scenario {
    Offset(i64),
    Earliest,
    Latest,
    Current,
    ShiftBy(i64),
}

/// The options that say where, of which exactly one is to be given.
pub(super) const SCENARIOS: &[&str] = &["to-offset", "to-earliest", "to-latest", "to-current", "shift-by"];

fn scenario(parsed: &Parsed) -> Result<Scenario, Failure> {
    if SCENARIOS.iter().filter(|name| parsed.has(name)).count() != 1 {
        let all: Vec<String> = SCENARIOS.iter().map(|name| format!("--{name}")).collect();
        return Err(Failure::Usage(format!("Option [reset-offsets] takes one of: {}", all.join(", "))));
    }
    if let Some(offset) = parsed.number("to-offset")? {
        return Ok(Scenario::Offset(offset));
    }
    if let Some(by) = parsed.number("shift-by")? {
        return Ok(Scenario::ShiftBy(by));
    }
    Ok(match (parsed.has("to-earliest"), parsed.has("to-latest")) {
        (true, _) => Scenario::Earliest,
        (_, true) => Scenario::Latest,
        _ => Scenario::Current,
    })
}

/// The offsets at which the group is to go on, of the partitions that the command line selects.
pub(super) async fn plan(
    parsed: &Parsed,
    admin: &Admin,
    group: &str,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let scenario = scenario(parsed)?;
    let committed = admin.committed_offsets(group).await.map_err(failed)?;
    let partitions = if parsed.has("all-topics") {
        committed.keys().cloned().collect()
    } else {
        selected(parsed, admin).await?
    };
    let ask = |time: Timestamp| partitions.iter().map(|at| (at.clone(), time)).collect();
    let client = admin.client();
    let first = list_offsets(client, &ask(EARLIEST), Isolation::ReadUncommitted).await.map_err(failed)?;
    let end = list_offsets(client, &ask(LATEST), Isolation::ReadUncommitted).await.map_err(failed)?;
    let mut planned = BTreeMap::new();
    for at in partitions {
        let (Some(first), Some(end)) = (first.get(&at), end.get(&at)) else { continue };
        let (first, end) = (first.offset.0, end.offset.0);
        let current = committed.get(&at).map(|committed| committed.offset.0).filter(|&offset| offset >= 0);
        let wanted = match scenario {
            Scenario::Offset(offset) => offset,
            Scenario::Earliest => first,
            Scenario::Latest => end,
            // A group that was never here goes on at the end.
            Scenario::Current => current.unwrap_or(end),
            Scenario::ShiftBy(by) => {
                let current = current.ok_or_else(|| {
                    refuse(format!(
                        "Cannot shift offset for partition {at} since there is no current committed offset"
                    ))
                })?;
                current.saturating_add(by)
            }
        };
        planned.insert(at, wanted.clamp(first, end));
    }
    Ok(planned)
}

/// The partitions that `--topic` names: `topic`, or `topic:0,1`.
pub(super) async fn selected(parsed: &Parsed, admin: &Admin) -> Result<Vec<TopicPartition>, Failure> {
    let mut found = Vec::new();
    for text in parsed.values("topic") {
        let (topic, wanted) = match text.split_once(':') {
            Some((topic, list)) => {
                let numbers: Result<Vec<i32>, _> = list.split(',').map(|n| n.trim().parse()).collect();
                let numbers = numbers.map_err(|_| {
                    refuse(format!("Invalid topic arg '{text}', expected topic name and partitions"))
                })?;
                (topic.to_owned(), Some(numbers))
            }
            None => (text.to_owned(), None),
        };
        let names = [topic.clone()];
        let metadata = admin
            .client()
            .retry("metadata", || admin.client().refresh(Topics::Named(&names)))
            .await
            .map_err(failed)?;
        let all: Vec<i32> = metadata
            .topics
            .get(&topic)
            .map(|topic| topic.partitions.keys().copied().collect())
            .unwrap_or_default();
        if all.is_empty() {
            return Err(refuse(format!("topic {topic} does not exist")));
        }
        let numbers = wanted.unwrap_or(all);
        found.extend(numbers.into_iter().map(|number| TopicPartition::new(topic.clone(), number)));
    }
    if found.is_empty() {
        return Err(Failure::Usage(
            "One of the reset scopes should be defined: --all-topics, --topic.".to_owned(),
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::groups::TOOL;
    use crate::tools::options;

    #[test]
    fn exactly_one_scenario_is_given() {
        let read = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            scenario(&options::parse(&TOOL, &words).unwrap())
        };

        assert_eq!(read("--to-offset 5").unwrap(), Scenario::Offset(5));
        assert_eq!(read("--shift-by -5").unwrap(), Scenario::ShiftBy(-5));
        assert_eq!(read("--to-current").unwrap(), Scenario::Current);
        for line in ["", "--to-earliest --to-latest"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
