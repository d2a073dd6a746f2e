//! Several log directories (`log.dirs`): one that fails costs its own replicas only, and replicas move between them.

use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::{Cluster, eventually, kcat};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PARTITIONS: usize = 8;

/// Three nodes of two directories each, and a topic of eight partitions that all of them hold.
struct Disks {
    cluster: Cluster,
    root: TempDir,
}

impl Disks {
    fn start() -> Disks {
        let root = tempfile::tempdir().expect("a directory for the test");
        let directories = |id| format!("{0}/{id}/a,{0}/{id}/b", root.path().display());
        let cluster = Cluster::start_each(3, |id| {
            // Written to often: a disk that nobody writes to has not failed yet.
            format!("log.dirs={}\nreplica.high.watermark.checkpoint.interval.ms=200\n", directories(id))
        });
        let (bootstrap, partitions) = (cluster.bootstrap(), PARTITIONS.to_string());
        let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"];
        cluster.tool(&[&create[..], &["--partitions", &partitions, "--replication-factor", "3"]].concat());
        let disks = Disks { cluster, root };
        // The topic is created when the controller has written it down; a broker makes its logs when it reads that.
        eventually("node 2 has made its logs", PATIENCE, || {
            (disks.partitions(2, "a").len() + disks.partitions(2, "b").len() == PARTITIONS).then_some(())
        });
        disks
    }

    fn directory(&self, id: usize, name: &str) -> PathBuf {
        self.root.path().join(id.to_string()).join(name)
    }

    /// The partitions of the topic that lie in a directory.
    fn partitions(&self, id: usize, name: &str) -> Vec<usize> {
        partitions(&self.directory(id, name))
    }

