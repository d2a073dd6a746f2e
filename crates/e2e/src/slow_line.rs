//! A long way between two ends of a connection: what is said at one is heard at the other so much later.
//!
//! By a proxy, since not every kernel can delay packets. Connections are accepted at once; what they carry is late.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// So many pieces are on their way at most, each of up to [`PIECE_BYTES`].
const PIECES_MAX: usize = 1024;

const PIECE_BYTES: usize = 64 << 10;

/// Carries what comes to `listener` to a port of this machine, and the answers back, each so much later. It ends with the
/// process; connections with either of their ends.
pub fn lay(listener: TcpListener, port: u16, delay: Duration) {
    thread::spawn(move || {
        for here in listener.incoming().map_while(Result::ok) {
            // Nobody listens: whoever has connected here is told so by the end of the connection.
            let Ok(there) = TcpStream::connect(("localhost", port)) else { continue };
            for (from, to) in [(&here, &there), (&there, &here)] {
                if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                    carry(from, to, delay);
                }
            }
        }
    });
}

/// Carries one direction.
fn carry(mut from: TcpStream, to: TcpStream, delay: Duration) {
    let (sender, receiver) = sync_channel(PIECES_MAX);
    thread::spawn(move || deliver(&receiver, to));
    thread::spawn(move || {
        let _ = from.set_nodelay(true);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            // An error is an end too; it is an empty piece.
            let read = from.read(&mut piece).unwrap_or(0);
            if !post(&sender, &piece[..read], delay) || read == 0 {
                return;
            }
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "it is a clock's work that is done here")]
fn post(sender: &SyncSender<(Instant, Vec<u8>)>, piece: &[u8], delay: Duration) -> bool {
    sender.send((Instant::now() + delay, piece.to_vec())).is_ok()
}

#[expect(clippy::disallowed_methods, reason = "to be late is what it is for")]
fn deliver(receiver: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    let _ = to.set_nodelay(true);
    while let Ok((due, piece)) = receiver.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if piece.is_empty() || to.write_all(&piece).is_err() {
            break;
        }
    }
    // The other end may have gone first.
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_later_and_so_is_the_end() {
        const DELAY: Duration = Duration::from_millis(50);
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, address) = (there.local_addr().unwrap().port(), here.local_addr().unwrap());
        lay(here, port, DELAY);

        let begun = crate::failover::now();
        let mut one = TcpStream::connect(address).unwrap();
        one.write_all(b"hello").unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        let (mut other, _) = there.accept().unwrap();
        let mut heard = Vec::new();
        other.read_to_end(&mut heard).unwrap();

        assert_eq!(heard, b"hello");
        assert!(crate::failover::now() - begun >= 50_000);
    }
}
