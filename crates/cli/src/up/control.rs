//! What other terminals say to the supervisor: one line each way.

use super::layout::Layout;
use anyhow::{Context, Result, bail};
use ottla_net::{Task, task};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// A command to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Ends a node as `kill -9` does.
    Kill(u16),
    /// Stops a node in order.
    Stop(u16),
    /// Starts a node.
    Start(u16),
    /// Tells the nodes' process ids.
    Processes,
    /// Stops everything.
    Down,
}

impl Command {
    fn parse(line: &str) -> Option<Command> {
        let mut words = line.split_whitespace();
        let verb = words.next()?;
        let node = words.next().and_then(|word| word.parse().ok());
        match (verb, node) {
            ("kill", Some(node)) => Some(Command::Kill(node)),
            ("stop", Some(node)) => Some(Command::Stop(node)),
            ("start", Some(node)) => Some(Command::Start(node)),
            ("processes", None) => Some(Command::Processes),
            ("down", None) => Some(Command::Down),
            _ => None,
        }
    }

    fn line(self) -> String {
        match self {
            Command::Kill(node) => format!("kill {node}\n"),
            Command::Stop(node) => format!("stop {node}\n"),
            Command::Start(node) => format!("start {node}\n"),
            Command::Processes => "processes\n".to_owned(),
            Command::Down => "down\n".to_owned(),
        }
    }
}

/// A command that came, and where its answer goes: `Ok` is printed, `Err` is an error.
pub(crate) type Asked = (Command, oneshot::Sender<Result<String, String>>);

/// Commands that are under way, at most: then others wait.
const UNDER_WAY_MAX: usize = 64;

/// Hands every command that comes by the socket to `commands`. The answer to one may take what another does: a node
/// that starts alone is not ready before a second one is there.
pub(crate) async fn listen(listener: UnixListener, commands: mpsc::Sender<Asked>) {
    let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let mut serving: Vec<Task> = Vec::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { return };
        let commands = commands.clone();
        serving.retain(|task| !task.is_finished());
        serving.push(task::spawn("control connection", async move {
            if let Err(error) = serve(stream, commands).await {
                tracing::debug!(%error, "control connection");
            }
            drop(place);
        }));
    }
}

async fn serve(stream: UnixStream, commands: mpsc::Sender<Asked>) -> Result<()> {
    const LINE_BYTES_MAX: u64 = 1024;
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let Some(command) = Command::parse(&line) else { bail!("unknown command") };
    let (reply, answer) = oneshot::channel();
    commands.send((command, reply)).await?;
    let text = match answer.await? {
        Ok(text) => format!("ok\n{text}"),
        Err(text) => format!("error\n{text}"),
    };
    write.write_all(text.as_bytes()).await?;
    Ok(())
}

/// Sends a command to the supervisor of a cluster and returns its answer.
///
/// # Errors
/// When no supervisor runs, or it refuses.
pub(crate) async fn send(layout: &Layout, command: Command) -> Result<String> {
    let shown = layout.directory.display();
    let stream = UnixStream::connect(layout.socket())
        .await
        .with_context(|| format!("no cluster runs in {shown}; start it with: ottla up --data {shown}"))?;
    let (mut read, mut write) = stream.into_split();
    write.write_all(command.line().as_bytes()).await?;
    let mut answer = String::new();
    read.read_to_string(&mut answer).await?;
    match answer.split_once('\n') {
        Some(("ok", text)) => Ok(text.to_owned()),
        Some(("error", text)) => bail!("{text}"),
        _ => bail!("the supervisor ended before it answered"),
    }
}

/// The nodes that run, and their process ids; the supervisor says 0 of the others.
pub(crate) async fn processes(layout: &Layout) -> Result<BTreeMap<u16, u32>> {
    let answer = send(layout, Command::Processes).await?;
    let parse = |line: &str| {
        let (id, pid) = line.split_once(' ').context("the supervisor speaks otherwise")?;
        anyhow::Ok((id.parse()?, pid.parse()?))
    };
    let all: Result<BTreeMap<u16, u32>> = answer.lines().map(parse).collect();
    Ok(all?.into_iter().filter(|&(_, pid)| pid != 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_it_was_written() {
        for command in
            [Command::Kill(2), Command::Stop(1), Command::Start(3), Command::Processes, Command::Down]
        {
            assert_eq!(Command::parse(&command.line()), Some(command));
        }
        assert_eq!(Command::parse("kill"), None);
        assert_eq!(Command::parse("reboot 1"), None);
    }
}
