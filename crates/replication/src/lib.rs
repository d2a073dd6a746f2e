//! A partition's replica: leader or follower, its in-sync set and its high watermark.
//!
//! [`Partition`] is a driven machine around one log. Everything that happens to a replica comes in by a
//! `handle_…` method with the present as an argument; what must be done outside (ask the controller for
//! another in-sync set, wake who waits) is left in [`Effects`]. It knows no network: fetches arrive as
//! values, and waiters are numbers.
//!
//! Held here: HW-1 (the high watermark never goes back within a leader epoch), HW-2 (every offset below it
//! is on every member of the maximal in-sync set), LOG-3, and the leader's part of ACK-1.
//!
//! Reading order: [`partition`], [`leader`], [`isr`], [`high_watermark`], [`follower`], [`waiters`],
//! [`throttle`], [`error`].

mod bug;
pub mod error;
pub mod follower;
pub mod high_watermark;
pub mod isr;
pub mod leader;
pub mod partition;
pub mod throttle;
pub mod waiters;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use error::{AppendError, DeleteError, FetchError};
pub use follower::{FetchPosition, Follower};
pub use isr::{IsrChange, IsrMember, IsrState};
pub use leader::{Leader, PeerState, Reader};
pub use partition::{Assignment, Effects, Fetched, Isolation, Partition, Peer, ReadFrom, Role, Settings};
pub use throttle::Throttle;
pub use waiters::{Outcome, WaiterId, Waiters};
