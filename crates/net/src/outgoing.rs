//! Calls to other nodes: requests out in order, answers matched by correlation id.

use crate::network::{self, Network, Stream};
use crate::task::{self, Task};
use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::ApiVersionsResponse;
use ottla_protocol::{ApiKey, Decoder, ErrorCode, Message, Request, ResponseHeader, Segment, frame};
use ottla_types::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// Nobody listens there: the one evidence of absence that a network gives.
    #[error("{0} refuses connections")]
    Refused(String),
    /// The connection could not be made.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The connection ended before the answer came.
    #[error("the connection closed")]
    Closed,
    /// No answer within the time allowed.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The other side does not speak a version of the API that we do.
    #[error("{api:?} is served in versions {theirs:?} only")]
    Unsupported {
        /// The API.
        api: ApiKey,
        /// The versions it is served in; `None` when it is not.
        theirs: Option<RangeInclusive<i16>>,
    },
    /// What came is not an answer to what was asked.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

/// What our nodes and tools call themselves (KIP-511).
pub const SOFTWARE_NAME: &str = "ottla";

/// Requests that may wait to be sent; then callers wait.
const QUEUE_MAX: usize = 64;

/// The largest answer that is believed.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

struct Call {
    correlation_id: i32,
    frame: Vec<Segment>,
    reply: oneshot::Sender<Bytes>,
}

/// The version of ApiVersions that everybody speaks who says who they are.
const HELLO_VERSION: i16 = 3;

/// What is said first.
fn hello() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: SOFTWARE_NAME.to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}

/// A connection to another node, which has told its API versions. Dropping it closes the connection.
#[derive(Debug)]
pub struct Outgoing {
    calls: mpsc::Sender<Call>,
    versions: BTreeMap<i16, RangeInclusive<i16>>,
    hello: ApiVersionsResponse,
    client_id: Arc<str>,
    next_correlation_id: std::sync::atomic::AtomicI32,
    closed: watch::Receiver<bool>,
    _tasks: [Task; 2],
}

impl Outgoing {
    /// Connects, and asks for the API versions: only a process that answers is one that lives.
    ///
    /// # Errors
    /// [`CallError::Refused`] when nobody listens; others when there is no connection, no answer within
    /// `timeout`, or no sense in the answer.
    pub async fn connect(
        network: &dyn Network,
        host: &str,
        port: u16,
        client_id: Arc<str>,
        timeout: Duration,
    ) -> Result<Outgoing, CallError> {
        let mut outgoing = Outgoing::over(dial(network, host, port, timeout).await?, client_id);
        let answer = outgoing.call_version(&hello(), HELLO_VERSION, timeout).await?;
        outgoing.versions =
            answer.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect();
        outgoing.hello = answer;
        Ok(outgoing)
    }

    /// Connects, asks whether this node of this cluster answers there (KIP-1242), and closes the connection.
    /// Returns the answer's error code: none when it is, REBOOTSTRAP_REQUIRED when it is another.
    ///
    /// # Errors
    /// As [`Outgoing::connect`]; [`CallError::Malformed`] when what answers is too old to be asked this.
    pub async fn identify(
        network: &dyn Network,
        host: &str,
        port: u16,
        cluster_id: &str,
        node_id: NodeId,
        timeout: Duration,
    ) -> Result<ErrorCode, CallError> {
        const IDENTITY_VERSION: i16 = 5;
        let stream = dial(network, host, port, timeout).await?;
        // One question, and the connection is of no use any more, whether it is answered or not.
        network::abandon(&*stream);
        let outgoing = Outgoing::over(stream, "probe".into());
        let hello =
            ApiVersionsRequest { cluster_id: Some(cluster_id.to_owned()), node_id: node_id.0, ..hello() };
        let answer = outgoing.call_version(&hello, IDENTITY_VERSION, timeout).await?;
        Ok(ErrorCode::from(answer.error_code))
    }

    /// A connection on which nothing was said yet.
    fn over(stream: Box<dyn Stream>, client_id: Arc<str>) -> Outgoing {
        let (read, write) = tokio::io::split(stream);
        let (calls, queue) = mpsc::channel(QUEUE_MAX);
        let (sent, expected) = mpsc::channel(QUEUE_MAX);
        let (closed_sender, closed) = watch::channel(false);
        let tasks = [
            task::spawn("call writer", write_calls(write, queue, sent)),
            task::spawn("call reader", read_answers(read, expected, closed_sender)),
        ];
        Outgoing {
            calls,
            versions: BTreeMap::new(),
            hello: ApiVersionsResponse::default(),
            client_id,
            next_correlation_id: 0.into(),
            closed,
            _tasks: tasks,
        }
    }

    /// What the other side answered to ApiVersions.
    pub fn hello(&self) -> &ApiVersionsResponse {
        &self.hello
    }

    /// The highest version of an API that both sides speak.
    ///
    /// # Errors
    /// [`CallError::Unsupported`] when there is none.
    pub fn version<R: Request>(&self) -> Result<i16, CallError> {
        let theirs = self.versions.get(&R::KEY.code());
        let version = theirs.map(|theirs| *theirs.end().min(R::VERSIONS.end()));
        match (version, theirs) {
            (Some(version), Some(theirs)) if R::VERSIONS.contains(&version) && theirs.contains(&version) => {
                Ok(version)
            }
            _ => Err(CallError::Unsupported { api: R::KEY, theirs: theirs.cloned() }),
        }
    }

    /// Sends a request in the highest common version and waits for its answer.
    ///
    /// # Errors
    /// As [`CallError`] says; after any but [`CallError::Unsupported`] the request may have been carried
    /// out or not.
    pub async fn call<R: Request>(&self, request: &R, timeout: Duration) -> Result<R::Response, CallError> {
        self.call_version(request, self.version::<R>()?, timeout).await
    }

