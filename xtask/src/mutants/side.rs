//! One of the two that are compared: its connections, and what it has chosen.

use super::Schemas;
use super::codec::{Name, Tags, Value, decode, encode, fields};
use super::mutation::{Frame, Mutant};
use super::records;
use super::requests::{BROKER, COMPACTED, PASSING, Round, TOPIC, subscription};
use crate::codegen::schema::Api;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long a mutant may go without an answer.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The same, where none is expected.
const SHORT_PATIENCE: Duration = Duration::from_millis(250);

/// How long what is not a mutant may take.
const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// How often something is asked until it is so, and how long in between.
const ATTEMPTS: usize = 300;
const PAUSE: Duration = Duration::from_millis(50);

const API_VERSIONS: i16 = 18;

/// What a broker supports, at any level.
const FEATURES: [&str; 7] = [
    "metadata.version",
    "kraft.version",
    "eligible.leader.replicas.version",
    "group.version",
    "transaction.version",
    "share.version",
    "streams.version",
];

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered(Codes),
    /// Answered, and the connection closed.
    AnsweredAndClosed(Codes),
    Closed,
    /// Neither answered nor closed; the next request on the connection is answered.
    Nothing,
    /// Neither answered nor closed, and nothing else on the connection either.
    Silent,
    /// Answered by what is no answer.
    Garbled(String),
}

/// How often each error stands at each place of an answer.
pub(super) type Codes = BTreeMap<String, BTreeMap<i64, usize>>;

/// A node, and a world on it that is like the other side's.
pub(super) struct Side<'a> {
    schemas: &'a Schemas,
    /// Where mutants go.
    target: SocketAddr,
    mutants: Option<TcpStream>,
    own: TcpStream,
    topic_ids: BTreeMap<String, [u8; 16]>,
    cluster_id: String,
    members: BTreeMap<String, (String, i64)>,
    producer: (i64, i16),
    broker_epoch: i64,
}

