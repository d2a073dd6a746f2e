//! Waiting for something to become true, and doing things no faster than somebody would.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often to look.
const PERIOD: Duration = Duration::from_millis(10);

/// Looks until `look` finds something.
///
/// # Panics
/// When it has found nothing for `patience`.
#[expect(clippy::disallowed_methods, reason = "a foreign process gives no other sign; this is the one place")]
pub fn eventually<T>(what: impl What, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < patience, "not within {patience:?}: {}", what.tell());
        std::thread::sleep(PERIOD);
    }
}

/// What is waited for: words, or how to find them once it did not come.
pub trait What {
    /// The words.
    fn tell(&self) -> impl Display;
}

impl What for &str {
    fn tell(&self) -> impl Display {
        self
    }
}

impl What for &String {
    fn tell(&self) -> impl Display {
        self
    }
}

impl<F: Fn() -> String> What for F {
    fn tell(&self) -> impl Display {
        self()
    }
}

/// Keeps things apart in time.
pub struct Pace {
    apart: Duration,
    last: Option<Instant>,
}

impl Pace {
    /// Things that are at least this far apart.
    pub fn new(apart: Duration) -> Pace {
        Pace { apart, last: None }
    }

    /// Waits until the next may happen.
    #[expect(clippy::disallowed_methods, reason = "a person has a pace; nothing is waited for")]
    pub fn wait(&mut self) {
        if let Some(last) = self.last {
            std::thread::sleep(self.apart.saturating_sub(last.elapsed()));
        }
        self.last = Some(Instant::now());
    }
}
