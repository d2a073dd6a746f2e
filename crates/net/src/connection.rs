//! One connection: frames in, answers out in the order of the requests.

use crate::descriptors::{self, Range};
use crate::network::{BoxFuture, Stream};
use crate::outbox::Outbox;
use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::Segment;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

/// Names a connection for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Who is at the other end, and what has come from there.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The connection.
    pub id: ConnectionId,
    /// The other end.
    pub peer: SocketAddr,
    /// The name of the listener it came in by.
    pub listener: Arc<str>,
    received: watch::Sender<u64>,
    closes_late: AtomicBool,
    by_replica: AtomicBool,
    software: OnceLock<Software>,
}

/// The library that a client uses, by its own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// Its name: `apache-kafka-java`, say.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl ConnectionInfo {
    fn new(id: ConnectionId, peer: SocketAddr, listener: Arc<str>) -> ConnectionInfo {
        let received = watch::Sender::new(0);
        let (closes_late, by_replica) = (AtomicBool::new(false), AtomicBool::new(false));
        ConnectionInfo { id, peer, listener, received, closes_late, by_replica, software: OnceLock::new() }
    }

    /// How many requests have arrived, the one being started included.
    pub fn received(&self) -> u64 {
        *self.received.borrow()
    }

    /// Asks that, should this process be killed, the connection closes after those for which this was not asked
    /// ([`crate::descriptors`]).
    pub fn close_late(&self) {
        self.closes_late.store(true, Ordering::Relaxed);
    }

    /// Whether [`ConnectionInfo::close_late`] was called.
    pub fn closes_late(&self) -> bool {
        self.closes_late.load(Ordering::Relaxed)
    }

    /// Says that the request that is being started is another replica's, and no client's.
    pub fn asked_by_replica(&self) {
        self.by_replica.store(true, Ordering::Relaxed);
    }

    /// Keeps what the client says it is. It says so once.
    pub fn introduce(&self, software: Software) {
        let _ = self.software.set(software);
    }

    /// What the client says it is, if it does.
    pub fn software(&self) -> Option<&Software> {
        self.software.get()
    }

    /// Waits until a request arrives behind the one numbered `number` (see [`ConnectionInfo::received`]).
    ///
    /// A parked fetch that holds up a metadata request behind it is worth more answered empty.
    pub async fn superseded(&self, number: u64) {
        let mut received = self.received.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = received.wait_for(|&count| count > number).await;
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The other end closed or reset it.
    ByPeer,
    /// We did.
    ByUs,
}

/// What becomes of a request.
pub enum Started {
    /// The answer is ready.
    Reply(Vec<Segment>),
    /// The answer comes later; requests behind it are started meanwhile. `None`: it cannot be written, and the connection
    /// is closed, for nobody would know what the answers behind it answer.
    Later(BoxFuture<'static, Option<Vec<Segment>>>),
    /// There is no answer (acks=0).
    Nothing,
    /// The connection is closed once all earlier requests are answered: nothing that could be said would
    /// be understood.
    Close(String),
}

/// How long a request took, by part of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnsweredIn {
    /// What its header says that it asks; -1 when it is too short to say.
    pub api_key: i16,
    /// Whether its handler said so ([`ConnectionInfo::asked_by_replica`]).
    pub by_replica: bool,
    /// From its last byte's arrival to [`Service::start`].
    pub queued: Duration,
    /// In [`Service::start`].
    pub local: Duration,
    /// Until its answer was there, and those to the requests before it.
    pub remote: Duration,
    /// Until the system had its answer.
    pub send: Duration,
}

/// Answers requests.
pub trait Service: Send + Sync + 'static {
    /// Starts a request. Called in the order of arrival; whatever must happen in that order (an append)
    /// happens in here.
    fn start(&self, connection: &Arc<ConnectionInfo>, frame: Bytes) -> Started;

    /// A request was answered, or will not be (acks=0). Not called for those whose connection was lost before.
    fn answered(&self, _answered: &AnsweredIn) {}

    /// A connection has ended.
    fn closed(&self, connection: &ConnectionInfo, how: Closed);
}

