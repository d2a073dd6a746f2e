//! A node's process.

use super::layout::NodeLayout;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A running node. Dropping it closes the pipe that keeps it alive.
pub(crate) struct NodeProcess {
    child: Child,
    pid: u32,
    output: tokio::io::Lines<BufReader<ChildStdout>>,
    _keeps_alive: ChildStdin,
}

impl NodeProcess {
    /// Starts a node; it writes its log to a file.
    pub(crate) fn start(node: &NodeLayout) -> Result<NodeProcess> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(node.log())
            .with_context(|| node.log().display().to_string())?;
        let mut child = Command::new(crate::program::path())
            .arg("server")
            .arg("--supervised")
            .arg(node.properties())
            // Ctrl-C is the supervisor's to handle.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a node")?;
        let output = child.stdout.take().context("piped")?;
        let keeps_alive = child.stdin.take().context("piped")?;
        let pid = child.id().context("just started")?;
        Ok(NodeProcess { child, pid, output: BufReader::new(output).lines(), _keeps_alive: keeps_alive })
    }

    /// The process id that it has, or had.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the node says that it serves; false when it ended instead.
    pub(crate) async fn ready(&mut self) -> bool {
        matches!(self.output.next_line().await, Ok(Some(line)) if line == READY)
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) -> std::io::Result<()> {
        self.child.start_kill()
    }

    /// Asks it to stop in order.
    pub(crate) fn terminate(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        // Only while it runs: its id may be another's afterwards.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // An error means that it has ended.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// The memory that is its alone, and its share of what it shares, in bytes.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
    }
}

/// What a supervised node writes to its standard output once it serves.
pub(crate) const READY: &str = "ready";
