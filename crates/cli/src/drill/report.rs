//! What came of a drill: the faults, what they did to the clients, and whether every promise was kept.

use super::figures::{Figures, millis};
use super::replicas::Replicas;
use super::scenario::{How, Scenario};
use super::watch::Silences;
use crate::verify::check::Counts;
use ottla_types::{NodeId, Now};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something that happened after a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// How long after it; `None` when nobody can tell from outside.
    pub(super) after: Option<Duration>,
    /// What.
    pub(super) what: String,
    /// Who says so.
    pub(super) by: String,
}

/// A fault, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// Which one it is, from 1.
    pub(super) number: usize,
    /// When it happened.
    pub(super) at: Now,
    /// Who was hit.
    pub(super) victims: Vec<NodeId>,
    /// How.
    pub(super) how: How,
    /// The partitions that the victims led.
    pub(super) led: BTreeSet<i32>,
    /// How many partitions there are.
    pub(super) partitions: usize,
    /// Whether one of the victims was the active controller.
    pub(super) is_controller: bool,
    /// Whether one of them coordinated the group.
    pub(super) is_coordinator: bool,
    /// What the clients saw.
    pub(super) silences: Silences,
    /// How long the group was silent, all its members considered.
    pub(super) group: Option<Duration>,
    /// Whether the group's shares were made anew.
    pub(super) rebalanced: bool,
    /// How long the victims were away.
    pub(super) away: Option<Duration>,
    /// How long it took until every replica was in sync again.
    pub(super) in_sync: Option<Duration>,
    /// The story.
    pub(super) steps: Vec<Step>,
}

impl Fault {
    /// What the partitions that the victims led have waited: for a node that stopped in order the longest gap between
    /// acknowledgements, else the silence.
    pub(super) fn waits(&self) -> impl Iterator<Item = (i32, Duration)> {
        let waits = if self.how == How::Stop { &self.silences.gaps } else { &self.silences.partitions };
        waits.iter().filter(|(partition, _)| self.led.contains(partition)).map(|(&at, &wait)| (at, wait))
    }

    /// Who was hit, and what they were, as people read it.
    pub(super) fn title(&self) -> String {
        let nodes: Vec<String> = self.victims.iter().map(NodeId::to_string).collect();
        let mut title = match &nodes[..] {
            [node] => format!("node {node}, leads {} of {}", self.led.len(), self.partitions),
            _ => format!("nodes {}", nodes.join(", ")),
        };
        if self.victims.len() == 1 && self.is_controller {
            title += ", active controller";
        }
        if self.victims.len() == 1 && self.is_coordinator {
            title += ", group coordinator";
        }
        title
    }

    /// As programs read it.
    pub(super) fn json(&self) -> Value {
        let by_partition = |waits: &BTreeMap<i32, Duration>| {
            waits.iter().map(|(at, wait)| (at.to_string(), millis(*wait).into())).collect()
        };
        let silences: serde_json::Map<String, Value> = by_partition(&self.silences.partitions);
        let gaps: serde_json::Map<String, Value> = by_partition(&self.silences.gaps);
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| json!({ "after_ms": step.after.map(millis), "what": step.what, "by": step.by }))
            .collect();
        json!({
            "event": "fault",
            "number": self.number,
            "time_ms": self.at.wall.0,
            "how": signal(self.how),
            "nodes": self.victims.iter().map(|node| node.0).collect::<Vec<_>>(),
            "led": self.led,
            "active_controller": self.is_controller,
            "group_coordinator": self.is_coordinator,
            "silence_ms": silences,
            "gap_ms": gaps,
            "group_silence_ms": self.group.map(millis),
            "group_rebalanced": self.rebalanced,
            "away_ms": self.away.map(millis),
            "in_sync_ms": self.in_sync.map(millis),
            "steps": steps,
        })
    }
}

