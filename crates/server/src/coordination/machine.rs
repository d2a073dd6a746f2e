//! What a coordinator's machine must be for its driver.

use bytes::Bytes;
use ottla_coordinator::ReplyToken;
use ottla_protocol::EncodeError;
use ottla_types::{Decision, Monotonic, Now, ProducerId};

/// What an effect asks of the driver once its records are committed.
pub enum Due<M: Machine> {
    /// To answer.
    Reply(ReplyToken, M::Reply),
    /// To do something else, which nobody waits for.
    Work(M::Work),
}

/// A replicated machine whose log is a partition of an internal topic.
///
/// The driver replays the log, calls [`Machine::handle_loaded`], and then hands in events one at a time. It replays the records of a
/// decision when they are appended, and carries out its effects when they are committed.
pub trait Machine: Sized + Send + 'static {
    /// The topic with the logs.
    const TOPIC: &'static str;
    /// What it is called in log lines and names of tasks.
    const NAME: &'static str;

    /// What configuration says to it.
    type Settings: Clone + Send + Sync;
    /// What it writes.
    type Record: Send;
    /// What is done when that is committed.
    type Effect: Send;
    /// An answer to a request.
    type Reply: Send;
    /// What it has done when there is nobody to answer.
    type Work: Send;

    /// One that knows nothing yet. No two may have the same `seed`.
    fn new(settings: &Self::Settings, seed: u64) -> Self;

    /// Applies a record of its own decision.
    fn replay(&mut self, record: &Self::Record);

    /// Applies a record of its own decision that was appended in a producer's transaction.
    fn replay_transactional(&mut self, producer_id: ProducerId, record: &Self::Record);

    /// A producer's transaction has ended in this log.
    fn replay_marker(&mut self, producer_id: ProducerId, committed: bool);

    /// Applies a record of the log, of a producer's transaction if there is one.
    ///
    /// # Errors
    /// What is wrong with a record that cannot be read. It is skipped.
    fn replay_bytes(
        &mut self,
        key: Bytes,
        value: Option<Bytes>,
        transaction: Option<ProducerId>,
    ) -> Result<(), String>;

    /// A record's key, and its value unless it is a tombstone.
    ///
    /// # Errors
    /// When it is longer than its format can say.
    fn encode(&self, record: &Self::Record) -> Result<(Vec<u8>, Option<Vec<u8>>), EncodeError>;

    /// The log is replayed.
    fn handle_loaded(&mut self, now: Now) -> Decision<Self::Record, Self::Effect>;

    /// When [`Machine::handle_timeout`] is to be called if nothing happens before.
    fn deadline(&self) -> Option<Monotonic>;

    /// Does what is due.
    fn handle_timeout(&mut self, now: Now) -> Decision<Self::Record, Self::Effect>;

    /// Ends the term: what is to be said to those who were never answered.
    fn resign(self) -> Vec<(ReplyToken, Self::Reply)>;

    /// Whether an effect is an answer, or something else.
    fn due(effect: Self::Effect) -> Due<Self>;

    /// The answer in place of one whose records will not be committed here.
    fn refuse(reply: Self::Reply, error: ottla_protocol::ErrorCode) -> Self::Reply;
}