/// The bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// Requests of one connection that may be waiting for their answers; then reading stops.
    pub in_flight_max: usize,
    /// `connections.max.idle.ms`: a connection on which nothing came for so long, and nothing waits, is closed.
    pub idle_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { request_bytes_max: 104_857_600, in_flight_max: 64, idle_max: Duration::from_secs(600) }
    }
}

/// Why a connection is closed by us.
#[derive(Debug)]
enum Refused {
    Size(i32),
    Request(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Size(size) => write!(f, "a request of {size} bytes"),
            Refused::Request(why) => f.write_str(why),
        }
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Bytes that reading asks for at least: one system call for many small requests.
const READ_BYTES: usize = 16 * 1024;

/// How long the other side may take to end a connection that we end.
const GOODBYE_PATIENCE: Duration = Duration::from_millis(100);

/// When a connection that waits for an answer is looked at again.
const IDLE_AGAIN: Duration = Duration::from_secs(1);

/// An answer on its way.
enum Answer {
    Ready(Option<Vec<Segment>>),
    Waiting(BoxFuture<'static, Option<Vec<Segment>>>),
}

/// A request that was started, and not answered yet.
struct Underway {
    answer: Answer,
    times: Times,
}

/// How far a request came when.
#[derive(Clone, Copy)]
struct Times {
    api_key: i16,
    by_replica: bool,
    heard_at: Instant,
    started_at: Instant,
    handled_at: Instant,
}

impl Times {
    fn answered(self, send_begun: Instant, sent: Instant) -> AnsweredIn {
        AnsweredIn {
            api_key: self.api_key,
            by_replica: self.by_replica,
            queued: self.started_at - self.heard_at,
            local: self.handled_at - self.started_at,
            remote: send_begun - self.handled_at,
            send: sent - send_begun,
        }
    }
}

/// Serves a connection until either side ends it. When `stop` turns true, reading stops and the
/// connection closes at the first moment at which nothing is in flight.
pub(crate) async fn serve(
    mut stream: Box<dyn Stream>,
    peer: SocketAddr,
    listener: Arc<str>,
    service: Arc<dyn Service>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let info =
        Arc::new(ConnectionInfo::new(ConnectionId(NEXT_ID.fetch_add(1, Ordering::Relaxed)), peer, listener));
    let how = drive(&mut *stream, &info, &*service, limits, &mut stop).await;
    service.closed(&info, how);
}

async fn drive(
    stream: &mut dyn Stream,
    info: &Arc<ConnectionInfo>,
    service: &dyn Service,
    limits: Limits,
    stop: &mut watch::Receiver<bool>,
) -> Closed {
    let mut input = BytesMut::new();
    let mut answers: VecDeque<Underway> = VecDeque::new();
    let mut refused: Option<Refused> = None;
    let mut closes_early = stream.tcp().and_then(|socket| descriptors::second(socket, Range::Connections));
    // Set again only when it has come: a timer for each request would cost more than the request.
    let mut heard_at = Instant::now();
    let mut idle = pin!(tokio::time::sleep_until(heard_at + limits.idle_max));
    loop {
        let stopping = *stop.borrow() || refused.is_some();
        if !stopping {
            refused = start_requests(&mut input, heard_at, info, service, limits, &mut answers);
            if info.closes_late() {
                drop(closes_early.take());
            }
        }
        if let Err(error) = send_ready(stream, service, &mut answers).await {
            tracing::debug!(peer = %info.peer, %error, "connection lost while answering");
            return Closed::ByPeer;
        }
        let stopping = *stop.borrow() || refused.is_some();
        if stopping && answers.is_empty() {
            if let Some(why) = refused {
                tracing::info!(peer = %info.peer, %why, "connection closed");
            }
            say_goodbye(stream, &mut input).await;
            return Closed::ByUs;
        }
        // `read_buf` and the head answer are cancel-safe: neither loses what it has when the other wins.
        let may_read = !stopping && answers.len() < limits.in_flight_max;
        tokio::select! {
            biased;
            answer = head(&mut answers) => {
                if answer.is_some() {
                    answers[0].answer = Answer::Ready(answer);
                } else {
                    answers.clear();
                    refused = Some(Refused::Request("an answer cannot be written".to_owned()));
                }
            }
            read = read(stream, &mut input), if may_read || answers.is_empty() => match read {
                Ok(0) => return Closed::ByPeer,
                Ok(_) => heard_at = Instant::now(),
                Err(error) => {
                    tracing::debug!(peer = %info.peer, %error, "connection lost");
                    return Closed::ByPeer;
                }
            },
            () = idle.as_mut() => {
                let due = heard_at + limits.idle_max;
                if answers.is_empty() && due <= Instant::now() {
                    tracing::debug!(peer = %info.peer, "idle connection closed");
                    return Closed::ByUs;
                }
                // Who waits for an answer is not idle: looked at again later.
                idle.as_mut().reset(due.max(Instant::now() + IDLE_AGAIN));
            }
            changed = stop.changed(), if !stopping => if changed.is_err() {
                return Closed::ByUs;
            },
        }
    }
}

/// Ends our side and waits a moment for the other to end: closing while something unread is here would reset the
/// connection, and a reset takes answers away that the other side has not read yet.
async fn say_goodbye(stream: &mut dyn Stream, input: &mut BytesMut) {
    let goodbye = async {
        stream.shutdown().await?;
        loop {
            input.clear();
            if read(stream, input).await? == 0 {
                return io::Result::Ok(());
            }
        }
    };
    // Whatever goes wrong now, the connection is over.
    let _ = tokio::time::timeout(GOODBYE_PATIENCE, goodbye).await;
}

/// Starts every whole request in `input`, as far as the bound on waiting answers allows.
fn start_requests(
    input: &mut BytesMut,
    heard_at: Instant,
    info: &Arc<ConnectionInfo>,
    service: &dyn Service,
    limits: Limits,
    answers: &mut VecDeque<Underway>,
) -> Option<Refused> {
    // One reading of the clock ends a request and begins the next.
    let mut clock = None;
    while answers.len() < limits.in_flight_max {
        let Some(prefix) = input.first_chunk::<4>() else { break };
        let size = i32::from_be_bytes(*prefix);
        let len = match usize::try_from(size) {
            Ok(len) if len <= limits.request_bytes_max => len,
            _ => return Some(Refused::Size(size)),
        };
        if input.len() - 4 < len {
            // Reserve what is known to come, but no more than arrives in a few reads: a length is cheap
            // to claim.
            input.reserve((4 + len - input.len()).min(4 * READ_BYTES));
            break;
        }
        input.advance(4);
        let frame = input.split_to(len).freeze();
        info.received.send_modify(|count| *count += 1);
        let api_key = frame.first_chunk::<2>().map_or(-1, |bytes| i16::from_be_bytes(*bytes));
        let started_at = clock.unwrap_or_else(Instant::now);
        let started = service.start(info, frame);
        let handled_at = Instant::now();
        clock = Some(handled_at);
        let by_replica = info.by_replica.swap(false, Ordering::Relaxed);
        let times = Times { api_key, by_replica, heard_at, started_at, handled_at };
        let answer = match started {
            Started::Reply(segments) => Answer::Ready(Some(segments)),
            Started::Later(future) => Answer::Waiting(future),
            Started::Nothing => {
                service.answered(&times.answered(handled_at, handled_at));
                continue;
            }
            Started::Close(why) => return Some(Refused::Request(why)),
        };
        answers.push_back(Underway { answer, times });
    }
    None
}

/// Waits for the oldest answer that is not ready; for ever when there is none.
async fn head(answers: &mut VecDeque<Underway>) -> Option<Vec<Segment>> {
    match answers.front_mut() {
        Some(Underway { answer: Answer::Waiting(future), .. }) => future.await,
        _ => std::future::pending().await,
    }
}

async fn read(stream: &mut dyn Stream, input: &mut BytesMut) -> io::Result<usize> {
    if input.capacity() - input.len() < READ_BYTES / 4 {
        input.reserve(READ_BYTES);
    }
    stream.read_buf(input).await
}

/// Sends every answer at the head that is ready, small ones together.
async fn send_ready(
    stream: &mut dyn Stream,
    service: &dyn Service,
    answers: &mut VecDeque<Underway>,
) -> io::Result<()> {
    if !matches!(answers.front(), Some(Underway { answer: Answer::Ready(_), .. })) {
        return Ok(());
    }
    let send_begun = Instant::now();
    let mut outbox = Outbox::new(stream);
    let mut count = 0;
    while let Some(Underway { answer: Answer::Ready(answer), .. }) = answers.get_mut(count) {
        for segment in answer.take().into_iter().flatten() {
            outbox.send(segment).await?;
        }
        count += 1;
    }
    outbox.flush().await?;
    let sent = Instant::now();
    for underway in answers.drain(..count) {
        service.answered(&underway.times.answered(send_begun, sent));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConnectionQuota, Listener, Network, Tcp};
    use parking_lot::Mutex;

    const HANDLER: Duration = Duration::from_millis(20);
    const LATER: Duration = Duration::from_millis(60);

    /// Handles what has key 1 for a while, as a replica's, answers what has key 2 later, and key 3 not at all; of key 4 it
    /// finds out that it cannot.
    #[derive(Default)]
    struct Timed {
        answered: Mutex<Vec<AnsweredIn>>,
    }

    impl Service for Timed {
        fn start(&self, connection: &Arc<ConnectionInfo>, frame: Bytes) -> Started {
            let answer = vec![Segment::Bytes(Bytes::from_static(b"12345678"))];
            match frame[1] {
                1 => {
                    connection.asked_by_replica();
                    let begun = Instant::now();
                    while begun.elapsed() < HANDLER {
                        std::hint::spin_loop();
                    }
                    Started::Reply(answer)
                }
                2 => Started::Later(Box::pin(async move {
                    tokio::time::sleep(LATER).await;
                    Some(answer)
                })),
                4 => Started::Later(Box::pin(async { None })),
                _ => Started::Nothing,
            }
        }

        fn answered(&self, answered: &AnsweredIn) {
            self.answered.lock().push(*answered);
        }

        fn closed(&self, _connection: &ConnectionInfo, _how: Closed) {}
    }

    async fn connect(service: &Arc<Timed>) -> (Listener, tokio::net::TcpStream) {
        let bound = Tcp.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = bound.local_addr().expect("an address");
        let acceptor = bound.listen().expect("a listener");
        let limits = Limits::default();
        let listener =
            Listener::start(acceptor, "test".into(), service.clone(), limits, ConnectionQuota::new(1))
                .expect("a listener");
        (listener, tokio::net::TcpStream::connect(address).await.expect("a connection"))
    }

    #[tokio::test]
    async fn what_cannot_be_answered_ends_the_connection_behind_the_answers_before_it() {
        let (_listener, mut stream) = connect(&Arc::new(Timed::default())).await;
        let requests: Vec<u8> = [2_u8, 4, 2].iter().flat_map(|&key| [0, 0, 0, 4, 0, key, 0, 0]).collect();

        stream.write_all(&requests).await.expect("they are sent");
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).await.expect("it is closed in order");

        assert_eq!(answers, b"12345678");
    }

