//! `ottla up` and its companions: a cluster of real processes on this machine.
//!
//! One process, the supervisor, starts the nodes and owns them; `ottla kill`, `start`, `stop`, `status` and
//! `down` talk to it through a socket in the data directory. When it dies, however it dies, the nodes end:
//! each holds the other end of a pipe to it.
//!
//! Reading order: [`layout`], [`ports`], [`process`], [`supervisor`], [`control`], [`commands`]; what it
//! tells: [`story`], [`watcher`], [`events`], [`health`], [`status`]; of the past: [`history`], [`past`], [`since`].

pub(crate) mod commands;
pub(crate) mod control;
mod events;
mod health;
pub(crate) mod history;
pub(crate) mod layout;
pub(crate) mod past;
pub(crate) mod ports;
pub(crate) mod process;
#[cfg(test)]
mod records;
pub(crate) mod since;
mod status;
pub(crate) mod story;
pub(crate) mod supervisor;
mod watcher;