    fn verify(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(["verify", arguments[0], "--bootstrap-server", &self.cluster.bootstrap()]);
        command.arg("--history").arg(self.root.path().join("history"));
        command.args(&arguments[1..]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Writes 6,000 records in six seconds.
    fn produce(&self) -> Child {
        let more = ["produce", "--topic", "t", "--records", "6000", "--rate", "1000"];
        self.verify(&more).spawn().expect("the binary is built")
    }

    /// All that was acknowledged is there, once and in order.
    fn check(&self) {
        let output = self.verify(&["check"]).output().expect("the binary is built");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.starts_with("acknowledged 6000  kept 6000  lost 0  doubled 0  reordered 0"), "{said}");
    }

    /// Waits until the in-sync sets of these partitions, and of no others, are without node 2.
    fn wait_until_without_2(&self, expected: &[usize]) {
        eventually(&format!("{expected:?} are without 2"), PATIENCE, || {
            let said = self.cluster.tool(&[
                "kafka-topics",
                "--bootstrap-server",
                &self.cluster.bootstrap(),
                "--describe",
                "--topic",
                "t",
            ]);
            let lines = said.lines().filter(|line| line.contains("Partition: "));
            let in_sync = lines.map(|line| {
                line.split("Isr: ").nth(1).and_then(|isr| isr.split_whitespace().next()).unwrap_or_default()
            });
            let without: Vec<usize> = in_sync
                .enumerate()
                .filter(|(_, isr)| !isr.split(',').any(|id| id == "2"))
                .map(|(partition, _)| partition)
                .collect();
            (without == expected).then_some(())
        });
    }
}

fn partitions(directory: &Path) -> Vec<usize> {
    let entries = fs::read_dir(directory).expect("a log directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut found: Vec<usize> = names.filter_map(|name| name.strip_prefix("t-")?.parse().ok()).collect();
    found.sort_unstable();
    found
}

#[test]
fn a_directory_that_fails_costs_its_own_replicas_and_comes_back() {
    let mut disks = Disks::start();
    let (first, second) = (disks.partitions(2, "a"), disks.partitions(2, "b"));
    assert_eq!((first.len(), second.len()), (PARTITIONS / 2, PARTITIONS / 2), "{first:?} {second:?}");
    let producing = disks.produce();
    disks.wait_until_without_2(&[]);

    let (path, away) = (disks.directory(2, "b"), disks.root.path().join("away"));
    fs::rename(&path, &away).expect("a directory goes away");

    disks.wait_until_without_2(&second);
    let produced = producing.wait_with_output().expect("the child is ours");
    let said = String::from_utf8_lossy(&produced.stdout);
    assert!(said.starts_with("acknowledged 6000, refused 0, unknown 0"), "{said}");
    let log = disks.cluster.nodes()[1].log();
    assert!(log.contains("log directory failed"), "{log}");
    disks.check();
    // Who is started without the directory serves the other one.
    disks.cluster.node(2).kill();
    disks.check();
    disks.cluster.node(2).start();
    disks.wait_until_without_2(&second);
    // And with it again, everything.
    disks.cluster.node(2).stop();
    let _ = fs::remove_dir_all(&path);
    fs::rename(&away, &path).expect("the directory comes back");
    disks.cluster.node(2).start();
    disks.wait_until_without_2(&[]);
    assert_eq!((disks.partitions(2, "a"), disks.partitions(2, "b")), (first, second));
    disks.check();
}

#[test]
fn a_replaced_disk_is_filled_again() {
    let mut disks = Disks::start();
    let second = disks.partitions(2, "b");
    let produced = disks.produce().wait_with_output().expect("the child is ours");
    assert!(produced.status.success());
    disks.cluster.node(2).kill();
    fs::remove_dir_all(disks.directory(2, "b")).expect("a disk is taken out");
    let properties = disks.cluster.nodes()[1].properties();
    let file = properties.to_str().expect("a path");
    disks.cluster.tool(&["format", "-t", ottla_e2e::cluster::CLUSTER_ID, "-c", file, "--ignore-formatted"]);

    disks.cluster.node(2).start();

    disks.wait_until_without_2(&[]);
    assert_eq!(disks.partitions(2, "b"), second);
    // It leads with what it has copied.
    disks.cluster.node(1).kill();
    disks.cluster.node(3).kill();
    disks.cluster.node(3).start();
    disks.check();
}

#[test]
fn replicas_move_between_directories_under_load() {
    let mut disks = Disks::start();
    let producing = disks.produce();
    disks.wait_until_without_2(&[]);
    let all: Vec<usize> = (0..PARTITIONS).collect();
    let target = disks.directory(2, "b");
    let entries: Vec<String> = all
        .iter()
        .map(|partition| {
            format!(
                r#"{{"topic":"t","partition":{partition},"replicas":[2,1,3],"log_dirs":["{}","any","any"]}}"#,
                target.display()
            )
        })
        .collect();
    let plan = disks.root.path().join("plan.json");
    fs::write(&plan, format!(r#"{{"version":1,"partitions":[{}]}}"#, entries.join(","))).expect("a plan");
    let (bootstrap, plan) = (disks.cluster.bootstrap(), plan.to_str().expect("a path").to_owned());
    let tool = |what: &str| {
        let arguments = ["kafka-reassign-partitions", "--bootstrap-server", &bootstrap];
        disks.cluster.tool(&[&arguments[..], &["--reassignment-json-file", &plan, what]].concat())
    };

    tool("--execute");

    eventually("all replicas of node 2 are in one directory", PATIENCE, || {
        let is_over = disks.partitions(2, "b") == all && disks.partitions(2, "a").is_empty();
        is_over.then_some(())
    });
    let said = tool("--verify");
    let done = said.matches("completed successfully").count() + said.matches("is complete").count();
    assert!(done >= PARTITIONS, "{said}");
    let produced = producing.wait_with_output().expect("the child is ours");
    assert!(produced.status.success(), "{}", String::from_utf8_lossy(&produced.stdout));
    disks.check();
    disks.cluster.node(2).kill();
    disks.cluster.node(2).start();
    disks.wait_until_without_2(&[]);
    assert_eq!(disks.partitions(2, "b"), all);
    disks.check();
    kcat::produce(&disks.cluster, "t", "one more\n");
}
