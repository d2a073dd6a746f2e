//! What happened, as lines with simulated times.

use super::hosts;
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::sync::Arc;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self as lines, MakeWriter};

/// The log lines of all nodes and of the simulation itself.
#[derive(Clone, Debug, Default)]
pub struct Story(Arc<Mutex<Vec<u8>>>);

impl Story {
    /// What is told so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }

    /// Listens to what is logged, as far as `filter` says.
    pub fn subscriber(&self, filter: &str) -> impl Subscriber + Send + Sync + use<> {
        lines::Subscriber::builder()
            .with_env_filter(EnvFilter::new(filter))
            .with_timer(SimulatedTime)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish()
    }
}

impl<'a> MakeWriter<'a> for Story {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines(self.0.clone())
    }
}

/// Adds to a story.
#[derive(Debug)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Time since the start of the simulation, where somebody is being simulated.
#[derive(Debug)]
struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match hosts::now() {
            Some(elapsed) => write!(writer, "{:10.3}", elapsed.as_secs_f64()),
            None => writer.write_str("          "),
        }
    }
}
