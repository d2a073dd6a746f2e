//! One connection to each address, made when first needed and again when lost.
//!
//! An attempt belongs to everybody who wants its connection. Whoever comes while one is under way waits for the end of that
//! one, not for its turn to make another: a node that is frozen accepts and says nothing, and each attempt would take its
//! whole time.

use crate::config::{ClientConfig, HostPort};
use ottla_net::{CallError, Network, Outgoing};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// The connections of a client.
pub struct Connections {
    network: Arc<dyn Network>,
    client_id: Arc<str>,
    timeout: Duration,
    attempts: Mutex<BTreeMap<HostPort, Arc<Attempt>>>,
}

/// The latest attempt to connect to an address, and what came of it.
struct Attempt {
    begun: Instant,
    outcome: OnceCell<Result<Arc<Outgoing>, CallError>>,
}

impl Attempt {
    /// Returns whether it has come to nothing, or its connection to an end.
    fn is_over(&self) -> bool {
        match self.outcome.get() {
            None => false,
            Some(Ok(open)) => open.is_closed(),
            Some(Err(_)) => true,
        }
    }
}

impl Connections {
    /// No connections yet.
    pub fn new(config: &ClientConfig) -> Connections {
        Connections {
            network: config.network.clone(),
            client_id: config.client_id.clone(),
            timeout: config.request_timeout,
            attempts: Mutex::default(),
        }
    }

    /// The connection to `address`.
    ///
    /// # Errors
    /// When there is none and none can be made.
    pub async fn to(&self, address: &HostPort) -> Result<Arc<Outgoing>, CallError> {
        let attempt = self.attempt(address);
        // If whoever began it has gone, another one goes on, with the time that is left.
        let outcome = attempt.outcome.get_or_init(|| self.connect(address, attempt.begun)).await;
        outcome.as_ref().map(Arc::clone).map_err(told_again)
    }

    /// The attempt that there is, or a new one if that is over.
    fn attempt(&self, address: &HostPort) -> Arc<Attempt> {
        let mut attempts = self.attempts.lock();
        if let Some(attempt) = attempts.get(address).filter(|attempt| !attempt.is_over()) {
            return attempt.clone();
        }
        let attempt = Arc::new(Attempt { begun: Instant::now(), outcome: OnceCell::new() });
        attempts.insert(address.clone(), attempt.clone());
        attempt
    }

    async fn connect(&self, address: &HostPort, begun: Instant) -> Result<Arc<Outgoing>, CallError> {
        let left = self.timeout.saturating_sub(begun.elapsed());
        let client_id = self.client_id.clone();
        let connecting = Outgoing::connect(&*self.network, &address.host, address.port, client_id, left);
        match tokio::time::timeout(left, connecting).await {
            Ok(Ok(open)) => Ok(Arc::new(open)),
            Err(_) | Ok(Err(CallError::TimedOut(_))) => Err(CallError::TimedOut(self.timeout)),
            Ok(Err(error)) => Err(error),
        }
    }
}

/// Why an attempt came to nothing, for one more of those who waited for it.
fn told_again(error: &CallError) -> CallError {
    match error {
        CallError::Refused(address) => CallError::Refused(address.clone()),
        CallError::Connect { address, source } => CallError::Connect {
            address: address.clone(),
            source: io::Error::new(source.kind(), source.to_string()),
        },
        CallError::Closed => CallError::Closed,
        CallError::TimedOut(after) => CallError::TimedOut(*after),
        CallError::Unsupported { api, theirs } => {
            CallError::Unsupported { api: *api, theirs: theirs.clone() }
        }
        CallError::Malformed(why) => CallError::Malformed(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_millis(250);

    fn connections() -> Arc<Connections> {
        let config = ClientConfig { request_timeout: TIMEOUT, ..ClientConfig::new(Vec::new(), "client", 1) };
        Arc::new(Connections::new(&config))
    }

    /// Its kernel accepts for it.
    fn frozen() -> (TcpListener, HostPort) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        (listener, HostPort::new("127.0.0.1", port))
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_frozen_node_waits_together_with_all_others() {
        let (_listener, address) = frozen();
        let connections = connections();
        let begun = Instant::now();

        let attempts: Vec<_> = (0..16)
            .map(|_| {
                let (connections, address) = (connections.clone(), address.clone());
                ottla_net::task::spawn("caller", async move { connections.to(&address).await.err() })
            })
            .collect();
        for attempt in attempts {
            let error = attempt.join().await.expect("no panic").expect("nobody answers");
            assert!(matches!(error, CallError::TimedOut(TIMEOUT)), "{error}");
        }

        assert!(begun.elapsed() < TIMEOUT * 2, "one after the other: {:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_attempt_over_has_the_time_that_is_left() {
        let (_listener, address) = frozen();
        let connections = connections();
        let begun = Instant::now();

        // The first gives up, again and again; another one waits.
        let waiting = {
            let (connections, address) = (connections.clone(), address.clone());
            async move { connections.to(&address).await.err() }
        };
        let impatient = async {
            while begun.elapsed() < TIMEOUT * 3 / 4 {
                let _ = tokio::time::timeout(TIMEOUT / 10, connections.to(&address)).await;
            }
        };
        let (_, error) = tokio::join!(impatient, waiting);

        assert!(matches!(error, Some(CallError::TimedOut(TIMEOUT))), "{error:?}");
        assert!(begun.elapsed() < TIMEOUT * 5 / 4, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn an_attempt_that_came_to_nothing_is_not_the_last() {
        let (listener, address) = frozen();
        let connections = connections();
        let first = connections.to(&address).await.err();
        assert!(matches!(first, Some(CallError::TimedOut(_))), "{first:?}");

        drop(listener);
        let second = connections.to(&address).await.err();

        assert!(matches!(second, Some(CallError::Refused(_))), "{second:?}");
    }
}
