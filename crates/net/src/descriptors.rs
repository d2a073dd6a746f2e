//! Numbers of descriptors, for the sake of the order in which a killed process lets go of its sockets.
//!
//! Linux closes the files of a process that dies from the highest number to the lowest, some microseconds apart, and
//! what has several numbers goes with the highest. What a client sees first decides what it does next:
//! - **Listeners go first.** While one is still open, a client that has just lost its connection is accepted by a
//!   process that is no more, and reset a moment later: to librdkafka that is a second failure, with a longer back-off.
//! - **Connections to a group's coordinator go last.** When a member loses its coordinator it asks a broker that it
//!   believes alive who is the next. If its other connection to the dead one looks open still, it may ask there;
//!   librdkafka then waits until it has dialled the dead broker again, or half a second.
//!
//! So listeners are moved to high numbers, and connections that carry records or metadata get a second, high
//! descriptor. Where numbers cannot be had (a low limit on open files) or closing goes in another order, nothing is
//! lost but this.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// The kernel keeps a table as long as the highest number: this much of one is used at most, 128 KiB.
const TABLE_MAX: u64 = 16 * 1024;

/// Where a descriptor's number lies: above those that the system gives by itself, unless thousands are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// Second descriptors of connections.
    Connections,
    /// Above these.
    Listeners,
}

impl Range {
    fn numbers(self) -> std::ops::Range<RawFd> {
        let table = getrlimit(Resource::Nofile).current.map_or(TABLE_MAX, |limit| limit.min(TABLE_MAX));
        let table = RawFd::try_from(table).expect("bounded by TABLE_MAX");
        match self {
            Range::Connections => table / 2..table / 8 * 7,
            Range::Listeners => table / 8 * 7..table,
        }
    }
}

/// A second descriptor in a range; `None` when the range is full.
pub(crate) fn second(descriptor: impl AsFd, range: Range) -> Option<OwnedFd> {
    let numbers = range.numbers();
    let second = rustix::io::fcntl_dupfd_cloexec(descriptor, numbers.start).ok()?;
    numbers.contains(&second.as_raw_fd()).then_some(second)
}

/// Raises the number of files that this process may have open as far as it may itself: shells give 1,024, made for
/// programs that use `select`, and a broker has a few files open for each partition. Returns how many it may now.
///
/// # Errors
/// When the system refuses; the limit is as it was.
pub fn raise_limit() -> io::Result<Option<u64>> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_above_connections_and_these_above_what_the_system_gives() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let connection = second(&file, Range::Connections).unwrap();
        let listener = second(&file, Range::Listeners).unwrap();

        assert!(file.as_raw_fd() < connection.as_raw_fd());
        assert!(connection.as_raw_fd() < listener.as_raw_fd());
    }
}
