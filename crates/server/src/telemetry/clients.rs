//! The clients that have asked what is wanted of them, and what they have told since (`ClientMetricsManager`).

use super::samples::Sample;
use super::subscriptions::{Offer, Profile};
use ottla_net::ConnectionId;
use ottla_protocol::ErrorCode;
use ottla_types::{Monotonic, Random, Uuid};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many are known at most (`CACHE_MAX_SIZE`).
const CLIENTS_MAX: usize = 16_384;

/// How much of what they have told is kept at most, about, in bytes: of those first that have not told anything for longest.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// How long somebody is known who says nothing, at least (`DEFAULT_CACHE_EXPIRY_MS`).
const EXPIRY_MIN: Duration = Duration::from_secs(60);

/// A client that has asked.
#[derive(Debug)]
pub struct Client {
    /// Who it is.
    pub profile: Profile,
    /// What it has told last.
    pub samples: Vec<Sample>,
    /// How much memory that takes, about.
    bytes: usize,
    /// What is wanted of it.
    offer: Offer,
    connection: ConnectionId,
    heard: Monotonic,
    asked: Option<Monotonic>,
    told: Option<Monotonic>,
    /// It was told to ask again: at once.
    must_ask: bool,
    /// It has said that it tells nothing any more.
    is_ending: bool,
}

impl Client {
    fn ask(&mut self, now: Monotonic) -> Result<(), ErrorCode> {
        let is_early = self.asked.max(self.told).is_some_and(|last| now - last < self.offer.interval);
        if is_early && !self.must_ask {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        self.asked = Some(now);
        self.must_ask = false;
        Ok(())
    }

    fn admit(&mut self, push: Push, now: Monotonic) -> Result<(), ErrorCode> {
        let was_ending = std::mem::replace(&mut self.is_ending, push.is_last);
        if was_ending {
            return Err(ErrorCode::InvalidRequest);
        }
        // What follows a question may come any time: clients wait for a random part of the interval.
        let has_asked = self.asked.is_some() && self.asked >= self.told;
        let is_due = has_asked || self.told.is_none_or(|told| now - told >= self.offer.interval);
        if is_due {
            self.told = Some(now);
        } else if !push.is_last {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        let refused = if push.subscription_id != self.offer.subscription_id {
            ErrorCode::UnknownSubscriptionId
        } else if !push.is_readable {
            ErrorCode::UnsupportedCompressionType
        } else if push.is_too_long {
            return Err(ErrorCode::TelemetryTooLarge);
        } else {
            return Ok(());
        };
        self.must_ask = true;
        Err(refused)
    }

    fn is_forgotten(&self, now: Monotonic) -> bool {
        now - self.heard > (3 * self.offer.interval).max(EXPIRY_MIN)
    }

    /// Forgets what it has told. Returns how much that was.
    fn clear(&mut self) -> usize {
        self.samples = Vec::new();
        std::mem::take(&mut self.bytes)
    }
}

/// What a client wants to tell.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// What it was asked for.
    pub subscription_id: i32,
    /// It is the last time.
    pub is_last: bool,
    /// Whether its compression is one that there is.
    pub is_readable: bool,
    /// Whether it is longer than it may be.
    pub is_too_long: bool,
}

/// All clients that have asked.
#[derive(Debug)]
pub struct Clients {
    known: BTreeMap<Uuid, Client>,
    /// Who has come by which connection.
    connections: BTreeMap<ConnectionId, Uuid>,
    /// How much memory takes what they have told, about, in bytes.
    kept: usize,
    random: Random,
    unknown_subscriptions: u64,
    throttled: u64,
}

impl Clients {
    /// None yet.
    pub fn new(random: Random) -> Clients {
        Clients {
            known: BTreeMap::new(),
            connections: BTreeMap::new(),
            kept: 0,
            random,
            unknown_subscriptions: 0,
            throttled: 0,
        }
    }

    /// An id for a client that has none.
    pub fn new_id(&mut self) -> Uuid {
        self.random.uuid()
    }

    /// A client asks what is wanted of it.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED when it has asked or told something just before: it knows already.
    pub fn ask(
        &mut self,
        profile: Profile,
        offer: Offer,
        connection: ConnectionId,
        now: Monotonic,
    ) -> Result<(), ErrorCode> {
        let asked = self.hear(profile, offer, connection, now).ask(now);
        self.count(asked)
    }

    /// A client wants to tell something, and may; what it tells comes with [`Clients::keep`].
    ///
    /// # Errors
    /// Why it may not: INVALID_REQUEST after its last time, THROTTLING_QUOTA_EXCEEDED when it has told something just
    /// before, UNKNOWN_SUBSCRIPTION_ID when something else is wanted by now, UNSUPPORTED_COMPRESSION_TYPE,
    /// TELEMETRY_TOO_LARGE.
    pub fn admit(
        &mut self,
        profile: Profile,
        offer: Offer,
        push: Push,
        connection: ConnectionId,
        now: Monotonic,
    ) -> Result<(), ErrorCode> {
        let admitted = self.hear(profile, offer, connection, now).admit(push, now);
        self.count(admitted)
    }

