//! A file that says how to kill, stop and start the nodes of a cluster that is not `ottla up`'s.
//!
//! ```text
//! name=Apache Kafka 4.4
//! bootstrap.servers=localhost:19092,localhost:19093,localhost:19094
//! node.1.pid.file=/var/lib/kafka-1/pid
//! node.1.start=kafka-server-start.sh -daemon /etc/kafka-1.properties
//! node.1.data=/var/lib/kafka-1/data
//! ```
//!
//! A node needs `start`, and `pid.file` or both `kill` and `stop`, which are commands for a shell. Without `pid.file` it
//! cannot be frozen; without `data` its replicas are not compared with the others'.

use anyhow::{Context, Result, bail, ensure};
use ottla_client::HostPort;
use ottla_server::Properties;
use ottla_types::NodeId;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessesFile {
    /// What the cluster is called.
    pub(super) name: String,
    /// Where clients begin.
    pub(super) bootstrap: Vec<HostPort>,
    /// The nodes, by their `node.id`.
    pub(super) nodes: BTreeMap<NodeId, Commands>,
}

/// How to treat a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commands {
    /// Where its process id is.
    pub(super) pid_file: Option<PathBuf>,
    /// Ends it as `kill -9` does.
    pub(super) kill: Option<String>,
    /// Stops it in order.
    pub(super) stop: Option<String>,
    /// Starts it, and comes back.
    pub(super) start: String,
    /// The directory with its partitions' directories.
    pub(super) data: Option<PathBuf>,
}

impl ProcessesFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or lacks or has what it must not.
    pub(super) fn read(path: &Path) -> Result<ProcessesFile> {
        let shown = path.display().to_string();
        let text = std::fs::read(path).with_context(|| shown.clone())?;
        ProcessesFile::parse(&shown, &text).with_context(|| shown.clone())
    }

    fn parse(shown: &str, text: &[u8]) -> Result<ProcessesFile> {
        let properties = Properties::parse(shown, text)?;
        let mut file = ProcessesFile {
            name: shown.rsplit('/').next().unwrap_or(shown).to_owned(),
            bootstrap: Vec::new(),
            nodes: BTreeMap::new(),
        };
        for (key, value) in properties.iter() {
            match key {
                "name" => file.name = value.to_owned(),
                "bootstrap.servers" => {
                    file.bootstrap = HostPort::parse_list(value).context(key.to_owned())?
                }
                _ => file.set(key, value)?,
            }
        }
        ensure!(!file.bootstrap.is_empty(), "bootstrap.servers is missing");
        ensure!(!file.nodes.is_empty(), "no node is named: node.1.pid.file, node.1.start and so on");
        for (id, node) in &file.nodes {
            ensure!(!node.start.is_empty(), "node.{id}.start is missing");
            let ends = node.kill.is_some() && node.stop.is_some();
            ensure!(
                node.pid_file.is_some() || ends,
                "node.{id}.pid.file is missing, or else node.{id}.kill and node.{id}.stop"
            );
        }
        Ok(file)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let named = key.strip_prefix("node.").and_then(|rest| rest.split_once('.'));
        let named = named.and_then(|(id, what)| Some((NodeId(id.parse().ok()?), what)));
        let Some((id, what)) = named else { bail!("{key} is not known") };
        let node = self.nodes.entry(id).or_default();
        match what {
            "pid.file" => node.pid_file = Some(value.into()),
            "kill" => node.kill = Some(value.to_owned()),
            "stop" => node.stop = Some(value.to_owned()),
            "start" => node.start = value.to_owned(),
            "data" => node.data = Some(value.into()),
            _ => bail!("{key} is not known"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ProcessesFile> {
        ProcessesFile::parse("dir/kafka.properties", text.as_bytes())
    }

    #[test]
    fn a_file_names_nodes_and_how_to_treat_them() {
        let file = parse(
            "bootstrap.servers=localhost:19092\nnode.2.kill=k 2\nnode.2.stop=s 2\nnode.2.start=up 2\n\
             node.1.pid.file=/p\nnode.1.start=up 1\nnode.1.data=/d\n",
        )
        .unwrap();

        assert_eq!(file.name, "kafka.properties");
        assert_eq!(file.bootstrap, [HostPort::new("localhost", 19092)]);
        let first = &file.nodes[&NodeId(1)];
        assert_eq!(
            (first.pid_file.as_deref(), first.data.as_deref()),
            (Some(Path::new("/p")), Some(Path::new("/d")))
        );
        assert_eq!(file.nodes[&NodeId(2)].kill.as_deref(), Some("k 2"));
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let begun = "bootstrap.servers=localhost:19092\n";
        for (text, expected) in [
            ("node.1.start=a\nnode.1.pid.file=b\n".to_owned(), "bootstrap.servers is missing"),
            (begun.to_owned(), "no node is named"),
            (format!("{begun}node.1.pid.file=b\n"), "node.1.start is missing"),
            (format!("{begun}node.1.start=a\nnode.1.kill=b\n"), "node.1.pid.file is missing"),
            (format!("{begun}node.1.restart=a\n"), "node.1.restart is not known"),
            (format!("{begun}speed=a\n"), "speed is not known"),
        ] {
            let said = parse(&text).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }
}
