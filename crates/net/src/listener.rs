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
    stage: watch::Sender<Stage>,
    accepting: Task,
    address: SocketAddr,
}

/// How far a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Accepting,
    /// Connections may finish what they have begun.
    Closing,
    /// They may not any more.
    Over,
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
        let stage = watch::Sender::new(Stage::Accepting);
        let accepting = accept(acceptor, name, service, limits, quota, stage.subscribe());
        Ok(Listener { stage, accepting: task::spawn("listener", accepting), address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to close: [`Listener::close`] says what comes then.
    pub fn stop_accepting(&self) {
        self.stage.send_replace(Stage::Closing);
    }

    /// Stops accepting, and then reading: whoever has lost a connection, or has heard so from another, is refused. Every
    /// connection closes at the first moment at which nothing of it is in flight, or after `patience`. Returns when all are
    /// closed: none is told of what happens afterwards.
    pub async fn close(mut self, patience: Duration) {
        self.stop_accepting();
        if tokio::time::timeout(patience, self.accepting.ended()).await.is_err() {
            tracing::info!(address = %self.address, "closing with connections in use");
            self.stage.send_replace(Stage::Over);
            self.accepting.ended().await;
        }
    }
}

async fn accept(
    mut acceptor: Box<dyn Acceptor>,
    name: Arc<str>,
    service: Arc<dyn Service>,
    limits: Limits,
    quota: ConnectionQuota,
    mut stage: watch::Receiver<Stage>,
) {
    let mut tasks: Vec<Task> = Vec::new();
    let closing = watch::Sender::new(false);
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that the listener was dropped, and this task with it.
            _ = stage.changed() => break,
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
    let over = stage.wait_for(|stage| *stage == Stage::Over);
    tokio::select! {
        biased;
        () = all_ended(&mut tasks) => return,
        _ = over => {}
    }
    tasks.iter().for_each(Task::abort);
    all_ended(&mut tasks).await;
}

async fn all_ended(tasks: &mut Vec<Task>) {
    while let Some(task) = tasks.last_mut() {
        task.ended().await;
        tasks.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Closed, ConnectionInfo, Service, Started};
    use crate::{Network, Tcp};
    use bytes::Bytes;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

    fn listen(service: Arc<dyn Service>, quota: ConnectionQuota) -> Listener {
        let bound = Tcp.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let acceptor = bound.listen().expect("a listener");
        Listener::start(acceptor, "test".into(), service, Limits::default(), quota).expect("a listener")
    }

    /// Whether a connection is closed at once. One that stays open says nothing.
    async fn is_refused(stream: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await.is_ok()
    }

    #[tokio::test]
    async fn listeners_share_a_quota_and_a_protected_one_serves_also_beyond_it() {
        let quota = ConnectionQuota::new(2);
        let (one, other) = (listen(Arc::new(Deaf), quota.clone()), listen(Arc::new(Deaf), quota.clone()));
        let protected = listen(Arc::new(Deaf), quota.protected());
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

    /// Never answers, and says whether anybody waits for that.
    struct Late(Arc<AtomicBool>);

    impl Service for Late {
        fn start(&self, _connection: &Arc<ConnectionInfo>, _frame: Bytes) -> Started {
            let waiting = Waiting(self.0.clone());
            waiting.0.store(true, Ordering::SeqCst);
            Started::Later(Box::pin(async move {
                let _waiting = waiting;
                std::future::pending().await
            }))
        }

        fn closed(&self, _connection: &ConnectionInfo, _how: Closed) {}
    }

    struct Waiting(Arc<AtomicBool>);

    impl Drop for Waiting {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn nothing_waits_for_its_answer_any_more_when_a_listener_is_closed() {
        let is_waiting = Arc::new(AtomicBool::new(false));
        let listener = listen(Arc::new(Late(is_waiting.clone())), ConnectionQuota::new(1));
        let mut client = TcpStream::connect(listener.address()).await.expect("a connection");
        client.write_all(&[0, 0, 0, 4, 0, 1, 0, 0]).await.expect("it is sent");
        while !is_waiting.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }

        listener.close(Duration::from_millis(10)).await;

        assert!(!is_waiting.load(Ordering::SeqCst));
        assert_eq!(client.read(&mut [0]).await.map_err(|error| error.kind()), Ok(0));
    }

    /// Whoever has lost a connection tells another that it should look for itself.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn when_the_first_connection_closes_nobody_is_let_in_any_more() {
        let listener = listen(Arc::new(Deaf), ConnectionQuota::new(CONNECTIONS));
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
