//! What `ottla status` and `ottla events` say of a cluster that `ottla up` made, to people and to programs; and that all
//! companions of `ottla up` find it by what `ottla env` exports.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Laptop, eventually};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Node 2 led at least one partition: of three partitions each has another first replica.
fn with_topic() -> Laptop {
    let laptop = Laptop::up();
    let create = ["kafka-topics", "--bootstrap-server", "localhost:9092", "--create", "--topic", "t"];
    laptop.says(&[&create[..], &["--partitions", "3", "--replication-factor", "3"]].concat());
    laptop.settles("three replicas are in sync", |status| status["healthy"] == true);
    laptop
}

#[test]
fn what_can_be_lost_is_told_to_programs() {
    let laptop = with_topic();

    let status = laptop.status();
    assert_eq!(status["can_lose"], 1, "{status}");
    assert_eq!(status["quorum"], serde_json::json!({ "live": 3, "voters": 3 }));
    assert_eq!(status["topics"], 1);
    assert_eq!(status["partitions"], serde_json::json!({ "all": 3, "offline": 0, "under_replicated": 0 }));
    assert_eq!(status["cluster_id"].as_str().map(str::len), Some(22), "{status}");
    let nodes = status["nodes"].as_array().expect("a list");
    assert_eq!(nodes.len(), 3);
    for (node, id) in nodes.iter().zip(1..) {
        assert_eq!(node["id"], id);
        assert_eq!(node["clients"], format!("localhost:{}", 9091 + id));
        assert_eq!(node["controller"], format!("localhost:{}", 2180 + id));
        let pid = node["pid"].as_u64().expect("it runs");
        assert!(Path::new(&format!("/proc/{pid}")).exists(), "{node}");
        assert!(Path::new(node["log"].as_str().expect("a path")).exists(), "{node}");
    }

    laptop.says(&["kill", "2"]);
    let status =
        laptop.settles("its replicas are missed", |status| status["partitions"]["under_replicated"] == 3);
    assert_eq!((&status["healthy"], &status["nodes"][1]["pid"]), (&Value::Bool(false), &Value::Null));
    let status = laptop.settles("leaders have moved", |status| status["partitions"]["offline"] == 0);
    assert_eq!(status["can_lose"], 0, "min.insync.replicas is 2: {status}");

    // Without a majority the controller that is left resigns, and then nobody can say how the cluster is.
    laptop.says(&["kill", "3"]);
    let said = eventually("no controller is left", PATIENCE, || {
        let output = laptop.run(&["status", "--json"]);
        if output.status.success() {
            let status: Value = serde_json::from_slice(&output.stdout).expect("one object of JSON");
            assert_eq!(status["can_lose"], Value::Null, "{status}");
            return None;
        }
        Some(String::from_utf8_lossy(&output.stderr).into_owned())
    });
    assert!(said.contains("no controller answers; see the nodes' logs"), "{said}");
}

#[test]
fn a_failover_of_the_past_is_explained() {
    let laptop = with_topic();
    // The controller saw its connections close, and stays.
    let victim = if laptop.controller() == 2 { 3 } else { 2 };

    laptop.says(&["kill", &victim.to_string()]);

    // The journal is written a moment after the decision.
    let explained = || laptop.event("fenced", victim).filter(|fenced| !fenced["reason"].is_null());
    let fenced = eventually("it is fenced, and why is written down", PATIENCE, explained);
    let reason = &fenced["reason"];
    assert_eq!(reason["rule"], "gone", "{fenced}");
    assert!(reason["cause"].as_str().is_some_and(|cause| cause.ends_with(" refused twice")), "{fenced}");
    assert!(reason["absent_us"].as_u64().is_some_and(|micros| micros < 5_000_000), "{fenced}");
    let signs: Vec<&str> = reason["evidence"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|sign| sign["what"].as_str().expect("text"))
        .collect();
    assert!(signs.contains(&"a connection closed by its side"), "{signs:?}");
    let leaders = fenced["leaders"].as_array().expect("a list");
    assert!(!leaders.is_empty(), "it led a partition: {fenced}");
    for leader in leaders {
        assert!(leader["leader"].is_u64() && leader["leader"] != victim, "{leader}");
        assert_eq!(leader["topic"], "t", "{leader}");
        assert!(leader["epoch"].as_u64() >= Some(1), "{leader}");
    }

    // The same in words, and now also that it came back.
    laptop.says(&["start", &victim.to_string()]);
    let epoch = fenced["broker_epoch"].as_i64().expect("a number");
    eventually("it serves again", PATIENCE, || {
        laptop.event("serves", victim).filter(|event| event["broker_epoch"].as_i64() > Some(epoch))
    });
    let story = laptop.says(&["events"]);
    let told = format!("node {victim} fenced (broker epoch {epoch}): gone: ");
    let (_, paragraph) = story.split_once(&told).expect("it is told");
    for expected in [
        " a connection closed by its side\n",
        &format!(" fenced by controller {}, metadata offset {}\n", reason["controller"], fenced["offset"]),
        &format!("leaders of t moved: -{} -> ", leaders[0]["partition"]),
    ] {
        assert!(paragraph.contains(expected), "{expected}: {story}");
    }

    // Where no journal is, the reason is unknown, and the rest is told all the same.
    for node in ["1", "2", "3"] {
        // Whoever was not the active controller has none.
        let _ = std::fs::remove_file(laptop.data().join(node).join("data/failovers.jsonl"));
    }
    let without = laptop.event("fenced", victim).expect("the metadata log still has it");
    assert_eq!((&without["reason"], &without["leaders"]), (&Value::Null, &fenced["leaders"]));
    assert!(laptop.says(&["events"]).contains("): reason unknown\n"));
}

