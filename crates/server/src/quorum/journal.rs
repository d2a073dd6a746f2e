//! The journal of failovers: why the active controller had a broker fenced.
//!
//! Kafka's metadata records say that a broker was fenced; they have no field for the reason. So the controller that
//! decides writes it down beside the metadata log: one object of JSON a line, with the offset of the record that
//! fences, by which a reader joins the two. An entry whose offset holds no such record belongs to a decision that was
//! never committed.
//!
//! Nothing waits for the journal and nothing depends on it. A thread of its own writes it; what cannot be queued or
//! written is left out; two files of [`FILE_BYTES_MAX`] bound it. It is not synced: a power loss may take its end.

use crate::io_pool::{IoPool, Threads};
use ottla_controller::detector::{Cause, Evidence, Observation};
use ottla_storage::{DISK_RESERVE_BYTES, Disk, DiskFile};
use ottla_types::{BrokerEpoch, NodeId, Offset, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The file that is written to, in the directory of the metadata log's directory.
pub const CURRENT_FILE: &str = "failovers.jsonl";

/// What the file is called once it is full; the one before is dropped.
pub const OLDER_FILE: &str = "failovers.1.jsonl";

/// How large a file may become, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Longer lines lose their evidence: a broker chooses the names of its own endpoints.
const LINE_BYTES_MAX: usize = 16 << 10;

/// One decision to fence a broker. Fields that a reader does not know are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When it was decided, in milliseconds since 1970-01-01 UTC by the controller's clock.
    pub time_ms: i64,
    /// The controller that decided.
    pub controller: i32,
    /// The broker that was fenced.
    pub broker: i32,
    /// Its incarnation.
    pub broker_epoch: i64,
    /// The offset of the record that fences it, in the metadata log.
    pub offset: i64,
    /// The rule: `gone`, `left` or `silent`.
    pub rule: String,
    /// The rule and what fulfilled it, as a sentence.
    pub cause: String,
    /// From the beginning of the broker's absence, or its last contact, to the verdict, in microseconds.
    pub absent_us: u64,
    /// What was seen of it before, oldest first.
    pub evidence: Vec<Sign>,
}

/// Something seen of a broker before a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// How long before the verdict, in microseconds.
    pub before_us: u64,
    /// What it was.
    pub what: String,
}

/// A verdict of the failure detector on an incarnation of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whom it concerns.
    pub broker: NodeId,
    /// Which incarnation.
    pub epoch: BrokerEpoch,
    /// By which rule.
    pub cause: Cause,
    /// What was seen.
    pub evidence: Evidence,
}

impl Verdict {
    /// What the journal of `controller` says when the record that carries it out gets `offset`.
    pub fn entry(&self, controller: NodeId, offset: Offset, time: Timestamp) -> JournalEntry {
        let sign = |(before, what): &(Duration, Observation)| Sign {
            before_us: micros(*before),
            what: what.to_string(),
        };
        JournalEntry {
            time_ms: time.0,
            controller: controller.0,
            broker: self.broker.0,
            broker_epoch: self.epoch.0,
            offset: offset.0,
            rule: self.cause.rule().to_owned(),
            cause: self.cause.to_string(),
            absent_us: micros(self.cause.absent()),
            evidence: self.evidence.0.iter().map(sign).collect(),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Takes entries and never makes anybody wait.
#[derive(Clone, Debug)]
pub struct Journal {
    thread: IoPool,
    writer: Arc<Mutex<Writer>>,
}

impl Journal {
    /// The journal in a directory. Its thread ends when the last handle is dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn open(threads: &Threads, disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Journal> {
        let writer = Writer { disk, dir: dir.to_owned(), file: None, is_failing: false };
        Ok(Journal { thread: threads.pool("journal", 1)?, writer: Arc::new(Mutex::new(writer)) })
    }

    /// Has an entry written. When too many wait already, the disk is slower than the failures: it is left out.
    pub fn record(&self, entry: JournalEntry) {
        let writer = self.writer.clone();
        // Its line is in the node's log all the same.
        let _ = self.thread.try_run(move || writer.lock().record(entry));
    }
}

/// The entries in a node's directory, oldest first. What is no entry, such as a line that was being written when the
/// power went, is passed over.
///
/// # Errors
/// What the disk says. That there is no journal is no error.
pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<JournalEntry>> {
    let mut entries = Vec::new();
    for name in [OLDER_FILE, CURRENT_FILE] {
        let bytes = match disk.read(&dir.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let lines = bytes.split(|&byte| byte == b'\n');
        entries.extend(lines.filter_map(|line| serde_json::from_slice::<JournalEntry>(line).ok()));
    }
    Ok(entries)
}

#[derive(Debug)]
struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// The file and its size; `None` until it is needed, and after an error.
    file: Option<(Arc<dyn DiskFile>, u64)>,
    /// The last entry could not be written, and that was said.
    is_failing: bool,
}

impl Writer {
    fn record(&mut self, entry: JournalEntry) {
        match self.write(entry) {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                // What is in the file by now is found out when it is opened again.
                self.file = None;
                if !std::mem::replace(&mut self.is_failing, true) {
                    let path = self.dir.join(CURRENT_FILE);
                    tracing::warn!(path = %path.display(), %error, "the journal of failovers has gaps");
                }
            }
        }
    }

    fn write(&mut self, entry: JournalEntry) -> io::Result<()> {
        let line = line(entry)?;
        // The last of the room is kept for the metadata log.
        if self.disk.space(&self.dir)?.usable_bytes < DISK_RESERVE_BYTES + line.len() as u64 {
            return Err(ErrorKind::StorageFull.into());
        }
        let (file, size) = match self.file.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let (file, size) =
            if size + line.len() as u64 > FILE_BYTES_MAX { self.begin_another()? } else { (file, size) };
        file.write_all_at(&line, size)?;
        self.file = Some((file, size + line.len() as u64));
        Ok(())
    }

    /// Opens the file, or creates it; ends a line that was left without its end.
    fn open(&self) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        let path = self.dir.join(CURRENT_FILE);
        let file = match self.disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.disk.create(&path)?,
            other => other?,
        };
        let mut size = file.size()?;
        let mut last = [b'\n'];
        if size > 0 {
            file.read_at(&mut last, size - 1)?;
        }
        if last != [b'\n'] {
            file.write_all_at(b"\n", size)?;
            size += 1;
        }
        Ok((file, size))
    }

    fn begin_another(&self) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        let path = self.dir.join(CURRENT_FILE);
        self.disk.rename(&path, &self.dir.join(OLDER_FILE))?;
        Ok((self.disk.create(&path)?, 0))
    }
}

