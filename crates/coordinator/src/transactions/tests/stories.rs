//! One transactional id at a time.

use crate::reply::ReplyToken;
use crate::transactions::records::encode;
use crate::transactions::{
    ClientVersion, EndTransaction, InitProducerId, Markers, Producer, TransactionCoordinator,
    TransactionDecision, TransactionEffect, TransactionFilter, TransactionReply, TransactionSettings,
    TransactionState,
};
use ottla_protocol::ErrorCode::{self, ConcurrentTransactions, InvalidTxnState, ProducerFenced};
use ottla_types::{Monotonic, Now, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use std::collections::BTreeSet;
use std::time::Duration;

const TOKEN: ReplyToken = ReplyToken(1);
const START: Now = Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_000_000) };
use ClientVersion::{EpochBumps, EpochStays};

/// A coordinator whose log is committed at once.
struct Story {
    machine: TransactionCoordinator,
    now: Now,
    log: Vec<ottla_protocol::records::transaction::TransactionRecord>,
}

fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

fn partitions(of: &[i32]) -> BTreeSet<TopicPartition> {
    of.iter().map(|&partition| TopicPartition::new("t", partition)).collect()
}

impl Story {
    fn begin() -> Story {
        let mut machine = TransactionCoordinator::new(TransactionSettings::default());
        machine.handle_transaction_version(2);
        machine.handle_producer_ids((10..20).map(ProducerId));
        let _ = machine.handle_loaded(START);
        Story { machine, now: START, log: Vec::new() }
    }

    fn carry_out(&mut self, decision: TransactionDecision) -> (Option<TransactionReply>, Option<Markers>) {
        for record in &decision.records {
            self.machine.replay(record);
        }
        self.log.extend(decision.records);
        let (mut answer, mut markers) = (None, None);
        for effect in decision.replies {
            match effect {
                TransactionEffect::Reply(TOKEN, reply) => answer = Some(reply),
                TransactionEffect::Reply(token, _) => panic!("nobody asked with {token:?}"),
                TransactionEffect::WriteMarkers(written) => markers = Some(written),
            }
        }
        (answer, markers)
    }

