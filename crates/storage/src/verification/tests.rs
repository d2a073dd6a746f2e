use super::*;
use crate::{AppendError, Log, LogConfig, Recovery, SimDisk};
use ottla_records::{BatchBuilder, EndTxnMarker, Origin};
use ottla_types::{LeaderEpoch, Monotonic, Now, Offset};
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

const P: ProducerId = ProducerId(7);
const NOW: Now = Now { monotonic: Monotonic(0), wall: Timestamp(1_000) };

fn log() -> Log {
    let config = LogConfig { transaction_verification: true, ..LogConfig::default() };
    let (disk, dir) = (Arc::new(SimDisk::new()), PathBuf::from("topic-0"));
    Log::open(disk, dir, config, Recovery::UNKNOWN, NOW).unwrap().0
}

fn append(
    log: &mut Log,
    epoch: i16,
    sequence: i32,
    guard: Option<VerificationGuard>,
) -> Result<Offset, AppendError> {
    let mut builder = BatchBuilder::new().producer(P, ProducerEpoch(epoch), sequence).transactional();
    builder.push(NOW.wall, None, Some(b"record"), &[]);
    let mut bytes = builder.build();
    let rules = log.config().rules(Origin::Client, NOW.wall);
    let valid = ottla_records::validate(&mut bytes, &rules).unwrap();
    let terms = Terms { guard, ..Terms::default() };
    log.append_on(valid, LeaderEpoch(0), NOW, &terms).map(|info| info.base_offset)
}

fn end(log: &mut Log, epoch: i16, transaction_version: i16) -> Result<Offset, AppendError> {
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    let mut bytes = marker.batch(P, ProducerEpoch(epoch), NOW.wall, LeaderEpoch(0));
    let rules = log.config().rules(Origin::Coordinator, NOW.wall);
    let valid = ottla_records::validate(&mut bytes, &rules).unwrap();
    let terms = Terms { transaction_version, ..Terms::default() };
    log.append_on(valid, LeaderEpoch(0), NOW, &terms).map(|info| info.base_offset)
}

fn take(log: &mut Log, epoch: i16, sequence: i32, bump: bool) -> Option<VerificationGuard> {
    log.start_verification(P, ProducerEpoch(epoch), sequence, bump, NOW)
}

fn producer_error<T>(result: Result<T, AppendError>) -> ProducerError {
    match result {
        Err(AppendError::Producer(error)) => error,
        _ => panic!("the producer is refused"),
    }
}

fn is_unverified<T>(result: Result<T, AppendError>) -> bool {
    producer_error(result) == ProducerError::NotVerified { producer_id: P }
}

#[test]
fn a_transaction_begins_only_with_its_guard() {
    let mut log = log();
    assert!(is_unverified(append(&mut log, 0, 0, None)));
    let guard = take(&mut log, 0, 0, false);
    assert_eq!(take(&mut log, 0, 0, false), guard, "sent again while the first is asked about");
    assert!(is_unverified(append(&mut log, 0, 0, None)));

    append(&mut log, 0, 0, guard).unwrap();

    assert_eq!(take(&mut log, 0, 1, false), None, "it has begun");
    append(&mut log, 0, 1, None).unwrap();
}

#[test]
fn a_marker_makes_a_guard_void() {
    let mut log = log();
    let stale = take(&mut log, 0, 0, false);
    end(&mut log, 0, 0).unwrap();
    assert!(is_unverified(append(&mut log, 0, 0, stale)), "the transaction it was taken for is over");

    let fresh = take(&mut log, 0, 0, false);
    assert_ne!(fresh, stale);
    assert!(is_unverified(append(&mut log, 0, 0, stale)), "nor is it good for the next one");
    append(&mut log, 0, 0, fresh).unwrap();
}

#[test]
fn the_marker_of_the_transaction_before_leaves_the_guard_of_the_next_one() {
    let mut log = log();
    let first = take(&mut log, 0, 0, true);
    append(&mut log, 0, 0, first).unwrap();
    // The producer was told of its new epoch before the marker came here.
    let next = take(&mut log, 1, 0, true);
    assert!(next.is_some(), "what is open is of another epoch");

    end(&mut log, 1, 2).unwrap();
    append(&mut log, 1, 0, next).unwrap();

    let late = producer_error(end(&mut log, 1, 2));
    assert!(
        matches!(late, ProducerError::InvalidProducerEpoch { .. }),
        "it would end the wrong one: {late:?}"
    );
    end(&mut log, 2, 2).unwrap();
    end(&mut log, 2, 2).expect("a marker that is sent again ends nothing");
}

