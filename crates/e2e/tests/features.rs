//! Feature levels change while the cluster runs, and brokers are forgotten and come back.

use ottla_e2e::cluster::{CLUSTER_ID, PATIENCE, binary};
use ottla_e2e::{Cluster, eventually};
use std::fs;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary is built")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a tool says when it succeeds; nothing when it does not.
fn told(arguments: &[&str]) -> Option<String> {
    let output = run(arguments);
    output.status.success().then(|| said(&output))
}

fn feature_tool(cluster: &Cluster, arguments: &[&str]) -> Option<String> {
    told(&[&["kafka-features", "--bootstrap-server", &cluster.bootstrap()], arguments].concat())
}

/// The finalized levels of the three features, as every broker and every controller says them.
fn levels(cluster: &Cluster) -> Option<[String; 3]> {
    let mut all = Vec::new();
    for node in cluster.nodes() {
        for (option, port) in
            [("--bootstrap-server", node.port), ("--bootstrap-controller", node.controller_port)]
        {
            let text = told(&["kafka-features", option, &format!("localhost:{port}"), "describe"])?;
            let level = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(&format!("Feature: {name} ")))?;
                line.split("FinalizedVersionLevel:").nth(1)?.split_whitespace().next().map(str::to_owned)
            };
            let names = ["metadata.version", "eligible.leader.replicas.version", "kraft.version"];
            let [metadata, eligible, kraft] = names.map(level);
            all.push([metadata?, eligible?, kraft?]);
        }
    }
    all.dedup();
    <[_; 1]>::try_from(all).ok().map(|[levels]| levels)
}

fn wait_for_levels(cluster: &Cluster, expected: [&str; 3]) {
    eventually(&format!("all say {expected:?}"), PATIENCE, || {
        levels(cluster).filter(|found| found == &expected)
    });
}

/// The line of the only partition of topic `t`.
fn partition(cluster: &Cluster) -> Option<String> {
    let text =
        told(&["kafka-topics", "--bootstrap-server", &cluster.bootstrap(), "--describe", "--topic", "t"])?;
    text.lines().find(|line| line.contains("Partition: 0")).map(str::to_owned)
}

fn wait_for_partition(cluster: &Cluster, part: &str) {
    eventually(&format!("the partition has {part:?}"), PATIENCE, || {
        partition(cluster).filter(|line| line.contains(&format!("\t{part}\t")))
    });
}

fn wait_for_in_sync(cluster: &Cluster, count: usize) {
    eventually(&format!("{count} are in sync"), PATIENCE, || {
        let line = partition(cluster)?;
        let isr = line.split("\tIsr: ").nth(1)?.split('\t').next()?;
        (isr.split(',').count() == count).then_some(())
    });
}

/// The node that leads the quorum.
fn controller(cluster: &Cluster) -> Option<usize> {
    let text =
        told(&["kafka-metadata-quorum", "--bootstrap-server", &cluster.bootstrap(), "describe", "--status"])?;
    text.lines().find_map(|line| line.strip_prefix("LeaderId:"))?.trim().parse().ok()
}

/// Kills the active controller, waits for another, and starts it again.
fn change_controller(cluster: &mut Cluster) {
    let before = eventually("a controller", PATIENCE, || controller(cluster));
    cluster.node(before).kill();
    eventually("another controller", PATIENCE, || controller(cluster).filter(|now| *now != before));
    cluster.node(before).start();
}

