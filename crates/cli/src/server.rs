//! `ottla server`: one node in this process.

use crate::log_levels::Levels;
use crate::log_lines::{LogLines, WrittenAtLast};
use crate::up::process::READY;
use crate::{format, output, properties_file};
use anyhow::{Context, Result};
use ottla_net::{Clock, Tcp};
use ottla_server::Node;
use ottla_server::io_pool::Threads;
use ottla_server::metrics::http;
use ottla_server::node::Environment;
use ottla_storage::RealDisk;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The node's server.properties.
    file: PathBuf,
    /// Ends when standard input does, and says `ready` on standard output: for `ottla up`.
    #[arg(long, hide = true)]
    supervised: bool,
    /// Sets one of its settings, as name=value. May be given more than once.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    overrides: Vec<String>,
}

/// Threads that serve records: more cores than this are better used by more brokers.
const DATA_THREADS_MAX: usize = 8;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // Dropped last: why a node ends is written before it has ended.
    let (_written_at_last, log_levels) = log_to_stderr()?;
    let config = properties_file::read(&arguments.file, &arguments.overrides)?;
    if let Err(error) = ottla_net::descriptors::raise_limit() {
        tracing::warn!(%error, "the number of open files cannot be raised");
    }
    let _held_to_the_end = ottla_net::descriptors::Pause::before_coordinators();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, DATA_THREADS_MAX);
    let data = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("data")
        .enable_all()
        .build()
        .context("no threads for records")?;
    let (quorum, _quorum_runs) = on_its_own_thread("quorum").context("no thread for the quorum")?;
    let control =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no control thread")?;
    control.block_on(async {
        // Before anything can be lost by dying of them.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let orphaned = Arc::new(Notify::new());
        if arguments.supervised {
            notice_orphanhood(orphaned.clone())?;
        }
        let environment = Environment {
            control: control.handle().clone(),
            quorum,
            data: data.handle().clone(),
            network: Arc::new(Tcp),
            disk: Arc::new(RealDisk),
            threads: Threads::System,
            clock: Clock::new(),
            log_levels: Arc::new(log_levels),
            seed: format::seed(),
        };
        let properties = config.properties.clone();
        let mut node = Node::start(config, environment)?;
        // After what names the directory that another node has: that is then the better reason.
        let http = http::bind(&properties)?;
        let served = http.map(|listener| http::serve(listener, node.observed())).transpose()?;
        let ended = tokio::select! {
            biased;
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            () = orphaned.notified() => None,
            ready = node.ready() => Some(ready),
        };
        let failed = match ended {
            None => None,
            Some(Err(error)) => Some(error),
            Some(Ok(())) => {
                if arguments.supervised {
                    output::line(READY);
                }
                tokio::select! {
                    biased;
                    _ = terminate.recv() => None,
                    _ = interrupt.recv() => None,
                    () = orphaned.notified() => None,
                    error = node.failure() => Some(error),
                }
            }
        };
        match failed {
            // What failed cannot be stopped in order; what is written is safe.
            Some(error) => Err(anyhow::Error::from(error)),
            None => {
                // Who asks would hold on to what is being closed.
                drop(served);
                node.stop().await;
                Ok(())
            }
        }
    })
}

/// A runtime whose one thread is not the caller's. It ends when what is returned beside it is dropped.
fn on_its_own_thread(name: &str) -> std::io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (runs, ended) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nothing is ever sent: an error is the end.
        let _ = runtime.block_on(ended);
    })?;
    Ok((handle, runs))
}

/// Waits on a thread of its own for the end of standard input: then the supervisor is gone.
fn notice_orphanhood(orphaned: Arc<Notify>) -> Result<()> {
    std::thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
        // Nothing is ever sent; an error is an end too.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        orphaned.notify_one();
    })?;
    Ok(())
}

/// Log lines go to standard error, at first as `RUST_LOG` says.
fn log_to_stderr() -> Result<(WrittenAtLast, Levels)> {
    let text = std::env::var_os("RUST_LOG");
    let levels = Levels::begin(text.as_ref().and_then(|text| text.to_str()));
    let (lines, written_at_last) = LogLines::start(std::io::stderr()).context("no thread for the log")?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(is_terminal).with_writer(lines);
    tracing_subscriber::registry().with(lines).with(levels.clone()).init();
    Ok((written_at_last, levels))
}
