//! Subscriptions by regular expressions, in RE2's syntax.

use super::group::ResolvedRegex;
use super::topics::Topics;
use ottla_types::Timestamp;
use regex::{Regex, RegexBuilder};
use std::time::Duration;

/// How much memory a compiled expression may take, in bytes. A client chooses it.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// How long topics that come and go may be unnoticed by expressions, at least
/// (`GroupMetadataManager.REGEX_BATCH_REFRESH_MIN_INTERVAL_MS`).
pub(crate) const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// How long an expression may be, in bytes: reading one takes time too, while its group waits.
const EXPRESSION_BYTES_MAX: usize = 4096;

/// How long the names of the topics that an expression matches may be together, in bytes: they are one record, which must fit
/// into the log.
pub(super) const NAMES_BYTES_MAX: usize = 512 << 10;

/// Compiles an expression, which must match a whole name.
///
/// # Errors
/// What is wrong with it, in words: INVALID_REGULAR_EXPRESSION.
pub(crate) fn compile(expression: &str) -> Result<Regex, String> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("it is longer than {EXPRESSION_BYTES_MAX} bytes"));
    }
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    // By itself first: what is unbalanced must not be balanced by what is put around it.
    let compiled = build(expression).and_then(|_| build(&format!(r"\A(?:{expression})\z")));
    compiled.map_err(|error| error.to_string())
}

/// Checks an expression that is new to its member.
///
/// # Errors
/// INVALID_REGULAR_EXPRESSION, in words: when it cannot be compiled, or matches more than can be written down.
pub(crate) fn check(expression: &str, topics: &dyn Topics) -> Result<(), String> {
    compile(expression)?;
    if resolve(expression, topics, Timestamp::NONE).is_too_long() {
        return Err(format!(
            "it matches topics whose names are longer than {NAMES_BYTES_MAX} bytes together; subscribe to fewer"
        ));
    }
    Ok(())
}

/// Looks up the topics that an expression matches: nothing if it cannot be compiled.
pub(crate) fn resolve(expression: &str, topics: &dyn Topics, now: Timestamp) -> ResolvedRegex {
    let matching = |regex: Regex| {
        topics.names().into_iter().filter(|name| regex.is_match(name)).map(str::to_owned).collect()
    };
    ResolvedRegex {
        topics: compile(expression).map(matching).unwrap_or_default(),
        version: topics.version(),
        at: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_whole_names() {
        let cases = [
            ("a", "a", true),
            ("a", "ab", false),
            ("a|b", "ab", false),
            ("a|b.*", "bcd", true),
            ("(?i)abc", "ABC", true),
            ("[[:alpha:]]+", "abc", true),
            ("", "a", false),
        ];
        for (expression, name, matches) in cases {
            assert_eq!(compile(expression).unwrap().is_match(name), matches, "{expression} {name}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for expression in ["(", "a)|(b", "[", "*", "(?=a)", r"(a)\1", "(a{1000}){1000}"] {
            assert!(compile(expression).is_err(), "{expression}");
        }
    }
}
