//! The simulated network, as the server and the client know networks.

use super::wire::{HostId, SimListener, SimStream, Wire};
use ottla_net::network::{Acceptor, Bound, BoxFuture};
use ottla_net::{Network, Stream};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The network as one host sees it.
#[derive(Clone, Debug)]
pub struct SimNetwork {
    /// What connects all hosts.
    pub wire: Wire,
    /// This host.
    pub host: HostId,
    /// All hosts by their names.
    pub names: Arc<BTreeMap<String, HostId>>,
}

/// An address by which a host may be told from others in log lines.
fn address(host: HostId, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host.0 as u8 + 1), port))
}

impl Network for SimNetwork {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let to = self.names.get(host).ok_or_else(|| io::Error::other(format!("no host {host}")))?;
            let stream = self.wire.connect(self.host, *to, port).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Bound>> {
        Ok(Box::new(SimBound { network: self.clone(), port: address.port() }))
    }
}

struct SimBound {
    network: SimNetwork,
    port: u16,
}

impl Bound for SimBound {
    fn listen(self: Box<Self>) -> io::Result<Box<dyn Acceptor>> {
        let listener = self.network.wire.listen(self.network.host, self.port)?;
        Ok(Box::new(SimAcceptor { listener, address: address(self.network.host, self.port) }))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(address(self.network.host, self.port))
    }
}

struct SimAcceptor {
    listener: SimListener,
    address: SocketAddr,
}

impl Acceptor for SimAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await;
            Ok((Box::new(stream) as Box<dyn Stream>, address(peer, 0)))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Stream for SimStream {}
