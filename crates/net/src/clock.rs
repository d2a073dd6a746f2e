//! The one place that reads a clock.

use ottla_types::{Monotonic, Now, Timestamp};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Reads both clocks of a node. Copies agree with each other.
///
/// The monotonic clock is the runtime's: under a paused or simulated runtime it stands still or jumps
/// with it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// Who tells the time of day; the system if nobody does.
    simulated: Option<fn() -> Timestamp>,
}

impl Clock {
    /// A clock whose monotonic readings count from now.
    #[expect(clippy::new_without_default, reason = "reading the clock is no default")]
    pub fn new() -> Clock {
        Clock { start: Instant::now(), simulated: None }
    }

    /// A clock whose time of day is what `wall` says: for simulations, in which the machine's own would be a different one in
    /// each run.
    pub fn simulated(wall: fn() -> Timestamp) -> Clock {
        Clock { start: Instant::now(), simulated: Some(wall) }
    }

    /// The present on both clocks.
    pub fn now(&self) -> Now {
        Now { monotonic: self.monotonic(), wall: self.simulated.map_or_else(wall, |wall| wall()) }
    }

    /// The present on the clock that never goes back.
    pub fn monotonic(&self) -> Monotonic {
        Monotonic(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The runtime's instant at which this clock reads `at`.
    pub fn instant(&self, at: Monotonic) -> Instant {
        // A deadline beyond what the runtime can express is one a year away.
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.start + Duration::from_micros(at.0).min(self.start.elapsed() + YEAR)
    }

    /// Waits until this clock reads `at`; for ever when there is no deadline.
    pub async fn sleep_until(&self, at: Option<Monotonic>) {
        match at {
            Some(at) => tokio::time::sleep_until(self.instant(at)).await,
            None => std::future::pending().await,
        }
    }
}

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]
pub fn wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
