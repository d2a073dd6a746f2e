//! Log directories that are somebody else's, and nodes that would be somebody else.

use crate::{one_node, still_serves};
use ottla_e2e::cluster::{CLUSTER_ID, PATIENCE, binary};
use ottla_e2e::{Cluster, eventually, kcat};
use std::fs;
use std::path::Path;
use std::process::Command;

const OTHER_CLUSTER: &str = "b3R0bGEtb3RoZXItY2x1cw";

/// What a node says that does not start.
fn refusal(properties: &Path) -> String {
    let output = Command::new(binary()).arg("server").arg(properties).output().expect("it is built");
    assert!(!output.status.success(), "{}", properties.display());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_node_with_the_same_directory_is_told_so() {
    let cluster = one_node();
    let node = &cluster.nodes()[0];

    // Locked before anything else is looked at: ports that are free make no difference.
    let elsewhere = cluster.directory().join("elsewhere.properties");
    let text = fs::read_to_string(node.properties()).expect("its file");
    let moved = text.replace(&format!(":{}", node.port), ":0");
    fs::write(&elsewhere, moved).expect("a file for the test");
    for properties in [node.properties(), elsewhere] {
        let said = refusal(&properties);

        assert!(said.contains(node.data().to_str().expect("text")), "names the directory: {said}");
        assert!(said.contains("is another node running with the same log.dirs?"), "{said}");
    }

    still_serves(&cluster);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let cluster = one_node();
    let other = cluster.broker(2, "2", CLUSTER_ID);
    let text = fs::read_to_string(other.properties()).expect("its file");
    let taken = cluster.nodes()[0].port;
    let text = text.replace(&format!(":{}", other.port), &format!(":{taken}"));
    fs::write(other.properties(), text).expect("its file");

    let said = refusal(&other.properties());

    assert!(said.contains(&format!("listeners: PLAINTEXT cannot bind 127.0.0.1:{taken}: ")), "{said}");
    still_serves(&cluster);
}

#[test]
fn a_directory_of_another_node_is_not_taken() {
    let mut cluster = one_node();
    cluster.node(1).stop();
    let (properties, data) = (cluster.nodes()[0].properties(), cluster.nodes()[0].data());
    let text = fs::read_to_string(&properties).expect("its file");
    let other = text.replace("node.id=1\n", "node.id=2\n").replace("=1@", "=2@");
    fs::write(&properties, other).expect("its file");

    let said = refusal(&properties);

    let expected = format!(
        "{} belongs to node 1, but node.id is 2; name this node's own directory in log.dirs",
        data.display()
    );
    assert!(said.contains(&expected), "{said}");
    fs::write(&properties, text).expect("its file");
    cluster.node(1).start();
    still_serves(&cluster);
}

#[test]
fn a_directory_of_another_cluster_is_not_let_in() {
    let cluster = one_node();
    let mut stranger = cluster.broker(2, "2", OTHER_CLUSTER);
    stranger.spawn();

    eventually("the stranger says what is wrong", PATIENCE, || {
        let log = stranger.log();
        (log.contains("INCONSISTENT_CLUSTER_ID")
            && log.contains("name this node's own directory in log.dirs"))
        .then_some(())
    });

    drop(stranger);
    still_serves(&cluster);
}

#[test]
fn what_was_formatted_is_not_taken_for_another_clusters() {
    let mut cluster = one_node();
    cluster.node(1).stop();
    let properties = cluster.nodes()[0].properties();

    for more in [&[][..], &["--ignore-formatted"]] {
        let output = Command::new(binary())
            .args(["format", "-t", OTHER_CLUSTER, "-c"])
            .arg(&properties)
            .args(more)
            .output()
            .expect("it is built");

        assert!(!output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        let meta = cluster.nodes()[0].data().join("meta.properties");
        let expected = format!(
            "Invalid cluster.id in: {}. Expected {OTHER_CLUSTER}, but read {CLUSTER_ID}",
            meta.display()
        );
        assert!(said.contains(&expected), "{said}");
    }

    cluster.node(1).start();
    still_serves(&cluster);
}

#[test]
fn a_second_node_with_the_same_id_does_not_disturb_the_first() {
    let cluster = Cluster::start(1, "");
    let mut first = cluster.broker(2, "2", CLUSTER_ID);
    first.start();
    let bootstrap = cluster.bootstrap();
    // Its one replica is the first's.
    let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"];
    cluster.tool(&[&create[..], &["--replica-assignment", "2"]].concat());
    let mut producer = kcat::Producer::start(&cluster, &["-t", "t", "-X", "acks=all"]);
    producer.line("before");

    let mut second = cluster.broker(2, "2-again", CLUSTER_ID);
    let text = fs::read_to_string(second.properties()).expect("its file");
    fs::write(second.properties(), text + "initial.broker.registration.timeout.ms=2000\n").expect("its file");
    second.spawn();
    eventually("the second says why it waits", PATIENCE, || {
        second.log().contains("DUPLICATE_BROKER_REGISTRATION").then_some(())
    });
    producer.line("meanwhile");
    second.wait_until_failed();
    producer.line("after");
    producer.finish();

    let said = second.log();
    for expected in [
        "not registered within initial.broker.registration.timeout.ms=2000: DUPLICATE_BROKER_REGISTRATION",
        "another process serves as node.id=2: give this node a node.id of its own, or end the other one",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(kcat::consume_all(&cluster, "t"), ["after", "before", "meanwhile"]);
    let controller = cluster.nodes()[0].log();
    assert!(!controller.contains(" fenced broker=2 "), "{controller}");
    assert_eq!(first.log().matches(" registered ").count(), 1, "{}", first.log());
}
