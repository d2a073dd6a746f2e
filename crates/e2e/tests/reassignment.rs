//! Replicas move between brokers while clients write: nothing is lost, and nothing is left behind.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::reassignment::{ask, under_way, wait_until_over};
use ottla_e2e::transcript::{Tools, play};
use ottla_e2e::{Cluster, eventually, jars, kcat};
use std::fs;

const PRODUCER: [&str; 6] = ["-X", "acks=all", "-X", "enable.idempotence=true", "-t", "t"];

fn create(cluster: &Cluster, assignment: &str) {
    let bootstrap = cluster.bootstrap();
    let tool = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"];
    cluster.tool(&[&tool[..], &["--replica-assignment", assignment]].concat());
}

/// Waits until the nodes in `holders` have the same log of a partition, and no other has any of it.
fn wait_until_held_by(cluster: &Cluster, partition: usize, holders: &[usize]) {
    let directory = format!("t-{partition}");
    eventually(&format!("{directory} is on {holders:?} alone"), PATIENCE, || {
        let mut logs = Vec::new();
        for node in cluster.nodes() {
            let log = fs::read(node.data().join(&directory).join("00000000000000000000.log"));
            match (log, holders.contains(&node.id)) {
                (Ok(log), true) => logs.push(log),
                (Err(_), false) if !node.data().join(&directory).exists() => {}
                _ => return None,
            }
        }
        (!logs[0].is_empty() && logs.windows(2).all(|pair| pair[0] == pair[1])).then_some(())
    });
}

