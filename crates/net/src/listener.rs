//! A port, and the connections that came in by it.

use crate::connection::{self, Limits, Service};
use crate::network::Acceptor;
use crate::task::{self, Task};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, watch};

/// Accepts connections and serves them, until it is closed or dropped.
#[derive(Debug)]
pub struct Listener {
    stop: watch::Sender<bool>,
    accepting: Task,
    address: SocketAddr,
}

/// How many connections may be open at a time: of all listeners with clones of it, together.
#[derive(Clone, Debug)]
pub struct ConnectionQuota {
    free: Arc<Semaphore>,
    is_protected: bool,
}

impl ConnectionQuota {
    /// At most `connections_max`.
    pub fn new(connections_max: u32) -> ConnectionQuota {
        ConnectionQuota { free: Arc::new(Semaphore::new(connections_max as usize)), is_protected: false }
    }

    /// The same quota for a listener whose connections count, and are served also where it is used up.
    pub fn protected(&self) -> ConnectionQuota {
        ConnectionQuota { is_protected: true, ..self.clone() }
    }

    /// Returns what a connection is to keep while it is open; an error if it may not be.
    fn admit(&self) -> Result<Option<OwnedSemaphorePermit>, TryAcquireError> {
        match self.free.clone().try_acquire_owned() {
            Ok(permit) => Ok(Some(permit)),
            Err(_) if self.is_protected => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How long accepting rests after the system refused it (out of descriptors): the backlog holds those who
/// knock meanwhile.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

impl Listener {
    /// Serves all who connect and have room in the `quota`.
    ///
    /// # Errors
    /// When the address cannot be told.
    pub fn start(
        acceptor: Box<dyn Acceptor>,
        name: Arc<str>,
        service: Arc<dyn Service>,
        limits: Limits,
        quota: ConnectionQuota,
    ) -> io::Result<Listener> {
        let address = acceptor.local_addr()?;
        let stop = watch::Sender::new(false);
        let accepting = accept(acceptor, name, service, limits, quota, stop.subscribe());
        Ok(Listener { stop, accepting: task::spawn("listener", accepting), address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to close: [`Listener::close`] says what comes then.
    pub fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }

    /// Stops accepting, and then reading: whoever has lost a connection, or has heard so from another, is refused. Every
    /// connection closes at the first moment at which nothing of it is in flight. Returns when all are closed, or after
    /// `patience`.
    pub async fn close(self, patience: Duration) {
        self.stop_accepting();
        if tokio::time::timeout(patience, self.accepting.join()).await.is_err() {
            tracing::info!(address = %self.address, "closing with connections in use");
        }
    }
}

async fn accept(
    mut acceptor: Box<dyn Acceptor>,
    name: Arc<str>,
    service: Arc<dyn Service>,
    limits: Limits,
    quota: ConnectionQuota,
    mut stop: watch::Receiver<bool>,
) {
    let mut tasks: Vec<Task> = Vec::new();
    let closing = watch::Sender::new(false);
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that the listener was dropped, and this task with it.
            _ = stop.changed() => break,
            accepted = acceptor.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(listener = %name, %error, "cannot accept");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Ok(permit) = quota.admit() else {
            tracing::warn!(listener = %name, %peer, "too many connections: max.connections is reached");
            continue;
        };
        let (service, name, closing) = (service.clone(), name.clone(), closing.subscribe());
        tasks.retain(|task| !task.is_finished());
        tasks.push(task::spawn("connection", async move {
            connection::serve(stream, peer, name, service, limits, closing).await;
            drop(permit);
        }));
    }
    drop(acceptor);
    closing.send_replace(true);
    for task in tasks {
        task.join().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Closed, ConnectionInfo, Service, Started};
    use crate::{Network, Tcp};
    use bytes::Bytes;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;

    const CONNECTIONS: u32 = 64;

    struct Deaf;

    impl Service for Deaf {
        fn start(&self, _connection: &Arc<ConnectionInfo>, _frame: Bytes) -> Started {
            Started::Nothing
        }

        fn closed(&self, _connection: &ConnectionInfo, _how: Closed) {}
    }

    fn listen(quota: ConnectionQuota) -> Listener {
        let bound = Tcp.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let acceptor = bound.listen().expect("a listener");
        Listener::start(acceptor, "test".into(), Arc::new(Deaf), Limits::default(), quota)
            .expect("a listener")
    }

    /// Whether a connection is closed at once. One that stays open says nothing.
    async fn is_refused(stream: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await.is_ok()
    }

    #[tokio::test]
    async fn listeners_share_a_quota_and_a_protected_one_serves_also_beyond_it() {
        let quota = ConnectionQuota::new(2);
        let (one, other) = (listen(quota.clone()), listen(quota.clone()));
        let protected = listen(quota.protected());
        let connect = |listener: &Listener| TcpStream::connect(listener.address());

        let mut first = connect(&one).await.expect("a connection");
        assert!(!is_refused(&mut first).await);
        let mut among_brokers = connect(&protected).await.expect("a connection");
        assert!(!is_refused(&mut among_brokers).await);
        for listener in [&one, &other] {
            assert!(is_refused(&mut connect(listener).await.expect("a connection")).await);
        }
        assert!(!is_refused(&mut connect(&protected).await.expect("a connection")).await);

        drop((first, among_brokers));
        let freed = async { while is_refused(&mut connect(&other).await.expect("a connection")).await {} };
        tokio::time::timeout(Duration::from_secs(10), freed).await.expect("those that closed make room");
    }

    /// Whoever has lost a connection tells another that it should look for itself.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn when_the_first_connection_closes_nobody_is_let_in_any_more() {
        let listener = listen(ConnectionQuota::new(CONNECTIONS));
        let address = listener.address();
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            clients.spawn(async move {
                stream.read_u8().await.expect_err("nothing is said");
                TcpStream::connect(address).await.map(drop).map_err(|error| error.kind())
            });
        }

        listener.close(Duration::from_secs(10)).await;

        while let Some(connected) = clients.join_next().await {
            assert_eq!(connected.expect("it ends"), Err(io::ErrorKind::ConnectionRefused));
        }
    }
}