    /// Asks for the API versions once more: a connection that was made a while ago may lead to a process that does not run.
    ///
    /// # Errors
    /// As [`Outgoing::call`].
    pub async fn greet(&self, timeout: Duration) -> Result<(), CallError> {
        self.call_version(&hello(), HELLO_VERSION, timeout).await.map(|_| ())
    }

    /// Sends a request in this version and waits for its answer.
    ///
    /// # Errors
    /// As [`Outgoing::call`].
    pub async fn call_version<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response, CallError> {
        let malformed = |error: &dyn std::fmt::Display| CallError::Malformed(error.to_string());
        let correlation_id = self.next_correlation_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let frame = frame::request(correlation_id, Some(&self.client_id), version, request)
            .map_err(|error| malformed(&error))?;
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            let call = Call { correlation_id, frame, reply };
            self.calls.send(call).await.map_err(|_| CallError::Closed)?;
            answer.await.map_err(|_| CallError::Closed)
        };
        let body =
            tokio::time::timeout(timeout, exchange).await.map_err(|_| CallError::TimedOut(timeout))??;
        let mut input = Decoder::new(body);
        ResponseHeader::decode(&mut input, R::KEY, version).map_err(|error| malformed(&error))?;
        R::Response::decode(&mut input, version).map_err(|error| malformed(&error))
    }

    /// Returns whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) {
        let mut closed = self.closed.clone();
        // An error means that the reading task is gone, and the connection with it.
        let _ = closed.wait_for(|&closed| closed).await;
    }
}

/// Connects.
async fn dial(
    network: &dyn Network,
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<Box<dyn Stream>, CallError> {
    let address = format!("{host}:{port}");
    let connecting = tokio::time::timeout(timeout, network.connect(host, port));
    match connecting.await.map_err(|_| CallError::TimedOut(timeout))? {
        Ok(stream) => Ok(stream),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(CallError::Refused(address)),
        Err(source) => Err(CallError::Connect { address, source }),
    }
}

async fn write_calls(
    mut stream: WriteHalf<Box<dyn Stream>>,
    mut queue: mpsc::Receiver<Call>,
    sent: mpsc::Sender<(i32, oneshot::Sender<Bytes>)>,
) {
    while let Some(call) = queue.recv().await {
        if sent.send((call.correlation_id, call.reply)).await.is_err() {
            return;
        }
        if let Err(error) = write_frame(&mut stream, call.frame).await {
            tracing::debug!(%error, "connection lost while calling");
            return;
        }
    }
    // Nobody calls any more: say so to the other side.
    let _ = stream.shutdown().await;
}

/// Writes a frame at once: requests are small, and each write would wake the other side.
async fn write_frame(stream: &mut WriteHalf<Box<dyn Stream>>, frame: Vec<Segment>) -> io::Result<()> {
    if let [Segment::Bytes(bytes)] = frame.as_slice() {
        return stream.write_all(bytes).await;
    }
    let mut joined = Vec::with_capacity(frame.iter().map(Segment::len).sum());
    for segment in frame {
        match segment {
            Segment::Bytes(bytes) => joined.extend_from_slice(&bytes),
            Segment::File(region) => joined.extend(region.read()?),
        }
    }
    stream.write_all(&joined).await
}

async fn read_answers(
    mut stream: ReadHalf<Box<dyn Stream>>,
    mut expected: mpsc::Receiver<(i32, oneshot::Sender<Bytes>)>,
    closed: watch::Sender<bool>,
) {
    let mut input = BytesMut::new();
    let mut waiting: VecDeque<(i32, oneshot::Sender<Bytes>)> = VecDeque::new();
    loop {
        match take_frame(&mut input) {
            Err(size) => {
                tracing::warn!(size, "connection closed: an answer of that many bytes");
                break;
            }
            Ok(Some(frame)) => {
                while let Ok(next) = expected.try_recv() {
                    waiting.push_back(next);
                }
                let correlation_id = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
                match waiting.pop_front() {
                    Some((id, reply)) if Some(id) == correlation_id => {
                        // The caller may have given up; its answer is then nobody's.
                        let _ = reply.send(frame);
                    }
                    _ => {
                        tracing::warn!("connection closed: an answer to a question that was not asked");
                        break;
                    }
                }
            }
            Ok(None) => match read_more(&mut stream, &mut input).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            },
        }
    }
    closed.send_replace(true);
}

/// Reads what comes next. Room is made for what the frame says is still to come, within bounds: a length is cheap to
/// claim.
async fn read_more(stream: &mut ReadHalf<Box<dyn Stream>>, input: &mut BytesMut) -> io::Result<usize> {
    let missing = match input.first_chunk::<4>() {
        Some(prefix) => (4 + i32::from_be_bytes(*prefix).max(0) as usize).saturating_sub(input.len()),
        None => 0,
    };
    if input.capacity() - input.len() < missing.clamp(READ_BYTES_MIN, READ_BYTES_MAX) {
        input.reserve(missing.clamp(4 * READ_BYTES_MIN, READ_BYTES_MAX));
    }
    stream.read_buf(input).await
}

/// How much a read asks for at least, and how much room is made at most.
const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 1024 * 1024;

/// Takes a whole frame off the front of `input`, without its length.
fn take_frame(input: &mut BytesMut) -> Result<Option<Bytes>, i32> {
    let Some(prefix) = input.first_chunk::<4>() else { return Ok(None) };
    let size = i32::from_be_bytes(*prefix);
    let len = usize::try_from(size).ok().filter(|&len| len <= RESPONSE_BYTES_MAX).ok_or(size)?;
    if input.len() - 4 < len {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(len).freeze()))
}