#[test]
fn failovers_are_told_as_they_happen_and_only_those_asked_for() {
    let laptop = with_topic();
    let create = ["kafka-topics", "--bootstrap-server", "localhost:9092", "--create", "--topic", "other"];
    laptop.says(&[&create[..], &["--replica-assignment", "1:2:3"]].concat());
    let follow = ["events", "--json", "--follow", "--topic", "other"];
    let mut following = laptop.command(&follow).stdout(Stdio::piped()).spawn().expect("it is built");
    let mut told = BufReader::new(following.stdout.take().expect("piped")).lines();

    // It leads the only partition of that topic.
    laptop.says(&["kill", "1"]);

    let line = told.next().expect("it goes on").expect("text");
    let event: Value = serde_json::from_str(&line).expect("an object of JSON");
    assert_eq!((&event["event"], &event["node"]), (&"fenced".into(), &1.into()), "{event}");
    assert!(!event["reason"].is_null(), "{event}");
    let topics: Vec<&str> = event["leaders"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|moved| moved["topic"].as_str())
        .collect();
    assert_eq!(topics, ["other"], "{event}");
    following.kill().expect("it is ours");
    following.wait().expect("it is ours");

    assert!(laptop.events(&["--since", "1h"]).contains(&laptop.event("fenced", 1).expect("it was fenced")));
    assert!(laptop.events(&["--since", "2999-12-31"]).is_empty());
    assert!(laptop.events(&["--topic", "nothing"]).is_empty());
}

/// Of two that are gone none can serve without another: they are not started one after the other.
#[test]
fn nodes_that_need_each_other_start_at_the_same_time() {
    let laptop = Laptop::up();
    for node in ["1", "2", "3"] {
        laptop.says(&["kill", node]);
    }

    let starting: Vec<_> = ["1", "2", "3"]
        .map(|node| laptop.command(&["start", node]).spawn().expect("it is built"))
        .into_iter()
        .collect();

    for mut start in starting {
        assert!(start.wait().expect("it is ours").success());
    }
    laptop.settles("all of them serve", |status| status["healthy"] == true);
}

#[test]
fn companions_find_the_cluster_by_what_env_exports() {
    let laptop = Laptop::up();
    let data = laptop.data();
    let exported = laptop.says(&["env"]);
    assert!(exported.contains(&format!("export OTTLA_DATA=\"{}\"\n", data.display())), "{exported}");

    // None of these names the directory.
    laptop.says(&["stop", "3"]);
    let stopped = eventually("node 3 has stopped", PATIENCE, || laptop.event("stopped", 3));
    assert_eq!(stopped["reason"], Value::Null, "it was asked to: {stopped}");
    laptop.says(&["start", "3"]);
    laptop.says(&["kill", "3"]);
    eventually("node 3 is fenced", PATIENCE, || laptop.event("fenced", 3));
    laptop.settles("node 3 is gone", |status| status["quorum"]["live"] == 2);
    laptop.says(&["down"]);
    let output = laptop.run(&["status"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no cluster runs in "), "{output:?}");

    // What is named goes before what is exported.
    let elsewhere = laptop.directory().join("elsewhere");
    for command in [&["status"][..], &["events"], &["down"], &["kill", "1"], &["env"]] {
        let output = laptop.run(&[command, &["--data", elsewhere.to_str().expect("text")]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(&format!("there is no cluster in {}", elsewhere.display())),
            "{command:?}: {said}"
        );
    }
}
