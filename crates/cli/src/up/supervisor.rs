//! The process that owns the nodes: starts them, tells what becomes of them, and carries out commands.

use super::control::{self, Asked, Command};
use super::layout::{Layout, NodeLayout};
use super::process::NodeProcess;
use super::watcher::{self, Watcher};
use super::{ports, story};
use crate::output;
use anyhow::{Context, Result, bail};
use ottla_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// How long nodes may take to serve, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the answer to a command goes.
type Reply = oneshot::Sender<Result<String, String>>;

/// A node, running or not.
struct Slot {
    layout: NodeLayout,
    process: Option<NodeProcess>,
    /// Until when it may take to serve, while it does not, and who waits for that.
    starting: Option<(Instant, Reply)>,
    /// Who waits for it to end, because they asked for it.
    ended: Vec<Reply>,
    /// Its end was asked for.
    expected: bool,
}

/// What happens next.
enum Happened {
    Asked(Option<Asked>),
    Ended(u16, std::io::Result<ExitStatus>),
    Ready(u16, bool),
    Stop,
}

/// Runs a cluster until it is told to stop.
pub(crate) async fn run(layout: &Layout, is_new: bool) -> Result<()> {
    let begun = Instant::now();
    for node in layout.nodes() {
        for port in node.ports() {
            ports::check(port)?;
        }
    }
    let listener = bind_socket(layout)?;
    let (sender, mut commands) = mpsc::channel(16);
    let _control = ottla_net::task::spawn("control", control::listen(listener, sender));

    let mut slots: BTreeMap<u16, Slot> = BTreeMap::new();
    for node in layout.nodes() {
        let process = NodeProcess::start(&node)?;
        let slot =
            Slot { layout: node, process: Some(process), starting: None, ended: Vec::new(), expected: false };
        slots.insert(slot.layout.id, slot);
    }
    for slot in slots.values_mut() {
        let process = slot.process.as_mut().expect("started just before");
        let ready = tokio::time::timeout(PATIENCE, process.ready()).await.unwrap_or(false);
        if !ready {
            bail!(
                "node {} does not start; the end of {}:\n{}",
                slot.layout.id,
                slot.layout.log().display(),
                story::last_lines(&slot.layout.log(), 5)
            );
        }
    }
    let memory = slots.values().filter_map(|slot| slot.process.as_ref()?.memory_bytes()).sum();
    let pids = slots.values().map(|slot| (slot.layout.clone(), pid(slot))).collect::<Vec<_>>();
    let took = begun.elapsed();
    let (alive, watched) = watch::channel(live(&slots));
    // Without it the cluster serves all the same, and nobody tells what happens.
    let watcher = Watcher::start(layout).await.ok();
    let health = watcher.as_ref().map(|watcher| watcher.health(&watched.borrow()));
    story::ready(layout, &pids, took, memory, is_new, health.as_ref());
    let may_be_groups = watcher.as_ref().map(Watcher::has_groups);
    let story = watcher
        .zip(health)
        .map(|(watcher, health)| ottla_net::task::spawn("story", watcher.tell(watched, health)));
    let groups = ottla_net::task::spawn("groups", watcher::tell_groups(layout.clone(), may_be_groups));
    // That everything ends when it is stopped is no news.
    let telling = (story, groups);

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let happened = tokio::select! {
            biased;
            _ = interrupt.recv() => Happened::Stop,
            _ = terminate.recv() => Happened::Stop,
            happened = any_news(&mut slots) => happened,
            asked = commands.recv() => Happened::Asked(asked),
        };
        match happened {
            Happened::Stop | Happened::Asked(None) => {
                drop(telling);
                stop_all(layout, &mut slots).await;
                return Ok(());
            }
            Happened::Asked(Some((Command::Down, reply))) => {
                drop(telling);
                stop_all(layout, &mut slots).await;
                // Whoever asked may have gone.
                let _ = reply.send(Ok(format!("stopped; {} is kept", layout.directory.display())));
                // Its answer is on its way through another task.
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                return Ok(());
            }
            Happened::Asked(Some((command, reply))) => carry_out(&mut slots, command, reply),
            Happened::Ended(id, status) => handle_end(&mut slots, id, status),
            Happened::Ready(id, is_ready) => handle_ready(&mut slots, id, is_ready),
        }
        // Who watched may have ended.
        alive.send_if_modified(|known| {
            let now = live(&slots);
            std::mem::replace(known, now.clone()) != now
        });
    }
}

/// The nodes that serve.
fn live(slots: &BTreeMap<u16, Slot>) -> BTreeSet<NodeId> {
    let running = slots.iter().filter(|(_, slot)| slot.process.is_some() && slot.starting.is_none());
    running.map(|(&id, _)| NodeId(id.into())).collect()
}

fn pid(slot: &Slot) -> u32 {
    slot.process.as_ref().map_or(0, NodeProcess::pid)
}

/// Takes the socket, unless another supervisor answers on it.
fn bind_socket(layout: &Layout) -> Result<UnixListener> {
    let path = layout.socket();
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        bail!("a cluster runs in {} already; end it with: ottla down", layout.directory.display());
    }
    if path.exists() {
        // Left by a supervisor that was killed.
        std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
    }
    UnixListener::bind(&path).with_context(|| path.display().to_string())
}

