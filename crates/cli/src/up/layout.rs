//! What lies where in a data directory, and the configuration of its nodes.

use anyhow::{Context, Result, bail};
use ottla_types::Random;
use std::fs;
use std::path::{Path, PathBuf};

/// The file that makes a directory one of ours.
const CLUSTER_FILE: &str = "cluster.properties";

/// The port of the first controller listener, relative to the first client port: 9092 and 2181.
const CONTROLLER_PORT_DEFAULT: u16 = 2181;
const CLIENT_PORT_DEFAULT: u16 = 9092;
/// Where the first node's metrics are then.
const HTTP_PORT_DEFAULT: u16 = 9644;

/// A cluster of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The data directory.
    pub(crate) directory: PathBuf,
    /// The cluster's id.
    pub(crate) cluster_id: String,
    /// How many of the nodes are brokers; with two, a third node is a controller only.
    pub(crate) brokers: u16,
    /// The first broker's client port.
    pub(crate) base_port: u16,
}

/// One node of it.
#[derive(Clone, Debug)]
pub(crate) struct NodeLayout {
    /// Its `node.id`, from 1.
    pub(crate) id: u16,
    /// Where clients reach it; `None` on a node that is a controller only.
    pub(crate) client_port: Option<u16>,
    /// Where the quorum reaches it.
    pub(crate) controller_port: u16,
    /// Where its metrics are.
    pub(crate) http_port: u16,
    /// Where everything of it is.
    pub(crate) directory: PathBuf,
}

impl NodeLayout {
    /// All that it listens on.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.client_port.into_iter().chain([self.controller_port, self.http_port])
    }

    /// Its configuration.
    pub(crate) fn properties(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    /// Its log directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What it logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }
}

