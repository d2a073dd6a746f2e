//! Consumer groups under faults, by seed: members that join, leave, crash, lose answers, change their minds and are slow;
//! coordinators that fail over; topics that come, grow and go.
//!
//! Held here: GROUP-2 (no partition is owned by two, as members believe and as the coordinator does), that the log rebuilds
//! all but deadlines, compacted or not, and LIVE-2 (when faults end, every partition is read by one member, and rests).
//!
//! In worlds that are mixed, processes speak the classic protocol as well, and come back with the other one: the group changes
//! its type with them.
//!
//! A member that gives up on a request closes its connection: what it sent is handled before the next one, or never.

mod classic;
mod client;
mod consumer;

use super::view::View;
use crate::consumer_group::bug::{self, Bug};
use crate::consumer_group::group::{ConsumerGroup, ConsumerGroupState};
use crate::consumer_group::member::Partitions;
use crate::group::GroupState;
use crate::presence::ConnectionToken;
use crate::{
    ConsumerGroupSettings, GroupCoordinator, GroupDecision, GroupReply, ReplyToken, RequestContext, Settings,
};
use classic::Call;
use client::{Client, SESSION};
use consumer::{Consumer, Request, Times};
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::records::group::GroupRecord;
use ottla_types::{Monotonic, Now, Random, Timestamp, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SEEDS: u64 = 400;
const STEPS: usize = 2_000;
const CLIENTS: usize = 5;
const TOPICS: [&str; 4] = ["a", "b", "c1", "c2"];

enum Message {
    Request {
        token: ReplyToken,
        request: Request,
    },
    /// `at`: when it was decided.
    Answer {
        token: ReplyToken,
        reply: GroupReply,
        at: Monotonic,
    },
}

/// What a driver may get wrong; it must be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    /// Members are answered before the decision is committed.
    AnswerBeforeDecision,
    /// The machine makes one.
    Bug(Bug),
}

/// Which protocols processes speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Consumer,
    /// Those of the classic one keep what they own while they join.
    Cooperative,
    /// Those of the classic one give up everything before they join.
    Eager,
}

struct World {
    random: Random,
    now: Now,
    topics: View,
    /// All that was appended; the first `committed` records no coordinator loses.
    log: Vec<GroupRecord>,
    committed: usize,
    /// Where decisions end in it: each is appended as one batch, and is there as a whole or not at all.
    ends: BTreeSet<usize>,
    coordinator: GroupCoordinator,
    /// What is answered when the log is committed up to there.
    waiting: Vec<(usize, ReplyToken, GroupReply, Monotonic)>,
    messages: Vec<Message>,
    clients: Vec<Consumer>,
    /// Who sent a request, and what it said to own.
    sent: BTreeMap<ReplyToken, (usize, Option<Partitions>)>,
    next_token: u64,
    next_member: u64,
    mistake: Option<Mistake>,
    kinds: Kinds,
    /// Whether faults are over.
    is_calm: bool,
    /// Whether all processes speak the classic protocol from then on.
    ends_classic: bool,
    /// How often the group has become one of the other type.
    migrations: usize,
    was_classic: bool,
    /// How often a partition has changed hands.
    moves: usize,
    readers: BTreeMap<TopicIdPartition, String>,
}

fn settings() -> Settings {
    let consumer_groups = ConsumerGroupSettings { session_timeout: SESSION, ..Default::default() };
    Settings { consumer_groups, session_timeout_min: SESSION, ..Settings::default() }
}

