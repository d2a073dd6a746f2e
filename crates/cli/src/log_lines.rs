//! Log lines, written by a thread of their own.
//!
//! Writing may wait: for a disk that is busy, for whoever reads the pipe. Whoever logs must not, least of all the
//! threads that heartbeat. So lines are queued, within a bound; lines beyond it are lost, and counted in the next
//! one that is written. What is queued when the process ends in order is still written.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait: more than a node says in minutes.
const LINES_MAX: usize = 4096;

/// How long the end of the process waits for lines to be written.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Makes writers of lines; clones share the queue.
#[derive(Clone)]
pub(crate) struct LogLines {
    queue: Arc<Queue>,
}

/// Waits, when it is dropped, until the lines that were logged before are written.
pub(crate) struct WrittenAtLast(Arc<Queue>);

struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// How many found no room since this was last said.
    lost: u64,
    /// The thread has taken lines and not written all of them.
    is_writing: bool,
}

impl LogLines {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<(LogLines, WrittenAtLast)> {
        let queue =
            Arc::new(Queue { waiting: Mutex::default(), filled: Condvar::new(), written: Condvar::new() });
        let lines = queue.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || lines.write_all_to(out))?;
        Ok((LogLines { queue: queue.clone() }, WrittenAtLast(queue)))
    }
}

impl MakeWriter<'_> for LogLines {
    type Writer = LogLines;

    fn make_writer(&self) -> LogLines {
        self.clone()
    }
}

impl Write for LogLines {
    /// Queues what is a whole line: the formatter writes each at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.queue.lock();
        if waiting.lines.len() < LINES_MAX {
            waiting.lines.push_back(line.to_vec());
        } else {
            waiting.lost += 1;
        }
        self.queue.filled.notify_one();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WrittenAtLast {
    fn drop(&mut self) {
        let is_unwritten = |waiting: &mut Waiting| waiting.is_writing || !waiting.is_empty();
        // After the patience the process ends all the same: nobody reads them.
        drop(self.0.written.wait_timeout_while(self.0.lock(), END_PATIENCE, is_unwritten));
    }
}

impl Queue {
    /// Writes what comes, for as long as the process lives.
    fn write_all_to(&self, mut out: impl Write) {
        loop {
            let mut waiting = self.lock();
            waiting.is_writing = false;
            self.written.notify_all();
            let mut waiting = self
                .filled
                .wait_while(waiting, |waiting| waiting.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            waiting.is_writing = true;
            let lines = std::mem::take(&mut waiting.lines);
            let lost = std::mem::take(&mut waiting.lost);
            drop(waiting);
            // There is nowhere to say that a line cannot be written.
            lines.iter().for_each(|line| drop(out.write_all(line)));
            if lost > 0 {
                let gap =
                    format!("{lost} log lines are missing here: they came faster than they were written\n");
                drop(out.write_all(gap.as_bytes()));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.lost == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Somebody who reads a line only when asked to, and then tells which.
    struct Reader {
        may_read: mpsc::Receiver<()>,
        read: mpsc::Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error means that the test has read enough.
            let _ = self.may_read.recv();
            let _ = self.read.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn reader() -> (Reader, mpsc::Sender<()>, mpsc::Receiver<String>) {
        let (allow, may_read) = mpsc::channel();
        let (read, was_read) = mpsc::channel();
        (Reader { may_read, read }, allow, was_read)
    }

    #[test]
    fn nobody_who_logs_waits_for_the_reader_and_what_is_lost_is_counted() {
        let (reader, allow, read) = reader();
        let (mut lines, _written) = LogLines::start(reader).unwrap();
        lines.write_all(b"first\n").unwrap();
        allow.send(()).unwrap();
        assert_eq!(read.recv().unwrap(), "first\n");
        lines.write_all(b"blocks\n").unwrap();
        // The thread has taken it once the queue is empty.
        while !lines.queue.lock().lines.is_empty() {
            thread::yield_now();
        }

        for number in 0..LINES_MAX + 7 {
            lines.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        drop(allow);

        let all: String = read.iter().take(1 + LINES_MAX + 1).collect();
        let mut expected = "blocks\n".to_owned();
        (0..LINES_MAX).for_each(|number| expected += &format!("{number}\n"));
        expected += "7 log lines are missing here: they came faster than they were written\n";
        assert_eq!(all, expected);
    }

    #[test]
    fn the_end_waits_for_the_last_line() {
        let (reader, allow, read) = reader();
        let (mut lines, written) = LogLines::start(reader).unwrap();
        for _ in 0..3 {
            lines.write_all(b"why it ended\n").unwrap();
        }

        drop(allow);
        drop(written);

        assert_eq!(read.try_iter().count(), 3);
    }
}