/// An entry as a line of its own.
fn line(mut entry: JournalEntry) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&entry)?;
    if line.len() >= LINE_BYTES_MAX {
        entry.evidence.clear();
        entry.cause.clone_from(&entry.rule);
        line = serde_json::to_vec(&entry)?;
    }
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_controller::detector::ClosedBy;
    use ottla_storage::RealDisk;

    fn verdict() -> Verdict {
        Verdict {
            broker: NodeId(2),
            epoch: BrokerEpoch(41),
            cause: Cause::Left {
                absent: Duration::from_millis(251),
                unanswered: Duration::from_millis(250),
                dials: 9,
            },
            evidence: Evidence(vec![(
                Duration::from_micros(251_007),
                Observation::ConnectionClosed(ClosedBy::Peer),
            )]),
        }
    }

    fn entry(offset: i64) -> JournalEntry {
        verdict().entry(NodeId(1), Offset(offset), Timestamp(1_763_800_000_000))
    }

    fn writer(dir: &Path) -> Writer {
        Writer { disk: Arc::new(RealDisk), dir: dir.to_owned(), file: None, is_failing: false }
    }

    fn offsets(dir: &Path) -> Vec<i64> {
        read(&RealDisk, dir).unwrap().iter().map(|entry| entry.offset).collect()
    }

    #[test]
    fn a_verdict_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();

        writer(dir.path()).write(entry(7)).unwrap();

        assert_eq!(read(&RealDisk, dir.path()).unwrap(), [entry(7)]);
        let text = std::fs::read_to_string(dir.path().join(CURRENT_FILE)).unwrap();
        assert_eq!(
            text,
            "{\"time_ms\":1763800000000,\"controller\":1,\"broker\":2,\"broker_epoch\":41,\"offset\":7,\
             \"rule\":\"left\",\"cause\":\"left: its connections closed 251 ms ago, for 250 ms it neither answered \
             9 dials nor reconnected\",\"absent_us\":251000,\"evidence\":[{\"before_us\":251007,\"what\":\"a \
             connection closed by its side\"}]}\n"
        );
    }

    #[test]
    fn a_line_that_was_torn_takes_no_other_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CURRENT_FILE);
        let mut first = writer(dir.path());
        first.write(entry(7)).unwrap();
        first.write(entry(8)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 40]).unwrap();
        assert_eq!(offsets(dir.path()), [7]);

        writer(dir.path()).write(entry(9)).unwrap();

        assert_eq!(offsets(dir.path()), [7, 9]);
    }

    #[test]
    fn two_files_bound_it_and_the_latest_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        let count = 3 * FILE_BYTES_MAX as i64 / line(entry(0)).unwrap().len() as i64;

        for offset in 0..count {
            writer.write(entry(offset)).unwrap();
        }

        for name in [CURRENT_FILE, OLDER_FILE] {
            assert!(std::fs::metadata(dir.path().join(name)).unwrap().len() <= FILE_BYTES_MAX, "{name}");
        }
        let kept = offsets(dir.path());
        assert!(kept.len() as i64 > count / 3, "{} of {count}", kept.len());
        assert_eq!(kept, (count - kept.len() as i64..count).collect::<Vec<_>>(), "in order, to the last");
    }

    #[test]
    fn a_long_line_loses_its_evidence() {
        let dir = tempfile::tempdir().unwrap();
        let mut long = entry(7);
        long.evidence.push(Sign { before_us: 0, what: "x".repeat(LINE_BYTES_MAX) });

        writer(dir.path()).write(long).unwrap();

        let kept = read(&RealDisk, dir.path()).unwrap();
        assert_eq!((kept[0].offset, kept[0].cause.as_str(), kept[0].evidence.len()), (7, "left", 0));
    }

    #[test]
    fn a_directory_that_is_away_leaves_a_gap() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        let mut writer = writer(&dir);

        assert_eq!(writer.write(entry(7)).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::create_dir(&dir).unwrap();
        writer.write(entry(8)).unwrap();

        assert_eq!(offsets(&dir), [8]);
    }
}
