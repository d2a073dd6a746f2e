//! Simulated clusters, and the replay of seeds that fail.
//!
//! [`node`] runs the shipped server, as it is, on a simulated network, disk and clock: everything that happens is a
//! function of a seed. What clients saw is judged by `ottla-verify`.

pub mod node;
