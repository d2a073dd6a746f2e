//! `ottla drill` on real nodes: what holds passes, what is planted is found, and whoever was killed comes back.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Laptop, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

/// What a drill has told, line by line.
fn told(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("an object of JSON a line")).collect()
}

fn of<'a>(told: &'a [Value], event: &str) -> Vec<&'a Value> {
    told.iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn nothing_is_lost_by_kills_of_leaders_and_each_is_told() {
    let laptop = Laptop::up();
    let page = laptop.directory().join("drill.html");
    let report = page.to_str().expect("text");

    let output =
        laptop.run(&["drill", "leader-kill", "--kills", "2", "--seed", "7", "--json", "--report", report]);

    let told = told(&output);
    assert!(output.status.success(), "{told:?} {}", String::from_utf8_lossy(&output.stderr));
    let faults = of(&told, "fault");
    assert_eq!(faults.len(), 2, "{told:?}");
    for fault in faults {
        let led = fault["led"].as_array().expect("a list");
        assert!(!led.is_empty(), "{fault}");
        for partition in led {
            let silence = &fault["silence_ms"][partition.to_string()];
            assert!(silence.as_f64().is_some_and(|millis| millis > 0.0), "{fault}");
        }
        assert!(fault["in_sync_ms"].is_number(), "{fault}");
        let steps = fault["steps"].as_array().expect("a list");
        let fenced =
            steps.iter().find(|step| step["what"].as_str().is_some_and(|what| what.contains("fenced: gone")));
        assert!(
            fenced.is_some_and(|step| step["by"].as_str().expect("text").starts_with("controller ")),
            "{fault}"
        );
    }
    let [verdict] = of(&told, "verdict")[..] else { panic!("one verdict: {told:?}") };
    assert_eq!(verdict["pass"], true, "{verdict}");
    assert!(verdict["acknowledged"].as_u64().is_some_and(|count| count > 1000), "{verdict}");
    assert_eq!(verdict["acknowledged"], verdict["kept"]);
    assert_eq!(verdict["replicas"]["equal"], 8, "{verdict}");
    assert!(verdict["commits_told"].as_u64().is_some_and(|count| count >= 8), "{verdict}");
    let html = std::fs::read_to_string(page).expect("a page was written");
    assert!(html.contains("<svg") && html.contains("PASS"), "{html}");

    // The cluster was there before, and is as it was.
    let status = laptop.settles("all nodes are back", |status| status["healthy"] == true);
    assert!(status["nodes"].as_array().expect("a list").iter().all(|node| node["pid"].is_u64()), "{status}");
}

/// A member whose coordinator has gone looks for the new one, and its share stands.
#[test]
fn a_group_goes_on_without_new_shares_when_its_coordinator_is_killed() {
    let laptop = Laptop::up();

    let output = laptop.run(&["drill", "coordinator-kill", "--kills", "2", "--seed", "7", "--json"]);

    let told = told(&output);
    assert!(output.status.success(), "{told:?} {}", String::from_utf8_lossy(&output.stderr));
    let faults = of(&told, "fault");
    assert_eq!(faults.len(), 2, "{told:?}");
    for fault in faults {
        assert_eq!(
            (&fault["group_coordinator"], &fault["group_rebalanced"]),
            (&true.into(), &false.into()),
            "{fault}"
        );
        assert!(fault["group_silence_ms"].is_number(), "{fault}");
    }
}