#[test]
fn levels_go_up_and_back_on_a_running_cluster_and_stay_where_they_are() {
    let mut cluster = Cluster::start(3, "");
    cluster.kill();
    for node in cluster.nodes() {
        fs::remove_dir_all(node.data()).expect("it had a disk");
        node.format("--release-version=4.0");
    }
    cluster.restart();
    wait_for_levels(&cluster, ["4.0-IV3", "0", "0"]);
    let topic =
        ["--create", "--topic", "t", "--replica-assignment", "1:2", "--config", "min.insync.replicas=2"];
    cluster.tool(&[&["kafka-topics", "--bootstrap-server", &cluster.bootstrap()], &topic[..]].concat());
    wait_for_in_sync(&cluster, 2);

    // Without the feature nobody is eligible.
    cluster.node(2).kill();
    wait_for_partition(&cluster, "Isr: 1");
    wait_for_partition(&cluster, "Elr: ");
    cluster.node(2).start();
    wait_for_in_sync(&cluster, 2);

    let controllers: Vec<String> =
        cluster.nodes().iter().map(|node| format!("localhost:{}", node.controller_port)).collect();
    let upgrade = ["upgrade", "--feature", "metadata.version=33", "--feature"];
    let eligible = "eligible.leader.replicas.version=1";
    let raised = eventually("the levels are raised", PATIENCE, || {
        let tool = ["kafka-features", "--bootstrap-controller", &controllers.join(",")];
        told(&[&tool[..], &upgrade, &[eligible]].concat())
    });
    assert_eq!(
        raised,
        "eligible.leader.replicas.version was upgraded to 1.\nmetadata.version was upgraded to 33.\n"
    );
    wait_for_levels(&cluster, ["4.4-IV2", "1", "0"]);
    change_controller(&mut cluster);
    wait_for_levels(&cluster, ["4.4-IV2", "1", "0"]);
    wait_for_in_sync(&cluster, 2);

    cluster.node(2).kill();
    wait_for_partition(&cluster, "Elr: 2");
    let off = ["downgrade", "--feature", "eligible.leader.replicas.version=0"];
    assert!(feature_tool(&cluster, &off).is_some());
    wait_for_partition(&cluster, "Elr: ");
    cluster.node(2).start();
    wait_for_in_sync(&cluster, 2);

    // The log begins to name the voters, and one of them can be taken out.
    eventually("the quorum is upgraded", PATIENCE, || {
        feature_tool(&cluster, &["upgrade", "--feature", "kraft.version=1"])
    });
    wait_for_levels(&cluster, ["4.4-IV2", "0", "1"]);
    change_controller(&mut cluster);
    wait_for_levels(&cluster, ["4.4-IV2", "0", "1"]);
    cluster.kill();
    cluster.restart();
    wait_for_levels(&cluster, ["4.4-IV2", "0", "1"]);
    let back = run(&[
        "kafka-features",
        "--bootstrap-server",
        &cluster.bootstrap(),
        "disable",
        "--feature",
        "kraft.version",
    ]);
    assert!(said(&back).contains("Can't downgrade the version of this feature."), "{}", said(&back));
    let directory_id = cluster.nodes()[2].directory_id();
    let remove = ["remove-controller", "--controller-id", "3", "--controller-directory-id", &directory_id];
    eventually("voter 3 is taken out", PATIENCE, || {
        let tool = ["kafka-metadata-quorum", "--bootstrap-server", &cluster.bootstrap()];
        told(&[&tool[..], &remove].concat())
    });
    wait_for_in_sync(&cluster, 2);
}

#[test]
fn a_broker_that_was_unregistered_comes_back_as_a_new_one() {
    let mut cluster = Cluster::start(3, "");
    let mut fourth = cluster.broker(4, "four", CLUSTER_ID);
    fourth.start();
    let bootstrap = cluster.bootstrap();
    let tool = |arguments: &[&str]| {
        let output = run(&[&["kafka-cluster"], arguments, &["--bootstrap-server", &bootstrap]].concat());
        (output.status.success(), said(&output))
    };
    let listed = |extra: &[&str]| {
        let (_, text) = tool(&[&["list-endpoints"], extra].concat());
        let ids = text.lines().skip(1).filter_map(|line| line.split_whitespace().next().map(str::to_owned));
        ids.collect::<Vec<String>>()
    };
    eventually("all know the fourth", PATIENCE, || Some(()).filter(|()| listed(&[]).len() == 4));
    let topic = ["--create", "--topic", "t", "--replica-assignment", "4:2:1"];
    cluster.tool(&[&["kafka-topics", "--bootstrap-server", &bootstrap], &topic[..]].concat());
    wait_for_in_sync(&cluster, 3);
    fourth.kill();
    eventually("it is fenced", PATIENCE, || Some(()).filter(|()| listed(&[]).len() == 3));
    assert_eq!(listed(&["--include-fenced-brokers"]).len(), 4);

    assert_eq!(tool(&["unregister", "--id", "4"]), (true, "Broker 4 is no longer registered.\n".to_owned()));
    let (again, text) = tool(&["unregister", "--id", "4"]);
    assert!(!again && text.contains("Broker ID 4 is not currently registered"), "{text}");
    change_controller(&mut cluster);
    eventually("it is forgotten", PATIENCE, || {
        Some(()).filter(|()| listed(&["--include-fenced-brokers"]) == ["1", "2", "3"])
    });
    wait_for_partition(&cluster, "Replicas: 4,2,1");

    fourth.start();
    eventually("it is registered", PATIENCE, || Some(()).filter(|()| listed(&[]).len() == 4));
    wait_for_in_sync(&cluster, 3);
}
