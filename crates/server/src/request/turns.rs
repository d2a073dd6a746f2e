//! Requests of a connection that must be carried out one after the other, though some of them wait meanwhile.

use ottla_net::ConnectionId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// The last request of each connection that has not been carried out.
#[derive(Default)]
struct Last {
    next: u64,
    /// Its number, and what is heard when it is done.
    requests: BTreeMap<ConnectionId, (u64, oneshot::Receiver<()>)>,
}

/// Who is to be carried out after whom.
#[derive(Clone, Default)]
pub struct Turns {
    last: Arc<Mutex<Last>>,
    /// How many connections there are in it: nearly always none, which is then all that is looked at.
    connections: Arc<AtomicUsize>,
}

/// A request's turn. The next one's comes when it is dropped.
pub struct Turn {
    turns: Turns,
    connection: ConnectionId,
    number: u64,
    before: Option<oneshot::Receiver<()>>,
    _done: oneshot::Sender<()>,
}

impl Turns {
    /// Takes the turn behind the last request of the connection.
    pub fn take(&self, connection: ConnectionId) -> Turn {
        let mut last = self.last.lock();
        let (done, heard) = oneshot::channel();
        let number = last.next;
        last.next += 1;
        let before = last.requests.insert(connection, (number, heard)).map(|(_, heard)| heard);
        self.connections.store(last.requests.len(), Ordering::Release);
        Turn { turns: self.clone(), connection, number, before, _done: done }
    }

    /// Whether no request of the connection has a turn.
    pub fn is_free(&self, connection: ConnectionId) -> bool {
        self.connections.load(Ordering::Acquire) == 0 || !self.last.lock().requests.contains_key(&connection)
    }
}

impl Turn {
    /// Whether nothing is to be waited for.
    pub fn has_come(&self) -> bool {
        self.before.is_none()
    }

    /// Waits for the requests before this one.
    pub async fn come(&mut self) {
        if let Some(before) = &mut self.before {
            // Its end is what is waited for.
            let _ = before.await;
            self.before = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut last = self.turns.last.lock();
        if last.requests.get(&self.connection).is_some_and(|(number, _)| *number == self.number) {
            last.requests.remove(&self.connection);
            self.turns.connections.store(last.requests.len(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_waits_for_those_before_it_on_its_connection_only() {
        let turns = Turns::default();
        assert!(turns.is_free(ConnectionId(1)));
        let first = turns.take(ConnectionId(1));
        assert!(!turns.is_free(ConnectionId(1)) && turns.is_free(ConnectionId(2)));
        let mut second = turns.take(ConnectionId(1));
        let other = turns.take(ConnectionId(2));
        assert!(first.has_come() && !second.has_come() && other.has_come());

        let waiting = tokio::time::timeout(std::time::Duration::ZERO, second.come()).await;
        assert!(waiting.is_err());
        drop(first);
        drop(other);
        second.come().await;
        assert!(!turns.is_free(ConnectionId(1)));
        drop(second);

        assert!(turns.is_free(ConnectionId(1)));
        assert!(turns.last.lock().requests.is_empty());
    }
}