    fn count(&mut self, outcome: Result<(), ErrorCode>) -> Result<(), ErrorCode> {
        match outcome {
            Err(ErrorCode::ThrottlingQuotaExceeded) => self.throttled += 1,
            Err(ErrorCode::UnknownSubscriptionId) => self.unknown_subscriptions += 1,
            _ => {}
        }
        outcome
    }

    /// Keeps what a client has told, instead of what it told before.
    pub fn keep(&mut self, id: Uuid, samples: Vec<Sample>) {
        let Some(client) = self.known.get_mut(&id) else { return };
        self.kept -= client.clear();
        client.bytes = samples.iter().map(Sample::bytes).sum();
        client.samples = samples;
        self.kept += client.bytes;
        while self.kept > KEPT_BYTES_MAX {
            let told = self.known.values_mut().filter(|client| !client.samples.is_empty());
            let Some(oldest) = told.min_by_key(|client| client.told) else { break };
            self.kept -= oldest.clear();
        }
    }

    /// A connection has ended, and whoever came by it has gone.
    pub fn connection_closed(&mut self, connection: ConnectionId) {
        if let Some(id) = self.connections.remove(&connection) {
            self.forget(id);
        }
    }

    /// Who is known now.
    pub fn present(&self, now: Monotonic) -> impl Iterator<Item = &Client> {
        self.known.values().filter(move |client| !client.is_forgotten(now))
    }

    /// How often a client told what nobody had asked for, or did not want any more.
    pub fn unknown_subscriptions(&self) -> u64 {
        self.unknown_subscriptions
    }

    /// How often a client asked or told something too early.
    pub fn throttled(&self) -> u64 {
        self.throttled
    }

    /// Somebody is heard of, for the first time or again.
    fn hear(
        &mut self,
        profile: Profile,
        offer: Offer,
        connection: ConnectionId,
        now: Monotonic,
    ) -> &mut Client {
        let id = profile.instance_id;
        if !self.known.contains_key(&id) {
            self.make_room(now);
        }
        let client = self.known.entry(id).or_insert_with(|| Client {
            profile: profile.clone(),
            samples: Vec::new(),
            bytes: 0,
            offer: offer.clone(),
            connection,
            heard: now,
            asked: None,
            told: None,
            must_ask: false,
            is_ending: false,
        });
        if client.offer != offer {
            // It may ask, and tell, at once.
            client.offer = offer;
            (client.asked, client.told) = (None, None);
        }
        client.profile = profile;
        client.heard = now;
        // It may have come again by another way, before the end of the one before was seen.
        let before = std::mem::replace(&mut client.connection, connection);
        if before != connection && self.connections.get(&before) == Some(&id) {
            self.connections.remove(&before);
        }
        self.connections.insert(connection, id);
        client
    }

