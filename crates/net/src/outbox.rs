//! What is to be sent, in as few system calls as it takes.

use crate::network::Stream;
use crate::sendfile;
use bytes::Bytes;
use ottla_protocol::Segment;
use std::io;
use tokio::io::AsyncWriteExt;

/// Pieces up to this size are copied and sent together: copying is cheaper than another system call, and than
/// waking the reader twice.
const JOIN_BYTES_MAX: usize = 16 * 1024;

/// Collects pieces of frames for one stream. Nothing is sent for certain before [`Outbox::flush`].
pub(crate) struct Outbox<'a> {
    stream: &'a mut dyn Stream,
    pending: Pending,
}

/// What waits to be sent with what follows.
enum Pending {
    Nothing,
    /// The only piece so far: if it stays that, it is never copied.
    Piece(Bytes),
    Joined(Vec<u8>),
}

impl Pending {
    fn len(&self) -> usize {
        match self {
            Pending::Nothing => 0,
            Pending::Piece(bytes) => bytes.len(),
            Pending::Joined(bytes) => bytes.len(),
        }
    }

    /// Makes room for what is to be sent with what waits.
    fn join(&mut self) -> &mut Vec<u8> {
        let joined = match std::mem::replace(self, Pending::Nothing) {
            Pending::Nothing => Vec::new(),
            Pending::Piece(bytes) => bytes.to_vec(),
            Pending::Joined(bytes) => bytes,
        };
        *self = Pending::Joined(joined);
        match self {
            Pending::Joined(bytes) => bytes,
            _ => unreachable!("set just before"),
        }
    }
}

impl<'a> Outbox<'a> {
    pub(crate) fn new(stream: &'a mut dyn Stream) -> Outbox<'a> {
        Outbox { stream, pending: Pending::Nothing }
    }

    /// Sends a piece, or keeps it for sending it with others.
    ///
    /// # Errors
    /// What the stream says; `UnexpectedEof` when a file has become shorter meanwhile.
    pub(crate) async fn send(&mut self, piece: Segment) -> io::Result<()> {
        if self.pending.len() + piece.len() > JOIN_BYTES_MAX {
            self.flush_before(&piece).await?;
        }
        match piece {
            Segment::Bytes(bytes) if matches!(self.pending, Pending::Nothing) => {
                self.pending = Pending::Piece(bytes);
            }
            Segment::Bytes(bytes) => self.pending.join().extend_from_slice(&bytes),
            Segment::File(region) if region.len <= JOIN_BYTES_MAX => {
                let joined = self.pending.join();
                let start = joined.len();
                joined.resize(start + region.len, 0);
                region.file.read_exact_at(&mut joined[start..], region.position)?;
            }
            Segment::File(region) => sendfile::send(self.stream, &region).await?,
        }
        Ok(())
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// What the stream says.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing => Ok(()),
            Pending::Piece(bytes) => self.stream.write_all(&bytes).await,
            Pending::Joined(bytes) => self.stream.write_all(&bytes).await,
        }
    }

    /// Sends what waits, when `next` follows at once: the head of an answer must not wake its reader before the
    /// records are there.
    async fn flush_before(&mut self, next: &Segment) -> io::Result<()> {
        let pending = std::mem::replace(&mut self.pending, Pending::Nothing);
        let bytes: &[u8] = match &pending {
            Pending::Nothing => return Ok(()),
            Pending::Piece(bytes) => bytes,
            Pending::Joined(bytes) => bytes,
        };
        if next.is_empty() {
            return self.stream.write_all(bytes).await;
        }
        sendfile::write_before_more(self.stream, bytes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, Tcp};
    use ottla_types::FileRegion;
    use std::sync::Arc;
    use tokio::io::AsyncReadExt;

    /// Pieces of every size and kind, sent one after the other, arrive as they were, in order.
    #[tokio::test]
    async fn what_is_sent_in_pieces_arrives_in_order() {
        let mut listener = Tcp.bind("127.0.0.1:0".parse().unwrap()).unwrap().listen().unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connected, accepted) = tokio::join!(Tcp.connect("127.0.0.1", port), listener.accept());
        let (mut sender, (mut receiver, _)) = (connected.unwrap(), accepted.unwrap());
        let sizes =
            [0, 1, 100, JOIN_BYTES_MAX - 1, JOIN_BYTES_MAX, JOIN_BYTES_MAX + 1, 7, 300_000, 5, 0, 40_000];
        let content =
            |size: usize, seed: usize| (0..size).map(|at| (at * 31 + seed) as u8).collect::<Vec<u8>>();
        let directory = tempfile::tempdir().unwrap();
        let mut pieces = Vec::new();
        let mut expected = Vec::new();
        for (seed, size) in sizes.into_iter().chain(sizes).enumerate() {
            let bytes = content(size, seed);
            expected.extend_from_slice(&bytes);
            pieces.push(match seed % 3 {
                0 => Segment::Bytes(bytes.into()),
                1 => Segment::File(FileRegion { file: Arc::new(bytes), position: 0, len: size }),
                _ => {
                    let path = directory.path().join(seed.to_string());
                    std::fs::write(&path, &bytes).unwrap();
                    let file = real_file(&path);
                    Segment::File(FileRegion { file, position: 0, len: size })
                }
            });
        }

        let send = async {
            let mut outbox = Outbox::new(&mut *sender);
            for piece in pieces {
                outbox.send(piece).await.unwrap();
            }
            outbox.flush().await.unwrap();
            drop(sender);
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(send, receiver.read_to_end(&mut received));

        read.unwrap();
        assert!(received == expected);
    }

    /// A real file, which `sendfile` takes.
    fn real_file(path: &std::path::Path) -> Arc<dyn ottla_types::ReadAt> {
        struct Real(std::fs::File);
        impl ottla_types::ReadAt for Real {
            fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
                std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, position)
            }

            fn sendable(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
                Some(std::os::fd::AsFd::as_fd(&self.0))
            }
        }
        Arc::new(Real(std::fs::File::open(path).unwrap()))
    }
}
