//! Records that come in all the time, while things happen.

use crate::Cluster;
use crate::kcat::Producer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A producer that goes on until it is told to stop.
pub struct Feed {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Feed {
    /// Begins to send lines to a topic, the n-th being `line(n)`, each once and whoever dies meanwhile.
    pub fn start(cluster: &Cluster, topic: &str, line: impl Fn(usize) -> String + Send + 'static) -> Feed {
        let mut producer = Producer::start(cluster, &["-t", topic, "-X", "enable.idempotence=true"]);
        let is_over = Arc::new(AtomicBool::new(false));
        let told = is_over.clone();
        let thread = std::thread::spawn(move || {
            let mut sent = Vec::new();
            while !told.load(Ordering::Relaxed) {
                sent.push(line(sent.len()));
                producer.line(sent.last().expect("just added"));
            }
            producer.finish();
            sent
        });
        Feed { is_over, thread }
    }

    /// Ends it, and returns what was sent: all of it is acknowledged.
    ///
    /// # Panics
    /// When something is not.
    pub fn finish(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("everything that was sent is acknowledged")
    }
}
