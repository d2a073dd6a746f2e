//! One coordinator: its machine, what it waits for, and who is answered then.

use super::loading::Loading;
use super::machine::{Due, Machine};
use crate::bug::{Bug, is_made};
use crate::handlers::records::errors;
use crate::replicas::{Replica, ReplicaManager, internal};
use ottla_coordinator::ReplyToken;
use ottla_metadata::MetadataImage;
use ottla_net::{Task, task};
use ottla_protocol::ErrorCode;
use ottla_records::BatchBuilder;
use ottla_replication::{AppendError, Outcome};
use ottla_storage::{AppendError as LogAppendError, Terms, VerificationGuard};
use ottla_types::{Decision, LeaderEpoch, Monotonic, Now, ProducerEpoch, ProducerId, TopicPartition};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// Decisions whose records may wait to be replicated; then requests are refused.
const PENDING_MAX: usize = 4096;

/// Where a shard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its log is being read.
    Loading,
    /// It decides.
    Active,
    /// It does not lead any more.
    Resigned,
}

/// What waits for records, its own or earlier ones, to be committed.
struct Pending<M: Machine> {
    /// What is heard of the records; `None` when only earlier ones are waited for.
    outcome: Option<oneshot::Receiver<Outcome>>,
    replies: Vec<(ReplyToken, M::Reply)>,
    work: Vec<M::Work>,
    /// Who waits for a marker.
    marker: Option<oneshot::Sender<Outcome>>,
    /// When the replies are given up; the records are waited for all the same.
    due: Monotonic,
}

/// In whose transaction records are appended.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// The producer id.
    pub producer_id: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
    /// By which its transaction begins here, unless it has.
    pub guard: Option<VerificationGuard>,
}

/// Does what a machine wants done besides answering.
pub type Worker<M> = Arc<dyn Fn(&Arc<Shard<M>>, <M as Machine>::Work) + Send + Sync>;

struct State<M: Machine> {
    machine: Option<M>,
    /// In order: when the term ends, who waits hears of it in the order of asking.
    tokens: BTreeMap<ReplyToken, oneshot::Sender<M::Reply>>,
    next_token: u64,
    /// How many decisions are in the queue to the task.
    pending: usize,
}

/// A partition of a coordinators' topic in one term of leadership.
pub struct Shard<M: Machine> {
    replicas: Arc<ReplicaManager>,
    replica: Arc<Replica>,
    epoch: LeaderEpoch,
    state: Mutex<State<M>>,
    queue: mpsc::Sender<Pending<M>>,
    worker: Worker<M>,
    /// How long answers wait for records to be committed.
    commit_timeout: Duration,
    deadline_moved: Notify,
    standing: watch::Sender<Standing>,
}

impl<M: Machine> Shard<M> {
    /// Begins to load the coordinator of a partition that this broker leads since `epoch`, from where `loading` is. The
    /// task ends it when it is dropped.
    pub fn start(
        replicas: Arc<ReplicaManager>,
        replica: Arc<Replica>,
        epoch: LeaderEpoch,
        loading: Loading<M>,
        commit_timeout: Duration,
        worker: Worker<M>,
    ) -> (Arc<Shard<M>>, Task) {
        let (queue, pending) = mpsc::channel(PENDING_MAX);
        let shard = Arc::new(Shard {
            replicas,
            replica,
            epoch,
            state: Mutex::new(State { machine: None, tokens: BTreeMap::new(), next_token: 0, pending: 0 }),
            queue,
            worker,
            commit_timeout,
            deadline_moved: Notify::new(),
            standing: watch::Sender::new(Standing::Loading),
        });
        let running = task::spawn(M::NAME, shard.clone().run(pending, loading));
        (shard, running)
    }

    /// The term of leadership that this shard belongs to.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Whether an image says that this broker leads, in this term: then it knows all that was decided before.
    pub fn is_known_to(&self, image: &MetadataImage) -> bool {
        image.topics.partition(self.replica.id).is_some_and(|known| known.leader_epoch >= self.epoch)
    }

    /// Where it stands, now and whenever that changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Lets the machine handle a request. The answer comes when what it saw is committed.
    ///
    /// # Errors
    /// The code to answer with when this shard does not decide (any more).
    pub async fn handle(
        self: &Arc<Self>,
        event: impl FnOnce(&mut M, ReplyToken, Now) -> Decision<M::Record, M::Effect> + Send,
    ) -> Result<M::Reply, ErrorCode> {
        self.handle_for(None, event).await
    }

