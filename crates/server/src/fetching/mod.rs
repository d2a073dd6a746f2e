//! What lies between a Fetch request and the partitions it asks about.
//!
//! A fetch is interested in many partitions and moved by few. Each that has something to say is *marked*; only the
//! marked ones are looked at. So what a fetch costs follows what has happened, not what it asks about. The interest
//! of a session (KIP-227) outlives its requests; that of any other fetch ends with its answer.
//!
//! Reading order: [`ready`] (what is marked), [`interest`] (what is asked about, and what was last answered),
//! [`attempt`] (one look), [`selector`] (where a consumer had better look), [`sessions`].

pub mod attempt;
pub mod interest;
pub mod ready;
pub mod selector;
pub mod sessions;
