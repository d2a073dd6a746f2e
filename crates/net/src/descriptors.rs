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
//! descriptor. Where open files are few, or the range is full, or closing goes in another order, nothing is lost but
//! this.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// Numbers below this are used: the kernel keeps a table as long as the highest, here 128 KiB. Who may not have so many
/// files open needs all of them for better things.
const TABLE: RawFd = 16 * 1024;

/// Where a descriptor's number lies: above those that the system gives by itself, unless thousands are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// Second descriptors of connections.
    Connections,
    /// Above these.
    Listeners,
}

impl Range {
    const fn numbers(self) -> std::ops::Range<RawFd> {
        match self {
            Range::Connections => TABLE / 2..TABLE / 8 * 7,
            Range::Listeners => TABLE / 8 * 7..TABLE,
        }
    }
}

/// A second descriptor in a range; `None` when the range is full, or the limit on open files low.
pub(crate) fn second(descriptor: impl AsFd, range: Range) -> Option<OwnedFd> {
    if getrlimit(Resource::Nofile).current.is_some_and(|limit| limit < TABLE as u64) {
        return None;
    }
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
        let limit = raise_limit().unwrap();
        let connection = second(&file, Range::Connections);
        if limit.is_some_and(|limit| limit < TABLE as u64) {
            assert!(connection.is_none(), "a low limit is left alone");
            return;
        }
        let (connection, listener) = (connection.unwrap(), second(&file, Range::Listeners).unwrap());

        assert!(file.as_raw_fd() < connection.as_raw_fd());
        assert!(connection.as_raw_fd() < listener.as_raw_fd());
    }
}