impl<'a> Side<'a> {
    /// Connects. `target` is where mutants go when that is not `address`.
    pub(super) fn connect(schemas: &'a Schemas, address: &str, target: Option<&str>) -> Result<Side<'a>> {
        let own = resolve(address)?;
        let target = target.map_or(Ok(own), resolve)?;
        Ok(Side {
            schemas,
            target,
            mutants: None,
            own: open(own, LONG_PATIENCE)?,
            topic_ids: BTreeMap::new(),
            cluster_id: String::new(),
            members: BTreeMap::new(),
            producer: (-1, -1),
            broker_epoch: -1,
        })
    }

    /// The versions it says it has, where mutants go.
    pub(super) fn versions(&mut self) -> Result<BTreeMap<i16, (i16, i16)>> {
        let mut stream = open(self.target, LONG_PATIENCE)?;
        let api = self.schemas.api(API_VERSIONS)?;
        let answer = exchange(&mut stream, api, 0, &fields([]))?;
        let range = |entry: &Value| {
            let number = |name| entry.get(name).int() as i16;
            (number("ApiKey"), (number("MinVersion"), number("MaxVersion")))
        };
        Ok(answer.get("ApiKeys").list().iter().map(range).collect())
    }

    /// Asks for something that must be answered.
    fn call(&mut self, name: &str, version: i16, body: Value) -> Result<Value> {
        let api = self.schemas.named(name)?;
        exchange(&mut self.own, api, version, &body).with_context(|| format!("{name} v{version}"))
    }

    /// What a name of this side's stands for.
    fn resolve(&self, name: &Name, shift: i64) -> Value {
        let member = |group: &String| self.members.get(group).cloned().unwrap_or((String::new(), -1));
        match name {
            Name::TopicId(topic) => Value::Uuid(self.topic_ids.get(topic).copied().unwrap_or([0; 16])),
            Name::Member(group) => Value::Text(member(group).0.into_bytes()),
            Name::Generation(group) => Value::Int(member(group).1 + shift),
            Name::ProducerId => Value::Int(self.producer.0 + shift),
            Name::ProducerEpoch => Value::Int(i64::from(self.producer.1) + shift),
            Name::ClusterId => Value::text(&self.cluster_id),
            Name::BrokerEpoch => Value::Int(self.broker_epoch + shift),
            Name::Batch(kind) => Value::Blob(records::batch(*kind, self.producer)),
        }
    }

    /// A mutant's bytes, as this side gets them.
    pub(super) fn bytes(&self, mutant: &Mutant) -> Result<Vec<u8>> {
        let api = self.schemas.api(mutant.api_key)?;
        let resolve = |name: &Name, shift: i64| self.resolve(name, shift);
        let body = encode(&api.request, mutant.version, &mutant.body, mutant.tags, &resolve);
        Ok(frame(api, mutant.version, body, mutant.frame))
    }

    /// Sends a mutant's bytes; [`Side::outcome`] waits for what comes of it.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut stream = match self.mutants.take() {
            Some(stream) => stream,
            None => open(self.target, PATIENCE)?,
        };
        // Whoever closes before all is sent has said enough.
        let _ = stream.write_all(bytes);
        self.mutants = Some(stream);
        Ok(())
    }

    /// What comes of the mutant that was sent.
    pub(super) fn outcome(&mut self, mutant: &Mutant, sent: &[u8]) -> Result<Outcome> {
        let mut stream = self.mutants.take().context("a mutant was sent")?;
        let wrong_length = mutant.frame.has_wrong_length();
        let short = wrong_length || (mutant.api_key == 0 && mutant.body.get("Acks").int() == 0);
        stream.set_read_timeout(Some(if short { SHORT_PATIENCE } else { PATIENCE }))?;
        let outcome = match receive(&mut stream) {
            Received::Closed => return Ok(Outcome::Closed),
            Received::Frame(answer) => self.read(sent, &answer),
            Received::Nothing => Outcome::Nothing,
        };
        if wrong_length {
            // What is left of it is not what the next one needs.
            return Ok(if outcome == Outcome::Nothing { Outcome::Silent } else { outcome });
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        let _ = stream.write_all(&frame(self.schemas.api(API_VERSIONS)?, 0, Vec::new(), Frame::Right));
        Ok(match (receive(&mut stream), outcome) {
            (Received::Closed, Outcome::Answered(codes)) => Outcome::AnsweredAndClosed(codes),
            (Received::Closed, _) => Outcome::Closed,
            (Received::Nothing, Outcome::Nothing) => Outcome::Silent,
            (Received::Nothing, outcome) => outcome,
            (Received::Frame(answer), Outcome::Nothing) if !is_of(&answer, API_VERSIONS) => {
                self.read(sent, &answer)
            }
            (Received::Frame(_), outcome) => {
                self.mutants = Some(stream);
                outcome
            }
        })
    }

    /// The errors of an answer.
    fn read(&self, sent: &[u8], answer: &[u8]) -> Outcome {
        let number = |at: usize| sent.get(at..at + 2).map_or(-1, |b| i16::from_be_bytes([b[0], b[1]]));
        let (key, mut version) = (number(4), number(6));
        let Ok(api) = self.schemas.api(key) else { return Outcome::Garbled(format!("to the key {key}")) };
        if !is_of(answer, key) {
            return Outcome::Garbled("another correlation id".to_owned());
        }
        if !api.request.versions.contains(version) && key == API_VERSIONS {
            version = 0;
        }
        let header = if api.response.is_flexible(version) && key != API_VERSIONS { 5 } else { 4 };
        match decode(&api.response, version, answer.get(header..).unwrap_or_default()) {
            Err(error) => Outcome::Garbled(error.to_string()),
            Ok(value) => {
                let mut codes = Codes::new();
                gather("", &value, &mut codes);
                Outcome::Answered(codes)
            }
        }
    }

    /// Makes the world as it should be, for a new round. `anew`: the topics as well.
    pub(super) fn renew(&mut self, round: &Round, anew: bool) -> Result<()> {
        self.renew_topics(anew)?;
        self.find_coordinators(round)?;
        self.begin_groups(round)?;
        let id = Value::text(&round.transactional_id());
        let begun = self.until("InitProducerId", 4, || {
            fields([("TransactionalId", id.clone()), ("TransactionTimeoutMs", Value::Int(60_000))])
        })?;
        self.producer = (begun.get("ProducerId").int(), begun.get("ProducerEpoch").int() as i16);
        if self.own.peer_addr()? == self.target { Ok(()) } else { self.register() }
    }

    /// Registers a broker that never runs: at controllers there are requests that only brokers may send.
    fn register(&mut self) -> Result<()> {
        let id = |byte: u8| Value::Uuid([byte; 16]);
        let feature =
            |name: &str| fields([("Name", Value::text(name)), ("MaxSupportedVersion", Value::Int(99))]);
        let listener = fields([
            ("Name", Value::text("PLAINTEXT")),
            ("Host", Value::text("localhost")),
            ("Port", Value::Int(9092)),
        ]);
        let body = fields([
            ("BrokerId", Value::Int(i64::from(BROKER))),
            ("ClusterId", Value::text(&self.cluster_id)),
            ("IncarnationId", id(7)),
            ("Listeners", Value::List(vec![listener])),
            ("Features", Value::List(FEATURES.iter().copied().map(feature).collect())),
            ("LogDirs", Value::List(vec![id(9)])),
            ("PreviousBrokerEpoch", Value::Int(-1)),
        ]);
        let api = self.schemas.named("BrokerRegistration")?;
        let answer =
            until(|| exchange(&mut open(self.target, LONG_PATIENCE)?, api, 4, &body)).context("register")?;
        self.broker_epoch = answer.get("BrokerEpoch").int();
        Ok(())
    }

    fn topics(&mut self) -> Result<Vec<(String, [u8; 16], usize)>> {
        let answer = self.call("Metadata", 12, fields([("Topics", Value::Null)]))?;
        let cluster = self.call("DescribeCluster", 0, fields([]))?;
        self.cluster_id = cluster.get("ClusterId").string();
        let topic = |topic: &Value| {
            let id = if let Value::Uuid(id) = topic.get("TopicId") { *id } else { [0; 16] };
            (topic.get("Name").string(), id, topic.get("Partitions").list().len())
        };
        Ok(answer.get("Topics").list().iter().map(topic).collect())
    }

    fn renew_topics(&mut self, anew: bool) -> Result<()> {
        const KEPT: [(&str, usize); 2] = [(TOPIC, 3), (COMPACTED, 1)];
        let passing: Vec<(&str, usize)> = PASSING[..2].iter().map(|name| (*name, 1)).collect();
        let wanted: BTreeMap<&str, usize> = KEPT.into_iter().chain(passing).collect();
        let there = self.topics()?;
        let is_right = |name: &str, count: usize| wanted.get(name) == Some(&count) && !anew;
        let doomed: Vec<&String> = there
            .iter()
            .filter(|(name, _, count)| !name.starts_with("__") && !is_right(name, *count))
            .map(|(name, _, _)| name)
            .collect();
        if !doomed.is_empty() {
            let names = Value::List(doomed.iter().map(|name| Value::text(name)).collect());
            self.call("DeleteTopics", 5, fields([("TopicNames", names), ("TimeoutMs", Value::Int(20_000))]))?;
        }
        let missing =
            |name: &&&str| !there.iter().any(|(n, _, _)| n == **name) || doomed.iter().any(|n| *n == **name);
        let create: Vec<Value> = wanted
            .keys()
            .filter(missing)
            .map(|name| {
                let policy = if *name == COMPACTED { "compact" } else { "delete" };
                let config =
                    fields([("Name", Value::text("cleanup.policy")), ("Value", Value::text(policy))]);
                fields([
                    ("Name", Value::text(name)),
                    ("NumPartitions", Value::Int(wanted[name] as i64)),
                    ("ReplicationFactor", Value::Int(1)),
                    ("Configs", Value::List(vec![config])),
                ])
            })
            .collect();
        if !create.is_empty() {
            let body = fields([("Topics", Value::List(create.clone())), ("timeoutMs", Value::Int(20_000))]);
            self.until("CreateTopics", 7, || body.clone())?;
        }
        for _ in 0..ATTEMPTS {
            let ids: BTreeMap<String, [u8; 16]> =
                self.topics()?.into_iter().map(|(name, id, _)| (name, id)).collect();
            if wanted.keys().all(|name| ids.contains_key(*name)) {
                self.topic_ids = ids;
                break;
            }
            std::thread::park_timeout(PAUSE);
        }
        if create.iter().any(|topic| topic.get("Name").string() == TOPIC) {
            self.until("Produce", 9, || {
                let batch = Value::Named(Name::Batch(2), 0);
                let partition = fields([("Index", Value::Int(0)), ("Records", batch)]);
                let topic =
                    fields([("Name", Value::text(TOPIC)), ("PartitionData", Value::List(vec![partition]))]);
                let topics = Value::List(vec![topic.clone()]);
                fields([("Acks", Value::Int(-1)), ("TimeoutMs", Value::Int(5_000)), ("TopicData", topics)])
            })?;
        }
        Ok(())
    }

    fn find_coordinators(&mut self, round: &Round) -> Result<()> {
        for (kind, key) in [(0, round.live()), (1, round.transactional_id())] {
            self.until("FindCoordinator", 3, || {
                fields([("Key", Value::text(&key)), ("KeyType", Value::Int(kind))])
            })?;
        }
        Ok(())
    }

    fn begin_groups(&mut self, round: &Round) -> Result<()> {
        self.members.clear();
        let empty = round.empty();
        self.until("OffsetCommit", 8, || {
            let partition = fields([("PartitionIndex", Value::Int(0)), ("CommittedOffset", Value::Int(1))]);
            let topic = fields([("Name", Value::text(TOPIC)), ("Partitions", Value::List(vec![partition]))]);
            fields([("GroupId", Value::text(&empty)), ("Topics", Value::List(vec![topic]))])
        })?;
        let live = round.live();
        let join = |member: &str| {
            let protocol =
                fields([("Name", Value::text("range")), ("Metadata", Value::Blob(subscription()))]);
            fields([
                ("GroupId", Value::text(&live)),
                ("SessionTimeoutMs", Value::Int(60_000)),
                ("RebalanceTimeoutMs", Value::Int(60_000)),
                ("MemberId", Value::text(member)),
                ("ProtocolType", Value::text("consumer")),
                ("Protocols", Value::List(vec![protocol])),
            ])
        };
        let member = self.call("JoinGroup", 9, join(""))?.get("MemberId").string();
        let joined = self.call("JoinGroup", 9, join(&member))?;
        ensure!(joined.get("ErrorCode").int() == 0, "a member could not join: {joined:?}");
        let generation = joined.get("GenerationId").int();
        self.members.insert(live.clone(), (member.clone(), generation));
        self.until("SyncGroup", 5, || {
            let assignment =
                fields([("MemberId", Value::text(&member)), ("Assignment", Value::Blob(vec![0; 10]))]);
            fields([
                ("GroupId", Value::text(&live)),
                ("GenerationId", Value::Int(generation)),
                ("MemberId", Value::text(&member)),
                ("ProtocolType", Value::text("consumer")),
                ("ProtocolName", Value::text("range")),
                ("Assignments", Value::List(vec![assignment])),
            ])
        })?;
        let consumer = round.consumer();
        let member = format!("member-{}", round.0);
        let beat = self.until("ConsumerGroupHeartbeat", 1, || {
            fields([
                ("GroupId", Value::text(&consumer)),
                ("MemberId", Value::text(&member)),
                ("RebalanceTimeoutMs", Value::Int(60_000)),
                ("SubscribedTopicNames", Value::List(vec![Value::text(TOPIC)])),
                ("TopicPartitions", Value::List(Vec::new())),
            ])
        })?;
        self.members.insert(consumer, (member, beat.get("MemberEpoch").int()));
        Ok(())
    }

    /// Asks until no error comes back.
    fn until(&mut self, name: &str, version: i16, body: impl Fn() -> Value) -> Result<Value> {
        until(|| self.call(name, version, body())).context(name.to_owned())
    }
}

