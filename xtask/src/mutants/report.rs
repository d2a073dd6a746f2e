//! What differs, in groups.

use super::side::{Codes, Outcome};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

/// Differences that are meant, each with its reason.
const ACCEPTED: &str = "xtask/src/mutants/accepted.txt";

/// Where names of errors stand.
const ERROR_CODES: &str = "crates/protocol/src/error_code.rs";

/// Bytes of an example that are shown.
const EXAMPLE_BYTES_MAX: usize = 160;

/// One place at which two outcomes differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Difference {
    pub(super) path: String,
    pub(super) ours: String,
    pub(super) theirs: String,
}

/// How often a difference was seen.
#[derive(Default)]
struct Seen {
    count: usize,
    versions: BTreeSet<i16>,
    example: Option<(String, Vec<u8>)>,
}

/// All that was seen.
pub(super) struct Report {
    names: BTreeMap<i64, String>,
    accepted: Vec<Accepted>,
    seen: BTreeMap<(String, Difference, &'static str), Seen>,
    outcomes: BTreeMap<(&'static str, &'static str), usize>,
}

struct Accepted {
    api: String,
    path: String,
    ours: String,
    theirs: String,
    kind: String,
    reason: String,
}

impl Report {
    pub(super) fn new() -> Result<Report> {
        let text = fs::read_to_string(ERROR_CODES).context(ERROR_CODES)?;
        let names = text.lines().filter_map(|line| {
            let mut words = line.trim().strip_prefix('(')?.split(", ");
            let code = words.next()?.parse().ok()?;
            Some((code, words.nth(1)?.trim_matches('"').to_owned()))
        });
        let text = fs::read_to_string(ACCEPTED).context(ACCEPTED)?;
        let accepted = text.lines().filter_map(|line| {
            let mut cells = line.split('|').map(|cell| cell.trim().to_owned());
            let mut next = || cells.next();
            let [api, kind, path, ours, theirs, reason] =
                [next()?, next()?, next()?, next()?, next()?, next()?];
            (!api.starts_with('#')).then_some(Accepted { api, path, ours, theirs, kind, reason })
        });
        Ok(Report {
            names: names.collect(),
            accepted: accepted.collect(),
            seen: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        })
    }

    /// Counts a mutant, and what differs.
    #[expect(clippy::too_many_arguments, reason = "all that is known of a mutant")]
    pub(super) fn add(
        &mut self,
        api: &str,
        version: i16,
        kind: &'static str,
        what: &str,
        bytes: &[u8],
        ours: &Outcome,
        theirs: &Outcome,
    ) -> Vec<Difference> {
        *self.outcomes.entry((word(ours), word(theirs))).or_default() += 1;
        let differences = self.differences(ours, theirs);
        for difference in &differences {
            let seen = self.seen.entry((api.to_owned(), difference.clone(), kind)).or_default();
            seen.count += 1;
            seen.versions.insert(version);
            if seen.example.as_ref().is_none_or(|(_, smallest)| bytes.len() < smallest.len()) {
                seen.example = Some((format!("v{version}: {what}"), bytes.to_vec()));
            }
        }
        differences
    }

    fn differences(&self, ours: &Outcome, theirs: &Outcome) -> Vec<Difference> {
        use Outcome::{Answered, AnsweredAndClosed};
        let (ours_said, theirs_said) = match (ours, theirs) {
            (Answered(ours), Answered(theirs)) | (AnsweredAndClosed(ours), AnsweredAndClosed(theirs)) => {
                (ours, theirs)
            }
            _ if word(ours) == word(theirs) => return Vec::new(),
            _ => {
                let said = |outcome: &Outcome| match outcome {
                    Answered(codes) | AnsweredAndClosed(codes) => {
                        format!("{} {}", word(outcome), self.all(codes))
                    }
                    Outcome::Garbled(why) => format!("garbled: {why}"),
                    _ => word(outcome).to_owned(),
                };
                let path = "(connection)".to_owned();
                return vec![Difference { path, ours: said(ours), theirs: said(theirs) }];
            }
        };
        let paths: BTreeSet<&String> = ours_said.keys().chain(theirs_said.keys()).collect();
        let nothing = BTreeMap::new();
        let of = |said: &Codes, path: &String| said.get(path).unwrap_or(&nothing).clone();
        paths
            .into_iter()
            .map(|path| (path, of(ours_said, path), of(theirs_said, path)))
            .filter(|(_, ours, theirs)| ours != theirs)
            .map(|(path, ours, theirs)| Difference {
                path: path.clone(),
                ours: self.codes(&ours),
                theirs: self.codes(&theirs),
            })
            .collect()
    }