/// The signal that a node is hit by.
pub(super) fn signal(how: How) -> &'static str {
    match how {
        How::Kill => "SIGKILL",
        How::Stop => "SIGTERM",
        How::Freeze => "SIGSTOP",
    }
}

/// What came of a drill.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// What the cluster is called.
    pub(super) cluster: String,
    /// What was done to it.
    pub(super) scenario: Scenario,
    /// The seed of the choices.
    pub(super) seed: u64,
    /// When it began, by the clock of [`Fault::at`].
    pub(super) begun: Now,
    /// How long it took, until it was judged.
    pub(super) took: Duration,
    /// The faults.
    pub(super) faults: Vec<Fault>,
    /// Acknowledgements, by tenths of a second of that clock.
    pub(super) counts_over_time: BTreeMap<u64, u32>,
    /// How many records were acknowledged.
    pub(super) acknowledged: usize,
    /// How many of them are there.
    pub(super) kept: usize,
    /// Records that were not acknowledged: there, and not there. Both are allowed.
    pub(super) unacknowledged: (usize, usize),
    /// What may not be.
    pub(super) counts: Counts,
    /// The same, one by one, as far as it is shown.
    pub(super) violations: Vec<String>,
    /// Committed offsets that are not what they may be, and partitions with two owners.
    pub(super) commit_violations: Vec<String>,
    /// How often a member was told what is committed.
    pub(super) commits_told: usize,
    /// Whether replicas are the same.
    pub(super) replicas: Replicas,
    /// What did not go on as it must.
    pub(super) failures: Vec<String>,
}

impl Report {
    /// Whether every promise was kept, and all went on.
    pub(super) fn holds(&self) -> bool {
        self.violations.is_empty()
            && self.counts == Counts::default()
            && self.commit_violations.is_empty()
            && self.replicas.are_equal()
            && self.failures.is_empty()
    }

    /// How long partitions were silent.
    pub(super) fn partition_silence(&self) -> Option<Figures> {
        let faults = self.faults.iter().filter(|fault| fault.how != How::Stop);
        Figures::of(faults.flat_map(Fault::waits).map(|(_, wait)| wait))
    }

    /// How long the longest gaps between acknowledgements were while nodes stopped in order.
    pub(super) fn partition_gap(&self) -> Option<Figures> {
        let faults = self.faults.iter().filter(|fault| fault.how == How::Stop);
        Figures::of(faults.flat_map(Fault::waits).map(|(_, wait)| wait))
    }

    /// How long the group was silent when its coordinator was hit.
    pub(super) fn group_silence(&self) -> Option<Figures> {
        let hit = self.faults.iter().filter(|fault| fault.is_coordinator && fault.how != How::Stop);
        Figures::of(hit.filter_map(|fault| fault.group))
    }

