//! The nodes' processes: how they are ended, held up and brought back. Whoever is away is remembered, so that nobody is
//! left behind.

use super::processes_file::{Commands, ProcessesFile};
use super::scenario::How;
use crate::up::control::{self, Command};
use crate::up::layout::Layout;
use anyhow::{Context, Result, bail, ensure};
use ottla_net::{Task, task};
use ottla_types::NodeId;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::Instant;

/// How long a process may take to end once it was told to, and a command to do what it is for.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often it is looked whether a process is gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whose processes they are.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// The supervisor of `ottla up`.
    Supervisor(Layout),
    /// Somebody else, who has said in a file how to treat them.
    File(ProcessesFile),
}

/// The nodes of a cluster.
#[derive(Debug)]
pub(super) struct Nodes {
    owner: Owner,
    away: BTreeMap<NodeId, Away>,
    returning: BTreeMap<NodeId, Task<Result<()>>>,
}

/// A node that was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Away {
    how: How,
    /// The process, unless a command saw to it.
    pid: Option<Pid>,
}

/// How a node is hit.
enum Blow {
    Signal(Pid, Signal),
    Shell(String),
}

impl Nodes {
    /// All of them run.
    pub(super) fn new(owner: Owner) -> Nodes {
        Nodes { owner, away: BTreeMap::new(), returning: BTreeMap::new() }
    }

    /// All of them.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        match &self.owner {
            Owner::Supervisor(layout) => layout.nodes().iter().map(|node| NodeId(node.id.into())).collect(),
            Owner::File(file) => file.nodes.keys().copied().collect(),
        }
    }

    /// Those that are away, or on their way back.
    pub(super) fn away(&self) -> BTreeSet<NodeId> {
        self.away.keys().copied().collect()
    }

    /// Where the partitions of each node are, as far as that is known.
    pub(super) fn data(&self) -> BTreeMap<NodeId, PathBuf> {
        match &self.owner {
            Owner::Supervisor(layout) => {
                let brokers = layout.nodes().into_iter().filter(|node| node.client_port.is_some());
                brokers.map(|node| (NodeId(node.id.into()), node.data())).collect()
            }
            Owner::File(file) => {
                file.nodes.iter().filter_map(|(&id, node)| Some((id, node.data.clone()?))).collect()
            }
        }
    }

    /// Hits nodes, all at the same moment; `begun` is called just before, or just after if it takes commands to do it.
    ///
    /// # Errors
    /// When one cannot be hit.
    pub(super) async fn hit(&mut self, victims: &[NodeId], how: How, begun: impl FnOnce()) -> Result<()> {
        let mut blows = Vec::new();
        for &node in victims {
            blows.push((node, self.blow(node, how).await.with_context(|| format!("node {node}"))?));
        }
        for (node, blow) in &blows {
            let pid = if let Blow::Signal(pid, _) = blow { Some(*pid) } else { None };
            self.away.insert(*node, Away { how, pid });
        }
        let mut begun = Some(begun);
        if blows.iter().all(|(_, blow)| matches!(blow, Blow::Signal(..)))
            && let Some(begun) = begun.take()
        {
            begun();
        }
        for (node, blow) in &blows {
            match blow {
                Blow::Signal(pid, signal) => {
                    kill_process(*pid, *signal).with_context(|| format!("node {node}: it does not run"))?;
                }
                Blow::Shell(command) => shell(command).await?,
            }
        }
        if let Some(begun) = begun.take() {
            begun();
        }
        Ok(())
    }

    /// Waits until the processes of nodes that were hit have ended; of those that stand still, nothing.
    ///
    /// # Errors
    /// When one does not end.
    pub(super) async fn ended(&self, nodes: &[NodeId]) -> Result<()> {
        for &node in nodes {
            if let Some(away) = self.away.get(&node).filter(|away| away.how != How::Freeze) {
                ended(&self.owner, node, away.pid).await?;
            }
        }
        Ok(())
    }

    /// Begins to bring a node back. It is away until [`Nodes::look`] has seen that it is not.
    ///
    /// # Errors
    /// When it cannot be brought back.
    pub(super) fn begin_return(&mut self, node: NodeId) -> Result<()> {
        let Some(&Away { how, pid }) = self.away.get(&node) else { return Ok(()) };
        if self.returning.contains_key(&node) {
            return Ok(());
        }
        if how == How::Freeze {
            let pid = pid.context("only a process stands still")?;
            kill_process(pid, Signal::CONT).with_context(|| format!("node {node}: it does not run"))?;
            self.away.remove(&node);
            return Ok(());
        }
        let owner = self.owner.clone();
        let returning = task::spawn("return", async move {
            ended(&owner, node, pid).await?;
            start(&owner, node).await.with_context(|| format!("node {node}"))
        });
        self.returning.insert(node, returning);
        Ok(())
    }

    /// Looks who is back.
    ///
    /// # Errors
    /// When one could not be brought back; the others are looked at the next time.
    pub(super) async fn look(&mut self) -> Result<()> {
        let back: Vec<NodeId> =
            self.returning.iter().filter(|(_, task)| task.is_finished()).map(|(&node, _)| node).collect();
        for node in back {
            self.is_back(node).await?;
        }
        Ok(())
    }

    async fn is_back(&mut self, node: NodeId) -> Result<()> {
        let Some(task) = self.returning.remove(&node) else { return Ok(()) };
        task.join().await.context("bringing a node back panicked")??;
        self.away.remove(&node);
        Ok(())
    }

    /// Brings nodes back, all at the same time: one that starts alone may wait for another.
    ///
    /// # Errors
    /// When one cannot be brought back; the others are all the same.
    pub(super) async fn bring_back(&mut self, nodes: &[NodeId]) -> Result<()> {
        let mut done = Ok(());
        for &node in nodes {
            done = done.and(self.begin_return(node));
        }
        for &node in nodes {
            done = done.and(self.is_back(node).await);
        }
        done
    }

    /// Brings back whoever is away.
    ///
    /// # Errors
    /// As [`Nodes::bring_back`].
    pub(super) async fn bring_all_back(&mut self) -> Result<()> {
        let away: Vec<NodeId> = self.away.keys().copied().collect();
        self.bring_back(&away).await
    }

    async fn blow(&self, node: NodeId, how: How) -> Result<Blow> {
        if let Owner::File(file) = &self.owner {
            let commands = commands(file, node)?;
            let command = match how {
                How::Kill => &commands.kill,
                How::Stop => &commands.stop,
                How::Freeze => &None,
            };
            // What the file says how to do goes before what can be guessed.
            if let Some(command) = command {
                return Ok(Blow::Shell(command.clone()));
            }
        }
        let signal = match how {
            How::Kill => Signal::KILL,
            How::Stop => Signal::TERM,
            How::Freeze => Signal::STOP,
        };
        Ok(Blow::Signal(self.pid(node).await?, signal))
    }

    async fn pid(&self, node: NodeId) -> Result<Pid> {
        let pid = match &self.owner {
            Owner::Supervisor(layout) => {
                let processes = control::processes(layout).await?;
                let id = u16::try_from(node.0).context("a node's id")?;
                *processes.get(&id).context("it does not run")?
            }
            Owner::File(file) => {
                let Some(path) = &commands(file, node)?.pid_file else {
                    bail!("without node.{node}.pid.file it cannot be frozen")
                };
                let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                text.trim().parse().with_context(|| format!("{}: no process id", path.display()))?
            }
        };
        i32::try_from(pid).ok().filter(|&pid| pid > 1).and_then(Pid::from_raw).context("no process id")
    }
}

