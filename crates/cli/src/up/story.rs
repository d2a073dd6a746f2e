//! What the person in front of the supervisor reads.

use super::health::Health;
use super::layout::{Layout, NodeLayout};
use crate::output;
use std::path::Path;
use std::time::Duration;

/// The cluster serves.
pub(crate) fn ready(
    layout: &Layout,
    nodes: &[(NodeLayout, u32)],
    took: Duration,
    memory_bytes: u64,
    is_new: bool,
    health: Option<&Health>,
) {
    let data = layout.directory.display();
    let age = if is_new { "new" } else { "as it was" };
    let memory =
        if memory_bytes > 0 { format!("   {} MB in all", memory_bytes >> 20) } else { String::new() };
    output::line(format!(
        "ottla {}   {} nodes ready in {:.2} s   data {data} ({age}){memory}",
        env!("CARGO_PKG_VERSION"),
        nodes.len(),
        took.as_secs_f64(),
    ));
    output::line(" node  clients         quorum  pid      log");
    for (node, pid) in nodes {
        let clients = node.client_port.map_or("controller only".to_owned(), |p| format!("localhost:{p}"));
        output::line(format!(
            " {:<5} {clients:<15} :{:<6} {pid:<8} {}",
            node.id,
            node.controller_port,
            node.log().display()
        ));
    }
    let factor = layout.brokers.min(3);
    if factor == 1 {
        output::line(" promise  acks=all: in memory of the only node; survives its process being killed");
    } else {
        output::line(format!(
            " promise  acks=all: in memory of >= {} of {factor} nodes; survives the kill of any one",
            factor.min(2)
        ));
    }
    output::line(" In another terminal, paste:");
    let program = crate::program::path().display();
    let zookeeper = nodes.first().map_or(0, |(node, _)| node.controller_port);
    let b = nodes.first().and_then(|(node, _)| node.client_port).unwrap_or(0);
    let bootstrap = if b == 9092 { "localhost".to_owned() } else { format!("localhost:{b}") };
    output::line(format!(
        "   eval \"$({program} env --data {data})\"    # PATH, $BOOTSTRAP, kafkacat -> kcat, Kafka's tool names"
    ));
    output::line(format!(
        "   kafka-topics --create --zookeeper localhost:{zookeeper} --replication-factor {factor} --partitions 8 --topic failsafe-test-topic"
    ));
    output::line(format!("   kafkacat -b {bootstrap} -t failsafe-test-topic -o end"));
    output::line("   ottla kill 2 | ottla start 2 | ottla status | ottla down");
    if let Some(health) = health {
        output::line(format!(" {health}"));
    }
    output::line("");
}

/// Something happened, at this moment.
pub(crate) fn event(text: impl std::fmt::Display) {
    output::line(format!("{} {text}", output::time_of_day()));
}

/// The end of a log, in bytes; it may begin within a line.
pub(crate) fn tail(path: &Path, bytes_max: usize) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || {
        let mut file = std::fs::File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(bytes_max as u64)))?;
        let mut bytes = Vec::new();
        file.take(bytes_max as u64).read_to_end(&mut bytes)?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// The end of a log, in lines.
pub(crate) fn last_lines(path: &Path, count: usize) -> String {
    const LINES_BYTES_MAX: usize = 16 * 1024;
    let text = tail(path, LINES_BYTES_MAX);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