    fn codes(&self, codes: &BTreeMap<i64, usize>) -> String {
        let shown = |(code, count): (&i64, &usize)| {
            let name = self.names.get(code).cloned().unwrap_or_else(|| code.to_string());
            if *count == 1 { name } else { format!("{name}×{count}") }
        };
        if codes.is_empty() {
            "–".to_owned()
        } else {
            codes.iter().map(shown).collect::<Vec<_>>().join(" ")
        }
    }

    fn all(&self, codes: &Codes) -> String {
        let mut together: BTreeMap<i64, usize> = BTreeMap::new();
        codes.values().flatten().for_each(|(code, _)| *together.entry(*code).or_default() = 1);
        self.codes(&together)
    }

    fn reason(&self, api: &str, difference: &Difference, kind: &str) -> Option<&str> {
        let fits_all = |a: &&Accepted| {
            fits(&a.api, api)
                && fits(&a.kind, kind)
                && fits(&a.path, &difference.path)
                && fits(&a.ours, &difference.ours)
                && fits(&a.theirs, &difference.theirs)
        };
        self.accepted.iter().find(fits_all).map(|a| a.reason.as_str())
    }

    /// How many groups of differences nobody has accepted, and how many mutants those are.
    pub(super) fn unexpected(&self) -> (usize, usize) {
        let of = self
            .seen
            .iter()
            .filter(|((api, difference, kind), _)| self.reason(api, difference, kind).is_none());
        of.fold((0, 0), |(groups, count), (_, seen)| (groups + 1, count + seen.count))
    }

    /// Everything, as Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut out = "## Outcomes\n\n| ours | theirs | mutants |\n|---|---|---|\n".to_owned();
        for ((ours, theirs), count) in &self.outcomes {
            let _ = writeln!(out, "| {ours} | {theirs} | {count} |");
        }
        for (title, accepted) in [("Differences", false), ("Accepted", true)] {
            let _ = write!(
                out,
                "\n## {title}\n\n| API | versions | path | kind | ours | theirs | count | smallest example |\n|---|---|---|---|---|---|---|---|\n"
            );
            for ((api, difference, kind), seen) in &self.seen {
                let reason = self.reason(api, difference, kind);
                if reason.is_some() != accepted {
                    continue;
                }
                let versions = match (seen.versions.first(), seen.versions.last()) {
                    (Some(first), Some(last)) if first != last => format!("{first}–{last}"),
                    (Some(only), _) => only.to_string(),
                    _ => String::new(),
                };
                let example = seen.example.as_ref().map_or(String::new(), |(what, bytes)| {
                    let hex: String =
                        bytes.iter().take(EXAMPLE_BYTES_MAX).map(|b| format!("{b:02x}")).collect();
                    format!("{what} `{hex}`")
                });
                let Difference { path, ours, theirs } = difference;
                let told = reason.map_or(example, str::to_owned).replace('|', "¦");
                let _ = writeln!(
                    out,
                    "| {api} | {versions} | {path} | {kind} | {ours} | {theirs} | {} | {told} |",
                    seen.count
                );
            }
        }
        out
    }
}

/// Whether a text is like a pattern, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, rest)) => text.strip_prefix(before).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| fits(rest, &text[at..]))
        }),
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answered(_) => "answered",
        Outcome::AnsweredAndClosed(_) => "answered, then closed",
        Outcome::Closed => "closed",
        Outcome::Nothing => "no answer",
        Outcome::Silent => "silent",
        Outcome::Garbled(_) => "garbled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in [("*", ""), ("a*", "a×2"), ("*b*", "abc"), ("a*c*", "abcd"), ("é", "é")] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*c", "abd"), ("", "x")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