/// Asks until no error comes back.
fn until(mut ask: impl FnMut() -> Result<Value>) -> Result<Value> {
    let mut last = Codes::new();
    for _ in 0..ATTEMPTS {
        let answer = ask()?;
        last.clear();
        gather("", &answer, &mut last);
        if last.values().flat_map(BTreeMap::keys).all(|code| *code == 0) {
            return Ok(answer);
        }
        std::thread::park_timeout(PAUSE);
    }
    bail!("answered {last:?}")
}

fn resolve(address: &str) -> Result<SocketAddr> {
    address.to_socket_addrs().context("an address")?.next().with_context(|| format!("{address} is nowhere"))
}

fn open(address: SocketAddr, patience: Duration) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LONG_PATIENCE).with_context(|| address.to_string())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(LONG_PATIENCE))?;
    Ok(stream)
}

/// A request with its length and its header, wrong as `how` says.
fn frame(api: &Api, version: i16, mut body: Vec<u8>, how: Frame) -> Vec<u8> {
    const CLIENT: &[u8] = b"mutants";
    let (mut key, mut said) = (api.key, version);
    match how {
        Frame::Truncated(count) => body.truncate(body.len().saturating_sub(count)),
        Frame::Trailing(count) => body.extend(vec![1; count]),
        Frame::Flipped(at, bits) => {
            if let Some(index) = body.len().checked_sub(at) {
                body[index] ^= bits;
            }
        }
        Frame::Key(other) => key = other,
        Frame::Version(other) => said = other,
        _ => {}
    }
    let mut content = [key.to_be_bytes(), said.to_be_bytes()].concat();
    content.extend(correlation_id(key).to_be_bytes());
    content
        .extend(if let Frame::ClientId(length) = how { length } else { CLIENT.len() as i16 }.to_be_bytes());
    content.extend(CLIENT);
    if api.request.is_flexible(version) != (how == Frame::OtherHeader) {
        content.push(0);
    }
    match how {
        Frame::Header(count) => content.truncate(count),
        _ => content.extend(body),
    }
    let length = match how {
        Frame::Length(more) => content.len() as i32 + more,
        Frame::LengthIs(length) => length,
        _ => content.len() as i32,
    };
    [&length.to_be_bytes()[..], &content].concat()
}

