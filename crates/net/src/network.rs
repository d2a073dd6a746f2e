//! Where streams come from: TCP in production, something else under simulation.

use crate::descriptors::{self, Range};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A future on the heap, as methods of a trait object return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connected byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket underneath, for `sendfile`; `None` where there is none, or where bytes are changed on
    /// their way (TLS).
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Stream for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// Bound to a port, and handing out the streams of those who connect.
pub trait Acceptor: Send {
    /// The next stream, and who is at its other end.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>>;

    /// The address it is bound to.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A way to reach other nodes and to be reached.
pub trait Network: Send + Sync + 'static {
    /// Connects to `host:port`, trying every address that the name stands for.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;

    /// Takes possession of a port without listening: whoever connects is refused until
    /// [`Bound::listen`].
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Bound>>;
}

/// A port that is ours, but where nobody is answered.
pub trait Bound: Send {
    /// Starts to accept.
    fn listen(self: Box<Self>) -> io::Result<Box<dyn Acceptor>>;

    /// The address it is bound to.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Makes a connection vanish when it is dropped, with whatever is still on its way: an ordinary end would keep its port
/// for a minute on this side.
pub fn abandon(stream: &dyn Stream) {
    if let Some(socket) = stream.tcp() {
        // If it cannot be had, the port is kept for a minute.
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }
}

/// The real network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

/// Connections that the kernel accepts ahead of us.
const BACKLOG: i32 = 1024;

impl Network for Tcp {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect((host, port)).await?.into_std()?;
            let stream = TcpStream::from_std(descriptors::moved(stream.into(), Range::Connections).into())?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Bound>> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        if address.is_ipv6() {
            // A listener on an IPv6 address is not also one on IPv4: each gets its own.
            socket.set_only_v6(true)?;
        }
        // A restarted node must not wait for its predecessor's connections to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Box::new(TcpBound(socket)))
    }
}

struct TcpBound(socket2::Socket);

impl Bound for TcpBound {
    fn listen(self: Box<Self>) -> io::Result<Box<dyn Acceptor>> {
        let socket = socket2::Socket::from(descriptors::moved(self.0.into(), Range::Listeners));
        socket.listen(BACKLOG)?;
        Ok(Box::new(TcpAcceptor(TcpListener::from_std(socket.into())?)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an internet address"))
    }
}

struct TcpAcceptor(TcpListener);

impl Acceptor for TcpAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Box<dyn Stream>, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
