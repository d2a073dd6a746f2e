//! Connections between hosts, as TCP has them: bytes arrive in order or not at all, and what a broken link swallows is
//! sent again when it is whole.
//!
//! A host whose process has died answers for it: its connections end, and new ones are refused. A host without power
//! says nothing. Once it is back it knows none of its connections, and says so to whoever uses them.

use bytes::{Buf, Bytes};
use ottla_types::Random;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Names a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// Bytes that may be under way, or wait to be read, in one direction of a connection.
const WINDOW_BYTES: usize = 256 * 1024;

/// How long it takes until what was lost is sent again.
const SENT_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(400));

/// After a link is whole again, so long at most until what it swallowed is sent again.
const NOTICED: Duration = Duration::from_millis(200);

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EndId {
    connection: u64,
    /// 0: that of the host that has connected.
    side: usize,
}

impl EndId {
    fn peer(self) -> EndId {
        EndId { side: 1 - self.side, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Connecting,
    Open,
    Refused,
    Reset,
}

#[derive(Debug)]
struct End {
    host: HostId,
    standing: Standing,
    /// Arrived and not read.
    unread: VecDeque<Bytes>,
    /// The other end will send nothing more.
    is_finished: bool,
    /// This end has said that it will send nothing more.
    has_finished: bool,
    /// Sent by this end and not read by the other.
    unacknowledged: usize,
    /// When the last of what this end has sent arrives.
    last_due: Duration,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl End {
    fn new(host: HostId, standing: Standing) -> End {
        End {
            host,
            standing,
            unread: VecDeque::new(),
            is_finished: false,
            has_finished: false,
            unacknowledged: 0,
            last_due: Duration::ZERO,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn reset(&mut self, standing: Standing) {
        self.standing = standing;
        self.unread.clear();
        self.wake();
    }
}

#[derive(Clone, Debug)]
enum Body {
    /// To be connected to a port.
    Syn(u16),
    /// Connected.
    Accepted,
    /// Nobody listens there.
    Refused,
    Data(Bytes),
    /// Nothing more comes.
    Finished,
    /// There is no such connection.
    Reset,
}

#[derive(Clone, Debug)]
struct Segment {
    to: EndId,
    /// Both hosts, for by then an end may be gone.
    hosts: (HostId, HostId),
    body: Body,
}

#[derive(Debug, Default)]
struct Link {
    /// How many faults cut it.
    cuts: usize,
    /// Of a thousand segments, so many are lost and sent again.
    lossy_per_mille: u64,
    /// What it swallowed.
    swallowed: VecDeque<Segment>,
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<EndId>,
    accepting: Option<Waker>,
}

#[derive(Debug)]
struct State {
    now: Duration,
    random: Random,
    /// How long a segment is on its way at most.
    latency_max: Duration,
    links: BTreeMap<(HostId, HostId), Link>,
    listening: BTreeMap<(HostId, u16), Backlog>,
    ends: BTreeMap<EndId, End>,
    /// By arrival, then by the order of sending.
    under_way: BTreeMap<(Duration, u64), Segment>,
    sent: u64,
    connections: u64,
}

/// All hosts' connections.
#[derive(Clone, Debug)]
pub struct Wire(Arc<Mutex<State>>);

impl Wire {
    /// Segments take from nothing to `latency_max`.
    pub fn new(random: Random, latency_max: Duration) -> Wire {
        Wire(Arc::new(Mutex::new(State {
            now: Duration::ZERO,
            random,
            latency_max,
            links: BTreeMap::new(),
            listening: BTreeMap::new(),
            ends: BTreeMap::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            connections: 0,
        })))
    }

    /// Lets time pass until `now`, and what is due by then arrive.
    pub fn advance(&self, now: Duration) {
        let mut state = self.0.lock();
        state.now = now;
        while let Some(entry) = state.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let segment = entry.remove();
            state.arrive(segment);
        }
    }

    /// What one host sends to another no longer arrives. Cuts add up.
    pub fn cut(&self, from: HostId, to: HostId) {
        self.0.lock().links.entry((from, to)).or_default().cuts += 1;
    }

    /// Takes one cut back. What was swallowed is sent again.
    ///
    /// # Panics
    /// When there is none.
    pub fn mend(&self, from: HostId, to: HostId) {
        let mut state = self.0.lock();
        let link = state.links.get_mut(&(from, to)).expect("a link that was cut");
        link.cuts = link.cuts.checked_sub(1).expect("a cut that was made");
        if link.cuts == 0 {
            let again = std::mem::take(&mut link.swallowed);
            let noticed = state.random.duration(Duration::ZERO, NOTICED);
            for segment in again {
                state.send_after(noticed, segment);
            }
        }
    }

    /// Of a thousand segments from one host to another, so many are lost and sent again.
    pub fn lose(&self, from: HostId, to: HostId, per_mille: u64) {
        self.0.lock().links.entry((from, to)).or_default().lossy_per_mille = per_mille;
    }

    /// A host's power goes: its connections are gone, and nobody is told.
    pub fn power_off(&self, host: HostId) {
        let mut state = self.0.lock();
        state.ends.retain(|_, end| end.host != host);
        state.listening.retain(|(at, _), _| *at != host);
        for (hosts, link) in &mut state.links {
            if hosts.0 == host {
                link.swallowed.clear();
            }
        }
    }

    /// Accepts connections to a port of a host.
    ///
    /// # Errors
    /// When somebody does already.
    pub fn listen(&self, host: HostId, port: u16) -> io::Result<SimListener> {
        let mut state = self.0.lock();
        if state.listening.contains_key(&(host, port)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        state.listening.insert((host, port), Backlog::default());
        Ok(SimListener { wire: self.clone(), at: (host, port) })
    }

    /// Connects one host to a port of another.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(&self, from: HostId, to: HostId, port: u16) -> io::Result<SimStream> {
        let stream = {
            let mut state = self.0.lock();
            let end = EndId { connection: state.connections, side: 0 };
            state.connections += 1;
            state.ends.insert(end, End::new(from, Standing::Connecting));
            state.send(Segment { to: end.peer(), hosts: (from, to), body: Body::Syn(port) });
            SimStream { wire: self.clone(), end, peer: to }
        };
        std::future::poll_fn(|cx| stream.poll_connected(cx)).await?;
        Ok(stream)
    }
}

impl State {
    fn send(&mut self, segment: Segment) {
        self.send_after(Duration::ZERO, segment);
    }

    fn send_after(&mut self, wait: Duration, segment: Segment) {
        let lossy = self.links.get(&segment.hosts).map_or(0, |link| link.lossy_per_mille);
        let mut due = self.now + wait + self.random.duration(Duration::ZERO, self.latency_max);
        if lossy > 0 && self.random.chance(lossy) {
            due += self.random.duration(SENT_AGAIN.0, SENT_AGAIN.1);
        }
        if let Some(sender) = self.ends.get_mut(&segment.to.peer()) {
            // What comes behind something that is late is late too.
            due = due.max(sender.last_due);
            sender.last_due = due;
        }
        self.sent += 1;
        self.under_way.insert((due, self.sent), segment);
    }

    fn arrive(&mut self, segment: Segment) {
        let link = self.links.entry(segment.hosts).or_default();
        if link.cuts > 0 {
            link.swallowed.push_back(segment);
            return;
        }
        let Segment { to, hosts: (from, host), body } = segment;
        let answer = |body| Segment { to: to.peer(), hosts: (host, from), body };
        if let Body::Syn(port) = body {
            match self.listening.get_mut(&(host, port)) {
                Some(backlog) => {
                    backlog.waiting.push_back(to);
                    if let Some(waker) = backlog.accepting.take() {
                        waker.wake();
                    }
                    self.ends.insert(to, End::new(host, Standing::Open));
                    self.send(answer(Body::Accepted));
                }
                None => self.send(answer(Body::Refused)),
            }
            return;
        }
        let Some(end) = self.ends.get_mut(&to) else {
            // Whoever used it has gone. A reset is not answered.
            if !matches!(body, Body::Reset | Body::Refused) {
                self.send(answer(Body::Reset));
            }
            return;
        };
        match body {
            Body::Syn(_) => unreachable!("looked at before"),
            Body::Accepted => {
                end.standing = Standing::Open;
                end.wake();
            }
            Body::Refused => end.reset(Standing::Refused),
            Body::Reset => end.reset(Standing::Reset),
            Body::Data(bytes) => {
                end.unread.push_back(bytes);
                if let Some(waker) = end.reader.take() {
                    waker.wake();
                }
            }
            Body::Finished => {
                end.is_finished = true;
                if let Some(waker) = end.reader.take() {
                    waker.wake();
                }
            }
        }
    }

    /// An end is closed by its process.
    fn close(&mut self, id: EndId, peer: HostId) {
        let Some(end) = self.ends.get(&id) else { return };
        let host = end.host;
        let body = match end.standing {
            Standing::Refused | Standing::Reset => None,
            Standing::Connecting => Some(Body::Reset),
            // Who closes without having read everything takes back what it has sent.
            Standing::Open if !end.unread.is_empty() => Some(Body::Reset),
            Standing::Open => (!end.has_finished).then_some(Body::Finished),
        };
        if let Some(body) = body {
            self.send(Segment { to: id.peer(), hosts: (host, peer), body });
        }
        self.ends.remove(&id);
    }
}

/// Accepts connections until it is dropped.
#[derive(Debug)]
pub struct SimListener {
    wire: Wire,
    at: (HostId, u16),
}

impl SimListener {
    /// The next connection, and the host that it comes from.
    pub async fn accept(&mut self) -> (SimStream, HostId) {
        std::future::poll_fn(|cx| {
            let mut guard = self.wire.0.lock();
            let state = &mut *guard;
            let Some(backlog) = state.listening.get_mut(&self.at) else { return Poll::Pending };
            let Some(end) = backlog.waiting.pop_front() else {
                backlog.accepting = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let peer = state.ends.get(&end.peer()).map_or(self.at.0, |peer| peer.host);
            Poll::Ready((SimStream { wire: self.wire.clone(), end, peer }, peer))
        })
        .await
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut state = self.wire.0.lock();
        if let Some(backlog) = state.listening.remove(&self.at) {
            for end in backlog.waiting {
                let peer = state.ends.get(&end.peer()).map(|peer| peer.host);
                if let Some(peer) = peer {
                    state.send(Segment { to: end.peer(), hosts: (self.at.0, peer), body: Body::Reset });
                }
                state.ends.remove(&end);
            }
        }
    }
}

/// One end of a connection, closed when it is dropped.
#[derive(Debug)]
pub struct SimStream {
    wire: Wire,
    end: EndId,
    peer: HostId,
}

fn broken(standing: Standing) -> io::Error {
    match standing {
        Standing::Refused => ErrorKind::ConnectionRefused.into(),
        _ => ErrorKind::ConnectionReset.into(),
    }
}

impl SimStream {
    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.wire.0.lock();
        let Some(end) = state.ends.get_mut(&self.end) else { return Poll::Pending };
        match end.standing {
            Standing::Connecting => {
                end.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            Standing::Open => Poll::Ready(Ok(())),
            standing => Poll::Ready(Err(broken(standing))),
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.wire.0.lock();
        let Some(end) = state.ends.get_mut(&self.end) else { return Poll::Pending };
        if end.standing != Standing::Open {
            return Poll::Ready(Err(broken(end.standing)));
        }
        let Some(bytes) = end.unread.front_mut() else {
            if end.is_finished {
                return Poll::Ready(Ok(()));
            }
            end.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let len = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..len]);
        bytes.advance(len);
        if bytes.is_empty() {
            end.unread.pop_front();
        }
        if let Some(peer) = state.ends.get_mut(&self.end.peer()) {
            peer.unacknowledged = peer.unacknowledged.saturating_sub(len);
            if let Some(waker) = peer.writer.take() {
                waker.wake();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.wire.0.lock();
        let Some(end) = state.ends.get_mut(&self.end) else { return Poll::Pending };
        if end.standing != Standing::Open || end.has_finished {
            return Poll::Ready(Err(broken(end.standing)));
        }
        let room = WINDOW_BYTES.saturating_sub(end.unacknowledged);
        if room == 0 {
            end.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = bytes.len().min(room);
        end.unacknowledged += len;
        let hosts = (end.host, self.peer);
        let body = Body::Data(Bytes::copy_from_slice(&bytes[..len]));
        state.send(Segment { to: self.end.peer(), hosts, body });
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.wire.0.lock();
        let Some(end) = state.ends.get_mut(&self.end) else { return Poll::Pending };
        if end.standing == Standing::Open && !end.has_finished {
            end.has_finished = true;
            let hosts = (end.host, self.peer);
            state.send(Segment { to: self.end.peer(), hosts, body: Body::Finished });
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.wire.0.lock().close(self.end, self.peer);
    }
}
