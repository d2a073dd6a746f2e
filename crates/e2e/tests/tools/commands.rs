//! `ottla topic`, `group`, `cluster`, `produce` and `consume` against three nodes.

use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::jars::Said;
use ottla_e2e::{Cluster, eventually, kcat};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a command with these words, and this for its standard input.
fn ottla(bootstrap: &str, line: &str, input: &str) -> Said {
    let mut child = Command::new(binary())
        .args(line.split_whitespace())
        .env("BOOTSTRAP", bootstrap)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is built");
    // It may end without having read everything.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    Said {
        status: output.status.code().expect("nobody kills it"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// What a command that succeeds writes to standard output.
fn told(bootstrap: &str, line: &str, input: &str) -> String {
    let said = ottla(bootstrap, line, input);
    assert_eq!(said.status, 0, "{line}: {said:?}");
    said.out
}

/// The same, for programs.
fn json_of(bootstrap: &str, line: &str) -> Value {
    let text = told(bootstrap, &format!("{line} --output json"), "");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
}

/// What a command that fails says of why.
fn refusal(bootstrap: &str, line: &str, input: &str) -> String {
    let said = ottla(bootstrap, line, input);
    assert_eq!(said.status, 1, "{line}: {said:?}");
    said.err
}

/// Waits until every broker knows the topic with so many partitions: the next command may ask any.
fn all_know(cluster: &Cluster, topic: &str, partitions: &str) {
    eventually("every broker knows the topic", PATIENCE, || {
        let is_known =
            |node| kcat::listed_by(node, topic).contains(&format!("\"{topic}\" with {partitions}"));
        cluster.nodes().iter().all(is_known).then_some(())
    });
}

#[test]
fn topics_are_made_listed_described_changed_and_deleted() {
    let cluster = Cluster::start(3, "");
    let bootstrap = cluster.bootstrap();

    let made = told(&bootstrap, "topic create orders audit -p 2 -r 3 -c retention.ms=1000", "");
    assert_eq!(made, "created orders\ncreated audit\n");
    let again = told(&bootstrap, "topic create audit --if-not-exists", "");
    assert_eq!(again, "audit is there already\n");
    all_know(&cluster, "orders", "2 partitions");
    all_know(&cluster, "audit", "2 partitions");
    eventually("all have all replicas in sync", PATIENCE, || {
        let listed = told(&bootstrap, "topic list", "");
        let expected = "NAME    PARTITIONS  REPLICAS  STATE\n\
                        audit            2         3  ok\n\
                        orders           2         3  ok\n";
        (listed == expected).then_some(())
    });
    let altered =
        told(&bootstrap, "topic alter orders -p 3 -c retention.bytes=5 --reset-config retention.ms", "");
    assert_eq!(altered, "altered orders\n");
    let orders = eventually("the change is known", PATIENCE, || {
        let described = json_of(&bootstrap, "topic describe orders");
        let is_new = described[0]["partitions"].as_array().is_some_and(|partitions| partitions.len() == 3)
            && described[0]["configs"].get("retention.bytes").is_some();
        is_new.then(|| described[0].clone())
    });

    assert_eq!(orders["configs"]["retention.bytes"], "5");
    assert_eq!(orders["configs"].get("retention.ms"), None);
    let listed = json_of(&bootstrap, "topic list");
    assert_eq!(listed[1]["name"], "orders");
    assert_eq!(listed[1]["id"], orders["id"]);
    assert_eq!(listed[1]["replication_factor"], 3);
    let partition = &orders["partitions"][2];
    assert!(partition["replicas"].as_array().unwrap().contains(&partition["leader"]), "{partition}");
    assert_eq!([&partition["first_offset"], &partition["end_offset"]], [0, 0]);

    let deleted = json_of(&bootstrap, "topic delete orders");
    assert_eq!(deleted, json!([{ "name": "orders", "deleted": true }]));
    assert_eq!(told(&bootstrap, "topic delete orders --if-exists", ""), "there is no orders\n");
    // A broker may hear of it last.
    let why = eventually("it is gone everywhere", PATIENCE, || {
        let said = ottla(&bootstrap, "topic describe orders", "");
        (said.status == 1).then_some(said.err)
    });
    assert!(why.contains("there is no topic orders. `ottla topic list` shows which there are"), "{why}");
    for (line, expected) in [
        ("topic delete orders", "topic orders is not deleted"),
        ("topic create audit", "`ottla topic alter` changes it"),
        ("topic create wide -r 4", "`ottla cluster info` shows how many brokers there are"),
        ("topic alter audit -p 1", "A topic cannot have fewer partitions than it has now"),
        ("topic alter audit", "nothing is to be changed"),
    ] {
        let why = refusal(&bootstrap, line, "");
        assert!(why.contains(expected), "{line}: {why}");
    }
}

#[test]
fn records_are_written_and_read_and_groups_remember_how_far() {
    let cluster = Cluster::start(3, "");
    let bootstrap = cluster.bootstrap();
    told(&bootstrap, "topic create t -p 2 -r 3", "");
    all_know(&cluster, "t", "2 partitions");

    let said = ottla(&bootstrap, "produce t -p 0 -K : -H from=test -z zstd", "a:1\nb:2\nc:3\n");
    assert_eq!((said.status, said.out.as_str(), said.err.as_str()), (0, "", "3 records written to t\n"));
    let written = told(&bootstrap, "produce t -p 1 -k d --output json", "4\n");
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!([&written["partition"], &written["offset"]], [1, 0]);

    assert_eq!(told(&bootstrap, "consume t -p 0 -e", ""), "1\n2\n3\n");
    assert_eq!(
        told(&bootstrap, r"consume t -e -p 0 --from 1 -f %t/%p/%o:%k=%v;%h\n", ""),
        "t/0/1:b=2;from=test\nt/0/2:c=3;from=test\n"
    );
    assert_eq!(told(&bootstrap, "consume t -p 0 -e --from -1", ""), "3\n");
    assert_eq!(told(&bootstrap, "consume t -p 0 -n 2 --from 1h", ""), "1\n2\n");
    assert_eq!(told(&bootstrap, "consume t -e --from latest", ""), "");
    let record: Value =
        serde_json::from_str(&told(&bootstrap, "consume t -p 1 -e --output json", "")).unwrap();
    assert_eq!([&record["key"], &record["value"]], ["d", "4"]);
    assert_eq!(record["timestamp_ms"], written["timestamp_ms"]);

    let mut read: Vec<String> =
        told(&bootstrap, "consume t -g g -n 4", "").lines().map(str::to_owned).collect();
    read.sort();
    assert_eq!(read, ["1", "2", "3", "4"]);
    told(&bootstrap, "produce t -p 1", "5\n");
    assert_eq!(told(&bootstrap, "consume t -g g -n 1", ""), "5\n");
    let group = json_of(&bootstrap, "group describe g");
    assert_eq!([&group[0]["state"], &group[0]["lag"]], [&json!("Empty"), &json!(0)]);
    assert_eq!(json_of(&bootstrap, "group list")[0]["group"], "g");

    let planned = json_of(&bootstrap, "group reset g --to 1 --topic t:0 --dry-run");
    assert_eq!(planned["offsets"], json!([{ "topic": "t", "partition": 0, "from": 3, "to": 1 }]));
    assert_eq!(json_of(&bootstrap, "group describe g")[0]["lag"], 0);
    assert_eq!(
        told(&bootstrap, "group reset g --shift-by -2", ""),
        "g goes on here\n TOPIC  PARTITION  FROM  TO\n t              0     3   1\n t              1     2   0\n"
    );
    assert!(told(&bootstrap, "group describe g", "").contains("4 records behind"));
    assert_eq!(json_of(&bootstrap, "group reset g --to latest")["offsets"][1]["to"], 2);

    let member = kcat::Member::start(&cluster, "g", "t", &[]);
    eventually("it has its share", PATIENCE, || (!member.assigned().is_empty()).then_some(()));
    let why = refusal(&bootstrap, "group reset g --to earliest", "");
    assert!(why.contains("group g has 1 member (Stable): stop them first"), "{why}");
    let why = refusal(&bootstrap, "group delete g", "");
    assert!(why.contains("group g is not deleted") && why.contains("Stop its members first"), "{why}");
    member.interrupt();
    assert_eq!(told(&bootstrap, "group delete g", ""), "deleted g\n");

    for (line, expected) in [
        ("group describe g", "there is no group g"),
        ("group reset g --to latest", "group g has committed no offsets: name topics with --topic"),
        ("group reset g --to latest --topic t:7", "topic t has no partition 7: it has 2 partitions"),
        ("produce nope", "there is no topic nope; make it with: ottla topic create nope"),
        ("produce t -p 9", "topic t has no partition 9: it has 2 partitions"),
        ("produce t -K :", "No key separator found on line number 1: 'x'"),
        ("consume nope", "there is no topic nope"),
        ("consume t -g g --from 5", "with --group, --from can only be earliest or latest"),
    ] {
        let why = refusal(&bootstrap, line, "x\n");
        assert!(why.contains(expected), "{line}: {why}");
    }
    assert_eq!(ottla(&bootstrap, "group reset g", "").status, 2, "it says not where to go on");
}

#[test]
fn the_cluster_tells_who_is_in_it_and_whether_all_is_well() {
    let mut cluster = Cluster::start(3, "");
    let bootstrap = cluster.bootstrap();
    told(&bootstrap, "topic create t -p 3 -r 3", "");
    all_know(&cluster, "t", "3 partitions");

    let info = json_of(&bootstrap, "cluster info");
    assert_eq!(info["brokers"].as_array().map(Vec::len), Some(3));
    let quorum = json_of(&bootstrap, "cluster quorum");
    assert_eq!(quorum["leader"], info["controller"]);
    let roles = quorum["nodes"].as_array().unwrap().iter().filter(|node| node["role"] == "leader");
    assert_eq!(roles.count(), 1);
    eventually("all is well", PATIENCE, || {
        told(&bootstrap, "cluster info", "").ends_with("1 topic, 3 partitions: ok\n").then_some(())
    });

    cluster.node(3).kill();
    eventually("what it held lags", PATIENCE, || {
        let info = json_of(&bootstrap, "cluster info");
        (info["partitions"]["under_replicated"] == 3 && info["brokers"].as_array()?.len() == 2).then_some(())
    });

    let dead = cluster.bootstrap_without(1);
    let dead = dead.rsplit(',').next().unwrap();
    let why = refusal(dead, "topic list --timeout 1s", "");
    assert!(why.contains(&format!("no broker answers at {dead}")) && why.contains("ottla up"), "{why}");
    let why = refusal("nowhere", "topic list", "");
    assert!(why.contains("`nowhere` is not an address: expected host:port"), "{why}");
}

#[test]
fn shells_complete_commands_and_manual_pages_are_written() {
    let script = told("", "completion bash", "");
    let sources = "set -e; source /dev/stdin; complete -p ottla";
    let mut bash = Command::new("bash")
        .args(["--norc", "-c", sources])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash is installed by `cargo xtask test`");
    bash.stdin.take().expect("piped").write_all(script.as_bytes()).expect("it reads");
    let output = bash.wait_with_output().expect("it ends");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("ottla"));
    for shell in ["zsh", "fish"] {
        assert!(told("", &format!("completion {shell}"), "").contains("consume"), "{shell}");
    }

    let directory = tempfile::tempdir().expect("a directory for the pages");
    let pages = directory.path().join("man1");
    told("", &format!("man {}", pages.display()), "");
    let page = std::fs::read_to_string(pages.join("ottla-topic-create.1")).expect("there is a page for it");
    assert!(page.contains("replication\\-factor"), "{page}");
}

#[test]
fn the_tools_that_measure_clients_send_and_read_as_much_as_they_are_told() {
    let cluster = Cluster::start(3, "");
    let bootstrap = cluster.bootstrap();
    told(&bootstrap, "topic create t -p 2 -r 3", "");
    all_know(&cluster, "t", "2 partitions");

    let produce = "kafka-producer-perf-test --topic t --num-records 2000 --record-size 100 --throughput 4000 \
                   --warmup-records 500 --reporting-interval 200 --producer-props linger.ms=1 acks=all \
                   compression.type=lz4 --bootstrap-server";
    let sent = told(&bootstrap, &format!("{produce} {bootstrap}"), "");
    let consume = "kafka-consumer-perf-test --topic t --num-records 2000 --timeout 20000 --bootstrap-server";
    let read = told(&bootstrap, &format!("{consume} {bootstrap}"), "");

    let number = r"\d+(\.\d+)?";
    let latencies = format!("{number} ms avg latency, {number} ms max latency");
    let rates = format!(r"records sent, {number} records/sec \({number} MB/sec\), {latencies}");
    let ranks = r"\d+ ms 50th, \d+ ms 95th, \d+ ms 99th, \d+ ms 99\.9th\.";
    let expected = format!(
        r"^Option --producer-props has been deprecated .*\n(\d+ {rates}\.\n)+2000 {rates}, {ranks}\n1500 steady state {rates}, {ranks}\n$"
    );
    assert!(regex::Regex::new(&expected).unwrap().is_match(&sent), "{sent}");
    let moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3}";
    let header = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, \
                  rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec";
    let expected = format!(
        r"^{header}\n{moment}, {moment}, 0\.1907, {number}, 2000, {number}, \d+, \d+, {number}, {number}\n$"
    );
    assert!(regex::Regex::new(&expected).unwrap().is_match(&read), "{read}");
    let measure = "kafka-e2e-latency --topic t --num-records 1001 --producer-acks all --record-size 10 --record-key-size 4 \
                   --num-headers 2 --record-header-key-size 3 --record-header-size -1 --bootstrap-server";
    let taken = told(&bootstrap, &format!("{measure} {bootstrap}"), "");
    let ranks = r"Percentiles: 50th = \d+, 99th = \d+, 99\.9th = \d+";
    let expected = format!(r"^0\t{number}\n1000\t{number}\nAvg latency: \d+\.\d{{4}} ms\n{ranks}\n$");
    assert!(regex::Regex::new(&expected).unwrap().is_match(&taken), "{taken}");
    told(&bootstrap, "topic create numbers -p 1 -r 3", "");
    all_know(&cluster, "numbers", "1 partition");
    let produce_numbers =
        "kafka-verifiable-producer --topic numbers --max-messages 2 --value-prefix 7 --bootstrap-server";
    let said = told(&bootstrap, &format!("{produce_numbers} {bootstrap}"), "");
    for expected in [
        r#""name":"startup_complete"}"#,
        r#""name":"producer_send_success","key":null,"value":"7.0","offset":"#,
        r#""name":"producer_send_success","key":null,"value":"7.1","offset":"#,
        r#""name":"shutdown_complete"}"#,
        r#""name":"tool_data","sent":2,"acked":2,"target_throughput":-1,"avg_throughput":"#,
    ] {
        assert_eq!(said.matches(expected).count(), 1, "{expected}: {said}");
    }
    let read_numbers = "kafka-verifiable-consumer --topic numbers --group-id verifiable --max-messages 2 --verbose --bootstrap-server";
    let said = told(&bootstrap, &format!("{read_numbers} {bootstrap}"), "");
    // As Kafka's tool says it, which was asked on the same cluster.
    let expected = [
        r#""name":"startup_complete"}"#,
        r#""name":"partitions_assigned","partitions":[{"topic":"numbers","partition":0}]}"#,
        r#""name":"record_data","key":null,"value":"7.0","topic":"numbers","partition":0,"offset":0}"#,
        r#""name":"record_data","key":null,"value":"7.1","topic":"numbers","partition":0,"offset":1}"#,
        r#""name":"records_consumed","count":2,"partitions":[{"topic":"numbers","partition":0,"count":2,"minOffset":0,"maxOffset":1}]}"#,
        r#""name":"offsets_committed","offsets":[{"topic":"numbers","partition":0,"offset":2}],"success":true}"#,
        r#""name":"shutdown_requested"}"#,
        r#""name":"partitions_revoked","partitions":[{"topic":"numbers","partition":0}]}"#,
        r#""name":"shutdown_complete"}"#,
    ];
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    for (line, expected) in said.lines().zip(expected) {
        assert!(line.contains(expected), "{line}, and not {expected}");
    }
    let why = refusal(&bootstrap, &format!("{produce} {bootstrap} --transactional-id x"), "");
    assert!(
        why.contains("--transactional-id is not supported by Ottla: the client has no transactions"),
        "{why}"
    );
}
