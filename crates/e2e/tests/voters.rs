//! Controllers join and leave a quorum whose log names the voters (KIP-853).

use ottla_e2e::cluster::{CLUSTER_ID, PATIENCE, binary};
use ottla_e2e::failover::topology;
use ottla_e2e::{Cluster, eventually, kcat};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A snapshot every few records, so that voters are in snapshots too.
const EAGER: &str = "metadata.log.max.record.bytes.between.snapshots=2000\nmetadata.max.retention.bytes=1";

fn quorum(cluster: &Cluster, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(["kafka-metadata-quorum", "--bootstrap-server", &cluster.bootstrap()])
        .args(arguments)
        .output()
        .expect("the binary is built")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn add(cluster: &Cluster, id: usize) -> String {
    let properties = cluster.nodes()[id - 1].properties();
    let properties = properties.to_str().expect("a path in text");
    let output = quorum(cluster, &["--command-config", properties, "add-controller"]);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn remove(cluster: &Cluster, id: usize, directory_id: &str) -> Output {
    let id = id.to_string();
    quorum(cluster, &["remove-controller", "--controller-id", &id, "--controller-directory-id", directory_id])
}

/// The ids of the voters, and of the leader, as the leader has them; nothing while there is none.
fn voters(cluster: &Cluster) -> Option<(Vec<usize>, usize)> {
    let output = quorum(cluster, &["describe", "--status"]);
    let text = said(&output);
    let leader = text.lines().find_map(|line| line.strip_prefix("LeaderId:"))?;
    Some((topology::voters(&text)?, leader.trim().parse().ok()?))
}

fn wait_for_voters(cluster: &Cluster, expected: &[usize]) {
    eventually(&format!("the voters are {expected:?}"), PATIENCE, || {
        voters(cluster).filter(|(ids, _)| ids == expected)
    });
}

fn produce(cluster: &Cluster, history: &Path) -> Child {
    let topic = ["--create", "--topic", "ottla-verify", "--partitions", "4"];
    cluster.tool(&[&["kafka-topics", "--bootstrap-server", &cluster.bootstrap()], &topic[..]].concat());
    // Any broker may be asked next.
    for node in cluster.nodes() {
        eventually(&format!("node {} knows the topic", node.id), PATIENCE, || {
            kcat::listed_by(node, "ottla-verify").contains("4 partitions").then_some(())
        });
    }
    let mut producing = Command::new(binary())
        .args(["verify", "produce", "--bootstrap-server", &cluster.bootstrap(), "--records", "12000"])
        .args(["--rate", "1000", "--partitions", "4", "--history"])
        .arg(history)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    eventually("records are acknowledged, or none will be", PATIENCE, || {
        let has_begun = fs::read_to_string(history).is_ok_and(|text| text.contains("acknowledged"));
        (has_begun || producing.try_wait().expect("the child is ours").is_some()).then_some(())
    });
    producing
}

#[test]
fn two_join_a_standalone_node_one_leaves_and_another_comes_under_load_and_kills() {
    let factors = "default.replication.factor=3\nmin.insync.replicas=2\noffsets.topic.replication.factor=3";
    let mut cluster = Cluster::standalone(4, &format!("{EAGER}\n{factors}"));
    wait_for_voters(&cluster, &[1]);
    for id in 2..=4 {
        cluster.node(id).start();
    }
    let directory_id = cluster.nodes()[1].directory_id();
    let port = cluster.nodes()[1].controller_port;
    assert_eq!(
        add(&cluster, 2),
        format!(
            "Added controller 2 with directory id {directory_id} and endpoints: CONTROLLER://localhost:{port}\n"
        )
    );
    add(&cluster, 3);
    wait_for_voters(&cluster, &[1, 2, 3]);
    let again = remove(&cluster, 4, &cluster.nodes()[3].directory_id());
    assert!(!again.status.success(), "4 is no voter: {}", said(&again));

    let history = cluster.directory().join("history");
    let producing = produce(&cluster, &history);
    let (_, leader) = voters(&cluster).expect("a leader");
    cluster.node(leader).kill();
    eventually("another leads", PATIENCE, || voters(&cluster).filter(|(_, other)| *other != leader));
    cluster.node(leader).start();

    // The leader itself is taken out, and goes on as an observer; another takes its place.
    let (_, leader) = eventually("a leader", PATIENCE, || voters(&cluster));
    let removed = remove(&cluster, leader, &cluster.nodes()[leader - 1].directory_id());
    assert!(removed.status.success(), "{}", said(&removed));
    let rest: Vec<usize> = (1..=3).filter(|id| *id != leader).collect();
    wait_for_voters(&cluster, &rest);
    add(&cluster, 4);
    let expected: Vec<usize> = rest.iter().copied().chain([4]).collect();
    wait_for_voters(&cluster, &expected);
    cluster.node(4).kill();
    cluster.node(4).start();

    let produced = producing.wait_with_output().expect("the child is ours");
    let said = String::from_utf8_lossy(&produced.stdout);
    assert!(
        said.contains("acknowledged 12000, refused 0"),
        "{said}{}",
        String::from_utf8_lossy(&produced.stderr)
    );

    // All begin again: the voters are in snapshots and logs, nowhere else.
    cluster.kill();
    cluster.restart();
    wait_for_voters(&cluster, &expected);
    let checked = Command::new(binary())
        .args(["verify", "check", "--bootstrap-server", &cluster.bootstrap(), "--history"])
        .arg(&history)
        .output()
        .expect("the binary is built");
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{told}{}", String::from_utf8_lossy(&checked.stderr));

    // A majority of the new voters decides without the one that left.
    cluster.node(leader).kill();
    cluster.node(4).kill();
    eventually("two of three go on", PATIENCE, || voters(&cluster));
    let name = format!("{:020}", 0);
    let dir = cluster.nodes()[rest[0] - 1].data().join("__cluster_metadata-0");
    let files = fs::read_dir(dir).expect("the metadata log").map(|entry| entry.expect("an entry").path());
    let snapshot = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "checkpoint"))
        .filter(|path| !path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&name)))
        .max()
        .expect("a snapshot");
    let dumped = cluster.tool(&[
        "kafka-dump-log",
        "--cluster-metadata-decoder",
        "--files",
        snapshot.to_str().expect("a path in text"),
    ]);
    let line =
        dumped.lines().find(|line| line.contains("KRaftVoters")).expect("the snapshot names the voters");
    for id in &expected {
        assert!(line.contains(&format!("\"voterId\":{id},")), "{line}");
    }
}

