//! How a driver is spoken to: a line in, a line out (`../../README.md`).

use std::fmt::Display;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes a line.
pub fn say(line: impl Display) {
    // Who reads no more has ended, and ends this program too.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Says that something could not be done.
pub fn refused(error: impl Display) {
    say(format!("refused {}", error.to_string().replace('\n', " ")));
}

/// The lines of standard input.
pub fn each() -> impl Iterator<Item = String> {
    std::io::stdin().lock().lines().map_while(Result::ok)
}

/// A line's partition and value.
///
/// # Panics
/// When it is no such line.
pub fn record(line: &str) -> (i32, &str) {
    let (partition, value) = line.split_once(' ').expect("a partition and a value");
    (partition.parse().expect("a partition"), value)
}

/// Says that a record was read.
pub fn read(partition: i32, offset: i64, value: &[u8]) {
    say(format!("read {partition} {offset} {}", String::from_utf8_lossy(value)));
}

/// Says that a record was acknowledged.
pub fn acknowledged(partition: i32, offset: i64, value: &[u8]) {
    say(format!("ack {partition} {offset} {}", String::from_utf8_lossy(value)));
}

/// The answer that lists names, in order.
pub fn listed(what: &str, names: impl IntoIterator<Item = String>) -> String {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    format!("{what} {}", names.join(","))
}

/// Standard input, watched beside other work.
#[derive(Clone, Default)]
pub struct Input {
    is_over: Arc<AtomicBool>,
    was_asked: Arc<AtomicBool>,
}

impl Input {
    /// Begins to watch.
    pub fn watch() -> Input {
        let input = Input::default();
        let seen = input.clone();
        std::thread::spawn(move || {
            each().for_each(|_| seen.was_asked.store(true, Ordering::Relaxed));
            seen.is_over.store(true, Ordering::Relaxed);
        });
        input
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether a line has come since the last time.
    pub fn asked(&self) -> bool {
        self.was_asked.swap(false, Ordering::Relaxed)
    }
}
