//! The cases of the rules, one broker or a few at a time.

mod bench;
mod closed;
mod silence;
mod terms;