fn correlation_id(key: i16) -> i32 {
    1_000 + i32::from(key)
}

/// Whether an answer says that it is to a request of this API.
fn is_of(answer: &[u8], key: i16) -> bool {
    answer.first_chunk::<4>().is_some_and(|id| i32::from_be_bytes(*id) == correlation_id(key))
}

/// Asks, and waits for the answer.
fn exchange(stream: &mut TcpStream, api: &Api, version: i16, body: &Value) -> Result<Value> {
    let resolve = |name: &Name, _: i64| match name {
        Name::Batch(kind) => Value::Blob(records::batch(*kind, (-1, -1))),
        _ => Value::Null,
    };
    let body = encode(&api.request, version, body, Tags::Right, &resolve);
    stream.write_all(&frame(api, version, body, Frame::Right))?;
    let Received::Frame(answer) = receive(stream) else { bail!("{} v{version} is not answered", api.name) };
    let header = if api.response.is_flexible(version) && api.key != API_VERSIONS { 5 } else { 4 };
    decode(&api.response, version, answer.get(header..).unwrap_or_default())
}

enum Received {
    Frame(Vec<u8>),
    Closed,
    Nothing,
}

/// The next frame, without its length.
fn receive(stream: &mut TcpStream) -> Received {
    let mut length = [0; 4];
    let nothing = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Received::Nothing,
        _ => Received::Closed,
    };
    if let Err(error) = stream.read_exact(&mut length) {
        return nothing(error);
    }
    // More than this is no answer.
    let mut answer = vec![0; (u32::from_be_bytes(length) as usize).min(1 << 26)];
    match stream.read_exact(&mut answer) {
        Ok(()) => Received::Frame(answer),
        Err(error) => nothing(error),
    }
}

/// Adds the errors in `value`, which is at `path`, to `codes`.
fn gather(path: &str, value: &Value, codes: &mut Codes) {
    match value {
        Value::Struct(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match value {
                    Value::Int(code) if name.ends_with("ErrorCode") => {
                        *codes.entry(path).or_default().entry(*code).or_default() += 1;
                    }
                    _ => gather(&path, value, codes),
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| gather(path, item, codes)),
        _ => {}
    }
}
