//! Which seeds a simulation tries.

use std::ops::Range;

/// Where the first seed is named; 0 where it is not.
pub const FIRST_SEED: &str = "OTTLA_FIRST_SEED";

/// As many seeds as a test of a machine tries. The same ones every time, unless somebody asks for others.
///
/// # Panics
/// When what the environment names is no number.
#[expect(clippy::disallowed_methods, reason = "no configuration: it says what tests try")]
pub fn seeds(count: u64) -> Range<u64> {
    let first = std::env::var(FIRST_SEED).map_or(0, |first| first.parse().expect("OTTLA_FIRST_SEED=NUMBER"));
    first..first + count
}