#[test]
fn a_partition_goes_round_three_brokers_while_it_is_written_to() {
    let cluster = Cluster::start(3, "");
    create(&cluster, "1:2");
    let bootstrap = cluster.bootstrap();
    let mut producer = kcat::Producer::start(&cluster, &PRODUCER);
    let mut expected = Vec::new();
    let mut write = |count: usize| {
        for _ in 0..count {
            let line = format!("record {:06}", expected.len());
            producer.line(&line);
            expected.push(line);
        }
    };
    write(200);
    for target in [&[2, 3][..], &[3, 1], &[1], &[2, 3], &[3, 2, 1], &[2], &[1, 2]] {
        ask(&bootstrap, "t", &[(0, Some(target))]);
        while under_way(&bootstrap) > 0 {
            write(10);
        }
        write(50);
    }
    producer.finish();

    assert_eq!(kcat::consume_all(&cluster, "t"), expected);
    wait_until_held_by(&cluster, 0, &[1, 2]);
    let left: Vec<_> = fs::read_dir(cluster.nodes()[2].data())
        .expect("node 3 has a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| name.starts_with("t-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn six_partitions_move_to_other_brokers_of_which_one_dies_meanwhile() {
    let mut cluster = Cluster::start(5, "");
    create(&cluster, "1:2:3,2:3:1,3:1:2,1:3:2,2:1:3,3:2:1");
    let bootstrap = cluster.bootstrap();
    // More than one fetch can hold, so that there is something to be interrupted.
    let filler = format!("{}\n", "x".repeat(1000)).repeat(20_000);
    kcat::run(&cluster, &[&["-P"][..], &PRODUCER].concat(), &filler);
    let mut producer = kcat::Producer::start(&cluster, &PRODUCER);
    let mut expected: Vec<String> = vec!["x".repeat(1000); 20_000];
    let mut write = |count: usize| {
        for _ in 0..count {
            let line = format!("record {:06}", expected.len());
            producer.line(&line);
            expected.push(line);
        }
    };

    let targets: Vec<(i32, Option<&[i32]>)> =
        (0..6).map(|partition| (partition, Some(&[4, 5, 3][..]))).collect();
    ask(&bootstrap, "t", &targets);
    write(20);
    cluster.node(4).kill();
    write(400);
    cluster.node(4).start();
    while under_way(&bootstrap) > 0 {
        write(20);
    }
    producer.finish();

    expected.sort();
    assert_eq!(kcat::consume_all(&cluster, "t").len(), expected.len());
    assert!(kcat::consume_all(&cluster, "t") == expected, "the same records, each once");
    for partition in 0..6 {
        wait_until_held_by(&cluster, partition, &[3, 4, 5]);
    }
}

#[test]
fn what_was_moved_goes_back_by_the_plan_that_either_tool_has_printed() {
    let cluster = Cluster::start(3, "");
    create(&cluster, "1:2,2:1");
    for partition in ["0", "1"] {
        let produce = [&["-P", "-p", partition][..], &PRODUCER].concat();
        kcat::run(&cluster, &produce, &"record\n".repeat(500));
    }
    let bootstrap = cluster.bootstrap();
    let directory = tempfile::tempdir().expect("a directory for the tools");
    let there = r#"{"partitions":[{"topic":"t","partition":0,"replicas":[3,2]},{"topic":"t","partition":1,"replicas":[3,1]}]}"#;
    fs::write(directory.path().join("there.json"), there).expect("the directory is ours");
    for mut tools in [Tools::Kafka(jars::Tools::start(directory.path())), Tools::Ottla] {
        let mut run = |arguments: &str| {
            let line = format!("kafka-reassign-partitions --bootstrap-server {bootstrap} {arguments}");
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let said = tools.run(directory.path(), &words);
            assert_eq!(said.status, 0, "{line}\n{}{}", said.out, said.err);
            said.out
        };

        let said = run("--execute --reassignment-json-file there.json");
        let before = said.lines().find(|line| line.starts_with('{')).expect("a plan to go back");
        fs::write(directory.path().join("back.json"), before).expect("the directory is ours");
        wait_until_over(&bootstrap);
        wait_until_held_by(&cluster, 0, &[2, 3]);
        run("--execute --reassignment-json-file back.json");
        wait_until_over(&bootstrap);

        let said = run("--verify --reassignment-json-file back.json");
        assert_eq!(said.matches("is completed.").count(), 2, "{said}");
        assert_eq!(said.matches("completed successfully.").count(), 4, "{said}");
        wait_until_held_by(&cluster, 0, &[1, 2]);
        wait_until_held_by(&cluster, 1, &[1, 2]);
    }
}

/// A throttled move crawls, and holds up nobody else; another rate counts at once, and the end of the move ends the throttle.
#[test]
fn a_throttled_move_is_slow_until_the_throttle_is_raised() {
    let cluster = Cluster::start(3, "");
    create(&cluster, "1:2");
    let bootstrap = cluster.bootstrap();
    let filler = format!("{}\n", "x".repeat(1000)).repeat(20_000);
    kcat::run(&cluster, &[&["-P"][..], &PRODUCER].concat(), &filler);
    let directory = tempfile::tempdir().expect("a directory for the tools");
    let write = |name: &str, replicas: &str| {
        let plan = format!(r#"{{"partitions":[{{"topic":"t","partition":0,"replicas":[{replicas}]}}]}}"#);
        fs::write(directory.path().join(name), plan).expect("the directory is ours");
    };
    write("there.json", "3,2");
    write("back.json", "1,2");
    let copied = |node: usize| {
        let log = cluster.nodes()[node - 1].data().join("t-0/00000000000000000000.log");
        // Preallocated: what was copied is where it is not empty.
        fs::read(log).map_or(0, |bytes| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1))
    };
    let configs = || {
        let describe = ["kafka-topics", "--bootstrap-server", &bootstrap, "--describe", "--topic", "t"];
        cluster.tool(&describe)
    };

    let kafka = Tools::Kafka(jars::Tools::start(directory.path()));
    for (mut tools, plan, newcomer) in [(kafka, "there.json", 3), (Tools::Ottla, "back.json", 1)] {
        let mut run = |arguments: &str| {
            let line = format!(
                "kafka-reassign-partitions --bootstrap-server {bootstrap} --reassignment-json-file {plan} {arguments}"
            );
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let said = tools.run(directory.path(), &words);
            assert_eq!(said.status, 0, "{line}\n{}{}", said.out, said.err);
            said.out
        };

        let said = run("--execute --throttle 1000");
        assert!(said.contains("The inter-broker throttle limit was set to 1000 B/s"), "{said}");
        assert!(configs().contains("follower.replication.throttled.replicas=0:"), "{}", configs());
        eventually("some of it is copied", PATIENCE, || (copied(newcomer) > 100_000).then_some(()));
        kcat::run(&cluster, &[&["-P"][..], &PRODUCER].concat(), &"more\n".repeat(100));
        assert_eq!(under_way(&bootstrap), 1);
        assert!(copied(newcomer) < 10_000_000, "throttled, it takes minutes");

        run("--execute --additional --throttle 50000000");
        wait_until_over(&bootstrap);
        let said = run("--verify");
        assert!(said.contains("Clearing topic-level throttles on topic t"), "{said}");
        assert!(!configs().contains("throttled"), "{}", configs());
    }
    assert_eq!(kcat::consume_all(&cluster, "t").len(), 20_200);
    wait_until_held_by(&cluster, 0, &[1, 2]);
}

#[test]
fn both_tools_say_the_same_of_a_move_to_a_broker_that_is_down() {
    let mut cluster = Cluster::start(3, "");
    create(&cluster, "1:2,2:1,1:2");
    let bootstrap = cluster.bootstrap();
    let directory = tempfile::tempdir().expect("a directory for the tools");
    cluster.node(3).kill();
    let listed = |cluster: &Cluster| kcat::run(cluster, &["-L"], "");
    eventually("node 3 is fenced", PATIENCE, || listed(&cluster).contains(" 2 brokers:").then_some(()));
    let plan = r#"{"partitions":[{"topic":"t","partition":0,"replicas":[1,3]},{"topic":"t","partition":2,"replicas":[1,2]},{"topic":"t","partition":1,"replicas":[2,1,3]}]}"#;
    let tool = "$ kafka-reassign-partitions --bootstrap-server $BOOTSTRAP";
    let story = format!(
        "@ write plan.json {plan}\n\
         {tool} --list\n\
         {tool} --verify --reassignment-json-file plan.json\n\
         $ kafka-topics --bootstrap-server $BOOTSTRAP --describe --topic t\n\
         $ kafka-topics --bootstrap-server $BOOTSTRAP --describe --under-replicated-partitions\n\
         {tool} --execute --reassignment-json-file plan.json\n\
         {tool} --execute --additional --reassignment-json-file plan.json\n\
         {tool} --cancel --preserve-throttles --reassignment-json-file plan.json\n\
         {tool} --list\n"
    );
    let both = [Tools::Kafka(jars::Tools::start(directory.path())), Tools::Ottla].map(|mut tools| {
        // Tools refuse brokers that are down; controllers wait for them.
        ask(&bootstrap, "t", &[(0, Some(&[1, 3])), (1, Some(&[2, 1, 3]))]);
        play(&story, &bootstrap, &mut tools, directory.path())
    });

    for said in [
        "> t-0: replicas: 1,3,2. adding: 3. removing: 2.\n> t-1: replicas: 2,1,3. adding: 3.\n",
        "Reassignment of partition t-0 is still in progress.",
        "Reassignment of partition t-2 is completed.",
        "Adding Replicas: 3\tRemoving Replicas: 2",
        "Cannot execute because there is an existing partition assignment.",
        "Unknown broker id 3",
        "Successfully cancelled partition reassignments for: t-0,t-1",
        "No partition reassignments found.",
    ] {
        assert!(both[0].contains(said), "{said}\n{}", both[0]);
    }
    assert!(both[0] == both[1], "Kafka's tools:\n{}\nours:\n{}", both[0], both[1]);
}
