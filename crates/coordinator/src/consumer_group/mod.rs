//! Consumer groups: the protocol that needs no stop of all members (KIP-848).
//!
//! A member only ever sends heartbeats. The coordinator computes who is to have what – the target, at an epoch of the group –
//! and brings each member to it by the answers to its own heartbeats, whatever the others do:
//!
//! ```text
//!   a member joins or leaves,      the next heartbeat         a member's heartbeat: give up,
//!   topics or subscriptions        of anybody: targets        say that you did, take over
//!   change: group epoch + 1 ─────▶ of all, target epoch ────▶ member epoch = target epoch
//!        Assigning                     Reconciling                     Stable
//! ```
//!
//! **Who owns what.** A partition is a member's from the decision that gives it until the member has said that it gave it up,
//! has left, or is given up itself (its session is over, or its time to give up what it was asked to). Only then it is given to
//! another (GROUP-2).
//!
//! **What the log rebuilds** is all but deadlines: members and their subscriptions, the group's epoch with a hash of the topics,
//! targets and their epoch, what each member has and at which epoch, and what regular expressions matched. A new coordinator
//! goes on in the middle of everything, and gives all members fresh sessions.
//!
//! **What no record rebuilds**: sessions, deadlines for what is to be given up, and when topics were last looked at – at the first
//! heartbeat they are.
//!
//! A member whose side has closed its connection is given up before its session is over, as in classic groups (`presence`).
//!
//! Members of the classic protocol may be among them: [`classic`].
//!
//! Reading order: [`topics`], `member`, `group`, `heartbeat`, `validate`, `admission`, `turn`, `reconcile`, [`assignors`],
//! `subscription`, `regex`, `leave`, `presence`, `expiry`; [`classic`]; `offsets`, `describe`, `records`, `replay`.

mod admission;
pub mod assignors;
mod bug;
pub mod classic;
mod describe;
mod expiry;
pub(crate) mod group;
mod heartbeat;
mod leave;
pub(crate) mod member;
pub(crate) mod offsets;
mod presence;
mod reconcile;
mod records;
mod regex;
mod replay;
pub(crate) mod subscription;
#[cfg(test)]
pub(crate) mod tests;
pub mod topics;
mod turn;
mod validate;

pub use assignors::Assignor;
pub use classic::MigrationPolicy;
pub use topics::{GroupTimes, TopicShape, Topics};
