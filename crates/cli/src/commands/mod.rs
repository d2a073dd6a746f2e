//! `ottla topic`, `group`, `cluster`, `produce` and `consume`: what a cluster is used for from day to day, of any Kafka.
//!
//! Kafka's tools ([`crate::tools`]) have Kafka's options and output. These ask the cluster the same by the same functions of
//! [`ottla_client`], and show it in tables for people or, with `--output json`, as JSON whose fields stay
//! (`docs/operations/commands.md`). Errors say what is wrong and what to do; the exit status is 1 then.
//!
//! Reading order: [`connection`], [`advice`], [`show`], [`progress`]; then [`topic`], [`group`], [`cluster`], [`produce`],
//! [`consume`] with [`record_format`]. What describes the program itself: [`completion`], [`manual`].

mod advice;
pub(crate) mod cluster;
pub(crate) mod completion;
mod connection;
pub(crate) mod consume;
pub(crate) mod group;
pub(crate) mod manual;
mod place;
pub(crate) mod produce;
mod progress;
mod record_format;
mod show;
pub(crate) mod topic;

use anyhow::{Context, Result};
use std::future::Future;

/// Runs a command's work on this thread.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no thread")?;
    runtime.block_on(work)
}
