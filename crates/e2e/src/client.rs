//! Speaks the protocol by hand: bytes as they are, and requests that no client would send.

use ottla_protocol::{Decoder, Message, Request, ResponseHeader, Segment, frame};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take: longer than anything that is asked for here.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a node.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects to a node of this machine.
    ///
    /// # Panics
    /// As all that is done here: when the node does not do its part.
    pub fn connect(port: u16) -> Client {
        Client::reach(&format!("127.0.0.1:{port}")).expect("the node listens")
    }

    /// Connects to a node, if it listens.
    pub fn reach(address: &str) -> Option<Client> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a time-out");
        stream.set_nodelay(true).expect("a socket can send at once");
        Some(Client { stream })
    }

    /// Sends bytes as they are. The node may close before it has read everything.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        // Closed by the other side already, it says so.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// What comes until the node closes the connection. Waits in vain for one that does not: that is an error.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut answer = Vec::new();
        match self.stream.read_to_end(&mut answer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => {
                panic!("the node neither answers nor closes the connection")
            }
            _ => answer,
        }
    }

    /// The next answer, without its length; `None` when the node closes the connection instead.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).expect("an answer is whole");
        Some(answer)
    }

    /// Sends a request and waits for its answer; `None` when the node closes the connection instead.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.send(&encode(version, request));
        self.answer::<R>(version)
    }

    /// Waits for the answer to such a request; `None` when the node closes the connection instead.
    pub fn answer<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let mut input = Decoder::new(bytes::Bytes::from(self.receive()?));
        ResponseHeader::decode(&mut input, R::KEY, version).expect("an answer has a header");
        Some(R::Response::decode(&mut input, version).expect("an answer of this kind"))
    }

    /// Returns whether the node has closed the connection, as far as is known by now.
    pub fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket need not wait");
        let read = self.stream.read(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket can wait");
        match read {
            Ok(read) => read == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// A request with its length.
pub fn encode<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let bytes = |segment| match segment {
        Segment::Bytes(bytes) => bytes,
        _ => panic!("a request holds no file"),
    };
    let segments = frame::request(7, Some("e2e"), version, request).expect("the version exists");
    segments.into_iter().flat_map(|segment| bytes(segment).to_vec()).collect()
}
