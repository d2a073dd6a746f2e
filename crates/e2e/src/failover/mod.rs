//! How long clients are kept waiting when a node dies, and whether anything is lost.
//!
//! *Silence* of a partition: from the fault to the first acknowledgement of a record **sent after it**. Of a member
//! of a group: from the fault to the first commit that was begun after it and carried out. A foreign client, with
//! its defaults, sends one record every 5 ms to each partition meanwhile; nodes have shipped defaults.
//!
//! Reading order: [`client`] starts a foreign client, [`history`] is what it says, [`topology`] what the cluster
//! says, [`fault`] chooses whom to hit, [`run`] hits, [`verdict`] judges afterwards, [`table`] prints. [`silent`],
//! [`rolling`] and [`restart`] are runs of other kinds, [`saturated`] looks for verdicts that are wrong, and [`load`] is what tests put on a
//! cluster while they do something else to it.

pub mod client;
pub mod fault;
pub mod history;
pub mod load;
pub mod restart;
pub mod rolling;
pub mod run;
pub mod saturated;
pub mod silent;
pub mod table;
pub mod topology;
pub mod verdict;

use rustix::time::{ClockId, clock_gettime};

/// A moment in microseconds of `CLOCK_MONOTONIC`, which all processes of a machine share.
pub type Micros = i64;

/// The present.
pub fn now() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}
