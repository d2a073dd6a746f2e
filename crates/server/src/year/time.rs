//! Both clocks of a year that goes by in seconds.

use ottla_net::Clock;
use ottla_types::Timestamp;
use std::cell::Cell;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(super) const YEAR_DAYS: usize = 365;

/// The time of day at which the year begins: 2026-01-01.
const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A runtime whose clock stands still while anything is done, and jumps to the next deadline when nothing is.
pub(super) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// The clocks of a node on this thread's runtime; the year begins with the first of them.
pub(super) fn clock() -> Clock {
    if BEGAN.get().is_none() {
        BEGAN.set(Some(Instant::now()));
    }
    Clock::simulated(wall)
}

fn wall() -> Timestamp {
    let began = BEGAN.get().expect("the year has begun");
    Timestamp(BEGINNING.0 + i64::try_from(began.elapsed().as_millis()).unwrap())
}
