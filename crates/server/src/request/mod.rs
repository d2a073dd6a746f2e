//! From a frame to its handler, and from the handler's answer to a frame.
//!
//! Reading order: [`context`], [`answer`], [`router`], [`controller_router`], [`turns`].

pub mod answer;
pub mod context;
pub mod controller_router;
pub mod router;
pub mod turns;

pub use answer::Answer;
pub use context::RequestContext;