#[test]
fn a_cluster_that_was_started_for_it_is_ended_and_what_is_planted_is_found() {
    let laptop = Laptop::new();
    let data = laptop.data();

    let output = laptop.run(&["drill", "leader-kill", "--kills", "1", "--json", "--self-test"]);

    let told = told(&output);
    assert!(output.status.success(), "{told:?} {}", String::from_utf8_lossy(&output.stderr));
    let verdicts = of(&told, "verdict");
    for (verdict, found) in verdicts.iter().zip(["lost", "doubled", "reordered"]) {
        assert_eq!((&verdict["pass"], &verdict[found]), (&false.into(), &1.into()), "{verdict}");
        let violations = verdict["violations"].as_array().expect("a list");
        assert_eq!((violations.len(), &verdict["failures"]), (1, &serde_json::json!([])), "{verdict}");
    }
    assert_eq!(verdicts.len(), 3, "{told:?}");
    assert_eq!(told.last().expect("a note")["text"], "self-test: 3 of 3 were found");

    // One alone ends as it does for a user who loses something.
    let output = laptop.run(&["drill", "leader-kill", "--kills", "1", "--self-test=loss"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("  lost 1  ") && said.lines().any(|line| line.starts_with("FAIL ")), "{said}");
    assert!(data.exists() && !data.join("up.sock").exists(), "it was started, and has ended");
}

#[test]
fn an_interrupted_drill_is_judged_and_leaves_nobody_behind() {
    let laptop = Laptop::up();
    let arguments = ["drill", "freeze", "--for", "10m", "--json"];
    let mut drill = laptop.command(&arguments).stdout(Stdio::piped()).spawn().expect("it is built");
    let mut told = BufReader::new(drill.stdout.take().expect("piped")).lines();
    assert!(told.next().expect("it begins").expect("text").contains("\"event\":\"drill\""));
    let pids: Vec<u64> = laptop.status()["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|node| node["pid"].as_u64())
        .collect();
    let is_frozen = |pid: u64| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim().starts_with('T'))
    };
    eventually("a node stands still", PATIENCE, || pids.iter().any(|&pid| is_frozen(pid)).then_some(()));

    let pid = i32::try_from(drill.id()).ok().and_then(Pid::from_raw).expect("it runs");
    kill_process(pid, Signal::INT).expect("it runs");

    let lines: Vec<Value> =
        told.map(|line| serde_json::from_str(&line.expect("text")).expect("an object of JSON")).collect();
    assert!(drill.wait().expect("it is ours").success(), "{lines:?}");
    let [verdict] = of(&lines, "verdict")[..] else { panic!("one verdict: {lines:?}") };
    assert_eq!(verdict["pass"], true, "{verdict}");
    assert!(!pids.iter().any(|&pid| is_frozen(pid)));
    laptop.settles("all nodes serve", |status| status["healthy"] == true);
}

#[test]
fn a_drill_that_is_interrupted_while_its_cluster_starts_leaves_nobody_behind() {
    let laptop = Laptop::new();
    let data = laptop.data();
    let drill = laptop
        .command(&["drill", "leader-kill", "--kills", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is built");
    // Whoever has this directory on its command line: the supervisor and its nodes.
    let shown = data.to_str().expect("text").to_owned();
    let others = |drill: u32| -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").expect("processes");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let is_of_it = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            *pid != drill && String::from_utf8_lossy(&line).contains(&shown)
        };
        pids.filter(is_of_it).collect()
    };
    let id = drill.id();
    eventually("nodes are started", PATIENCE, || (others(id).len() > 1).then_some(()));

    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("it runs");
    kill_process(pid, Signal::INT).expect("it runs");

    let output = drill.wait_with_output().expect("it is ours");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted; the cluster that was starting was stopped"), "{said}");
    eventually("all have ended", PATIENCE, || others(id).is_empty().then_some(()));
}

#[test]
fn a_cluster_is_told_by_a_file_and_other_machines_are_left_alone() {
    let laptop = Laptop::up();
    let file = laptop.directory().join("nodes.properties");
    let ottla = ottla_e2e::cluster::binary();
    let data = laptop.data();
    let mut text = "name=by a file\nbootstrap.servers=localhost:9092,localhost:9093\n".to_owned();
    for node in 1..=3 {
        for verb in ["kill", "stop", "start"] {
            text +=
                &format!("node.{node}.{verb}={} {verb} {node} --data {}\n", ottla.display(), data.display());
        }
        text += &format!("node.{node}.data={}/{node}/data\n", data.display());
    }
    std::fs::write(&file, &text).expect("a file");
    let path = file.to_str().expect("text");

    let beside = laptop.run(&["drill", "rolling-restart", "--kills", "1", "--beside", path]);

    let said = String::from_utf8_lossy(&beside.stdout);
    assert!(beside.status.success(), "{said}{}", String::from_utf8_lossy(&beside.stderr));
    let table = said.split_once("side by side").expect("a table").1;
    assert!(
        table.lines().next().is_some_and(|line| line.contains("data") && line.contains("by a file")),
        "{table}"
    );
    assert!(table.lines().any(|line| line.split_whitespace().eq(["verdict", "PASS", "PASS"])), "{table}");

    std::fs::write(&file, text.replace("localhost:9093", "192.0.2.1:9093")).expect("a file");
    let output = laptop.run(&["drill", "leader-kill", "--kills", "1", "--processes", path]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("192.0.2.1:9093 is not on this machine") && said.contains("--yes"), "{said}");
}
