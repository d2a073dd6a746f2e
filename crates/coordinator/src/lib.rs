//! Groups of consumers and their offsets: the classic protocol, and in [`consumer_group`] that of KIP-848. Transactions:
//! [`transactions`].
//!
//! [`GroupCoordinator`] is a replicated machine, one for each partition of `__consumer_offsets` that this
//! broker leads. Each `handle_…` looks at a group and answers with a [`GroupDecision`]: records to append, and
//! replies to send once they are committed – to the request at hand, or to earlier ones that were parked.
//!
//! ```text
//!            first join                  delay over, or all have joined
//!   Empty ───────────────▶ PreparingRebalance ───────────────▶ CompletingRebalance
//!     ▲                      │    ▲      ▲                        │     │ the leader's SyncGroup:
//!     └── nobody has joined ─┘    │      └── join, leave, expiry ─┘     ▼ GroupMetadata record
//!         GroupMetadata record    └───────── join, leave, expiry ──── Stable
//! ```
//!
//! **What the log rebuilds** is what [`GroupCoordinator::replay`] sets: offsets, and of each group the last
//! generation whose assignment was stored, with its members and what each of them was assigned. The driver
//! replays its own records when they are appended.
//!
//! **What no record rebuilds**: parked requests, sessions and every other deadline, by which connection members were
//! heard of, members that have an id but have not joined, and a rebalance under way – its generation, its members, who has yet to sync. A new
//! coordinator finds the last stored generation stable, gives its members fresh sessions
//! ([`GroupCoordinator::handle_loaded`]), and they go on; those of an interrupted rebalance are told
//! ILLEGAL_GENERATION or UNKNOWN_MEMBER_ID, and join again.
//!
//! **Offsets of transactions** ([`GroupCoordinator::handle_txn_offset_commit`]) are pending until a marker of their
//! producer is replayed. Markers are the driver's to hand in, in the order of the log; only they end what is pending.
//!
//! **When an append fails** the driver drops the machine ([`GroupCoordinator::resign`]) and loads a new one
//! from the log. It answers what it still holds with [`GroupReply::into_error`].
//!
//! It deliberately does not know: assignments and subscriptions of classic groups (opaque, but for the names of topics
//! that keep offsets from expiring), authorisation, other partitions of `__consumer_offsets`, the cluster's topics (the
//! caller resolves ids to names, and shows consumer groups a view), and share and streams groups, whose records it skips.
//!
//! Reading order: [`reply`], [`settings`], [`coordinator`], `turn`, `group`, `member`, `join`, `rebalance`,
//! `static_member`, `sync`, `heartbeat`, `leave`, [`presence`], `disconnect`, `expiry`, `alarms`; `offsets`, `offset_commit`, `offset_fetch`,
//! `offset_delete`, `pending_offsets`, [`txn_offset_commit`]; `describe`, `delete`, [`records`], [`partition`];
//! [`consumer_group`]; [`transactions`].

mod alarms;
pub mod consumer_group;
pub mod coordinator;
mod delete;
mod describe;
mod disconnect;
mod expiry;
mod group;
mod heartbeat;
mod join;
mod leave;
mod member;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offsets;
pub mod partition;
mod pending_offsets;
pub mod presence;
mod rebalance;
pub mod records;
pub mod reply;
pub mod settings;
mod static_member;
mod sync;
#[cfg(test)]
mod tests;
pub mod transactions;
mod turn;
pub mod txn_offset_commit;

pub use coordinator::GroupCoordinator;
pub use disconnect::ClosedBy;
pub use group::GroupState;
pub use partition::partition_for;
pub use presence::ConnectionToken;
pub use reply::{GroupDecision, GroupReply, ReplyToken, RequestContext};
pub use settings::{ConsumerGroupSettings, Settings};