    #[tokio::test]
    async fn the_parts_of_a_requests_way_are_told() {
        let service = Arc::new(Timed::default());
        let (_listener, mut stream) = connect(&service).await;
        // All at once: later, not at all, handled for a while, handled for a while.
        let requests: Vec<u8> = [2_u8, 3, 1, 1].iter().flat_map(|&key| [0, 0, 0, 4, 0, key, 0, 0]).collect();

        stream.write_all(&requests).await.expect("they are sent");
        let mut answers = [0; 3 * 8];
        stream.read_exact(&mut answers).await.expect("three answers");
        drop(stream);

        let told = service.answered.lock().clone();
        let who: Vec<_> = told.iter().map(|one| (one.api_key, one.by_replica)).collect();
        assert_eq!(who, [(3, false), (2, false), (1, true), (1, true)]);
        let [nothing, later, first, second] = told[..] else { unreachable!("counted just before") };
        assert_eq!((nothing.remote, nothing.send), (Duration::ZERO, Duration::ZERO));
        assert!(later.local < HANDLER && later.remote >= LATER, "{later:?}");
        assert!(first.local >= HANDLER && second.local >= HANDLER, "{first:?} {second:?}");
        assert!(second.queued >= first.local, "it waited for the one before: {second:?}");
        assert!(first.remote + first.local >= LATER - HANDLER, "answers leave in order: {first:?}");
    }
}
