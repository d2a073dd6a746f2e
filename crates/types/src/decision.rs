//! What a replicated machine answers to an event.

/// The outcome of an event handed to a replicated machine (controller, coordinator): what must become
/// durable, and who is answered once it is.
///
/// The driver appends `records` as one atomic unit, replays them into the machine as soon as they are
/// appended, and sends `replies` when the offset that they saw is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<Record, Reply> {
    /// Records to append, in order. Empty for a read, or when nothing changes.
    pub records: Vec<Record>,
    /// Answers to send after the records, and all that were appended before them, are committed.
    pub replies: Vec<Reply>,
}

impl<Record, Reply> Decision<Record, Reply> {
    /// Nothing to write and nobody to answer.
    pub fn none() -> Self {
        Decision { records: Vec::new(), replies: Vec::new() }
    }

    /// One answer and nothing to write.
    pub fn reply(reply: Reply) -> Self {
        Decision { records: Vec::new(), replies: vec![reply] }
    }

    /// Records, and one answer once they are committed.
    pub fn write(records: Vec<Record>, reply: Reply) -> Self {
        Decision { records, replies: vec![reply] }
    }
}

impl<Record, Reply> Default for Decision<Record, Reply> {
    fn default() -> Self {
        Decision::none()
    }
}
