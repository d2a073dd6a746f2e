//! How far long work has come: one line on standard error that is written anew, and only where a person looks at it.

use super::show::counted;
use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::time::Duration;
use tokio::time::Instant;

/// How often the line is written.
const INTERVAL: Duration = Duration::from_millis(200);

/// Nothing is shown of work that is done sooner.
const QUIET: Duration = Duration::from_secs(1);

/// Counts records, and shows how many there were.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
    verb: &'static str,
    began: Instant,
    written: Option<Instant>,
    records: u64,
    bytes: u64,
    /// How many records there will be, if that is known.
    total: Option<u64>,
}

impl Progress {
    /// Of records that come from standard input: shown unless a person types them.
    pub(super) fn of_input(verb: &'static str) -> Progress {
        Progress::new(verb, stderr().is_terminal() && !stdin().is_terminal(), None)
    }

    /// Of records that go to standard output: shown unless a person reads them there.
    pub(super) fn of_output(verb: &'static str, total: Option<u64>) -> Progress {
        Progress::new(verb, stderr().is_terminal() && !stdout().is_terminal(), total)
    }

    fn new(verb: &'static str, is_shown: bool, total: Option<u64>) -> Progress {
        Progress { is_shown, verb, began: Instant::now(), written: None, records: 0, bytes: 0, total }
    }

    /// How many records there were.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// So many records more, of so many bytes.
    pub(super) fn add(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
        let now = Instant::now();
        let is_due = self.written.map_or(now - self.began >= QUIET, |last| now - last >= INTERVAL);
        if self.is_shown && is_due {
            self.written = Some(now);
            let line = self.line(now - self.began);
            // Who does not see it misses nothing.
            let _ = write!(stderr(), "\r{line}\x1b[K");
        }
    }

    /// Takes the line away again.
    pub(super) fn clear(&mut self) {
        if self.written.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let megabytes = self.bytes as f64 / 1e6;
        let rate = self.records as f64 / elapsed.as_secs_f64();
        let count = counted(usize::try_from(self.records).unwrap_or(usize::MAX), "record");
        let share = match self.total.filter(|&total| total > 0) {
            Some(total) => format!(" ({} %)", self.records.min(total) * 100 / total),
            None => String::new(),
        };
        format!("{} {count}{share}, {megabytes:.1} MB, {rate:.0} a second", self.verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_line_tells_count_share_and_rate() {
        let mut progress = Progress::new("read", false, Some(400));
        progress.add(100, 2_500_000);

        let line = progress.line(Duration::from_secs(2));

        assert_eq!(line, "read 100 records (25 %), 2.5 MB, 50 a second");
        assert_eq!(progress.records(), 100);
    }
}
