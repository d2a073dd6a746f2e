//! The signals that ask a program to end.

use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// From now on SIGINT and SIGTERM do not end the program: what is returned comes to its end with the first of them.
///
/// # Errors
/// When there are no signals to be had. Outside of a runtime it panics.
pub(crate) fn asked_to_end() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
