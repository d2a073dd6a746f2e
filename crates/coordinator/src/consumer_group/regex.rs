//! Subscriptions by regular expressions, in RE2's syntax.

use super::group::ResolvedRegex;
use super::topics::Topics;
use ottla_metadata::expression::compile;
use ottla_types::Timestamp;
use regex::Regex;
use std::time::Duration;

/// How long topics that come and go may be unnoticed by expressions, at least
/// (`GroupMetadataManager.REGEX_BATCH_REFRESH_MIN_INTERVAL_MS`).
pub(crate) const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// How long the names of the topics that an expression matches may be together, in bytes: they are one record, which must fit
/// into the log.
pub(super) const NAMES_BYTES_MAX: usize = 512 << 10;

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
