//! How long requests take, by API and by part of their way.

use super::histogram::Histogram;
use ottla_net::AnsweredIn;
use ottla_protocol::ApiKey;

/// Higher API keys are not counted: none is served.
const KEYS: usize = 96;

const FETCH: i16 = ApiKey::Fetch as i16;

/// The parts of a request's way (`kafka.network:type=RequestMetrics`).
#[derive(Debug, Default)]
pub struct Parts {
    /// From its arrival until a handler had it.
    pub request_queue: Histogram,
    /// In the handler.
    pub local: Histogram,
    /// Until what the handler waited for was there: other brokers, or records; and the answers to requests before it.
    pub remote: Histogram,
    /// Until its answer was handed to the system.
    pub response_send: Histogram,
    /// All of it.
    pub total: Histogram,
}

/// The times of all requests that were answered, since the start.
#[derive(Debug)]
pub struct RequestTimes {
    by_key: Box<[Parts]>,
    /// Those of `Fetch` that were consumers'.
    fetch_consumer: Parts,
    /// Those of `Fetch` that were followers'.
    fetch_follower: Parts,
}

impl Default for RequestTimes {
    fn default() -> RequestTimes {
        RequestTimes {
            by_key: (0..KEYS).map(|_| Parts::default()).collect(),
            fetch_consumer: Parts::default(),
            fetch_follower: Parts::default(),
        }
    }
}

impl Parts {
    fn observe(&self, answered: &AnsweredIn) {
        self.request_queue.observe(answered.queued);
        self.local.observe(answered.local);
        self.remote.observe(answered.remote);
        self.response_send.observe(answered.send);
        self.total.observe(answered.queued + answered.local + answered.remote + answered.send);
    }
}

impl RequestTimes {
    /// A request was answered.
    pub fn observe(&self, answered: &AnsweredIn) {
        let Some(parts) = usize::try_from(answered.api_key).ok().and_then(|key| self.by_key.get(key)) else {
            return;
        };
        parts.observe(answered);
        if answered.api_key == FETCH {
            let whose = if answered.by_replica { &self.fetch_follower } else { &self.fetch_consumer };
            whose.observe(answered);
        }
    }

    /// The APIs, by name, in the order of their keys; then consumers' fetches and followers', under the names that Kafka's
    /// metrics have for them.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, &Parts)> {
        let keys = (0_i16..).zip(self.by_key.iter());
        let apis = keys.filter_map(|(code, parts)| Some((ApiKey::try_from(code).ok()?.name(), parts)));
        apis.chain([("FetchConsumer", &self.fetch_consumer), ("FetchFollower", &self.fetch_follower)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_parts_of_a_request_add_up() {
        let millis = Duration::from_millis;
        let times = RequestTimes::default();
        let produce = AnsweredIn {
            api_key: 0,
            by_replica: false,
            queued: millis(1),
            local: millis(20),
            remote: millis(300),
            send: millis(4),
        };
        times.observe(&produce);
        times.observe(&AnsweredIn { api_key: i16::MAX, ..produce });
        times.observe(&AnsweredIn { api_key: -1, ..produce });

        for (name, parts) in times.by_name() {
            let sums =
                [&parts.request_queue, &parts.local, &parts.remote, &parts.response_send, &parts.total];
            let expected = if name == "Produce" { [1_000, 20_000, 300_000, 4_000, 325_000] } else { [0; 5] };
            assert_eq!(sums.map(Histogram::micros), expected, "{name}");
        }
    }

    #[test]
    fn fetches_are_told_apart_by_who_asks() {
        let millis = Duration::from_millis;
        let times = RequestTimes::default();
        let fetch = |by_replica, remote| AnsweredIn {
            api_key: 1,
            by_replica,
            queued: Duration::ZERO,
            local: Duration::ZERO,
            remote,
            send: Duration::ZERO,
        };
        times.observe(&fetch(false, millis(1)));
        times.observe(&fetch(true, millis(20)));
        times.observe(&AnsweredIn { api_key: 3, ..fetch(false, millis(300)) });

        let micros = |asked| {
            let found = times.by_name().find(|(name, _)| *name == asked);
            found.map(|(_, parts)| parts.total.micros())
        };
        let names = ["Fetch", "FetchConsumer", "FetchFollower", "Metadata"];
        assert_eq!(names.map(micros), [Some(21_000), Some(1_000), Some(20_000), Some(300_000)]);
    }

    #[test]
    fn every_api_that_is_served_is_counted() {
        let times = RequestTimes::default();
        for key in crate::request::router::BROKER_APIS {
            assert!(times.by_name().any(|(name, _)| name == key.name()), "{}", key.name());
        }
    }
}
