//! Logs of many short segments, whose ends are written down often: what is found again after a loss of power is more than the
//! end of one file.

use ottla_types::Random;

/// Apart from all other chance.
const APART: u64 = 0x7365_676d_656e_7473;

/// What brokers are set to: they sync their logs and write down up to where, often, but not so often that no loss of power comes
/// between.
pub const SETTINGS: &str = "log.flush.offset.checkpoint.interval.ms=1500\n";

/// Segments of a few records; and none of them goes by its age, for clocks are wrong.
const TOPIC_SETTINGS: [(&str, &str); 3] =
    [("segment.index.bytes", "64"), ("index.interval.bytes", "400"), ("retention.ms", "-1")];

/// What the workload's topic is set to.
pub fn topic_settings() -> Vec<(String, String)> {
    TOPIC_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// Returns whether segments are short in the run of this seed: in one of two.
pub fn are_short(seed: u64) -> bool {
    Random::new(seed ^ APART).chance(500)
}