impl World {
    fn new(seed: u64, kinds: Kinds, mistake: Option<Mistake>) -> World {
        let mut world = World {
            random: Random::new(seed),
            now: Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_000_000) },
            topics: View::default(),
            log: Vec::new(),
            committed: 0,
            ends: BTreeSet::from([0]),
            coordinator: GroupCoordinator::new(settings(), seed),
            waiting: Vec::new(),
            messages: Vec::new(),
            clients: Vec::new(),
            sent: BTreeMap::new(),
            next_token: 0,
            next_member: 0,
            mistake,
            kinds,
            is_calm: false,
            ends_classic: kinds != Kinds::Consumer && seed.is_multiple_of(2),
            migrations: 0,
            was_classic: false,
            moves: 0,
            readers: BTreeMap::new(),
        };
        for name in TOPICS {
            let partitions = world.random.below(5) as i32 + 1;
            world.topics.set(name, partitions);
        }
        for number in 0..CLIENTS {
            let instance_id = (number < 2).then(|| format!("i{number}"));
            let member_id = world.member_id();
            world.clients.push(Consumer::Modern(Client::new(member_id, instance_id)));
            world.subscribe(number);
            world.crash(number);
        }
        world.take_over();
        world
    }

    fn member_id(&mut self) -> String {
        self.next_member += 1;
        format!("m{}", self.next_member)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    /// A client changes its mind.
    fn subscribe(&mut self, number: usize) {
        let mut names = vec!["a".to_owned()];
        let mut regex = String::new();
        match self.random.below(6) {
            0 => names.push("b".to_owned()),
            1 => names = vec!["b".to_owned(), "c1".to_owned(), "missing".to_owned()],
            2 => (names, regex) = (Vec::new(), "c[0-9]|a".to_owned()),
            3 => regex = "c.".to_owned(),
            4 => names.clear(),
            _ => {}
        }
        let assignor = [None, Some("uniform"), Some("range")][self.random.below(3) as usize];
        let client = match &mut self.clients[number] {
            Consumer::Modern(client) => client,
            Consumer::Classic(client) => {
                client.names = names;
                if client.waits_for.is_none() && client.is_settled() {
                    client.join_again();
                }
                return;
            }
        };
        (client.names, client.regex, client.tells_all) = (names, regex, true);
        client.assignor = assignor.map(str::to_owned);
    }

    /// Another broker coordinates: it has what is committed, and perhaps some of what is not.
    fn take_over(&mut self) {
        let kept = self.any_end();
        let before = (kept == self.log.len()).then(|| self.group().map(stored));
        self.log.truncate(kept);
        self.ends.retain(|end| *end <= kept);
        self.committed = kept;
        self.waiting.clear();
        self.lose_connections();
        self.next_token += 1_000;
        self.coordinator = GroupCoordinator::new(settings(), self.next_token);
        if self.chance(50) {
            self.log = compacted(&self.log);
            self.committed = self.log.len();
            self.ends = BTreeSet::from([self.committed]);
        }
        for record in &self.log {
            self.coordinator.replay(record);
        }
        if let Some(before) = before {
            assert_eq!(self.group().map(stored), before, "the log rebuilds all but deadlines");
        }
        let decision = self.coordinator.handle_loaded(self.now);
        self.carry_out(decision);
    }

    /// Those who may wait for long notice at once that nobody is there any more who could answer.
    fn lose_connections(&mut self) {
        for number in 0..self.clients.len() {
            if let Consumer::Classic(client) = &mut self.clients[number] {
                client.lose_connection(self.now.monotonic);
                self.drop_requests_of(number);
            }
        }
    }

    fn drop_requests_of(&mut self, number: usize) {
        let sent = &self.sent;
        self.messages
            .retain(|message| !matches!(message, Message::Request { token, .. } if sent[token].0 == number));
    }

    fn group(&self) -> Option<&ConsumerGroup> {
        self.coordinator.consumer_groups.get("g")
    }

    fn carry_out(&mut self, decision: GroupDecision) {
        let decided = self.coordinator.consumer_groups.clone();
        for record in decision.records {
            self.coordinator.replay(&record);
            self.log.push(record);
        }
        self.ends.insert(self.log.len());
        assert_eq!(self.coordinator.consumer_groups, decided, "replaying a decision changes nothing");
        for (token, reply) in decision.replies {
            let early = self.mistake == Some(Mistake::AnswerBeforeDecision);
            self.waiting.push((if early { 0 } else { self.log.len() }, token, reply, self.now.monotonic));
        }
        self.release();
    }

    fn release(&mut self) {
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(end, ..)| *end <= self.committed);
        self.waiting = waiting;
        self.messages.extend(ready.into_iter().map(|(_, token, reply, at)| Message::Answer {
            token,
            reply,
            at,
        }));
    }

    /// The end of a decision that is committed, or may be.
    fn any_end(&mut self) -> usize {
        let ends: Vec<usize> = self.ends.range(self.committed..).copied().collect();
        ends[self.random.index(ends.len())]
    }

    fn commit(&mut self, end: usize) {
        self.committed = end;
        self.release();
    }

    fn step(&mut self) {
        self.pass(self.random.clone().below(200));
        let number = self.random.below(CLIENTS as u64) as usize;
        match self.random.below(200) {
            0..=1 => self.take_over(),
            2..=3 => self.crash(number),
            4..=5 => self.leave(number),
            6..=7 => self.subscribe(number),
            8 => self.change_topics(),
            9..=39 => {
                let end = self.any_end();
                self.commit(end);
            }
            40..=109 => self.act(number),
            _ => self.deliver(true),
        }
    }

    /// Time goes by.
    fn pass(&mut self, ms: u64) {
        self.random.next_u64();
        self.now = self.now.after(Duration::from_millis(ms));
        for number in 0..self.clients.len() {
            let client = &mut self.clients[number];
            let awaited = client.waits_for();
            if client.is_running() {
                client.tick(self.now.monotonic);
            }
            if awaited.is_some() && client.waits_for().is_none() {
                // It has started over, and its connection with it.
                self.drop_requests_of(number);
            }
        }
        if self.coordinator.deadline().is_some_and(|deadline| deadline <= self.now.monotonic) {
            let decision = self.coordinator.handle_timeout(self.now);
            self.carry_out(decision);
        }
    }

    /// A process ends without a word, and another one begins; what it had sent is still on its way.
    fn crash(&mut self, number: usize) {
        let member_id = self.member_id();
        let is_classic = match self.kinds {
            Kinds::Consumer => false,
            _ if self.is_calm => self.ends_classic,
            _ => self.chance(50),
        };
        let kinds = self.kinds;
        let next = self.clients[number].restarted(member_id, is_classic, kinds == Kinds::Cooperative);
        self.clients[number] = next;
    }

    /// A process ends with a word, which may be lost, and another one begins.
    fn leave(&mut self, number: usize) {
        self.give_up(number);
        let Consumer::Modern(client) = &self.clients[number] else {
            if let Consumer::Classic(client) = &self.clients[number]
                && let Some(request) = consumer::farewell(client)
                && self.random.clone().below(100) < 90
            {
                let token = self.token(number, None);
                self.handle(token, &request);
            }
            return self.crash(number);
        };
        let farewell = if client.instance_id.is_some() { -2 } else { -1 };
        let request = ConsumerGroupHeartbeatRequest {
            member_epoch: farewell,
            group_id: "g".to_owned(),
            member_id: client.member_id.clone(),
            instance_id: client.instance_id.clone(),
            ..Default::default()
        };
        if client.epoch > 0 && self.chance(90) {
            let token = self.token(number, None);
            self.handle(token, &Request::Lives(request));
        }
        self.crash(number);
    }

    fn change_topics(&mut self) {
        let name = TOPICS[self.random.below(TOPICS.len() as u64) as usize];
        match self.topics.topics.get(name).copied() {
            None => self.topics.set(name, 3),
            Some(topic) if topic.partitions < 12 && self.chance(70) => {
                self.topics.set(name, topic.partitions + 2)
            }
            Some(_) => self.topics.delete(name),
        }
    }

    fn token(&mut self, number: usize, owned: Option<Partitions>) -> ReplyToken {
        let token = ReplyToken(self.next_token);
        self.next_token += 1;
        self.sent.insert(token, (number, owned));
        token
    }

    /// A client stops waiting for an answer. Its request is handled at last, or never.
    fn give_up(&mut self, number: usize) {
        let Some((given_up, _)) = self.clients[number].give_up(self.now.monotonic) else { return };
        let is_it =
            |message: &Message| matches!(message, Message::Request { token, .. } if *token == given_up);
        if let Some(index) = self.messages.iter().position(is_it)
            && let Message::Request { token, request } = self.messages.swap_remove(index)
            && self.chance(50)
        {
            self.handle(token, &request);
        }
    }

    fn act(&mut self, number: usize) {
        if !self.clients[number].is_running() {
            return self.crash(number);
        }
        if self.clients[number].waits_for().is_some() {
            if !self.chance(20) {
                return;
            }
            self.give_up(number);
        }
        self.send(number);
    }

    fn send(&mut self, number: usize) {
        let (request, owned) = self.clients[number].request(&self.topics);
        let token = self.token(number, owned);
        self.clients[number].wait_for(token, self.now.monotonic);
        self.messages.push(Message::Request { token, request });
    }

    fn handle(&mut self, token: ReplyToken, request: &Request) {
        let context = RequestContext {
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            version: request.version(),
            connection: ConnectionToken(0),
            token,
        };
        let client = &mut self.clients[self.sent[&token].0];
        let is_awaited = client.waits_for().is_some_and(|(awaited, _)| awaited == token);
        if let (Consumer::Classic(client), true, Request::Classic(Call::Join(_))) =
            (client, is_awaited, request)
        {
            client.waits_for_others();
        }
        let decision = request.handle(&mut self.coordinator, &context, &self.topics, self.now);
        self.carry_out(decision);
    }

    fn deliver(&mut self, may_lose: bool) {
        if self.messages.is_empty() {
            return;
        }
        let index = self.random.below(self.messages.len() as u64) as usize;
        let message = self.messages.swap_remove(index);
        if may_lose && self.chance(8) {
            return;
        }
        match message {
            Message::Request { token, request } => self.handle(token, &request),
            Message::Answer { token, reply, at } => {
                let (number, reported) = self.sent[&token].clone();
                let client = &mut self.clients[number];
                if let Some((awaited, sent_at)) = client.waits_for()
                    && awaited == token
                {
                    let times = Times { sent_at, answered_at: at, now: self.now.monotonic };
                    client.hear(&reply, reported, times, &self.topics, &mut self.random);
                }
            }
        }
    }

    fn judge(&mut self) {
        let mut readers: BTreeMap<TopicIdPartition, String> = BTreeMap::new();
        for (number, client) in self.clients.iter().enumerate().filter(|(_, client)| client.is_running()) {
            for partition in client.owned() {
                let name = format!("{number} {}", client.member_id());
                let other = readers.insert(*partition, name.clone());
                assert_eq!(other, None, "GROUP-2: {partition} is read by {name} too");
            }
        }
        let is_classic = self.coordinator.groups.contains_key("g");
        self.migrations += usize::from(is_classic != self.was_classic);
        self.was_classic = is_classic;
        for (partition, reader) in &readers {
            let before = self.readers.insert(*partition, reader.clone());
            self.moves += usize::from(before.is_some_and(|before| before != *reader));
        }
        let Some(group) = self.group() else { return };
        let mut owned = BTreeSet::new();
        for (member_id, member) in group.members() {
            for partition in member.current.owned() {
                assert!(owned.insert(*partition), "GROUP-2: {partition} is given to {member_id} too");
                assert_eq!(group.owner(partition), Some(member_id));
            }
        }
        assert!(group.target_epoch <= group.epoch);
    }

    /// Nothing goes wrong any more: the group comes to rest, and everything is read.
    fn calm_down(&mut self) {
        self.is_calm = true;
        for number in 0..CLIENTS {
            if self.ends_classic && matches!(self.clients[number], Consumer::Modern(_)) {
                self.leave(number);
            }
        }
        for number in 0..CLIENTS {
            if !self.clients[number].is_running() {
                self.crash(number);
            }
            self.give_up(number);
        }
        for round in 0..600 {
            if round == 300 {
                // Nothing else happens that would be a reason to look at the topics.
                let partitions = self.topics.topics.get("a").map_or(1, |topic| topic.partitions + 1);
                self.topics.set("a", partitions);
            }
            self.pass(100);
            self.commit(self.log.len());
            for number in 0..CLIENTS {
                if !self.clients[number].is_running() {
                    self.crash(number);
                }
                if self.clients[number].waits_for().is_none() {
                    self.send(number);
                }
            }
            while !self.messages.is_empty() {
                self.deliver(false);
                self.commit(self.log.len());
            }
            self.judge();
        }
        let mut expected = Partitions::new();
        for name in self.clients.iter().flat_map(|client| client.topics(&self.topics)) {
            let shape = self.topics.topics.get(&name);
            expected.extend(shape.into_iter().flat_map(|topic| {
                (0..topic.partitions).map(|partition| TopicIdPartition::new(topic.id, partition))
            }));
        }
        let mut read = Partitions::new();
        for client in &self.clients {
            assert!(client.is_settled(), "LIVE-2: {client:?}");
            read.extend(client.owned());
        }
        if self.clients.iter().all(|client| matches!(client, Consumer::Classic(_))) {
            let group = self.coordinator.groups.get("g").expect("LIVE-2: nobody needs the other type");
            assert_eq!(
                (group.state, group.members().len()),
                (GroupState::Stable, CLIENTS),
                "LIVE-2: {group:?}"
            );
        } else {
            let group = self.group().expect("LIVE-2: somebody is in the group");
            assert_eq!(group.state(), ConsumerGroupState::Stable, "LIVE-2: {group:?}");
            assert_eq!(group.members().len(), CLIENTS, "LIVE-2: who is gone is removed");
            for client in &self.clients {
                let member = group.member(client.member_id()).expect("all are members");
                assert_eq!(*client.owned(), member.current.assigned.keys().copied().collect());
            }
        }
        assert_eq!(read, expected, "LIVE-2: every partition is read, and no other");
    }
}

