//! `ottla up`, `kill`, `start`, `stop`, `status`, `events`, `down` and `env`.

use super::control::{self, Command};
use super::layout::Layout;
use super::since::Since;
use super::{past, status, supervisor};
use crate::{format as format_command, output, program, properties_file, signals, tools};
use anyhow::{Context, Result, bail};
use ottla_metadata::MetadataVersion;
use ottla_net::Clock;
use ottla_server::format::{self, Beginning, Formatted};
use ottla_storage::RealDisk;
use ottla_types::Random;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

/// Where a cluster is kept.
#[derive(clap::Args, Clone)]
pub(crate) struct Data {
    /// The cluster's directory.
    #[arg(long, env = "OTTLA_DATA", default_value = "ottla-data")]
    data: PathBuf,
}

impl Data {
    /// The cluster there.
    fn layout(&self) -> Result<Layout> {
        let shown = self.data.display();
        Layout::find(&self.data)?.with_context(|| {
            format!("there is no cluster in {shown}; make one with: ottla up --data {shown}")
        })
    }
}

/// Starts a cluster on this machine.
#[derive(clap::Args)]
pub(crate) struct Up {
    #[command(flatten)]
    data: Data,
    /// How many brokers a new cluster has.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=99))]
    brokers: Option<u16>,
    /// The first broker's port; the others follow.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..=60000))]
    base_port: Option<u16>,
    /// Start over: removes what an earlier `ottla up` made in the directory.
    #[arg(long)]
    fresh: bool,
    /// Come back once the cluster serves; it runs on in the background.
    #[arg(long)]
    detach: bool,
}

/// A node of the cluster.
#[derive(clap::Args)]
pub(crate) struct OneNode {
    /// The node's id.
    node: u16,
    #[command(flatten)]
    data: Data,
}

pub(crate) fn up(arguments: &Up) -> Result<()> {
    if arguments.detach {
        let runtime = runtime()?;
        let interrupted = runtime.block_on(async { signals::asked_to_end() })?;
        output::line(runtime.block_on(launch(arguments, interrupted))?);
        return Ok(());
    }
    let mut random = Random::new(format_command::seed());
    let found = Layout::find(&arguments.data.data)?;
    if let (Some(layout), true) = (&found, arguments.fresh) {
        if std::os::unix::net::UnixStream::connect(layout.socket()).is_ok() {
            bail!("a cluster runs in {}; end it first with: ottla down", layout.directory.display());
        }
        layout.remove()?;
    }
    let (layout, is_new) = match found.filter(|_| !arguments.fresh) {
        Some(layout) => {
            check_same(&layout, arguments)?;
            (layout, false)
        }
        None => {
            let brokers = arguments.brokers.unwrap_or(3);
            let base_port = arguments.base_port.unwrap_or(9092);
            (Layout::create(&arguments.data.data, brokers, base_port, &mut random)?, true)
        }
    };
    for node in layout.nodes() {
        let config = properties_file::read(&node.properties(), &[])?;
        let (beginning, disk) = (Beginning::at(MetadataVersion::LATEST), Arc::new(RealDisk));
        let now = Clock::new().now().wall;
        let formatted = Formatted::Ignore;
        format::format(disk, &config, &layout.cluster_id, &beginning, formatted, now, &mut random)?;
    }
    runtime()?.block_on(supervisor::run(&layout, is_new))
}

/// A cluster keeps the size and ports it was made with.
fn check_same(layout: &Layout, arguments: &Up) -> Result<()> {
    let shown = layout.directory.display();
    if let Some(brokers) = arguments.brokers.filter(|&brokers| brokers != layout.brokers) {
        bail!("{shown} has {} brokers, not {brokers}; use --fresh to start over", layout.brokers);
    }
    if let Some(port) = arguments.base_port.filter(|&port| port != layout.base_port) {
        bail!("{shown} begins at port {}, not {port}; use --fresh to start over", layout.base_port);
    }
    Ok(())
}