#[test]
fn a_later_batch_is_not_appended_before_the_earliest_one() {
    let mut log = log();
    let guard = take(&mut log, 0, 3, false);
    assert_eq!(take(&mut log, 0, 0, false), guard);
    let refused = producer_error(append(&mut log, 0, 3, guard));
    assert_eq!(refused, ProducerError::OutOfOrderSequence { producer_id: P, got: 3, last: 0 });

    append(&mut log, 0, 0, guard).unwrap();
}

#[test]
fn with_epochs_of_its_own_a_transaction_begins_with_sequence_zero() {
    let mut log = log();
    let guard = take(&mut log, 4, 2, true);
    let refused = producer_error(append(&mut log, 4, 2, guard));
    assert_eq!(refused, ProducerError::OutOfOrderSequence { producer_id: P, got: 2, last: -1 });
    take(&mut log, 5, 2, false);
    take(&mut log, 6, 0, false);

    append(&mut log, 6, 0, guard).expect("a higher epoch counts anew");
}

#[test]
fn what_is_never_answered_is_forgotten() {
    let mut log = log();
    let guard = take(&mut log, 0, 0, false);
    log.remove_expired_producers(NOW.after(std::time::Duration::from_secs(86_401)));

    assert!(is_unverified(append(&mut log, 0, 0, guard)));
}

#[test]
fn nothing_is_asked_for_where_verification_is_off() {
    let mut log = log();
    log.set_config(LogConfig::default());

    append(&mut log, 0, 0, None).unwrap();
}

/// What a transaction coordinator and a producer of transaction version 2 do, a step at a time.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The leader takes a guard for the producer's batch, and asks.
    Ask,
    /// The coordinator hears of a question, and lets the partition take part if the epoch is the present one.
    Hear(usize),
    /// The leader appends by an answer.
    Append(usize),
    /// The coordinator decides: the epoch grows.
    End,
    /// The marker reaches the leader, perhaps again.
    Mark(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Ask),
        (0..6_usize).prop_map(Step::Hear),
        (0..6_usize).prop_map(Step::Append),
        Just(Step::End),
        (0..4_usize).prop_map(Step::Mark),
    ];
    prop::collection::vec(step, 1..60)
}

struct Question {
    epoch: i16,
    guard: Option<VerificationGuard>,
    agreed: bool,
}

proptest! {
    /// In whatever order questions, answers and markers arrive: what is open in the log is known to the coordinator.
    #[test]
    fn no_transaction_is_open_that_nobody_will_end(steps in steps()) {
        let mut log = log();
        let (mut epoch, mut takes_part) = (0_i16, false);
        let mut questions: Vec<Question> = Vec::new();
        // Markers that are to be written, by epoch, and those that were.
        let (mut due, mut written): (Vec<i16>, Vec<i16>) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Ask => {
                    let guard = take(&mut log, epoch, 0, true);
                    questions.push(Question { epoch, guard, agreed: guard.is_none() });
                }
                Step::Hear(back) => {
                    let index = questions.len().saturating_sub(back + 1);
                    let Some(question) = questions.get_mut(index) else { continue };
                    // A transaction that ends is waited for (CONCURRENT_TRANSACTIONS).
                    if question.epoch == epoch && due.is_empty() {
                        question.agreed = true;
                        takes_part = true;
                    }
                }
                Step::Append(back) => {
                    let index = questions.len().saturating_sub(back + 1);
                    let Some(question) = questions.get(index).filter(|question| question.agreed) else { continue };
                    let _ = append(&mut log, question.epoch, 0, question.guard);
                }
                Step::End if takes_part && due.is_empty() => {
                    epoch += 1;
                    takes_part = false;
                    due.push(epoch);
                }
                Step::End => {}
                Step::Mark(back) => {
                    if let Some(marker) = due.pop() {
                        end(&mut log, marker, 2).unwrap();
                        written.push(marker);
                    } else if let Some(&again) = written.get(written.len().wrapping_sub(back + 1)) {
                        let _ = end(&mut log, again, 2);
                    }
                }
            }
            let open = log.producer(P).filter(|state| state.txn_first_offset.is_some());
            if let Some(state) = open {
                let will_end = (takes_part && state.epoch.0 == epoch) || due.iter().any(|&marker| marker > state.epoch.0);
                prop_assert!(will_end, "a transaction of epoch {:?} hangs: {step:?}", state.epoch);
            }
        }
    }
}