/// What the log holds of a group.
fn stored(group: &ConsumerGroup) -> ConsumerGroup {
    let mut stored = group.clone();
    stored.sessions.clear();
    stored.revocations.clear();
    stored.presences.clear();
    stored.gone.clear();
    stored.joins.clear();
    stored.syncs.clear();
    (stored.topics_seen, stored.regexes_seen) = (None, None);
    stored.times = Default::default();
    stored
}

/// The last record of each key, without those that end something.
fn compacted(log: &[GroupRecord]) -> Vec<GroupRecord> {
    let mut last: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (offset, record) in log.iter().enumerate() {
        last.insert(record.encode_key().unwrap(), offset);
    }
    let kept: BTreeSet<usize> = last.into_values().collect();
    let is_value = |record: &&GroupRecord| !crate::consumer_group::records::is_tombstone(record);
    kept.into_iter().map(|offset| &log[offset]).filter(is_value).cloned().collect()
}

/// Returns how often partitions changed hands, and the group its type.
fn run(seed: u64, kinds: Kinds, mistake: Option<Mistake>) -> (usize, usize) {
    bug::make(match mistake {
        Some(Mistake::Bug(bug)) => Some(bug),
        _ => None,
    });
    let mut world = World::new(seed, kinds, mistake);
    for _ in 0..STEPS {
        world.step();
        world.judge();
    }
    world.calm_down();
    (world.moves, world.migrations)
}

