//! Which brokers are gone: the failure detector of the controllers, as one driven machine.
//!
//! [`Detector`] is told what the quorum's node sees of the brokers (contacts, closed connections, the outcome
//! of the dials it asks for) and says whom to dial and whom to fence. It does no I/O and reads no clock.
//! Fencing is always safe, because epochs guard everything else; the rules here decide how soon, and keep
//! it from flapping:
//!
//! - *gone*: its connections closed by its side, and a proven endpoint refuses twice → fence at once;
//! - *left*: its connections closed by its side, and it neither answers nor reconnects → fence, unless half
//!   of the brokers look so;
//! - *silent*: no contact for four times the longest gap between its contacts, and its listeners do not answer
//!   when they are asked before → fence.
//!
//! A standby controller runs it too: it proves endpoints, and judges nobody until it is activated.
//!
//! What it deliberately does not do: decide what fencing means ([`Controller::fence`](crate::Controller)),
//! or dial; nor does it know what a connection carries beyond "this incarnation spoke by it".
//!
//! Reading order: `event` (what comes in), `effect` (what goes out), [`cause`] (why), `contacts` (how
//! long a silence may last), `watched` (one broker), `detector` (the machine and its events).

pub mod cause;
mod contacts;
// The machine itself; the module around it is its vocabulary.
#[allow(clippy::module_inception, reason = "a file is named for the type in it")]
mod detector;
mod effect;
mod event;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod watched;

pub use cause::{Absence, Cause, Evidence, Observation};
pub use contacts::Contacts;
pub use detector::Detector;
pub use effect::{DetectorEffect, ProbeId};
pub use event::{
    ClosedBy, ConnectionRef, ENDPOINTS_MAX, EndpointKind, ProbeEndpoint, ProbeOutcome, Registration,
    SilentController,
};
