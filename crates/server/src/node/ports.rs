//! The ports a node listens on.

use super::StartError;
use crate::config::{ListenerConfig, NodeConfig};
use ottla_net::network::Bound;
use ottla_net::{ConnectionQuota, Limits, Listener, Network, Service};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// A port that is ours, and the listener it belongs to.
pub(super) type NamedPort = (String, Box<dyn Bound>);

/// Takes possession of every listener's port. A host that stands for several addresses gets one each.
pub(super) fn bind_all(config: &NodeConfig, network: &dyn Network) -> Result<Vec<NamedPort>, StartError> {
    let mut bound = Vec::new();
    for listener in config.broker_listeners().chain(config.bound_controller_listeners()) {
        let failed = |address: String, source: io::Error| StartError::Bind {
            listener: listener.name.clone(),
            address,
            source,
        };
        let asked = format!("{}:{}", listener.host, listener.port);
        let addresses = addresses(listener).map_err(|error| failed(asked.clone(), error))?;
        let mut ports = Vec::new();
        let mut last = None;
        for address in addresses {
            match network.bind(address) {
                Ok(port) => ports.push((listener.name.clone(), port)),
                // A name may stand for a family of addresses that this machine does not have.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    last = Some((address.to_string(), error));
                }
                Err(error) => return Err(failed(address.to_string(), error)),
            }
        }
        if ports.is_empty() {
            let (address, error) =
                last.unwrap_or_else(|| (asked, io::Error::other("the host has no address")));
            return Err(failed(address, error));
        }
        bound.append(&mut ports);
    }
    Ok(bound)
}

/// Advertises the ports that were bound where the configuration leaves it to the system which (port 0).
pub(super) fn advertise(config: &mut NodeConfig, bound: &[NamedPort]) {
    for (listener, port) in bound {
        let advertised = config.advertised.get_mut(listener).filter(|advertised| advertised.port == 0);
        if let (Some(advertised), Ok(address)) = (advertised, port.local_addr()) {
            advertised.port = address.port();
        }
    }
}

fn addresses(listener: &ListenerConfig) -> io::Result<Vec<SocketAddr>> {
    let port = listener.port;
    if listener.host.is_empty() {
        return Ok(vec![SocketAddr::from(([0, 0, 0, 0], port))]);
    }
    if listener.host == "localhost" && port != 0 {
        // Clients try whichever of the two their resolver gives first.
        return Ok(vec![SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((LOOPBACK_V6, port))]);
    }
    let mut found: Vec<SocketAddr> = (listener.host.as_str(), port).to_socket_addrs()?.collect();
    found.dedup();
    if port == 0 {
        // Two addresses would get two ports.
        found.truncate(1);
    }
    Ok(found)
}

const LOOPBACK_V6: [u16; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

/// How long a connection may be idle; a negative setting is no bound.
fn idle_max(millis: i64) -> Duration {
    const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    u64::try_from(millis).map_or(FOR_EVER, |millis| Duration::from_millis(millis).min(FOR_EVER))
}

/// How many connections the listeners of a broker, or those of a controller, may have.
pub(super) fn connection_quota(config: &NodeConfig) -> ConnectionQuota {
    let connections_max = config.properties.number("max.connections");
    ConnectionQuota::new(u32::try_from(connections_max).unwrap_or(u32::MAX))
}

/// The quota for one of a broker's listeners. That of the brokers is not kept from them by clients, if clients have another.
pub(super) fn quota_of(name: &str, config: &NodeConfig, quota: &ConnectionQuota) -> ConnectionQuota {
    let is_protected = name == config.inter_broker_listener
        && config.broker_listeners().any(|listener| listener.name != config.inter_broker_listener);
    if is_protected { quota.protected() } else { quota.clone() }
}

/// Accepts connections at `port`, for `service`.
pub(super) fn listen(
    config: &NodeConfig,
    name: &str,
    port: Box<dyn Bound>,
    service: Arc<dyn Service>,
    quota: ConnectionQuota,
) -> Result<Listener, StartError> {
    let number = |name| usize::try_from(config.properties.number(name)).unwrap_or(usize::MAX);
    let limits = Limits {
        request_bytes_max: number("socket.request.max.bytes"),
        idle_max: idle_max(config.properties.number("connections.max.idle.ms")),
        ..Limits::default()
    };
    let address = port.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
    let failed = |source| StartError::Bind { listener: name.to_owned(), address, source };
    port.listen()
        .and_then(|acceptor| Listener::start(acceptor, name.into(), service, limits, quota))
        .map_err(failed)
}
