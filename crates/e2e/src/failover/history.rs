//! What a client has said.

use super::Micros;
use ottla_types::Offset;
use ottla_verify::{Commits, Spoilt, Stamp};
use std::collections::BTreeMap;

/// An acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The record's number within its partition, from 0.
    pub sequence: i64,
    /// When it was handed to the client.
    pub sent: Micros,
    /// When the client said that it is kept.
    pub acked: Micros,
    /// Where.
    pub offset: i64,
}

/// A commit of a member that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// When it was begun.
    pub sent: Micros,
    /// When the member was told.
    pub done: Micros,
}

/// A record that a consumer was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where it was.
    pub offset: Offset,
    /// When it was given.
    pub at: Micros,
    /// What it is.
    pub stamp: Result<Stamp, Spoilt>,
}

/// The name under which [`History::offsets`] has the one group that a client is.
pub const GROUP: &str = "";

/// Drivers do not tell generations of a group apart: a member that failed to commit goes on in the same.
pub const GENERATION: i32 = 0;

/// All that a client has said, in the order in which it did.
#[derive(Debug, Default)]
pub struct History {
    /// Acknowledgements, by partition.
    pub acks: BTreeMap<i32, Vec<Ack>>,
    /// Records that the client gave up: partition, sequence, error.
    pub failures: Vec<(i32, i64, String)>,
    /// Commits, by member.
    pub commits: BTreeMap<usize, Vec<Commit>>,
    /// Errors of commits.
    pub refused_commits: Vec<String>,
    /// Commits of an offset before one that was committed already: partition, before, then.
    pub set_back: Vec<(i32, i64, i64)>,
    /// The partitions of each member.
    pub assigned: BTreeMap<usize, Vec<i32>>,
    /// How often anything was given to or taken from a member.
    pub rebalances: usize,
    /// What members committed and tried to commit, for its judge.
    pub offsets: Commits,
    /// What a consumer was given, by partition.
    pub reads: BTreeMap<i32, Vec<Read>>,
    /// Whether it waits to be told to begin.
    pub is_ready: bool,
    committed: BTreeMap<i32, i64>,
}

impl History {
    /// Adds a line.
    ///
    /// # Panics
    /// When it is not one that `crates/e2e/drivers/README.md` knows.
    pub fn record(&mut self, line: &str) {
        self.try_record(line).unwrap_or_else(|| panic!("the client said something unknown: {line}"));
    }

    fn try_record(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let what = words.next()?;
        let words: Vec<&str> = words.collect();
        let number = |at: usize| words.get(at)?.parse::<i64>().ok();
        let partition = |at: usize| words.get(at)?.parse::<i32>().ok();
        let member = || words.first()?.parse::<usize>().ok();
        match what {
            "ack" => {
                // librdkafka takes a record whose answer was lost for acknowledged once a later one is, and knows no offset then.
                let offset = number(4)?.max(Offset::UNKNOWN.0);
                let ack = Ack { sequence: number(1)?, sent: number(2)?, acked: number(3)?, offset };
                self.acks.entry(partition(0)?).or_default().push(ack);
            }
            "fail" => self.failures.push((partition(0)?, number(1)?, (*words.get(4)?).to_owned())),
            "commit" if *words.get(3)? == "ok" => {
                let commit = Commit { sent: number(1)?, done: number(2)? };
                self.commits.entry(member()?).or_default().push(commit);
            }
            "commit" => self.refused_commits.push((*words.get(3)?).to_owned()),
            "committed" => {
                let (partition, offset) = (partition(1)?, number(2)?);
                self.offsets.tries(GROUP, partition, GENERATION, Offset(offset));
                self.offsets.acknowledged(GROUP, partition, GENERATION, Offset(offset));
                let before = self.committed.insert(partition, offset);
                if let Some(before) = before.filter(|&before| before > offset) {
                    self.set_back.push((partition, before, offset));
                }
            }
            "tried" => self.offsets.tries(GROUP, partition(1)?, GENERATION, Offset(number(2)?)),
            "read" => {
                let value = words.get(3..)?.join(" ");
                let (offset, stamp) = (Offset(number(1)?), Stamp::read(value.as_bytes()));
                self.reads.entry(partition(0)?).or_default().push(Read { offset, at: number(2)?, stamp });
            }
            "ready" => self.is_ready = true,
            "assigned" => {
                let list = words.get(2)?.split(',').filter(|word| !word.is_empty());
                let given = list.map(|word| word.parse().ok()).collect::<Option<Vec<i32>>>()?;
                self.assigned.insert(member()?, given);
                self.rebalances += 1;
            }
            "revoked" | "lost" => {
                self.assigned.remove(&member()?);
                self.rebalances += 1;
            }
            _ => return None,
        }
        Some(())
    }

    /// How long a partition was silent after a fault; `None` while it is.
    pub fn silence(&self, partition: i32, fault: Micros) -> Option<Micros> {
        let acks = self.acks.get(&partition)?;
        let after = acks.iter().rev().take_while(|ack| ack.acked > fault).filter(|ack| ack.sent > fault);
        after.map(|ack| ack.acked - fault).min()
    }

