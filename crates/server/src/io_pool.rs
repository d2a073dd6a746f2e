//! Threads for what blocks on a disk: syncs and cold reads.

use ottla_net::task;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that may wait before submitting blocks: more would only wait longer at the disk.
const QUEUE_MAX: usize = 1024;

/// Where pools get their threads.
#[derive(Clone, Default)]
pub enum Threads {
    /// From the system.
    #[default]
    System,
    /// There are none: each job is done on the runtime of whoever asks for it, so long after it was asked for as this
    /// says. For simulations, which decide by themselves what happens when.
    Simulated(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl Threads {
    /// A pool of `threads` threads whose names begin with `name`. They end when the last handle is dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn pool(&self, name: &str, threads: usize) -> std::io::Result<IoPool> {
        let jobs = match self {
            Threads::System => Jobs::Queued(start(name, threads)?),
            Threads::Simulated(delay) => Jobs::Simulated(delay.clone()),
        };
        Ok(IoPool(jobs))
    }

    /// Does `job` to each of the items, up to `threads` at a time, and returns when all are done. Where the system gives fewer
    /// threads, with fewer.
    ///
    /// # Panics
    /// When a job does.
    pub fn for_each<T: Sync>(&self, name: &str, threads: usize, items: &[T], job: impl Fn(&T) + Sync) {
        if let Threads::Simulated(_) = self {
            return items.iter().for_each(job);
        }
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                job(item);
            }
        };
        thread::scope(|scope| {
            // This thread works too.
            for number in 1..threads.min(items.len()) {
                let thread = thread::Builder::new().name(format!("{name}-{number}"));
                if let Err(error) = thread.spawn_scoped(scope, work) {
                    tracing::warn!(%error, name, "fewer threads than asked for");
                    break;
                }
            }
            work();
        });
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Threads::System => "System",
            Threads::Simulated(_) => "Simulated",
        })
    }
}

fn start(name: &str, threads: usize) -> std::io::Result<mpsc::SyncSender<Job>> {
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
    Ok(jobs)
}

/// A small pool of threads, apart from those that serve requests.
#[derive(Clone)]
pub struct IoPool(Jobs);

#[derive(Clone)]
enum Jobs {
    Queued(mpsc::SyncSender<Job>),
    Simulated(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl fmt::Debug for IoPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IoPool")
    }
}

impl IoPool {
    /// Runs `job` on one of the threads; the receiver fails if it panicked.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        let job = move || {
            // Whoever asked may have gone; the job's effect on the disk stands all the same.
            let _ = done.send(job());
        };
        match &self.0 {
            Jobs::Queued(jobs) => jobs.send(Box::new(job)).expect(RUNS),
            Jobs::Simulated(delay) => simulate(delay(), job),
        }
        result
    }

    /// Lets as much time pass as a job takes where threads are simulated, and none elsewhere: for what blocks on the disk where
    /// it is, which a simulated disk does not.
    pub async fn linger(&self) {
        match &self.0 {
            Jobs::Queued(_) => {}
            Jobs::Simulated(delay) => tokio::time::sleep(delay()).await,
        }
    }

    /// Runs `job` on one of the threads, unless too many wait already. Returns whether it will be run.
    pub fn try_run(&self, job: impl FnOnce() + Send + 'static) -> bool {
        match &self.0 {
            Jobs::Queued(jobs) => match jobs.try_send(Box::new(job)) {
                Ok(()) => true,
                Err(mpsc::TrySendError::Full(_)) => false,
                Err(mpsc::TrySendError::Disconnected(_)) => panic!("{RUNS}"),
            },
            Jobs::Simulated(delay) => {
                simulate(delay(), job);
                true
            }
        }
    }
}

/// Why a job can always be handed over.
const RUNS: &str = "the pool's threads run as long as there is a handle";

fn simulate(delay: Duration, job: impl FnOnce() + Send + 'static) {
    task::detach("job", async move {
        tokio::time::sleep(delay).await;
        job();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn each_item_is_worked_at_once_and_several_at_a_time() {
        let items: Vec<usize> = (0..100).collect();
        let done: Vec<AtomicUsize> = items.iter().map(|_| AtomicUsize::new(0)).collect();
        let met = std::sync::Barrier::new(4);

        Threads::System.for_each("test", 4, &items, |&item| {
            if item < 4 {
                // Nobody comes past this alone.
                met.wait();
            }
            done[item].fetch_add(1, Ordering::Relaxed);
        });
        Threads::System.for_each("test", 4, &items[..0], |_| panic!("there is none"));

        assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn who_only_tries_never_waits() {
        let pool = Threads::System.pool("test", 1).unwrap();
        let (go_on, blocked) = channel::<()>();
        let (began, begun) = channel();
        let first = pool.run(move || {
            began.send(()).unwrap();
            blocked.recv().is_err()
        });
        begun.recv().unwrap();

        let accepted = (0..2 * QUEUE_MAX).filter(|_| pool.try_run(|| {})).count();

        assert_eq!(accepted, QUEUE_MAX, "the others are left out");
        drop(go_on);
        assert!(first.blocking_recv().unwrap());
    }
}
