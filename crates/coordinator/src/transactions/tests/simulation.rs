//! Transactions under faults, by seed: coordinators that come and go, answers and markers that are lost or late, producers that
//! crash and come back while what they sent is still on its way.
//!
//! Held here: TXN-2 (all records of a transaction have one outcome, the one its producer was told) and TXN-3 (no two
//! producers are the same incarnation) and LIVE-1 (when faults end every transaction does).

use crate::reply::ReplyToken;
use crate::transactions::{
    ClientVersion, EndTransaction, InitProducerId, Markers, Producer, TransactionCoordinator,
    TransactionDecision, TransactionEffect, TransactionReply, TransactionSettings,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::records::transaction::TransactionRecord;
use ottla_types::{Monotonic, Now, ProducerEpoch, ProducerId, Random, Timestamp, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SEEDS: u64 = 1_000;
const STEPS: usize = 2_000;
const PARTITIONS: i32 = 3;

/// One transaction as its producer sees it; the number is never used again.
type Attempt = u64;

/// The leader of a partition, as far as transactions concern it.
#[derive(Default)]
struct Partition {
    epochs: BTreeMap<ProducerId, ProducerEpoch>,
    /// The latest coordinator's term that has ended something.
    terms: BTreeMap<ProducerId, u64>,
    open: BTreeMap<ProducerId, Vec<Attempt>>,
    /// What became of each record.
    ended: Vec<(Attempt, bool)>,
}

impl Partition {
    fn append(&mut self, by: Producer, attempt: Attempt) -> bool {
        let known = self.epochs.entry(by.id).or_insert(by.epoch);
        if by.epoch < *known {
            return false;
        }
        *known = by.epoch;
        self.open.entry(by.id).or_default().push(attempt);
        true
    }

    /// As a leader's producer state has it: a marker of an earlier coordinator, or one that comes when the producer's next
    /// transaction has begun (KIP-1228), ends nothing.
    fn mark(&mut self, markers: &Markers, term: u64) {
        let Producer { id, epoch } = markers.producer;
        let known = self.epochs.entry(id).or_insert(epoch);
        let known_term = self.terms.entry(id).or_insert(term);
        let is_late = markers.transaction_version >= 2 && epoch == *known && self.open.contains_key(&id);
        if epoch < *known || is_late || term < *known_term {
            return;
        }
        *known_term = term;
        *known = markers.producer.epoch;
        let open = self.open.remove(&markers.producer.id).unwrap_or_default();
        self.ended.extend(open.into_iter().map(|attempt| (attempt, markers.committed)));
    }
}

/// What a producer does next.
#[derive(Clone, Debug, PartialEq)]
enum Doing {
    Initialising,
    Adding(i32),
    Writing(i32),
    Ending { committed: bool },
}

#[derive(Clone, Debug)]
struct Client {
    /// The process: another one after a crash.
    incarnation: u64,
    transactional_id: String,
    version: ClientVersion,
    me: Producer,
    doing: Doing,
    attempt: Attempt,
    /// The request whose answer it waits for.
    waits_for: Option<ReplyToken>,
}

enum Message {
    Request { token: ReplyToken, client: usize, request: Client },
    Answer { token: ReplyToken, client: usize, reply: TransactionReply },
    Markers { markers: Markers, term: u64 },
    Written { markers: Markers, term: u64 },
}

struct World {
    random: Random,
    now: Now,
    /// All that was appended; the first `committed` records no coordinator loses.
    log: Vec<TransactionRecord>,
    committed: usize,
    coordinator: TransactionCoordinator,
    term: u64,
    /// What follows when the log is committed up to there.
    waiting: Vec<(usize, TransactionEffect)>,
    owners: BTreeMap<ReplyToken, usize>,
    messages: Vec<Message>,
    clients: Vec<Client>,
    partitions: Vec<Partition>,
    next_token: u64,
    next_attempt: Attempt,
    next_producer_id: i64,
    /// What producers were told.
    told: BTreeMap<Attempt, bool>,
    incarnations: BTreeMap<Producer, u64>,
    mistake: Option<Mistake>,
}

/// What a driver may get wrong; each must be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    /// Markers are sent before the decision is committed.
    MarkersBeforeDecision,
    /// The end is answered before it is committed.
    AnswerBeforeDecision,
    /// A new coordinator does not send markers again.
    MarkersForgotten,
}

impl World {
    fn new(seed: u64, mistake: Option<Mistake>) -> World {
        let mut random = Random::new(seed);
        let clients = (0..4)
            .map(|number| Client {
                incarnation: number,
                // Two of them have the same id, and fence each other.
                transactional_id: if number < 2 { "shared".to_owned() } else { format!("x{number}") },
                version: if random.below(2) == 0 {
                    ClientVersion::EpochStays
                } else {
                    ClientVersion::EpochBumps
                },
                me: Producer::NONE,
                doing: Doing::Initialising,
                attempt: 0,
                waits_for: None,
            })
            .collect();
        let now = Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_000_000) };
        let mut world = World {
            random,
            now,
            log: Vec::new(),
            committed: 0,
            coordinator: TransactionCoordinator::new(TransactionSettings::default()),
            term: 0,
            waiting: Vec::new(),
            owners: BTreeMap::new(),
            messages: Vec::new(),
            clients,
            partitions: (0..PARTITIONS).map(|_| Partition::default()).collect(),
            next_token: 0,
            next_attempt: 1,
            next_producer_id: 1,
            told: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            mistake,
        };
        world.take_over();
        world
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    /// Another broker coordinates: it has what is committed, and perhaps some of what is not.
    fn take_over(&mut self) {
        let kept = self.committed + self.random.below((self.log.len() - self.committed) as u64 + 1) as usize;
        self.log.truncate(kept);
        self.committed = kept;
        self.waiting.clear();
        self.term += 1;
        self.coordinator = TransactionCoordinator::new(TransactionSettings::default());
        self.coordinator.handle_transaction_version(2);
        for record in &self.log {
            self.coordinator.replay(record);
        }
        self.fetch_producer_ids();
        let mut decision = self.coordinator.handle_loaded(self.now);
        if self.mistake == Some(Mistake::MarkersForgotten) {
            decision.replies.clear();
        }
        self.carry_out(decision);
    }

    fn fetch_producer_ids(&mut self) {
        let wanted = self.coordinator.wanted_producer_ids() as i64;
        self.coordinator
            .handle_producer_ids((self.next_producer_id..self.next_producer_id + wanted).map(ProducerId));
        self.next_producer_id += wanted;
    }

    fn carry_out(&mut self, decision: TransactionDecision) {
        for record in decision.records {
            self.coordinator.replay(&record);
            self.log.push(record);
        }
        for effect in decision.replies {
            let early = match self.mistake {
                Some(Mistake::MarkersBeforeDecision) => matches!(effect, TransactionEffect::WriteMarkers(_)),
                Some(Mistake::AnswerBeforeDecision) => {
                    matches!(effect, TransactionEffect::Reply(_, TransactionReply::EndTxn(_)))
                }
                Some(Mistake::MarkersForgotten) | None => false,
            };
            self.waiting.push((if early { 0 } else { self.log.len() }, effect));
        }
        self.fetch_producer_ids();
        self.release();
    }

    fn release(&mut self) {
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(offset, _)| *offset <= self.committed);
        self.waiting = waiting;
        for (_, effect) in ready {
            self.messages.push(match effect {
                TransactionEffect::Reply(token, reply) => {
                    Message::Answer { token, client: self.owners[&token], reply }
                }
                TransactionEffect::WriteMarkers(markers) => Message::Markers { markers, term: self.term },
            });
        }
    }

    fn step(&mut self, calm: bool) {
        self.now = self.now.after(Duration::from_millis(self.random.below(if calm { 2_000 } else { 300 })));
        let choice = self.random.below(100);
        match choice {
            0..=1 if !calm => self.take_over(),
            2..=3 if !calm => self.crash(),
            4..=29 => {
                self.committed += self.random.below((self.log.len() - self.committed) as u64 + 1) as usize;
                self.release();
            }
            30..=34 => {
                let decision = self.coordinator.handle_timeout(self.now);
                self.carry_out(decision);
            }
            35..=59 => {
                let client = self.random.below(self.clients.len() as u64) as usize;
                self.act(client, calm);
            }
            _ => self.deliver(calm),
        }
    }

    /// A process ends, and one with the same transactional id begins; what it had sent is still on its way.
    fn crash(&mut self) {
        let client = self.random.below(self.clients.len() as u64) as usize;
        let incarnation = self.next_token + 1_000;
        self.next_token += 1;
        let client = &mut self.clients[client];
        *client = Client {
            incarnation,
            me: Producer::NONE,
            doing: Doing::Initialising,
            waits_for: None,
            ..client.clone()
        };
    }

    fn act(&mut self, number: usize, calm: bool) {
        // Now and then an answer is given up, and the request sent again.
        if self.clients[number].waits_for.is_some() && !(calm || self.chance(20)) {
            return;
        }
        let client = self.clients[number].clone();
        if let Doing::Writing(partition) = client.doing {
            // What its leader verifies before it appends.
            let at = BTreeSet::from([TopicPartition::new("t", partition)]);
            let token = ReplyToken(u64::MAX);
            let found =
                self.coordinator.handle_verify_partitions(&client.transactional_id, client.me, &at, token);
            let verified = match &found.replies[..] {
                [TransactionEffect::Reply(_, TransactionReply::Verified(errors))] => errors[0].1,
                other => panic!("{other:?}"),
            };
            match verified {
                ErrorCode::None => {
                    let appended = self.partitions[partition as usize].append(client.me, client.attempt);
                    self.clients[number].doing = match self.random.below(3) {
                        _ if !appended => Doing::Initialising,
                        0 => Doing::Adding(self.random.below(PARTITIONS as u64) as i32),
                        choice => Doing::Ending { committed: choice == 1 },
                    };
                    if !appended {
                        self.clients[number].me = Producer::NONE;
                    }
                }
                ErrorCode::ConcurrentTransactions => {}
                // It is fenced, or its coordinator has lost what it was told: it starts over.
                _ => {
                    self.clients[number].doing = Doing::Initialising;
                    self.clients[number].me = Producer::NONE;
                }
            }
            return;
        }
        let token = ReplyToken(self.next_token);
        self.next_token += 1;
        self.owners.insert(token, number);
        self.clients[number].waits_for = Some(token);
        self.messages.push(Message::Request { token, client: number, request: client });
    }

    fn deliver(&mut self, calm: bool) {
        if self.messages.is_empty() {
            return;
        }
        let index = self.random.below(self.messages.len() as u64) as usize;
        let message = self.messages.swap_remove(index);
        let lost = !calm && self.chance(10);
        match message {
            Message::Request { token, client, request } => {
                if !lost {
                    assert_eq!(self.owners[&token], client);
                    self.handle(token, &request);
                }
            }
            Message::Answer { token, client, reply } => {
                if !lost && self.clients[client].waits_for == Some(token) {
                    self.hear(client, reply);
                }
            }
            Message::Markers { markers, term } => {
                // Each partition may hear of it, or not; it is tried again until all have.
                let mut all = true;
                for TopicPartition { partition, .. } in markers.partitions.clone() {
                    if !calm && self.chance(30) {
                        all = false;
                    } else {
                        self.partitions[partition as usize].mark(&markers, term);
                    }
                }
                if all {
                    self.messages.push(Message::Written { markers, term });
                } else if term == self.term {
                    self.messages.push(Message::Markers { markers, term });
                }
            }
            Message::Written { markers, term } => {
                if term == self.term {
                    let decision = self.coordinator.handle_markers_written(
                        &markers.transactional_id,
                        markers.producer,
                        self.now,
                    );
                    self.carry_out(decision);
                }
            }
        }
    }

    fn handle(&mut self, token: ReplyToken, client: &Client) {
        let id = &client.transactional_id;
        let decision = match &client.doing {
            Doing::Initialising => self.coordinator.handle_init_producer_id(
                &InitProducerId { transactional_id: id.clone(), timeout_ms: 5_000, expected: client.me },
                token,
                self.now,
            ),
            Doing::Adding(partition) => self.coordinator.handle_add_partitions(
                id,
                client.me,
                &BTreeSet::from([TopicPartition::new("t", *partition)]),
                token,
                self.now,
            ),
            Doing::Ending { committed } => self.coordinator.handle_end_txn(
                &EndTransaction {
                    transactional_id: id.clone(),
                    producer: client.me,
                    committed: *committed,
                    client_version: client.version,
                },
                token,
                self.now,
            ),
            Doing::Writing(_) => unreachable!("that goes to a leader"),
        };
        self.carry_out(decision);
    }

    fn hear(&mut self, number: usize, reply: TransactionReply) {
        let attempt = self.next_attempt;
        let first_partition = self.random.below(PARTITIONS as u64) as i32;
        let client = &mut self.clients[number];
        client.waits_for = None;
        match (reply, client.doing.clone()) {
            (TransactionReply::InitProducerId(Ok(me)), Doing::Initialising) => {
                let owner = *self.incarnations.entry(me).or_insert(client.incarnation);
                assert_eq!(owner, client.incarnation, "TXN-3: two producers are {me:?}");
                client.me = me;
                client.attempt = attempt;
                client.doing = Doing::Adding(first_partition);
                self.next_attempt += 1;
            }
            (TransactionReply::Added(ErrorCode::None), Doing::Adding(partition)) => {
                client.doing = Doing::Writing(partition);
            }
            (TransactionReply::EndTxn(Ok(me)), Doing::Ending { committed }) => {
                self.told.insert(client.attempt, committed);
                if client.version == ClientVersion::EpochBumps {
                    client.me = me;
                }
                client.attempt = attempt;
                client.doing = Doing::Adding(first_partition);
                self.next_attempt += 1;
            }
            (
                TransactionReply::InitProducerId(Err(error))
                | TransactionReply::Added(error)
                | TransactionReply::EndTxn(Err(error)),
                _,
            ) => match error {
                ErrorCode::ConcurrentTransactions | ErrorCode::CoordinatorLoadInProgress => {}
                // It is fenced, and starts over as somebody else.
                _ => {
                    client.me = Producer::NONE;
                    client.doing = Doing::Initialising;
                }
            },
            (reply, doing) => panic!("{reply:?} to {doing:?}"),
        }
    }

    fn judge(&self) {
        let mut outcomes: BTreeMap<Attempt, bool> = BTreeMap::new();
        for (attempt, committed) in self.partitions.iter().flat_map(|partition| &partition.ended) {
            let first = *outcomes.entry(*attempt).or_insert(*committed);
            assert_eq!(
                first, *committed,
                "TXN-2: attempt {attempt} is committed in one place and aborted in another"
            );
        }
        for (attempt, committed) in &self.told {
            if let Some(outcome) = outcomes.get(attempt) {
                assert_eq!(outcome, committed, "TXN-2: attempt {attempt} is not what its producer was told");
            }
        }
    }

    /// Nobody begins anything any more: what is open ends.
    fn calm_down(&mut self) {
        self.take_over();
        self.clients.clear();
        for _ in 0..2_000 {
            self.step_without_clients();
        }
        for (number, partition) in self.partitions.iter().enumerate() {
            assert!(
                partition.open.is_empty(),
                "LIVE-1: left open in partition {number}: {:?}",
                partition.open
            );
        }
    }

    fn step_without_clients(&mut self) {
        self.now = self.now.after(Duration::from_millis(100));
        self.committed = self.log.len();
        self.release();
        let decision = self.coordinator.handle_timeout(self.now);
        self.carry_out(decision);
        self.messages.retain(|message| matches!(message, Message::Markers { .. } | Message::Written { .. }));
        self.deliver(true);
    }
}

