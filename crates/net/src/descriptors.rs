//! Numbers of descriptors, for the sake of the order in which a killed process lets go of its sockets.
//!
//! Linux closes the files of a process that dies from the highest number to the lowest, some microseconds apart, and
//! what has several numbers goes with the highest. What a client sees first decides what it does next:
//! - **Listeners go first.** While one is still open, a client that has just lost its connection is accepted by a
//!   process that is no more, and reset a moment later: to librdkafka that is a second failure, with a longer back-off.
//! - **Then connections**, ours to other nodes among them: they are how the cluster finds out.
//! - **Connections to a group's coordinator go last.** When a member loses its coordinator it asks a broker that it
//!   believes alive who is the next. If its other connection to the dead one looks open still, it may ask there;
//!   librdkafka then waits until it has dialled the dead broker again, or half a second. Microseconds are too few for
//!   the client's threads to notice, so a [`Pause`] comes before them.
//!
//! So listeners and connections that we make are moved to high numbers, and those that are accepted get a second, high
//! descriptor until a member of a group speaks on them. Where open files are few, or the range is full, or closing goes
//! in another order, nothing is lost but this.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// Numbers below this are used: the kernel keeps a table as long as the highest, here 128 KiB. Who may not have so many
/// files open needs all of them for better things.
const TABLE: RawFd = 16 * 1024;

/// Where a descriptor's number lies: above those that the system gives by itself, unless thousands are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// What takes its time to be closed.
    Pause,
    /// Connections but those to a group's coordinator.
    Connections,
    /// Above these.
    Listeners,
}

impl Range {
    const fn numbers(self) -> std::ops::Range<RawFd> {
        match self {
            Range::Pause => TABLE / 2 - PAUSE_FILES as RawFd..TABLE / 2,
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

/// The same file under a number in a range; as it was when there is none ([`second`]).
pub(crate) fn moved(descriptor: OwnedFd, range: Range) -> OwnedFd {
    second(&descriptor, range).unwrap_or(descriptor)
}

/// Open files that a dying process needs 15 to 40 ms to close, between its other connections and those to a group's
/// coordinator. Held by a process that coordinates groups, for as long as it lives.
#[derive(Debug)]
pub struct Pause {
    /// Only their closing matters.
    _files: Vec<OwnedFd>,
}

/// How many files a [`Pause`] is made of. The kernel lets the first wait of a quiet time pass in half a millisecond, and a
/// second or third that follows at once, at times. Of 60 pauses of one file most took half a millisecond, of three files
/// two did, of five none less than 14 ms (Linux 6.18).
const PAUSE_FILES: usize = 5;

impl Pause {
    /// A pause; shorter, or none, where there are no such files, or not as many may be had
    /// (`fs.inotify.max_user_instances`).
    pub fn before_coordinators() -> Pause {
        let files = (0..PAUSE_FILES).map_while(|_| second(slow_to_close().ok()?, Range::Pause));
        Pause { _files: files.collect() }
    }
}

/// Watches are let go only when no processor can be looking at them any more, and the kernel waits for that.
#[cfg(target_os = "linux")]
fn slow_to_close() -> io::Result<OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let file = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    // Of an event that cannot happen: nobody reads them.
    add_watch(&file, "/", WatchFlags::DELETE_SELF)?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn slow_to_close() -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
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
    fn coordinators_are_below_the_pause_and_this_below_connections_and_these_below_listeners() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let limit = raise_limit().unwrap();
        let connection = second(&file, Range::Connections);
        if limit.is_some_and(|limit| limit < TABLE as u64) {
            assert!(connection.is_none(), "a low limit is left alone");
            return;
        }
        let (connection, listener) = (connection.unwrap(), second(&file, Range::Listeners).unwrap());
        let Pause { _files: pause } = Pause::before_coordinators();

        assert_eq!(pause.len(), PAUSE_FILES);
        assert!(pause.iter().all(|pause| file.as_raw_fd() < pause.as_raw_fd()));
        assert!(pause.iter().all(|pause| pause.as_raw_fd() < connection.as_raw_fd()));
        assert!(connection.as_raw_fd() < listener.as_raw_fd());
    }
}