fn run_seeds(kinds: Kinds) -> (usize, usize) {
    let (mut moves, mut migrations) = (0, 0);
    for seed in ottla_types::seeds(SEEDS) {
        let run = std::panic::catch_unwind(|| run(seed, kinds, None)).unwrap_or_else(|cause| {
            println!("seed {seed} of {kinds:?} fails");
            std::panic::resume_unwind(cause)
        });
        (moves, migrations) = (moves + run.0, migrations + run.1);
    }
    println!("{kinds:?}: partitions changed hands {moves} times, the group its type {migrations} times");
    assert!(moves > 10 * SEEDS as usize, "too few to prove anything: {moves}");
    (moves, migrations)
}

#[test]
fn no_partition_has_two_owners_and_all_are_read_in_the_end() {
    run_seeds(Kinds::Consumer);
}

#[test]
fn that_holds_while_processes_go_from_one_protocol_to_the_other() {
    for kinds in [Kinds::Cooperative, Kinds::Eager] {
        let (_, migrations) = run_seeds(kinds);
        assert!(migrations > 5 * SEEDS as usize, "{kinds:?}: {migrations}");
    }
}

/// How many seeds it takes until a mistake is noticed.
fn noticed(mistake: Mistake, seeds_max: u64) {
    noticed_in(Kinds::Consumer, mistake, seeds_max);
}

