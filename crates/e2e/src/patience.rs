//! Waiting for something to become true.

use std::time::Duration;

/// How often to look.
const PERIOD: Duration = Duration::from_millis(10);

/// Looks until `look` finds something.
///
/// # Panics
/// When it has found nothing for `patience`.
#[expect(clippy::disallowed_methods, reason = "a foreign process gives no other sign; this is the one place")]
pub fn eventually<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(PERIOD);
    }
}