    /// As programs read it.
    pub(super) fn json(&self) -> Value {
        let Counts { lost, doubled, reordered, changed, invented, other } = self.counts;
        let figures = |figures: Option<Figures>| figures.map(|figures| figures.json());
        let replicas = match &self.replicas {
            Replicas::Compared { equal, unequal } => json!({ "equal": equal, "unequal": unequal }),
            Replicas::Unknown => Value::Null,
        };
        json!({
            "event": "verdict",
            "cluster": self.cluster,
            "pass": self.holds(),
            "seed": self.seed,
            "faults": self.faults.len(),
            "took_ms": millis(self.took),
            "silence": figures(self.partition_silence()),
            "gap": figures(self.partition_gap()),
            "group_silence": figures(self.group_silence()),
            "acknowledged": self.acknowledged,
            "kept": self.kept,
            "lost": lost,
            "doubled": doubled,
            "reordered": reordered,
            "changed": changed,
            "invented": invented,
            "otherwise_wrong": other,
            "unacknowledged": { "present": self.unacknowledged.0, "absent": self.unacknowledged.1 },
            "commits_told": self.commits_told,
            "replicas": replicas,
            "violations": self.violations,
            "commit_violations": self.commit_violations,
            "failures": self.failures,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ottla_types::{Monotonic, Timestamp};

    pub(in super::super) fn fault(number: usize, how: How) -> Fault {
        let ms = Duration::from_millis;
        let silences = Silences {
            partitions: [(0, ms(31)), (1, ms(5)), (6, ms(104))].into(),
            gaps: [(0, ms(41)), (1, ms(9)), (6, ms(114))].into(),
            ..Silences::default()
        };
        let step = |after, what: &str, by: &str| Step { after, what: what.to_owned(), by: by.to_owned() };
        Fault {
            number,
            at: Now { monotonic: Monotonic(2_000_000), wall: Timestamp(1000) },
            victims: vec![NodeId(3)],
            how,
            led: [0, 6].into(),
            partitions: 8,
            is_controller: false,
            is_coordinator: true,
            silences,
            group: Some(ms(131)),
            rebalanced: false,
            away: Some(ms(2210)),
            in_sync: Some(ms(2984)),
            steps: vec![
                step(Some(ms(0)), "SIGKILL", "drill"),
                step(None, "cause unknown", "nobody says"),
                step(Some(ms(2984)), "in sync 3/3", "cluster"),
            ],
        }
    }

    pub(in super::super) fn report() -> Report {
        Report {
            cluster: "ottla-data".to_owned(),
            scenario: Scenario::LeaderKill,
            seed: 7,
            begun: Now { monotonic: Monotonic(0), wall: Timestamp(0) },
            took: Duration::from_secs(30),
            faults: vec![fault(1, How::Kill), fault(2, How::Kill)],
            counts_over_time: (0..50).map(|at| (at, 200)).collect(),
            acknowledged: 143_902,
            kept: 143_902,
            unacknowledged: (19, 42),
            counts: Counts::default(),
            violations: Vec::new(),
            commit_violations: Vec::new(),
            commits_told: 24,
            replicas: Replicas::Compared { equal: 8, unequal: vec![] },
            failures: Vec::new(),
        }
    }

    #[test]
    fn only_what_the_victims_led_is_counted() {
        let report = report();

        let silence = report.partition_silence().unwrap();
        assert_eq!((silence.count, silence.p50), (4, Duration::from_millis(31)));
        assert_eq!(report.group_silence().map(|group| group.count), Some(2));
        assert_eq!(report.partition_gap(), None);
        let stopped = Report { faults: vec![fault(1, How::Stop)], ..report };
        assert_eq!(stopped.partition_silence(), None);
        assert_eq!(stopped.partition_gap().map(|gap| gap.max), Some(Duration::from_millis(114)));
        assert_eq!(stopped.group_silence(), None);
    }

    #[test]
    fn anything_that_may_not_be_fails() {
        assert!(report().holds());
        let spoilt: [fn(&mut Report); 5] = [
            |report| report.counts.lost = 1,
            |report| report.violations.push("lost".to_owned()),
            |report| report.commit_violations.push("went back".to_owned()),
            |report| report.replicas = Replicas::Compared { equal: 7, unequal: vec![3] },
            |report| report.failures.push("not in sync".to_owned()),
        ];
        for spoil in spoilt {
            let mut report = report();
            spoil(&mut report);
            assert!(!report.holds());
            assert_eq!(report.json()["pass"], false);
        }
    }

    #[test]
    fn programs_read_the_same() {
        let json = report().json();

        assert_eq!((&json["pass"], &json["acknowledged"]), (&json!(true), &json!(143_902)));
        assert_eq!(json["silence"], json!({ "n": 4, "p50_ms": 31.0, "p99_ms": null, "max_ms": 104.0 }));
        let fault = fault(1, How::Kill).json();
        assert_eq!(fault["silence_ms"]["6"], json!(104.0));
        assert_eq!(fault["steps"][1]["after_ms"], Value::Null);
    }
}