async fn start(owner: &Owner, node: NodeId) -> Result<()> {
    match owner {
        Owner::Supervisor(layout) => {
            let id = u16::try_from(node.0).context("a node's id")?;
            control::send(layout, Command::Start(id)).await.map(drop)
        }
        Owner::File(file) => shell(&commands(file, node)?.start).await,
    }
}

/// Waits until a node's process has ended, and its owner knows it.
async fn ended(owner: &Owner, node: NodeId, pid: Option<Pid>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let is_gone = match (owner, pid) {
            (Owner::Supervisor(layout), _) => {
                !control::processes(layout).await?.keys().any(|&id| i32::from(id) == node.0)
            }
            (Owner::File(_), Some(pid)) => is_gone(pid),
            (Owner::File(_), None) => true,
        };
        if is_gone {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "node {node} does not end");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn commands(file: &ProcessesFile, node: NodeId) -> Result<&Commands> {
    file.nodes.get(&node).with_context(|| format!("the file says nothing of node {node}"))
}

/// Whether a process has ended. One that nobody has asked how it ended is still listed, as a zombie.
fn is_gone(pid: Pid) -> bool {
    match std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => test_kill_process(pid).is_err(),
    }
}

/// Runs a command. What it starts is not ended by Ctrl-C.
async fn shell(command: &str) -> Result<()> {
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        // A process that stays behind would keep a pipe open.
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .context("sh")?;
    let status = tokio::time::timeout(PATIENCE, child.wait()).await;
    let status = status.with_context(|| format!("it does not come back: {command}"))??;
    ensure!(status.success(), "{status}: {command}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::HostPort;

    /// A node that sleeps, and its pid file.
    fn file(directory: &std::path::Path) -> ProcessesFile {
        let pid_file = directory.join("pid");
        let start = format!("sleep 60 & echo $! > {}", pid_file.display());
        let commands = Commands { pid_file: Some(pid_file), start, ..Commands::default() };
        ProcessesFile {
            name: "sleeper".to_owned(),
            bootstrap: vec![HostPort::new("localhost", 1)],
            nodes: [(NodeId(1), commands)].into(),
        }
    }

    /// Waits until a process stands still, or does not: a signal takes its time.
    async fn await_frozen(pid: Pid, is_frozen: bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
            let state = stat.rsplit_once(')').unwrap().1.trim();
            if state.starts_with('T') == is_frozen {
                return;
            }
            assert!(Instant::now() < deadline, "{state}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    #[tokio::test]
    async fn a_process_is_frozen_killed_and_brought_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(directory.path());
        shell(&file.nodes[&NodeId(1)].start).await.unwrap();
        let mut nodes = Nodes::new(Owner::File(file));
        let node = [NodeId(1)];
        let first = nodes.pid(NodeId(1)).await.unwrap();

        nodes.hit(&node, How::Freeze, || {}).await.unwrap();
        await_frozen(first, true).await;
        nodes.bring_all_back().await.unwrap();
        await_frozen(first, false).await;

        let mut begun = false;
        nodes.hit(&node, How::Kill, || begun = true).await.unwrap();
        nodes.ended(&node).await.unwrap();
        assert!(begun && is_gone(first));
        assert_eq!(nodes.away(), [NodeId(1)].into());

        nodes.bring_all_back().await.unwrap();
        let second = nodes.pid(NodeId(1)).await.unwrap();
        assert!(nodes.away().is_empty() && !is_gone(second) && second != first);
        nodes.hit(&node, How::Stop, || {}).await.unwrap();
        nodes.ended(&node).await.unwrap();
        assert!(is_gone(second));
    }
}