/// Starts the supervisor in the background, waits until the cluster serves, and returns what the supervisor said. If `interrupted`
/// comes to its end before that, so does the supervisor, and its nodes: it is in a process group of its own, and hears of no
/// Ctrl-C.
async fn launch(arguments: &Up, interrupted: impl Future<Output = ()>) -> Result<String> {
    let data = &arguments.data.data;
    let mut command = std::process::Command::new(program::path());
    command.arg("up").arg("--data").arg(data);
    if let Some(brokers) = arguments.brokers {
        command.arg("--brokers").arg(brokers.to_string());
    }
    if let Some(port) = arguments.base_port {
        command.arg("--base-port").arg(port.to_string());
    }
    if arguments.fresh {
        command.arg("--fresh");
    }
    // Not in the data directory, which must be empty for a new cluster; moved there below.
    let log_path = std::env::temp_dir().join(format!("ottla-up-{}.log", std::process::id()));
    let log = File::create(&log_path).with_context(|| log_path.display().to_string())?;
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the supervisor")?;
    let mut interrupted = pin!(interrupted);
    let (text, ended) = loop {
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        let ended = child.try_wait()?;
        // What it says first ends with an empty line. It may have gone on since.
        let said = text.split_once("\n\n").map(|(said, _)| said.to_owned());
        if ended.is_some() || said.is_some() {
            break (said.unwrap_or(text), ended.is_some());
        }
        tokio::select! {
            biased;
            () = &mut interrupted => {
                // Not yet ready it ends at once, and its nodes with it; else in order. An error means that it has ended.
                let _ = kill_process(Pid::from_child(&child), Signal::TERM);
                child.wait()?;
                fs::remove_file(&log_path)?;
                bail!("interrupted; the cluster that was starting was stopped");
            }
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    };
    if ended {
        fs::remove_file(&log_path)?;
        bail!("{}", text.trim().trim_start_matches("ottla: "));
    }
    let mut said = text.trim_end().to_owned();
    let layout = arguments.data.layout()?;
    if fs::rename(&log_path, layout.log()).is_err() {
        // Another file system; the story goes on where it began.
        write!(said, "\n the story goes on in {}", log_path.display())?;
    }
    Ok(said)
}

/// The cluster in a directory, which is started in the background when it does not run, and made when it is not there;
/// and whether it was started. Nothing is left running if `interrupted` comes to its end before it serves.
///
/// # Errors
/// When it cannot be started, or was interrupted.
pub(crate) async fn running(data: &Data, interrupted: impl Future<Output = ()>) -> Result<(Layout, bool)> {
    if let Some(layout) = Layout::find(&data.data)?
        && std::os::unix::net::UnixStream::connect(layout.socket()).is_ok()
    {
        return Ok((layout, false));
    }
    let up = Up { data: data.clone(), brokers: None, base_port: None, fresh: false, detach: true };
    launch(&up, interrupted).await?;
    Ok((data.layout()?, true))
}

pub(crate) fn kill(arguments: &OneNode) -> Result<()> {
    send(&arguments.data, Command::Kill(arguments.node))
}

pub(crate) fn start(arguments: &OneNode) -> Result<()> {
    send(&arguments.data, Command::Start(arguments.node))
}

pub(crate) fn stop(arguments: &OneNode) -> Result<()> {
    send(&arguments.data, Command::Stop(arguments.node))
}

pub(crate) fn down(data: &Data) -> Result<()> {
    send(data, Command::Down)
}

fn send(data: &Data, command: Command) -> Result<()> {
    let layout = data.layout()?;
    let answer = runtime()?.block_on(control::send(&layout, command))?;
    output::line(answer.trim_end());
    Ok(())
}

/// How a cluster is.
#[derive(clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    data: Data,
    /// Prints one object of JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn status(arguments: &Status) -> Result<()> {
    let layout = arguments.data.layout()?;
    let text = runtime()?.block_on(status::describe(&layout, arguments.json))?;
    output::line(text);
    Ok(())
}

/// What happened to a cluster.
#[derive(clap::Args)]
pub(crate) struct Events {
    #[command(flatten)]
    data: Data,
    /// Prints an object of JSON for each event.
    #[arg(long)]
    json: bool,
    /// Only what happened since then: 90s, 10m, 2h, 3d ago, or a moment in UTC, such as "2026-11-29 20:15:02".
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
    /// Only what moved leaders of this topic, or may have.
    #[arg(long)]
    topic: Option<String>,
    /// Goes on with what happens from now on, until Ctrl-C.
    #[arg(long, short = 'f')]
    follow: bool,
}

pub(crate) fn events(arguments: &Events) -> Result<()> {
    let layout = arguments.data.layout()?;
    let since = arguments.since.map(|since| since.moment(ottla_net::clock::wall()));
    let telling = past::Telling { since, topic: arguments.topic.clone(), as_json: arguments.json };
    runtime()?.block_on(past::tell_all(&layout, &telling, arguments.follow))
}

/// What a shell evaluates to speak to the cluster.
pub(crate) fn env(data: &Data) -> Result<()> {
    let layout = data.layout()?;
    let links = std::path::absolute(layout.tools())?;
    fs::create_dir_all(&links).with_context(|| links.display().to_string())?;
    let program = program::path();
    link(program, &links.join("ottla"))?;
    for name in tools::names() {
        link(program, &links.join(name))?;
        link(program, &links.join(format!("{name}.sh")))?;
    }
    if let Some(kcat) = find_on_path("kcat") {
        link(&kcat, &links.join("kafkacat"))?;
    }
    let data = std::path::absolute(&layout.directory)?;
    output::line(format!("export PATH=\"{}:$PATH\"", links.display()));
    output::line(format!("export BOOTSTRAP=\"{}\"", layout.bootstrap()));
    output::line(format!("export OTTLA_DATA=\"{}\"", data.display()));
    Ok(())
}

fn link(target: &Path, at: &Path) -> Result<()> {
    // Another binary may have made it.
    let _ = fs::remove_file(at);
    symlink(target, at).with_context(|| at.display().to_string())
}

fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no thread")
}