/// Waits until any running node ends, or serves, or has taken too long to; for ever when none runs.
async fn any_news(slots: &mut BTreeMap<u16, Slot>) -> Happened {
    let mut news = Vec::new();
    for (&id, slot) in slots {
        let starting_until = slot.starting.as_ref().map(|&(until, _)| until);
        if let Some(process) = &mut slot.process {
            news.push(Box::pin(async move {
                match starting_until {
                    // Reading a line loses nothing when something else happens first.
                    Some(until) => {
                        let ready = tokio::time::timeout_at(until, process.ready()).await;
                        Happened::Ready(id, ready.unwrap_or(false))
                    }
                    None => Happened::Ended(id, process.ended().await),
                }
            }));
        }
    }
    std::future::poll_fn(move |cx| {
        for one in &mut news {
            if let std::task::Poll::Ready(happened) = one.as_mut().poll(cx) {
                return std::task::Poll::Ready(happened);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Carries out a command; it is answered when that is done.
fn carry_out(slots: &mut BTreeMap<u16, Slot>, command: Command, reply: Reply) {
    let (Command::Kill(id) | Command::Stop(id) | Command::Start(id)) = command else {
        let text: String = slots.values().map(|slot| format!("{} {}\n", slot.layout.id, pid(slot))).collect();
        // Whoever asked may have gone; so below.
        let _ = reply.send(Ok(text));
        return;
    };
    let known = slots.keys().copied().collect::<Vec<_>>();
    let Some(slot) = slots.get_mut(&id) else {
        let _ = reply.send(Err(format!("there is no node {id}; the nodes are {known:?}")));
        return;
    };
    match (command, &mut slot.process) {
        (Command::Kill(_), Some(process)) => {
            slot.expected = true;
            match process.kill() {
                Ok(()) => slot.ended.push(reply),
                Err(error) => drop(reply.send(Err(error.to_string()))),
            }
        }
        (Command::Stop(_), Some(process)) => {
            slot.expected = true;
            process.terminate();
            slot.ended.push(reply);
        }
        (Command::Start(_), None) => match NodeProcess::start(&slot.layout) {
            Ok(process) => {
                slot.process = Some(process);
                slot.starting = Some((Instant::now() + PATIENCE, reply));
            }
            Err(error) => drop(reply.send(Err(format!("node {id}: {error:#}")))),
        },
        (Command::Start(_), Some(_)) => {
            let _ = reply.send(Err(format!("node {id} runs already")));
        }
        (_, None) => {
            let _ = reply.send(Err(format!("node {id} does not run; start it with: ottla start {id}")));
        }
        (_, Some(_)) => {}
    }
}

/// A node that was started serves, or it has ended or taken too long.
fn handle_ready(slots: &mut BTreeMap<u16, Slot>, id: u16, is_ready: bool) {
    let slot = slots.get_mut(&id).expect("only nodes start");
    let Some((_, reply)) = slot.starting.take() else { return };
    // Whoever asked may have gone.
    if is_ready {
        let _ = reply.send(Ok(format!("node {id} runs")));
        story::event(format!("node {id} back (pid {})", pid(slot)));
    } else if slot.expected {
        // Ended by a command: its end, which comes next, is told.
        let _ = reply.send(Err(format!("node {id}: it was ended while it started")));
    } else {
        // Killed when it is dropped, if it has not ended.
        slot.process = None;
        let why = story::last_lines(&slot.layout.log(), 5);
        let _ = reply.send(Err(format!("node {id}: it does not start:\n{why}")));
    }
}

fn handle_end(slots: &mut BTreeMap<u16, Slot>, id: u16, status: std::io::Result<ExitStatus>) {
    let slot = slots.get_mut(&id).expect("only nodes end");
    let was = pid(slot);
    slot.process = None;
    let how = match &status {
        Ok(status) => match status.signal() {
            Some(9) => "SIGKILL".to_owned(),
            Some(signal) => format!("signal {signal}"),
            None if status.success() => "stopped in order".to_owned(),
            None => format!("{status}"),
        },
        Err(error) => error.to_string(),
    };
    story::event(format!("LOST node {id} (pid {was}, {how})"));
    if !slot.expected {
        output::line(format!("    {}", story::last_lines(&slot.layout.log(), 1)));
    }
    output::line(format!("    bring it back: ottla start {id}"));
    slot.expected = false;
    for reply in slot.ended.drain(..) {
        // Whoever asked may have gone.
        let _ = reply.send(Ok(format!("node {id}: {how}")));
    }
}

/// Stops every node in order, all at the same time.
async fn stop_all(layout: &Layout, slots: &mut BTreeMap<u16, Slot>) {
    for process in slots.values().filter_map(|slot| slot.process.as_ref()) {
        process.terminate();
    }
    for slot in slots.values_mut() {
        if let Some(process) = &mut slot.process
            && tokio::time::timeout(PATIENCE, process.ended()).await.is_err()
        {
            story::event(format!("node {} does not stop; it is killed", slot.layout.id));
            // It is killed when it is dropped at the latest.
            let _ = process.kill();
        }
        slot.process = None;
    }
    // Gone already when the directory is.
    let _ = std::fs::remove_file(layout.socket());
    story::event(format!("stopped; start again with: ottla up --data {}", layout.directory.display()));
}