    /// How long a member's commits were silent after a fault; `None` while they are.
    pub fn commit_silence(&self, member: usize, fault: Micros) -> Option<Micros> {
        let commits = self.commits.get(&member)?;
        commits.iter().rev().take_while(|commit| commit.sent > fault).last().map(|commit| commit.done - fault)
    }

    /// The longest time between two acknowledgements of a partition, of which the later is after `from` and
    /// the earlier before `until`.
    pub fn longest_gap(&self, partition: i32, from: Micros, until: Micros) -> Option<Micros> {
        longest_gap(self.acks.get(&partition)?.iter().map(|ack| ack.acked), from, until)
    }

    /// As [`History::longest_gap`], between two records that a consumer was given.
    pub fn longest_gap_of_reads(&self, partition: i32, from: Micros, until: Micros) -> Option<Micros> {
        longest_gap(self.reads.get(&partition)?.iter().map(|read| read.at), from, until)
    }

    /// The last offset of a partition that a member was told is committed.
    pub fn committed(&self, partition: i32) -> Option<i64> {
        self.committed.get(&partition).copied()
    }
}

fn longest_gap(times: impl Iterator<Item = Micros>, from: Micros, until: Micros) -> Option<Micros> {
    let times: Vec<Micros> = times.collect();
    let pairs = times.windows(2).filter(|pair| pair[1] > from && pair[0] < until);
    pairs.map(|pair| pair[1] - pair[0]).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(lines: &[&str]) -> History {
        let mut history = History::default();
        lines.iter().for_each(|line| history.record(line));
        history
    }

    #[test]
    fn silence_lasts_until_what_was_sent_after_the_fault_is_acknowledged() {
        let lines = ["ack 3 0 90 100 7", "ack 3 1 95 350 8", "ack 3 2 101 360 9", "ack 3 3 106 361 10"];

        let told = history(&lines);

        assert_eq!(told.silence(3, 100), Some(260));
        assert_eq!(told.silence(3, 106), None, "nothing was sent after it");
        assert_eq!(told.silence(4, 100), None);
        assert_eq!(told.longest_gap(3, 100, 400), Some(250));
    }

    #[test]
    fn an_offset_that_the_client_does_not_know_is_unknown() {
        let told = history(&["ack 3 0 90 100 -1001", "ack 3 1 95 110 0"]);

        let offsets: Vec<i64> = told.acks[&3].iter().map(|ack| ack.offset).collect();
        assert_eq!(offsets, [Offset::UNKNOWN.0, 0]);
    }

    #[test]
    fn commits_that_were_begun_before_the_fault_do_not_end_the_silence() {
        let told = history(&["commit 0 90 400 ok", "commit 0 410 415 _TRANSPORT", "commit 0 420 430 ok"]);

        assert_eq!(told.commit_silence(0, 100), Some(330));
        assert_eq!(told.refused_commits, ["_TRANSPORT"]);
    }

    #[test]
    fn an_offset_that_goes_back_is_noticed() {
        let told = history(&["committed 0 5 10", "committed 0 5 12", "committed 1 5 11"]);

        assert_eq!(told.set_back, [(5, 12, 11)]);
    }

    #[test]
    fn what_a_consumer_was_given_is_kept_with_what_it_is() {
        let stamp = Stamp { run: 1, producer: 0, partition: 3, number: 7 };
        let line =
            |at: i64| format!("read 3 {at} {} {}", at * 100, String::from_utf8(stamp.value(0)).unwrap());

        let told = history(&[&line(1), "read 3 2 900 something else", &line(20)]);

        let reads = &told.reads[&3];
        assert_eq!(reads[0], Read { offset: Offset(1), at: 100, stamp: Ok(stamp) });
        assert_eq!(reads[1].stamp, Err(Spoilt::Foreign));
        assert_eq!(told.longest_gap_of_reads(3, 0, 2000), Some(1100));
    }

    #[test]
    fn what_was_tried_after_a_commit_may_be_found_and_nothing_before_it() {
        let lines = ["committed 0 5 10", "commit 0 1 2 _TIMED_OUT", "tried 0 5 12"];
        for (found, violations) in [(10, 0), (12, 0), (9, 1)] {
            let mut told = history(&lines);
            told.offsets.told(GROUP, 5, GENERATION, Some(Offset(found)));
            assert_eq!(told.offsets.violations().len(), violations, "{found}");
        }
        assert_eq!(history(&lines).committed(5), Some(10));
    }

    #[test]
    fn the_latest_assignment_counts() {
        let told = history(&["assigned 0 5 1,2", "revoked 0 6", "assigned 0 7 3", "assigned 1 7 "]);

        assert_eq!(told.assigned, BTreeMap::from([(0, vec![3]), (1, vec![])]));
        assert_eq!(told.rebalances, 4);
    }
}
