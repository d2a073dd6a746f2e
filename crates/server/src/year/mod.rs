//! What grows with everything that happens must not grow with time: the logs that no user sees, over a simulated year.
//!
//! The shipped tasks run on a runtime whose clock is set forward, at the shipped settings, on a disk in memory; what
//! they have on it is looked at each day. Each test is made once more with what keeps the log small turned off, and
//! must fail then.
//!
//! Reading order: [`time`], [`sizes`], [`metadata`], [`coordinator`], [`offsets`], [`transactions`].

mod coordinator;
mod metadata;
mod offsets;
mod sizes;
mod time;
mod transactions;