    fn init(&mut self, expected: Producer) -> Result<Producer, ErrorCode> {
        let request = InitProducerId { transactional_id: "x".to_owned(), timeout_ms: 60_000, expected };
        let decision = self.machine.handle_init_producer_id(&request, TOKEN, self.now);
        match self.carry_out(decision) {
            (Some(TransactionReply::InitProducerId(answer)), _) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, by: Producer, to: &[i32]) -> ErrorCode {
        let decision = self.machine.handle_add_partitions("x", by, &partitions(to), TOKEN, self.now);
        match self.carry_out(decision) {
            (Some(TransactionReply::Added(error)), None) => error,
            other => panic!("{other:?}"),
        }
    }

    fn end(
        &mut self,
        by: Producer,
        committed: bool,
        client_version: ClientVersion,
    ) -> (Result<Producer, ErrorCode>, Option<Markers>) {
        let request =
            EndTransaction { transactional_id: "x".to_owned(), producer: by, committed, client_version };
        let decision = self.machine.handle_end_txn(&request, TOKEN, self.now);
        match self.carry_out(decision) {
            (Some(TransactionReply::EndTxn(answer)), markers) => (answer, markers),
            other => panic!("{other:?}"),
        }
    }

    fn written(&mut self, markers: &Markers) {
        let decision = self.machine.handle_markers_written("x", markers.producer, self.now);
        assert_eq!(self.carry_out(decision), (None, None));
    }

    /// Ends a transaction and writes its markers.
    fn end_and_complete(&mut self, by: Producer, committed: bool, version: ClientVersion) -> Producer {
        let (answer, markers) = self.end(by, committed, version);
        self.written(&markers.expect("it has just ended"));
        answer.unwrap()
    }

    fn state(&mut self) -> TransactionState {
        let decision = self.machine.handle_describe("x", TOKEN);
        match self.carry_out(decision) {
            (Some(TransactionReply::Described(Ok(described))), None) => described.state,
            other => panic!("{other:?}"),
        }
    }

    /// Begins anew until the id has one epoch left.
    fn use_up_epochs(&mut self) -> Producer {
        loop {
            let me = self.init(Producer::NONE).unwrap();
            if me.epoch.0 == i16::MAX - 1 {
                return me;
            }
        }
    }

    /// Another broker takes over: it has the log and nothing else.
    fn take_over(&mut self) -> Vec<Markers> {
        let log = std::mem::take(&mut self.log);
        let now = self.now;
        *self = Story { now, ..Story::begin() };
        for record in &log {
            self.machine.replay(record);
        }
        self.log = log;
        let effects = self.machine.handle_loaded(now).replies;
        let markers = effects.into_iter().map(|effect| match effect {
            TransactionEffect::WriteMarkers(markers) => markers,
            other => panic!("{other:?}"),
        });
        markers.collect()
    }

    fn pass(&mut self, time: Duration) -> TransactionDecision {
        self.now = self.now.after(time);
        self.machine.handle_timeout(self.now)
    }
}

#[test]
fn a_transaction_is_begun_and_committed() {
    for (version, after) in [(EpochStays, 0), (EpochBumps, 1)] {
        let mut story = Story::begin();
        let me = story.init(Producer::NONE).unwrap();
        assert_eq!(me, producer(10, 0));
        assert_eq!(story.add(me, &[0, 1]), ErrorCode::None);
        assert_eq!(story.add(me, &[1]), ErrorCode::None, "it takes part already");
        assert_eq!(story.state(), TransactionState::Ongoing);

        let (answer, markers) = story.end(me, true, version);

        assert_eq!(answer, Ok(producer(10, after)));
        let markers = markers.unwrap();
        assert_eq!(markers.partitions, partitions(&[0, 1]));
        assert_eq!((markers.committed, markers.producer), (true, producer(10, after)));
        assert_eq!(story.state(), TransactionState::PrepareCommit);
        assert_eq!(story.add(answer.unwrap(), &[3]), ConcurrentTransactions);
        assert_eq!(story.end(me, true, version).0, Err(ConcurrentTransactions), "not all partitions know");
        assert_eq!(story.end(me, false, version).0, Err(InvalidTxnState), "it cannot be undone");
        story.written(&markers);
        assert_eq!(story.state(), TransactionState::CompleteCommit);
        assert_eq!(story.end(me, true, version), (Ok(producer(10, after)), None), "the answer was lost");
        assert_eq!(story.end(me, false, version).0, Err(InvalidTxnState));
        assert_eq!(story.add(answer.unwrap(), &[5]), ErrorCode::None, "and the next");
    }
}

/// What an EndTxn is answered whose epoch is the producer's, or the one before (KIP-890).
#[test]
fn with_epochs_that_bump_what_repeats_is_known_from_what_is_new() {
    enum At {
        Current,
        Before,
    }
    use At::{Before, Current};
    let cases = [
        (TransactionState::CompleteAbort, false, Before, Ok(false)),
        (TransactionState::CompleteAbort, false, Current, Ok(true)),
        (TransactionState::CompleteAbort, true, Before, Err(InvalidTxnState)),
        (TransactionState::CompleteAbort, true, Current, Err(InvalidTxnState)),
        (TransactionState::CompleteCommit, false, Before, Err(InvalidTxnState)),
        (TransactionState::CompleteCommit, false, Current, Ok(true)),
        (TransactionState::CompleteCommit, true, Before, Ok(false)),
        (TransactionState::CompleteCommit, true, Current, Err(InvalidTxnState)),
        (TransactionState::Empty, false, Before, Err(ProducerFenced)),
        (TransactionState::Empty, false, Current, Ok(true)),
        (TransactionState::Empty, true, Before, Err(ProducerFenced)),
        (TransactionState::Empty, true, Current, Err(InvalidTxnState)),
    ];
    for (state, commits, at, expected) in cases {
        let mut story = Story::begin();
        let mut me = story.init(Producer::NONE).unwrap();
        if state == TransactionState::Empty {
            me = story.init(Producer::NONE).unwrap();
        } else {
            story.add(me, &[0]);
            me = story.end_and_complete(me, state == TransactionState::CompleteCommit, EpochBumps);
        }
        assert_eq!(story.state(), state);
        let before = Producer { epoch: ProducerEpoch(me.epoch.0 - 1), ..me };

        let (answer, markers) =
            story.end(if matches!(at, Current) { me } else { before }, commits, EpochBumps);

        // An empty transaction is aborted: the epoch is bumped, and there is nobody to tell.
        assert_eq!(
            answer.map(|_| markers.is_some()),
            expected,
            "{state:?} {commits} {}",
            matches!(at, Current)
        );
        if expected == Ok(true) {
            assert_eq!(answer, Ok(producer(10, me.epoch.0 + 1)));
            assert!(markers.unwrap().partitions.is_empty());
        }
    }
}

#[test]
fn whoever_starts_with_the_same_id_fences_the_one_before_and_aborts_its_transaction() {
    let mut story = Story::begin();
    let first = story.init(Producer::NONE).unwrap();
    story.add(first, &[0]);
    let request =
        InitProducerId { transactional_id: "x".to_owned(), timeout_ms: 60_000, expected: Producer::NONE };

    let decision = story.machine.handle_init_producer_id(&request, TOKEN, story.now);
    let (answer, markers) = story.carry_out(decision);

    assert_eq!(answer, Some(TransactionReply::InitProducerId(Err(ConcurrentTransactions))));
    let markers = markers.unwrap();
    assert_eq!(
        (markers.committed, markers.producer),
        (false, producer(10, 1)),
        "with an epoch that nobody has"
    );
    assert_eq!(story.init(Producer::NONE), Err(ConcurrentTransactions), "it is not over yet");
    assert_eq!(story.end(first, true, EpochBumps).0, Err(InvalidTxnState), "it came too late");
    story.written(&markers);
    assert_eq!(story.init(Producer::NONE), Ok(producer(10, 2)));
    assert_eq!(story.add(first, &[0]), ProducerFenced);
    assert_eq!(story.end(first, true, EpochStays).0, Err(ProducerFenced));
    assert_eq!(story.init(first), Err(ProducerFenced));
}

#[test]
fn a_producer_that_was_fenced_cannot_abort_its_successors_transaction() {
    let mut story = Story::begin();
    let first = story.init(Producer::NONE).unwrap();
    let second = story.init(Producer::NONE).unwrap();
    story.add(second, &[0]);

    assert_eq!(story.init(first), Err(ProducerFenced));
    assert_eq!(story.state(), TransactionState::Ongoing);
}

#[test]
fn who_has_not_heard_the_answer_is_initialised_once() {
    let mut story = Story::begin();
    let first = story.init(Producer::NONE).unwrap();

    let again = story.init(first).unwrap();

    assert_eq!(again, producer(10, 1));
    assert_eq!(story.init(first), Ok(again), "the same answer");
    assert_eq!(story.init(again), Ok(producer(10, 2)));
    assert_eq!(story.init(first), Err(ProducerFenced));
    story.take_over();
    assert_eq!(story.init(again), Err(ProducerFenced), "nobody remembers: better fenced than two of them");
}

#[test]
fn a_producer_whose_epochs_are_used_up_gets_another_id() {
    let mut story = Story::begin();
    let me = story.use_up_epochs();
    story.add(me, &[0]);

    let (answer, markers) = story.end(me, true, EpochBumps);

    assert_eq!(answer, Ok(producer(11, 0)));
    let markers = markers.unwrap();
    assert_eq!(markers.producer, producer(10, i16::MAX), "the old id's last epoch fences it");
    assert_eq!(story.end(me, true, EpochBumps).0, Err(ConcurrentTransactions));
    let again = story.take_over();
    assert_eq!(again, std::slice::from_ref(&markers));
    story.written(&markers);
    assert_eq!(story.end(me, true, EpochBumps).0, Ok(producer(11, 0)), "the answer was lost");
    assert_eq!(story.init(me), Err(ProducerFenced), "it has an epoch of its own now");
}

#[test]
fn who_begins_anew_with_used_up_epochs_gets_another_id_once() {
    let mut story = Story::begin();
    let me = story.use_up_epochs();

    assert_eq!(story.init(me), Ok(producer(11, 0)));
    assert_eq!(story.init(me), Ok(producer(11, 0)), "the answer was lost");
    assert_eq!(story.init(producer(11, 0)), Ok(producer(11, 1)));
}

#[test]
fn what_takes_too_long_is_aborted_and_its_producer_fenced() {
    let mut story = Story::begin();
    let me = story.init(Producer::NONE).unwrap();
    story.add(me, &[0]);
    assert!(story.pass(Duration::from_secs(59)).records.is_empty());

    let decision = story.pass(Duration::from_secs(10));
    let (_, markers) = story.carry_out(decision);

    let markers = markers.unwrap();
    assert_eq!((markers.committed, markers.producer), (false, producer(10, 1)));
    story.written(&markers);
    assert_eq!(story.add(me, &[0]), ProducerFenced);
    assert_eq!(story.init(me), Err(ProducerFenced));
}

#[test]
fn a_new_coordinator_gives_transactions_what_is_left_of_their_time() {
    let mut story = Story::begin();
    let me = story.init(Producer::NONE).unwrap();
    story.add(me, &[0]);
    story.now = story.now.after(Duration::from_secs(40));
    assert!(story.take_over().is_empty());

    assert!(story.pass(Duration::from_secs(15)).records.is_empty());
    assert_eq!(story.pass(Duration::from_secs(10)).records.len(), 1);
}

#[test]
fn an_id_that_nobody_uses_is_forgotten_after_a_week() {
    let mut story = Story::begin();
    story.init(Producer::NONE).unwrap();
    let week = TransactionSettings::default().id_expiration;
    assert!(story.pass(week - Duration::from_secs(1)).records.is_empty());

    let decision = story.pass(Duration::from_secs(3600));
    story.carry_out(decision);

    assert_eq!(story.machine.transactional_ids_count(), 0);
    assert_eq!(story.init(producer(10, 0)), Ok(producer(11, 0)), "whoever it was, it is somebody new");
}

#[test]
fn an_open_transaction_keeps_its_id() {
    let mut story = Story::begin();
    let me = story.init(Producer::NONE).unwrap();
    story.add(me, &[0]);
    let (_, markers) = story.end(me, true, EpochBumps);
    assert!(markers.is_some());

    let decision = story.pass(2 * TransactionSettings::default().id_expiration);

    assert!(decision.records.is_empty());
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut story = Story::begin();
    let init = |story: &mut Story, id: &str, timeout_ms| {
        let request =
            InitProducerId { transactional_id: id.to_owned(), timeout_ms, expected: Producer::NONE };
        let decision = story.machine.handle_init_producer_id(&request, TOKEN, START);
        story.carry_out(decision).0
    };
    for (id, timeout, error) in [
        ("", 1, ErrorCode::InvalidRequest),
        ("x", 0, ErrorCode::InvalidTransactionTimeout),
        ("x", -1, ErrorCode::InvalidTransactionTimeout),
        ("x", 900_001, ErrorCode::InvalidTransactionTimeout),
    ] {
        let refused = Some(TransactionReply::InitProducerId(Err(error)));
        assert_eq!(init(&mut story, id, timeout), refused, "{id} {timeout}");
    }
    let nobody = producer(99, 0);
    assert_eq!(story.add(nobody, &[0]), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(story.end(nobody, true, EpochBumps).0, Err(ErrorCode::InvalidProducerIdMapping));
    story.init(Producer::NONE).unwrap();
    assert_eq!(story.add(nobody, &[0]), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(story.init(nobody), Err(ProducerFenced));
    assert_eq!(story.end(producer(10, 0), false, EpochStays).0, Err(InvalidTxnState), "nothing has begun");
}

#[test]
fn without_a_producer_id_at_hand_a_new_producer_asks_again() {
    let mut machine = TransactionCoordinator::new(TransactionSettings::default());
    let _ = machine.handle_loaded(START);
    assert_eq!(machine.wanted_producer_ids(), 4);
    let mut story = Story { machine, now: START, log: Vec::new() };

    assert_eq!(story.init(Producer::NONE), Err(ErrorCode::CoordinatorLoadInProgress));
    story.machine.handle_producer_ids([ProducerId(7)]);
    assert_eq!(story.init(Producer::NONE), Ok(producer(7, 0)));
}

#[test]
fn a_leader_is_told_whether_a_partition_takes_part() {
    let mut story = Story::begin();
    let me = story.init(Producer::NONE).unwrap();
    story.add(me, &[0]);
    let mut verify = |by: Producer| {
        let decision = story.machine.handle_verify_partitions("x", by, &partitions(&[0, 1]), TOKEN);
        match story.carry_out(decision) {
            (Some(TransactionReply::Verified(errors)), None) => {
                errors.into_iter().map(|(_, error)| error).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(verify(me), [ErrorCode::None, ErrorCode::TransactionAbortable]);
    assert_eq!(verify(producer(10, 1)), [ProducerFenced, ProducerFenced]);
}

#[test]
fn transactions_are_listed_by_state_producer_and_age() {
    let mut story = Story::begin();
    let me = story.init(Producer::NONE).unwrap();
    story.add(me, &[0]);
    story.now = story.now.after(Duration::from_millis(500));
    let mut list = |filter: TransactionFilter| {
        let decision = story.machine.handle_list(&filter, TOKEN, story.now);
        match story.carry_out(decision) {
            (Some(TransactionReply::Listed(Ok(listed))), None) => listed.len(),
            other => panic!("{other:?}"),
        }
    };
    let all = TransactionFilter { duration_ms: -1, ..Default::default() };
    let of_state = |state| TransactionFilter { states: BTreeSet::from([state]), ..all.clone() };
    let of_producer =
        |id| TransactionFilter { producer_ids: BTreeSet::from([ProducerId(id)]), ..all.clone() };

    assert_eq!(list(all.clone()), 1);
    assert_eq!(list(of_state(TransactionState::Ongoing)), 1);
    assert_eq!(list(of_state(TransactionState::Empty)), 0);
    assert_eq!((list(of_producer(10)), list(of_producer(11))), (1, 0));
    assert_eq!(list(TransactionFilter { duration_ms: 499, ..all.clone() }), 1);
    assert_eq!(list(TransactionFilter { duration_ms: 500, ..all.clone() }), 0);
}

/// Kafka 4's `TransactionLog.valueToBytes`, version 1 as `transaction.version` 2 has it, and version 0.
#[test]
fn records_have_kafkas_bytes() {
    let mut story = Story::begin();
    let me = story.init(Producer::NONE).unwrap();
    story.add(me, &[0, 2]);
    let (key, value) = encode(&story.log[1], 0).unwrap();
    assert_eq!(key, [0, 0, 0, 1, b'x']);
    let mut expected = vec![0, 0];
    expected.extend(10_i64.to_be_bytes());
    expected.extend(0_i16.to_be_bytes());
    expected.extend(60_000_i32.to_be_bytes());
    expected.push(1);
    expected.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2]);
    expected.extend(START.wall.0.to_be_bytes());
    expected.extend(START.wall.0.to_be_bytes());
    assert_eq!(value.unwrap(), expected);

    let (_, value) = encode(&story.log[1], 2).unwrap();
    let value = value.unwrap();
    assert_eq!(value[..2], [0, 1]);
    assert_eq!(*value.last().unwrap(), 0, "no tagged field: all have their defaults");
}