#[test]
fn a_controller_joins_by_itself_and_again_with_a_new_disk() {
    let joins = "controller.quorum.auto.join.enable=true";
    let mut cluster = Cluster::standalone(3, joins);
    for id in 2..=3 {
        cluster.node(id).start();
    }
    wait_for_voters(&cluster, &[1, 2, 3]);
    let before = cluster.nodes()[2].directory_id();

    cluster.node(3).kill();
    fs::remove_dir_all(cluster.nodes()[2].data()).expect("the disk is replaced");
    cluster.nodes()[2].format("--no-initial-controllers");
    let after = cluster.nodes()[2].directory_id();
    assert_ne!(before, after);
    cluster.node(3).start();

    eventually("node 3 votes with its new disk", PATIENCE, || {
        let text = said(&quorum(&cluster, &["describe", "--status"]));
        let voters = text.lines().find(|line| line.starts_with("CurrentVoters:"))?;
        (voters.contains(&after) && !voters.contains(&before)).then_some(())
    });
    wait_for_voters(&cluster, &[1, 2, 3]);
}

#[test]
fn three_begin_with_one_list_and_a_broker_that_knows_addresses_alone_serves() {
    let mut cluster = Cluster::standalone(3, "");
    let made = || cluster.tool(&["kafka-storage", "random-uuid"]).trim().to_owned();
    let ids = [made(), made(), made()];
    let listed = cluster.nodes().iter().zip(&ids);
    let listed = listed.map(|(node, id)| format!("{}@localhost:{}:{id}", node.id, node.controller_port));
    let listed = format!("--initial-controllers={}", listed.collect::<Vec<_>>().join(","));
    cluster.node(1).kill();
    for node in cluster.nodes() {
        fs::remove_dir_all(node.data()).expect("it is formatted anew");
        node.format(&listed);
    }
    cluster.restart();
    wait_for_voters(&cluster, &[1, 2, 3]);
    assert_eq!(cluster.nodes()[1].directory_id(), ids[1]);

    let mut broker = cluster.broker(9, "broker", CLUSTER_ID);
    broker.start();
    let (_, leader) = eventually("a leader", PATIENCE, || voters(&cluster));
    cluster.node(leader).kill();
    let at_controllers: Vec<String> = cluster
        .nodes()
        .iter()
        .filter(|node| node.id != leader)
        .map(|node| format!("localhost:{}", node.controller_port))
        .collect();
    let removed = Command::new(binary())
        .args(["kafka-metadata-quorum", "--bootstrap-controller", &at_controllers.join(",")])
        .args(["remove-controller", "--controller-id", &leader.to_string()])
        .args(["--controller-directory-id", &ids[leader - 1]])
        .output()
        .expect("the binary is built");
    assert!(removed.status.success(), "{}", said(&removed));
    let rest: Vec<usize> = (1..=3).filter(|id| *id != leader).collect();
    wait_for_voters(&cluster, &rest);

    // The broker has followed the log through the election, with what it has learned from it.
    broker.kill();
    broker.start();
}

#[test]
fn a_static_quorum_refuses_to_change() {
    let cluster = Cluster::start(1, "");
    let output = remove(&cluster, 1, &cluster.nodes()[0].directory_id());

    assert!(!output.status.success());
    assert!(said(&output).contains("kraft.version is 0"), "{}", said(&output));
}