/// Returns how many transactions were ended as told, and how many of them were committed.
fn run(seed: u64, mistake: Option<Mistake>) -> (usize, usize) {
    let mut world = World::new(seed, mistake);
    for _ in 0..STEPS {
        world.step(false);
        world.judge();
    }
    world.calm_down();
    world.judge();
    (world.told.len(), world.told.values().filter(|committed| **committed).count())
}

#[test]
fn transactions_have_one_outcome() {
    let (mut told, mut committed) = (0, 0);
    for seed in ottla_types::seeds(SEEDS) {
        let (all, with_commit) = std::panic::catch_unwind(|| run(seed, None)).unwrap_or_else(|cause| {
            println!("seed {seed} fails");
            std::panic::resume_unwind(cause)
        });
        told += all;
        committed += with_commit;
    }
    println!("{told} transactions were ended, {committed} of them committed");
    assert!(
        committed > SEEDS as usize && told - committed > SEEDS as usize,
        "too few to prove anything: {told}"
    );
}

/// How many seeds it takes until a mistake is noticed.
fn noticed_after(mistake: Mistake, seeds_max: u64) -> u64 {
    let noticed = |seed: &u64| std::panic::catch_unwind(|| run(*seed, Some(mistake))).is_err();
    let seed = (0..seeds_max)
        .find(noticed)
        .unwrap_or_else(|| panic!("{mistake:?}: unnoticed after {seeds_max} seeds"));
    println!("{mistake:?}: noticed after {} seeds", seed + 1);
    seed + 1
}

#[test]
fn notices_markers_that_are_sent_before_the_decision_is_committed() {
    noticed_after(Mistake::MarkersBeforeDecision, 500);
}

#[test]
fn notices_an_end_that_is_answered_before_it_is_committed() {
    noticed_after(Mistake::AnswerBeforeDecision, 500);
}

#[test]
fn notices_markers_that_a_new_coordinator_forgets() {
    noticed_after(Mistake::MarkersForgotten, 50);
}
