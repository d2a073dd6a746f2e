//! How long requests take, by API and by part of their way.

use super::histogram::Histogram;
use ottla_net::AnsweredIn;
use ottla_protocol::ApiKey;

/// Higher API keys are not counted: none is served.
const KEYS: usize = 96;

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
}

impl Default for RequestTimes {
    fn default() -> RequestTimes {
        RequestTimes { by_key: (0..KEYS).map(|_| Parts::default()).collect() }
    }
}

impl RequestTimes {
    /// A request was answered.
    pub fn observe(&self, answered: &AnsweredIn) {
        let Some(parts) = usize::try_from(answered.api_key).ok().and_then(|key| self.by_key.get(key)) else {
            return;
        };
        parts.request_queue.observe(answered.queued);
        parts.local.observe(answered.local);
        parts.remote.observe(answered.remote);
        parts.response_send.observe(answered.send);
        parts.total.observe(answered.queued + answered.local + answered.remote + answered.send);
    }

    /// The APIs, by name, in the order of their keys.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, &Parts)> {
        let keys = (0_i16..).zip(self.by_key.iter());
        keys.filter_map(|(code, parts)| Some((ApiKey::try_from(code).ok()?.name(), parts)))
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
    fn every_api_that_is_served_is_counted() {
        let times = RequestTimes::default();
        for key in crate::request::router::BROKER_APIS {
            assert!(times.by_name().any(|(name, _)| name == key.name()), "{}", key.name());
        }
    }
}
