//! Threads for what blocks on a disk: syncs and cold reads.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that may wait before submitting blocks: more would only wait longer at the disk.
const QUEUE_MAX: usize = 1024;

/// A small pool of threads, apart from those that serve requests.
#[derive(Clone, Debug)]
pub struct IoPool {
    jobs: mpsc::SyncSender<Job>,
}

impl IoPool {
    /// A pool of `threads` threads whose names begin with `name`. They end when the last handle is dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(name: &str, threads: usize) -> std::io::Result<IoPool> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = queue.clone();
            thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match next {
                        Ok(job) => job(),
                        Err(mpsc::RecvError) => return,
                    }
                }
            })?;
        }
        Ok(IoPool { jobs })
    }

    /// Runs `job` on one of the threads; the receiver fails if it panicked.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move || {
            // Whoever asked may have gone; the job's effect on the disk stands all the same.
            let _ = done.send(job());
        });
        self.jobs.send(job).expect("the pool's threads run as long as there is a handle");
        result
    }
}
