//! Client libraries that others wrote, each driven by a small program in its own language (`crates/e2e/drivers`) against
//! three nodes, and judged here.
//!
//! Reading order: [`library`] says who they are and what they can do, [`driver`] runs their programs, [`show`] is one
//! cluster with one library on it. What is shown: [`codecs`], [`group`], [`transactions`], [`admin`], [`killed`].
//! `docs/clients.md` tells what was seen; [`skipped`] sees to it that whatever is skipped stands there.

pub mod admin;
pub mod codecs;
pub mod driver;
pub mod group;
pub mod killed;
pub mod library;
pub mod records;
pub mod show;
pub mod skipped;
pub mod transactions;

pub use library::Library;
pub use show::{Effort, show};
