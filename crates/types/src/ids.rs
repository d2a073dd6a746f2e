//! Who: nodes and producers.

use std::fmt;

/// A broker's or controller's `node.id`. Valid ids are 0 or greater; −1 means "none" on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl NodeId {
    /// The wire's "no node": an absent leader, or a consumer in a request's replica id.
    pub const NONE: NodeId = NodeId(-1);

    /// Returns whether this names a node, that is: is not negative.
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }

    /// Returns `None` for a negative id.
    pub fn some(self) -> Option<NodeId> {
        self.is_some().then_some(self)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// An idempotent or transactional producer's id (KIP-98), handed out in blocks by the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// The wire's "not idempotent".
    pub const NONE: ProducerId = ProducerId(-1);

    /// Returns whether this names a producer, that is: is not negative.
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The incarnation of a producer id (KIP-98): a higher one fences a lower one. −1 is "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub i16);

impl ProducerEpoch {
    /// The wire's "not idempotent".
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

impl fmt::Display for ProducerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
