//! Fetch sessions (KIP-227): a fetcher names its partitions once, and then only what changes.

use super::interest::Interest;
use ottla_protocol::ErrorCode;
use ottla_types::{Monotonic, Random};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The epoch of a request that wants a session.
pub const EPOCH_INITIAL: i32 = 0;

/// The epoch of a request that wants none.
pub const EPOCH_FINAL: i32 = -1;

/// For how long a session that is not used is kept from making room for another
/// (`min.incremental.fetch.session.eviction.ms` in Kafka's code, which knows no setting for it).
const UNUSED_MAX: Duration = Duration::from_secs(120);

/// Who has a session. A follower's is worth more: with many partitions it saves more, and there are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A client.
    Consumer,
    /// Another broker.
    Follower,
}

/// How partitions are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By the topic's name.
    Names,
    /// By the topic's id.
    Ids,
}

/// What is kept between two requests of a fetcher, or while one waits.
#[derive(Debug)]
pub struct Session {
    /// The partitions.
    pub interest: Interest,
    /// How they are named.
    pub naming: Naming,
    /// When all of them were last looked at.
    pub swept_at: Monotonic,
    /// The epoch that the next request must have.
    next_epoch: i32,
}

impl Session {
    /// A session of which the first request is being answered.
    pub fn new(interest: Interest, naming: Naming, now: Monotonic) -> Session {
        Session { interest, naming, swept_at: now, next_epoch: 1 }
    }

    /// Accepts the next request of the session.
    ///
    /// # Errors
    /// When it is not the next, or names topics in another way.
    pub fn advance(&mut self, epoch: i32, naming: Naming) -> Result<(), ErrorCode> {
        if epoch != self.next_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if naming != self.naming {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        self.next_epoch = next_epoch(epoch);
        Ok(())
    }
}

/// The epoch after this one: from 1 to the largest, and again.
pub fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

/// The sessions of a broker.
#[derive(Debug)]
pub struct Sessions {
    sessions_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: BTreeMap<i32, Entry>,
    random: Random,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Mutex<Session>>,
    owner: Owner,
    created: Monotonic,
    used: Monotonic,
}

impl Sessions {
    /// Room for `sessions_max` sessions (`max.incremental.fetch.session.cache.slots`).
    pub fn new(sessions_max: usize, seed: u64) -> Sessions {
        Sessions {
            sessions_max,
            inner: Mutex::new(Inner { entries: BTreeMap::new(), random: Random::new(seed) }),
        }
    }

    /// Keeps a session; returns its id, or 0 when there is no room for it.
    pub fn add(&self, session: &Arc<Mutex<Session>>, owner: Owner, now: Monotonic) -> i32 {
        let mut inner = self.inner.lock();
        if inner.entries.len() >= self.sessions_max {
            let Some(victim) = inner.victim(owner, now) else { return 0 };
            inner.entries.remove(&victim);
        }
        let id = inner.free_id();
        inner.entries.insert(id, Entry { session: session.clone(), owner, created: now, used: now });
        id
    }

    /// Finds a session that a request belongs to.
    pub fn find(&self, id: i32, now: Monotonic) -> Option<Arc<Mutex<Session>>> {
        let mut inner = self.inner.lock();
        let entry = inner.entries.get_mut(&id)?;
        entry.used = now;
        Some(entry.session.clone())
    }

    /// Ends a session.
    pub fn remove(&self, id: i32) {
        // Dropped without the lock: it visits its partitions.
        let removed = self.inner.lock().entries.remove(&id);
        drop(removed);
    }
}

impl Inner {
    /// The session that makes room: the one unused for longest; for a follower, else the oldest of a consumer. `None`
    /// when all have a better right.
    fn victim(&self, owner: Owner, now: Monotonic) -> Option<i32> {
        let (&id, entry) = self.entries.iter().min_by_key(|(_, entry)| entry.used)?;
        if now - entry.used > UNUSED_MAX {
            return Some(id);
        }
        if owner == Owner::Consumer {
            return None;
        }
        let consumers = self.entries.iter().filter(|(_, entry)| entry.owner == Owner::Consumer);
        consumers.min_by_key(|(_, entry)| entry.created).map(|(&id, _)| id)
    }

    /// An id that nobody has and nobody guesses by counting: a fetcher that mixes up brokers shall not hit
    /// another's session.
    fn free_id(&mut self) -> i32 {
        loop {
            let id = (self.random.next_u64() >> 33) as i32;
            if id > 0 && !self.entries.contains_key(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicas::waiting::Waiting;

    fn session() -> Arc<Mutex<Session>> {
        let interest = Interest::new(&Arc::new(Waiting::default()));
        Arc::new(Mutex::new(Session::new(interest, Naming::Ids, Monotonic(0))))
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000)
    }

    #[test]
    fn requests_of_a_session_come_in_order_and_in_one_naming() {
        let session = session();
        let mut session = session.lock();

        assert_eq!(session.advance(1, Naming::Ids), Ok(()));
        assert_eq!(session.advance(1, Naming::Ids), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(session.advance(2, Naming::Names), Err(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(session.advance(2, Naming::Ids), Ok(()));
        assert_eq!(next_epoch(i32::MAX), 1);
    }

    #[test]
    fn a_full_cache_keeps_what_is_used_and_prefers_followers() {
        let sessions = Sessions::new(2, 1);
        let first = sessions.add(&session(), Owner::Consumer, at(0));
        let second = sessions.add(&session(), Owner::Consumer, at(1));
        assert!(first > 0 && second > 0 && first != second);

        assert_eq!(sessions.add(&session(), Owner::Consumer, at(100)), 0);
        let follower = sessions.add(&session(), Owner::Follower, at(100));
        assert!(sessions.find(first, at(100)).is_none());
        assert!(sessions.find(second, at(110)).is_some());

        let late = sessions.add(&session(), Owner::Consumer, at(225));
        assert!(late > 0);
        assert!(sessions.find(follower, at(225)).is_none());
        assert!(sessions.find(second, at(225)).is_some());
        sessions.remove(second);
        assert!(sessions.find(second, at(226)).is_none());
    }
}