impl Layout {
    /// The cluster in `directory`; `None` when there is none.
    pub(crate) fn find(directory: &Path) -> Result<Option<Layout>> {
        let path = directory.join(CLUSTER_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(path.display().to_string()),
        };
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .with_context(|| format!("{}: {name} is missing; start over with --fresh", path.display()))
        };
        Ok(Some(Layout {
            directory: directory.to_owned(),
            cluster_id: value("cluster.id")?.to_owned(),
            brokers: value("brokers")?.parse().context("brokers")?,
            base_port: value("base.port")?.parse().context("base.port")?,
        }))
    }

    /// Makes a new cluster in `directory`.
    pub(crate) fn create(
        directory: &Path,
        brokers: u16,
        base_port: u16,
        random: &mut Random,
    ) -> Result<Layout> {
        if directory.exists() && fs::read_dir(directory)?.next().is_some() {
            bail!(
                "{} is not empty and not a cluster of ottla's; name another directory with --data",
                directory.display()
            );
        }
        let layout = Layout {
            directory: directory.to_owned(),
            cluster_id: random.uuid().to_string(),
            brokers,
            base_port,
        };
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        for node in layout.nodes() {
            fs::create_dir_all(&node.directory).with_context(|| node.directory.display().to_string())?;
            fs::write(node.properties(), layout.server_properties(&node))?;
        }
        // Last: with it the directory is one of ours, and whole.
        let text = format!("cluster.id={}\nbrokers={brokers}\nbase.port={base_port}\n", layout.cluster_id);
        fs::write(directory.join(CLUSTER_FILE), text)?;
        Ok(layout)
    }

    /// Removes a cluster: what ottla made, and nothing else.
    pub(crate) fn remove(&self) -> Result<()> {
        for node in self.nodes() {
            if node.directory.exists() {
                fs::remove_dir_all(&node.directory).with_context(|| node.directory.display().to_string())?;
            }
        }
        for name in [CLUSTER_FILE, "up.sock", "up.log"] {
            let path = self.directory.join(name);
            if path.exists() {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        let tools = self.tools();
        if tools.exists() {
            fs::remove_dir_all(&tools).with_context(|| tools.display().to_string())?;
        }
        Ok(())
    }

    /// Every node, brokers first.
    pub(crate) fn nodes(&self) -> Vec<NodeLayout> {
        // Two brokers alone have no majority once one is gone: a third node keeps the quorum.
        let count = if self.brokers == 2 { 3 } else { self.brokers };
        (1..=count)
            .map(|id| NodeLayout {
                id,
                client_port: (id <= self.brokers).then(|| self.base_port + id - 1),
                controller_port: self.controller_base_port() + id - 1,
                http_port: self.http_base_port() + id - 1,
                directory: self.directory.join(id.to_string()),
            })
            .collect()
    }

    /// Where clients start.
    pub(crate) fn bootstrap(&self) -> String {
        let ports = self.nodes().into_iter().filter_map(|node| node.client_port);
        ports.map(|port| format!("localhost:{port}")).collect::<Vec<_>>().join(",")
    }

    /// Where the supervisor listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("up.sock")
    }

    /// What the supervisor says when it has no terminal.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("up.log")
    }

    /// Links with the names of Kafka's tools.
    pub(crate) fn tools(&self) -> PathBuf {
        self.directory.join("bin")
    }

    /// The default client port goes with ZooKeeper's, which the tutorial types; others stay together.
    fn controller_base_port(&self) -> u16 {
        if self.base_port == CLIENT_PORT_DEFAULT { CONTROLLER_PORT_DEFAULT } else { self.base_port + 1000 }
    }

    fn http_base_port(&self) -> u16 {
        if self.base_port == CLIENT_PORT_DEFAULT { HTTP_PORT_DEFAULT } else { self.base_port + 2000 }
    }

    fn server_properties(&self, node: &NodeLayout) -> String {
        let voters: Vec<String> =
            self.nodes().iter().map(|n| format!("{}@localhost:{}", n.id, n.controller_port)).collect();
        let controller = format!("CONTROLLER://localhost:{}", node.controller_port);
        let (roles, listeners) = match node.client_port {
            Some(port) => ("broker,controller", format!("PLAINTEXT://localhost:{port},{controller}")),
            None => ("controller", controller),
        };
        let factor = self.brokers.min(3);
        let in_sync = self.brokers.min(2);
        format!(
            "# Made by `ottla up`. Settings added here hold from the next start on.\n\
             process.roles={roles}\n\
             node.id={id}\n\
             listeners={listeners}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.voters={voters}\n\
             log.dirs={logs}\n\
             default.replication.factor={factor}\n\
             min.insync.replicas={in_sync}\n\
             offsets.topic.replication.factor={factor}\n\
             transaction.state.log.replication.factor={factor}\n\
             transaction.state.log.min.isr={in_sync}\n\
             http.listener=localhost:{http_port}\n",
            id = node.id,
            http_port = node.http_port,
            voters = voters.join(","),
            logs = absolute(&node.data()).display(),
        )
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(brokers: u16) -> Layout {
        Layout { directory: "d".into(), cluster_id: "c".to_owned(), brokers, base_port: 9092 }
    }

    #[test]
    fn two_brokers_get_a_controller_so_that_either_may_be_killed() {
        let nodes = layout(2).nodes();

        assert_eq!(nodes.iter().map(|n| n.client_port).collect::<Vec<_>>(), [Some(9092), Some(9093), None]);
        assert_eq!(nodes.iter().map(|n| n.controller_port).collect::<Vec<_>>(), [2181, 2182, 2183]);
        let text = layout(2).server_properties(&nodes[2]);
        assert!(text.contains("process.roles=controller\n"), "{text}");
        assert!(text.contains("min.insync.replicas=2\n"), "{text}");
    }

    #[test]
    fn a_cluster_is_found_again_and_a_foreign_directory_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let made = Layout::create(&data, 3, 9092, &mut Random::new(1)).unwrap();

        let found = Layout::find(&data).unwrap().unwrap();
        assert_eq!((found.cluster_id, found.brokers, found.base_port), (made.cluster_id.clone(), 3, 9092));

        fs::write(data.join("mine.txt"), "keep").unwrap();
        made.remove().unwrap();
        assert!(Layout::find(&data).unwrap().is_none());
        assert!(data.join("mine.txt").exists());
        assert!(Layout::create(&data, 3, 9092, &mut Random::new(1)).is_err());
    }
}