    /// Makes room for one more, where it is short.
    fn make_room(&mut self, now: Monotonic) {
        if self.known.len() < CLIENTS_MAX {
            return;
        }
        let forgotten = |(id, client): (&Uuid, &Client)| client.is_forgotten(now).then_some(*id);
        let forgotten: Vec<Uuid> = self.known.iter().filter_map(forgotten).collect();
        forgotten.into_iter().for_each(|id| self.forget(id));
        if self.known.len() >= CLIENTS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, client)| client.heard).map(|(id, _)| *id);
            oldest.into_iter().for_each(|id| self.forget(id));
        }
    }

    fn forget(&mut self, id: Uuid) {
        if let Some(mut client) = self.known.remove(&id) {
            self.kept -= client.clear();
            if self.connections.get(&client.connection) == Some(&id) {
                self.connections.remove(&client.connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn profile(id: u128) -> Profile {
        Profile {
            instance_id: Uuid::from_u128(id),
            client_id: "c".to_owned(),
            software_name: "s".to_owned(),
            software_version: "1".to_owned(),
            source_address: "127.0.0.1".to_owned(),
            source_port: 1,
        }
    }

    fn offer(subscription_id: i32) -> Offer {
        Offer { subscription_id, metrics: BTreeSet::new(), interval: INTERVAL }
    }

    fn push(subscription_id: i32) -> Push {
        Push { subscription_id, is_last: false, is_readable: true, is_too_long: false }
    }

    fn clients() -> Clients {
        Clients::new(Random::new(1))
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic((100 + seconds) * 1_000_000)
    }

    const FIRST: ConnectionId = ConnectionId(1);

    #[test]
    fn who_has_asked_may_tell_at_once_and_then_once_an_interval() {
        let mut clients = clients();
        let tell =
            |clients: &mut Clients, seconds| clients.admit(profile(7), offer(1), push(1), FIRST, at(seconds));

        assert_eq!(clients.ask(profile(7), offer(1), FIRST, at(0)), Ok(()));
        assert_eq!(tell(&mut clients, 1), Ok(()));
        assert_eq!(tell(&mut clients, 10), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(tell(&mut clients, 11), Ok(()));
        assert_eq!(clients.ask(profile(7), offer(1), FIRST, at(20)), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(clients.ask(profile(7), offer(1), FIRST, at(21)), Ok(()));
        assert_eq!(tell(&mut clients, 22), Ok(()));
        assert_eq!(clients.throttled(), 2);
    }

    #[test]
    fn who_tells_what_is_not_wanted_any_more_is_told_to_ask_and_may_do_so_at_once() {
        let mut clients = clients();
        assert_eq!(clients.ask(profile(7), offer(1), FIRST, at(0)), Ok(()));
        assert_eq!(clients.admit(profile(7), offer(1), push(1), FIRST, at(1)), Ok(()));

        let told = clients.admit(profile(7), offer(2), push(1), FIRST, at(2));
        assert_eq!(told, Err(ErrorCode::UnknownSubscriptionId));
        assert_eq!(clients.ask(profile(7), offer(2), FIRST, at(2)), Ok(()));
        assert_eq!(clients.admit(profile(7), offer(2), push(2), FIRST, at(3)), Ok(()));
        assert_eq!(clients.unknown_subscriptions(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let mut clients = clients();
        let unreadable = Push { is_readable: false, ..push(1) };
        let too_long = Push { is_too_long: true, ..push(1) };

        let told = clients.admit(profile(7), offer(1), unreadable, FIRST, at(0));
        assert_eq!(told, Err(ErrorCode::UnsupportedCompressionType));
        assert_eq!(clients.ask(profile(7), offer(1), FIRST, at(1)), Ok(()));
        let told = clients.admit(profile(7), offer(1), too_long, FIRST, at(2));
        assert_eq!(told, Err(ErrorCode::TelemetryTooLarge));
    }

    #[test]
    fn after_the_last_word_there_is_none() {
        let mut clients = clients();
        let last = Push { is_last: true, ..push(1) };
        let mut tell = |push, seconds| clients.admit(profile(7), offer(1), push, FIRST, at(seconds));

        assert_eq!(tell(push(1), 0), Ok(()));
        // Early, and the last.
        assert_eq!(tell(last, 1), Ok(()));
        assert_eq!(tell(push(1), 100), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn who_has_gone_or_says_nothing_for_long_is_forgotten() {
        let mut clients = clients();
        let second = ConnectionId(2);
        for (id, connection) in [(7, FIRST), (8, second)] {
            assert_eq!(clients.ask(profile(id), offer(1), connection, at(0)), Ok(()));
        }
        // It has come again; the end of its first connection says nothing.
        let third = ConnectionId(3);
        assert_eq!(clients.ask(profile(7), offer(1), third, at(10)), Ok(()));
        clients.connection_closed(FIRST);
        assert_eq!(clients.present(at(10)).count(), 2);
        clients.connection_closed(third);
        assert_eq!(clients.present(at(10)).count(), 1);

        assert_eq!(clients.present(at(60)).count(), 1);
        assert_eq!(clients.present(at(61)).count(), 0);
    }

    #[test]
    fn what_is_told_is_bounded() {
        let mut clients = clients();
        let sample = Sample {
            name: "m".repeat(KEPT_BYTES_MAX / 3),
            labels: BTreeMap::new(),
            value: 1.0,
            is_total: false,
        };
        for id in 0..4 {
            let id = 200 + id;
            let connection = ConnectionId(id);
            assert_eq!(clients.admit(profile(id.into()), offer(1), push(1), connection, at(id)), Ok(()));
            clients.keep(Uuid::from_u128(id.into()), vec![sample.clone()]);
        }
        let kept: Vec<bool> = clients.present(at(203)).map(|client| !client.samples.is_empty()).collect();
        assert_eq!(kept, [false, false, true, true]);
        let bytes: usize = clients.known.values().map(|client| client.bytes).sum();
        assert!(bytes == clients.kept && bytes > 0);

        for id in 0..CLIENTS_MAX as u64 {
            let id = 1000 + id;
            assert_eq!(clients.ask(profile(id.into()), offer(1), ConnectionId(id), at(203)), Ok(()));
        }
        assert_eq!((clients.known.len(), clients.connections.len()), (CLIENTS_MAX, CLIENTS_MAX));
        // The first four had been silent for longest.
        assert_eq!(clients.kept, 0);
        // After a while nobody is known any more.
        assert_eq!(clients.ask(profile(7), offer(1), FIRST, at(300)), Ok(()));
        assert_eq!((clients.known.len(), clients.connections.len()), (1, 1));
    }
}
