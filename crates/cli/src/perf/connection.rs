//! A connection that writes what was encoded in advance, and counts what comes back.

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes, BytesMut};
use ottla_client::HostPort;
use ottla_net::network::Stream;
use ottla_net::{Network, Tcp};
use ottla_protocol::{Decoder, Message, Request, ResponseHeader, Segment, frame};
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

/// The largest answer that is believed.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// How much is read at a time at least.
const READ_BYTES: usize = 64 * 1024;

/// Where in an encoded request the correlation id is: after length, key and version.
const CORRELATION_ID: Range<usize> = 8..12;

/// A request, encoded once and sent as often as need be.
#[derive(Clone, Debug)]
pub(crate) struct Encoded(Vec<u8>);

impl Encoded {
    /// Encodes a request in this version.
    pub(crate) fn new<R: Request>(request: &R, version: i16) -> Result<Encoded> {
        let mut bytes = Vec::new();
        for segment in frame::request(0, Some(super::cluster::CLIENT_ID), version, request)? {
            match segment {
                Segment::Bytes(part) => bytes.extend_from_slice(&part),
                Segment::File(region) => bytes.extend(region.read()?),
            }
        }
        Ok(Encoded(bytes))
    }
}

/// The half that sends.
pub(crate) struct Sender {
    stream: WriteHalf<Box<dyn Stream>>,
    next_correlation_id: i32,
}

/// The half that receives.
pub(crate) struct Receiver {
    stream: ReadHalf<Box<dyn Stream>>,
    input: BytesMut,
    next_correlation_id: i32,
}

/// Connects to a broker.
pub(crate) async fn connect(to: &HostPort) -> Result<(Sender, Receiver)> {
    let stream = Tcp.connect(&to.host, to.port).await.with_context(|| to.to_string())?;
    let (read, write) = tokio::io::split(stream);
    Ok((
        Sender { stream: write, next_correlation_id: 0 },
        Receiver { stream: read, input: BytesMut::new(), next_correlation_id: 0 },
    ))
}

impl Sender {
    /// Sends a request; its answer is the receiver's next but those still on their way.
    pub(crate) async fn send(&mut self, request: &mut Encoded) -> Result<()> {
        request.0[CORRELATION_ID].copy_from_slice(&self.next_correlation_id.to_be_bytes());
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        self.stream.write_all(&request.0).await.context("connection lost")
    }
}

impl Receiver {
    /// The next answer. Cancel-safe: what was read stays.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let mut input = Decoder::new(self.frame().await?);
        let header = ResponseHeader::decode(&mut input, R::KEY, version)?;
        if header.correlation_id != self.next_correlation_id {
            bail!("answer {} where {} was due", header.correlation_id, self.next_correlation_id);
        }
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        Ok(R::Response::decode(&mut input, version)?)
    }

    async fn frame(&mut self) -> Result<Bytes> {
        loop {
            if let Some(prefix) = self.input.first_chunk::<4>() {
                let len = frame::frame_len(*prefix, ANSWER_BYTES_MAX)?;
                if self.input.len() >= 4 + len {
                    self.input.advance(4);
                    return Ok(self.input.split_to(len).freeze());
                }
                self.input.reserve(4 + len - self.input.len());
            } else {
                self.input.reserve(READ_BYTES);
            }
            if self.stream.read_buf(&mut self.input).await.context("connection lost")? == 0 {
                bail!("the broker closed the connection");
            }
        }
    }
}
