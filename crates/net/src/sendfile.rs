//! From a file to a socket without passing through this process, where the system can.

use crate::Stream;
use ottla_types::FileRegion;
use std::io;
use tokio::io::AsyncWriteExt;

/// How much one system call moves, and how much is read at a time where there is none: large enough to
/// be cheap, small enough for other connections to get their turn.
const CHUNK_BYTES: usize = 64 * 1024;

/// Writes `region` to `stream`.
///
/// # Errors
/// `UnexpectedEof` when the file has become shorter meanwhile; whatever the file or the stream says.
pub async fn send(stream: &mut dyn Stream, region: &FileRegion) -> io::Result<()> {
    if let Some(socket) = stream.tcp()
        && let Some(file) = region.file.sendable()
    {
        return system::send(socket, file, region.position, region.len).await;
    }
    let mut buffer = vec![0; CHUNK_BYTES.min(region.len)];
    let mut sent = 0;
    while sent < region.len {
        let chunk = &mut buffer[..CHUNK_BYTES.min(region.len - sent)];
        region.file.read_exact_at(chunk, region.position + sent as u64)?;
        stream.write_all(chunk).await?;
        sent += chunk.len();
    }
    Ok(())
}

/// Writes `bytes`, to which more is added at once: where the system can be told so, they do not leave in a packet
/// of their own.
///
/// # Errors
/// Whatever the stream says.
pub(crate) async fn write_before_more(stream: &mut dyn Stream, bytes: &[u8]) -> io::Result<()> {
    match stream.tcp() {
        Some(socket) => system::write_before_more(socket, bytes).await,
        None => stream.write_all(bytes).await,
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::CHUNK_BYTES;
    use rustix::net::SendFlags;
    use std::io;
    use std::os::fd::BorrowedFd;
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    pub(super) async fn send(
        socket: &TcpStream,
        file: BorrowedFd<'_>,
        position: u64,
        len: usize,
    ) -> io::Result<()> {
        let mut position = position;
        let end = position + len as u64;
        while position < end {
            let count = CHUNK_BYTES.min(usize::try_from(end - position).unwrap_or(CHUNK_BYTES));
            let moved = socket
                .async_io(Interest::WRITABLE, || {
                    rustix::fs::sendfile(socket, file, Some(&mut position), count).map_err(io::Error::from)
                })
                .await?;
            if moved == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    pub(super) async fn write_before_more(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = socket
                .async_io(Interest::WRITABLE, || {
                    rustix::net::send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)
                        .map_err(io::Error::from)
                })
                .await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::CHUNK_BYTES;
    use std::io;
    use std::os::fd::BorrowedFd;
    use tokio::net::TcpStream;

    pub(super) async fn send(
        socket: &TcpStream,
        file: BorrowedFd<'_>,
        position: u64,
        len: usize,
    ) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES.min(len)];
        let mut sent = 0;
        while sent < len {
            let want = CHUNK_BYTES.min(len - sent);
            let got = rustix::io::pread(file, &mut buffer[..want], position + sent as u64)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut chunk = &buffer[..got];
            while !chunk.is_empty() {
                socket.writable().await?;
                match socket.try_write(chunk) {
                    Ok(written) => chunk = &chunk[written..],
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                }
            }
            sent += got;
        }
        Ok(())
    }

    pub(super) async fn write_before_more(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            socket.writable().await?;
            match socket.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