    /// The same, where the records are appended in a producer's transaction. Such a decision must change nothing before its
    /// records are replayed: where the log refuses the producer it is dropped, and the request refused.
    ///
    /// # Errors
    /// As [`Shard::handle`].
    pub async fn handle_for(
        self: &Arc<Self>,
        writer: Option<Writer>,
        event: impl FnOnce(&mut M, ReplyToken, Now) -> Decision<M::Record, M::Effect> + Send,
    ) -> Result<M::Reply, ErrorCode> {
        let answer = {
            let mut state = self.state.lock();
            if state.pending >= PENDING_MAX {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
            let token = ReplyToken(state.next_token);
            state.next_token += 1;
            let now = self.replicas.clock().now();
            let Some(machine) = &mut state.machine else {
                return Err(match *self.standing.borrow() {
                    Standing::Loading => ErrorCode::CoordinatorLoadInProgress,
                    Standing::Active | Standing::Resigned => ErrorCode::NotCoordinator,
                });
            };
            let decision = event(machine, token, now);
            let (sender, answer) = oneshot::channel();
            state.tokens.insert(token, sender);
            self.carry_out(&mut state, writer, decision, now);
            answer
        };
        answer.await.map_err(|_| ErrorCode::NotCoordinator)
    }

    /// Appends what was decided, replays it, and queues what follows behind it.
    fn carry_out(
        self: &Arc<Self>,
        state: &mut State<M>,
        writer: Option<Writer>,
        decision: Decision<M::Record, M::Effect>,
        now: Now,
    ) {
        let Decision { records: decided, replies: effects } = decision;
        let (mut replies, mut work) = (Vec::new(), Vec::new());
        for effect in effects {
            match M::due(effect) {
                Due::Reply(token, reply) => replies.push((token, reply)),
                Due::Work(item) => work.push(item),
            }
        }
        let outcome = if decided.is_empty() {
            None
        } else {
            let machine = state.machine.as_mut().expect("it has just decided");
            match self.append(machine, writer, &decided, now) {
                Ok(outcome) => {
                    for record in &decided {
                        match writer {
                            Some(writer) => machine.replay_transactional(writer.producer_id, record),
                            None => machine.replay(record),
                        }
                    }
                    Some(outcome)
                }
                Err(error) if writer.is_some() => {
                    self.answer_all(state, replies, error);
                    return;
                }
                Err(error) => {
                    let error_name = error.name();
                    tracing::info!(partition = %self.replica.name, error = error_name, "{} resigns", M::NAME);
                    self.answer_all(state, replies, error);
                    self.resign(state);
                    return;
                }
            }
        };
        self.deadline_moved.notify_one();
        let due = now.monotonic + self.commit_timeout;
        if outcome.is_none() && state.pending == 0 {
            self.answer(state, replies);
            self.work(work);
        } else {
            self.enqueue(state, Pending { outcome, replies, work, marker: None, due });
        }
    }

    fn enqueue(&self, state: &mut State<M>, pending: Pending<M>) {
        if self.queue.try_send(pending).is_ok() {
            state.pending += 1;
        } else {
            // What nobody waits for would never be answered.
            self.resign(state);
        }
    }

    /// Appends the marker that ends a producer's transaction in this log, between what the machine decides. What is returned
    /// tells when it is committed; its end, when the term ends before.
    ///
    /// # Errors
    /// The code to answer with when it is not appended.
    pub fn write_marker(
        self: &Arc<Self>,
        batch: Vec<u8>,
        terms: &Terms,
        ended: (ProducerId, bool),
    ) -> Result<oneshot::Receiver<Outcome>, ErrorCode> {
        let mut state = self.state.lock();
        let now = self.replicas.clock().now();
        // Not before the machine knows what is pending.
        let Some(machine) = &mut state.machine else { return Err(ErrorCode::NotLeaderOrFollower) };
        let appended =
            internal::append(&self.replicas, &self.replica, &mut [batch], Some(self.epoch), terms, now);
        let outcome = appended.map_err(|error| {
            if let AppendError::Log(LogAppendError::Storage(error)) = &error {
                self.replicas.handle_storage_error(error);
            }
            errors::append(&error)
        })?;
        let (producer_id, committed) = ended;
        machine.replay_marker(producer_id, committed);
        let (marker, heard) = oneshot::channel();
        let due = now.monotonic + self.commit_timeout;
        let (replies, work) = (Vec::new(), Vec::new());
        self.enqueue(
            &mut state,
            Pending { outcome: Some(outcome), replies, work, marker: Some(marker), due },
        );
        Ok(heard)
    }

    /// What a producer needs before its records are appended here (KIP-890); see `Partition::start_verification`.
    ///
    /// # Errors
    /// NOT_COORDINATOR when this broker does not lead.
    pub fn start_verification(
        &self,
        producer: (ProducerId, ProducerEpoch),
        supports_epoch_bump: bool,
    ) -> Result<Option<VerificationGuard>, ErrorCode> {
        let now = self.replicas.clock().now();
        let started = self.replica.lock().start_verification(producer, 0, supports_epoch_bump, now);
        started.map_err(|_| ErrorCode::NotCoordinator)
    }

    /// The partition that is its log.
    pub fn partition(&self) -> &TopicPartition {
        &self.replica.name
    }

    fn append(
        &self,
        machine: &M,
        writer: Option<Writer>,
        decided: &[M::Record],
        now: Now,
    ) -> Result<oneshot::Receiver<Outcome>, ErrorCode> {
        let bytes_max = self.replica.log_config().max_message_bytes;
        let mut batches = encode(machine, writer, decided, bytes_max, now)?;
        let terms = Terms { guard: writer.and_then(|writer| writer.guard), ..Terms::default() };
        let appended =
            internal::append(&self.replicas, &self.replica, &mut batches, Some(self.epoch), &terms, now);
        appended.map_err(|error| match error {
            AppendError::NotEnoughReplicas { .. } => ErrorCode::CoordinatorNotAvailable,
            // Nothing of ours is wrong: the producer's transaction is over, or somebody else's.
            AppendError::Log(LogAppendError::Producer(_)) if writer.is_some() => errors::append(&error),
            // A client asks for more than a batch holds.
            AppendError::Log(LogAppendError::Invalid(_)) if writer.is_some() => ErrorCode::UnknownServerError,
            AppendError::Log(LogAppendError::Invalid(error)) => {
                tracing::error!(partition = %self.replica.name, %error, "what was decided cannot be stored");
                ErrorCode::UnknownServerError
            }
            _ => ErrorCode::NotCoordinator,
        })
    }

    fn answer(&self, state: &mut State<M>, replies: Vec<(ReplyToken, M::Reply)>) {
        for (token, reply) in replies {
            if let Some(sender) = state.tokens.remove(&token) {
                // Whoever asked may have gone.
                let _ = sender.send(reply);
            }
        }
    }

    fn answer_all(&self, state: &mut State<M>, replies: Vec<(ReplyToken, M::Reply)>, error: ErrorCode) {
        let refused = replies.into_iter().map(|(token, reply)| (token, M::refuse(reply, error))).collect();
        self.answer(state, refused);
    }

    fn work(self: &Arc<Self>, work: Vec<M::Work>) {
        work.into_iter().for_each(|item| (self.worker)(self, item));
    }

    /// Ends the term: everything that waits is told to look for another coordinator.
    fn resign(&self, state: &mut State<M>) {
        if let Some(machine) = state.machine.take() {
            let replies = machine.resign();
            self.answer(state, replies);
        }
        // Whoever is left hears it from the end of their channel.
        state.tokens.clear();
        self.standing.send_replace(Standing::Resigned);
    }

    async fn run(self: Arc<Self>, mut queue: mpsc::Receiver<Pending<M>>, loading: Loading<M>) {
        let Some(mut machine) = self.load(loading).await else {
            self.resign(&mut self.state.lock());
            return;
        };
        {
            let mut state = self.state.lock();
            let now = self.replicas.clock().now();
            let decision = machine.handle_loaded(now);
            state.machine = Some(machine);
            self.standing.send_replace(Standing::Active);
            self.carry_out(&mut state, None, decision, now);
        }
        let mut line: VecDeque<Pending<M>> = VecDeque::new();
        loop {
            let Some(deadline) = self.state.lock().machine.as_ref().map(M::deadline) else {
                return;
            };
            let due = line.iter().find(|pending| !pending.replies.is_empty()).map(|pending| pending.due);
            let clock = self.replicas.clock();
            tokio::select! {
                biased;
                committed = committed(line.front_mut()), if !line.is_empty() => {
                    let pending = line.pop_front().expect("it was waited for");
                    let mut state = self.state.lock();
                    state.pending -= 1;
                    if committed {
                        self.answer(&mut state, pending.replies);
                        drop(state);
                        if let Some(marker) = pending.marker {
                            // Whoever waits may have given up.
                            let _ = marker.send(Outcome::Committed);
                        }
                        self.work(pending.work);
                    } else {
                        self.resign(&mut state);
                        return;
                    }
                }
                next = queue.recv() => match next {
                    Some(pending) => line.push_back(pending),
                    None => return,
                },
                () = self.deadline_moved.notified() => {}
                () = clock.sleep_until(deadline.into_iter().chain(due).min()) => {
                    let now = clock.monotonic();
                    self.give_up(&mut line, now);
                    self.handle_timeout(now);
                }
            }
        }
    }

    /// Replays what is missing. Nothing is appended meanwhile: only this shard would.
    async fn load(&self, mut loading: Loading<M>) -> Option<M> {
        let end = self.replica.lock().log().log_end_offset();
        loop {
            match loading.advance(&self.replica, end) {
                Ok(true) => return Some(loading.into_machine()),
                Ok(false) => tokio::task::yield_now().await,
                Err(error) => {
                    tracing::error!(%error, "{} cannot be loaded", M::NAME);
                    return None;
                }
            }
        }
    }

    /// Answers those who have waited too long for records to be committed: they had better ask again, and find
    /// out what came of it.
    fn give_up(&self, line: &mut VecDeque<Pending<M>>, now: Monotonic) {
        let mut state = self.state.lock();
        for pending in line.iter_mut().take_while(|pending| pending.due <= now) {
            let replies = std::mem::take(&mut pending.replies);
            self.answer_all(&mut state, replies, ErrorCode::CoordinatorNotAvailable);
        }
    }

    fn handle_timeout(self: &Arc<Self>, now: Monotonic) {
        let mut state = self.state.lock();
        let clock = self.replicas.clock().now();
        let Some(machine) = &mut state.machine else { return };
        if machine.deadline().is_some_and(|deadline| deadline <= now) {
            let decision = machine.handle_timeout(clock);
            self.carry_out(&mut state, None, decision, clock);
        }
    }

    /// Lets the machine handle an event to which nobody waits for an answer. Nothing happens unless it is active.
    pub fn notify(self: &Arc<Self>, event: impl FnOnce(&mut M, Now) -> Decision<M::Record, M::Effect>) {
        let mut state = self.state.lock();
        let now = self.replicas.clock().now();
        let Some(machine) = &mut state.machine else { return };
        let decision = event(machine, now);
        self.carry_out(&mut state, None, decision, now);
    }

    /// Looks at the machine, or tells it what changes nothing that its log rebuilds; `None` unless it is active.
    pub fn with<T>(&self, look: impl FnOnce(&mut M) -> T) -> Option<T> {
        self.state.lock().machine.as_mut().map(look)
    }

    /// The partition is led elsewhere: the term is over.
    pub fn stop(&self) {
        self.resign(&mut self.state.lock());
    }
}

/// Waits until the records of the first decision in line are committed; false when they will not be.
async fn committed<M: Machine>(head: Option<&mut Pending<M>>) -> bool {
    match head.and_then(|pending| pending.outcome.as_mut()) {
        Some(_) if is_made(Bug::CommitAnsweredBeforeReplicated) => true,
        // Its records are in the log of every in-sync replica; that they are fewer now does not undo it.
        Some(outcome) => matches!(outcome.await, Ok(Outcome::Committed | Outcome::NotEnoughReplicas)),
        None => true,
    }
}

/// What a record takes in a batch at most, besides its key and value.
const RECORD_OVERHEAD_BYTES_MAX: usize = 32;

/// The records as batches of at most `bytes_max`, unless one record alone is larger: the offsets that expire
/// at once, or those of a deleted topic, may be more than a batch holds, and would be as many the next time.
/// A producer's are one batch, or too many: half of them must not be in its transaction.
fn encode<M: Machine>(
    machine: &M,
    writer: Option<Writer>,
    decided: &[M::Record],
    bytes_max: usize,
    now: Now,
) -> Result<Vec<Vec<u8>>, ErrorCode> {
    let mut batches = Vec::new();
    let mut builder = match writer {
        Some(writer) => BatchBuilder::new().producer(writer.producer_id, writer.epoch, 0).transactional(),
        None => BatchBuilder::new(),
    };
    for record in decided {
        let (key, value) = machine.encode(record).map_err(|_| ErrorCode::UnknownServerError)?;
        let size = key.len() + value.as_ref().map_or(0, Vec::len) + RECORD_OVERHEAD_BYTES_MAX;
        if writer.is_none() && !builder.is_empty() && builder.uncompressed_bytes() + size > bytes_max {
            batches.push(std::mem::take(&mut builder).build());
        }
        builder.push(now.wall, Some(&key), value.as_deref(), &[]);
    }
    batches.push(builder.build());
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_coordinator::{GroupCoordinator, Settings};
    use ottla_protocol::records::group::{GroupRecord, OffsetCommitKey};
    use ottla_records::BatchView;
    use ottla_types::Timestamp;

    #[test]
    fn more_than_a_batch_holds_is_several() {
        let gone = |partition| {
            GroupRecord::OffsetCommit(
                OffsetCommitKey { group: "g".to_owned(), topic: "t".to_owned(), partition },
                None,
            )
        };
        let decided: Vec<GroupRecord> = (0..1000).map(gone).collect();
        let now = Now { monotonic: Monotonic(0), wall: Timestamp(0) };

        let machine = GroupCoordinator::new(Settings::default(), 1);

        let batches = encode(&machine, None, &decided, 4096, now).unwrap();

        assert!(batches.len() > 1 && batches.iter().all(|batch| batch.len() <= 4096));
        let count = |batch: &Vec<u8>| BatchView::parse_exactly(batch).unwrap().header().records_count;
        assert_eq!(batches.iter().map(count).sum::<i32>(), 1000);
    }
}
