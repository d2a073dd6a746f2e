//! A library's program as a process: lines in, lines out (`crates/e2e/drivers/README.md`).

use super::library::Library;
use crate::cluster::PATIENCE;
use crate::failover::client::last_words;
use crate::{eventually, process};
use parking_lot::{Mutex, MutexGuard};
use rustix::process::Signal;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a program may take until it has ended: its library sends everything first.
const END_PATIENCE: Duration = Duration::from_secs(90);

/// A running program. It ends with its owner.
pub struct Driver {
    child: Child,
    name: String,
    /// What it writes to standard error.
    errors: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Driver {
    /// Starts the library's program with these words. What it writes to standard error is kept in `directory`.
    pub fn start(library: Library, directory: &Path, words: &[&str]) -> Driver {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let errors = directory.join(format!("{library}-{}-{number}.log", words[0]));
        Driver::run(library.command().args(words), format!("{library} {}", words.join(" ")), errors)
    }

    /// Starts a program that is told lines and says lines. What it writes to standard error goes to the file.
    pub(crate) fn run(command: &mut Command, name: String, errors: PathBuf) -> Driver {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("a log file for the client"))
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}: `cargo xtask clients` and `test` build it"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said = lines.clone();
        let reader = std::thread::spawn(move || {
            output.map_while(Result::ok).for_each(|line| said.lock().push(line));
        });
        Driver { child, name, errors, lines, reader: Some(reader) }
    }

    /// Writes a line to it.
    ///
    /// # Panics
    /// When it has ended.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        if let Err(error) = stdin.write_all(format!("{line}\n").as_bytes()) {
            panic!("{}: {error}: {}", self.name, last_words(&self.errors));
        }
    }

    /// Writes a line to it, and returns the next that it says.
    pub fn ask(&mut self, line: &str) -> String {
        let before = self.said().len();
        self.tell(line);
        self.wait_for(&format!("an answer to {line}"), |said| said.get(before).cloned())
    }

    /// What it has said so far.
    pub fn said(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock()
    }

    /// Waits until `look` finds something in what it has said.
    pub fn wait_for<T>(&mut self, what: &str, look: impl Fn(&[String]) -> Option<T>) -> T {
        self.wait_long_for(what, PATIENCE, look)
    }

    /// As [`Driver::wait_for`], for somebody who is known to take his time.
    pub fn wait_long_for<T>(
        &mut self,
        what: &str,
        patience: Duration,
        look: impl Fn(&[String]) -> Option<T>,
    ) -> T {
        let (lines, name, errors) = (self.lines.clone(), self.name.clone(), self.errors.clone());
        let tell = || {
            let said = lines.lock();
            let last = said[said.len().saturating_sub(5)..].join("\n");
            format!("{name}: {what}: it said last:\n{last}\n{}", last_words(&errors))
        };
        eventually(tell, patience, || {
            let ended = self.child.try_wait().expect("the child is ours");
            let found = look(&self.lines.lock());
            let is_over = found.is_none() && ended.is_some();
            assert!(!is_over, "{} has ended: {ended:?}: {}", self.name, last_words(&self.errors));
            found
        })
    }

    /// Ends it in order, and returns all that it has said.
    ///
    /// # Panics
    /// When it does not end, or has failed.
    pub fn finish(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let name = self.name.clone();
        let status = eventually(&format!("{name} ends"), END_PATIENCE, || {
            self.child.try_wait().expect("the child is ours")
        });
        assert!(status.success(), "{name} ended with {status}: {}", last_words(&self.errors));
        self.all_said()
    }

    /// Ends it as `kill` does, and waits until it has stopped in order.
    ///
    /// # Panics
    /// When it does not end, or had ended before.
    pub fn terminate(mut self) {
        process::signal(&self.child, Signal::TERM);
        let ends = format!("{} ends", self.name);
        eventually(&ends, END_PATIENCE, || self.child.try_wait().expect("the child is ours"));
    }

    /// Ends it as `kill -9` does, and returns all that it has said.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
        self.all_said()
    }

    fn all_said(&mut self) -> Vec<String> {
        let reader = self.reader.take().expect("only taken here");
        reader.join().expect("the reader does not panic");
        std::mem::take(&mut self.lines.lock())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