fn noticed_in(kinds: Kinds, mistake: Mistake, seeds_max: u64) {
    let is_noticed = |seed: &u64| std::panic::catch_unwind(|| run(*seed, kinds, Some(mistake))).is_err();
    let seed = (0..seeds_max).find(is_noticed);
    bug::make(None);
    let seed = seed.unwrap_or_else(|| panic!("{mistake:?}: unnoticed after {seeds_max} seeds"));
    println!("{mistake:?}: noticed after {} seeds", seed + 1);
}

#[test]
fn notices_an_upgrade_that_forgets_what_members_own() {
    noticed_in(Kinds::Cooperative, Mistake::Bug(Bug::UpgradeForgetsOwners), 400);
}

#[test]
fn notices_an_answer_before_its_decision_is_committed() {
    noticed(Mistake::AnswerBeforeDecision, 200);
}

#[test]
fn notices_a_partition_that_is_given_before_it_is_released() {
    noticed(Mistake::Bug(Bug::ReleaseNotAwaited), 50);
}

#[test]
fn notices_silence_that_is_taken_for_revocation() {
    noticed(Mistake::Bug(Bug::SilenceTakenForRevocation), 50);
}

#[test]
fn notices_sessions_that_a_new_coordinator_forgets() {
    noticed(Mistake::Bug(Bug::SessionsForgotten), 200);
}

#[test]
fn notices_growth_that_is_not_noticed() {
    noticed(Mistake::Bug(Bug::GrowthUnnoticed), 50);
}
