//! The threads that compact logs, and when they look for one (`LogCleaner`).

use crate::broker::Broker;
use crate::io_pool::{IoPool, Threads};
use ottla_net::{Task, task};
use ottla_storage::CleanerOptions;
use ottla_types::Random;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Less would be a loop without rest.
const BACKOFF_MIN: Duration = Duration::from_millis(1);

/// Starts `log.cleaner.threads` of them, apart from those that serve requests and those that sync the logs.
/// `seed` is nobody else's: it keys the hash of the records' keys.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    broker: &Arc<Broker>,
    threads: &Threads,
    runtime: &Handle,
    seed: u64,
) -> io::Result<Vec<Task<()>>> {
    let properties = &broker.config.properties;
    if !properties.switch("log.cleaner.enable") {
        return Ok(Vec::new());
    }
    let number = |name| usize::try_from(properties.number(name)).unwrap_or(usize::MAX);
    let count = number("log.cleaner.threads");
    let options = CleanerOptions {
        map_bytes_max: number("log.cleaner.dedupe.buffer.size") / count.max(1),
        secret: *Random::new(seed).uuid().as_bytes(),
    };
    let pool = threads.pool("cleaner", count)?;
    let cleaner = || task::spawn_on(runtime, "cleaner", run(broker.clone(), pool.clone(), options));
    Ok((0..count).map(|_| cleaner()).collect())
}

async fn run(broker: Arc<Broker>, pool: IoPool, options: CleanerOptions) {
    let backoff = broker.config.properties.millis("log.cleaner.backoff.ms").max(BACKOFF_MIN);
    loop {
        let replicas = broker.replicas.clone();
        let pass = pool.run(move || replicas.clean_filthiest(&options));
        match pass.await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(_) => tracing::error!("compaction failed; it is tried again"),
        }
        tokio::time::sleep(backoff).await;
    }
}
