//! Racks: partitions are spread over them, and consumers read in their own (KIP-392).

use ottla_e2e::client::encode;
use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Client, Cluster, eventually, kcat};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use std::time::{Duration, Instant};

/// With names instead of ids.
const VERSION: i16 = 12;

/// Racks a, b and c, with a node each. Followers wait so long for records that nobody would wait for them.
fn racks() -> Cluster {
    let cluster = Cluster::start_each(3, |id| {
        format!(
            "broker.rack={}\nreplica.fetch.wait.max.ms=20000\n\
             replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
            ["a", "b", "c"][id - 1]
        )
    });
    let bootstrap = cluster.bootstrap();
    let tool = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"];
    cluster.tool(&[&tool[..], &["--replica-assignment", "1:2:3"]].concat());
    cluster
}

fn produce(cluster: &Cluster, lines: &str) {
    kcat::run(cluster, &["-P", "-t", "t", "-X", "acks=all"], lines);
}

/// What a node answers to a consumer in this rack that asks from this offset on.
fn fetch(node: &ottla_e2e::Node, rack: &str, fetch_offset: i64, max_wait_ms: i32) -> PartitionData {
    fetch_as(CONSUMER, node, rack, fetch_offset, max_wait_ms)
}

/// What those consumers say that are no replicas.
const CONSUMER: i32 = -1;

/// What those say that compare replicas (`FetchRequest.DEBUGGING_CONSUMER_ID`).
const DEBUGGING_CONSUMER: i32 = -2;

fn fetch_as(
    replica_id: i32,
    node: &ottla_e2e::Node,
    rack: &str,
    fetch_offset: i64,
    max_wait_ms: i32,
) -> PartitionData {
    let request = request(replica_id, rack, fetch_offset, max_wait_ms);
    let response = Client::connect(node.port).call(VERSION, &request).expect("an answer");
    assert_eq!(response.error_code, 0);
    only(response)
}

fn request(replica_id: i32, rack: &str, fetch_offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        replica_id,
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_wait_ms,
        session_epoch: -1,
        rack_id: rack.to_owned(),
        topics: vec![FetchTopic { topic: "t".to_owned(), partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    }
}

/// What it says of the one partition.
fn only(response: FetchResponse) -> PartitionData {
    response.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next()).expect("t-0")
}

fn has_records(data: &PartitionData) -> bool {
    data.records.as_ref().is_some_and(|records| !records.is_empty())
}

#[test]
fn a_consumer_is_sent_to_the_follower_in_its_rack() {
    let cluster = racks();
    produce(&cluster, "one\ntwo\n");
    let [leader, follower, _] = cluster.nodes() else { panic!("three nodes") };

    let sent = eventually("a follower has everything", PATIENCE, || {
        let data = fetch(leader, "b", 2, 0);
        (data.preferred_read_replica == 2).then_some(data)
    });
    assert!(!has_records(&sent) && sent.error_code == 0 && sent.high_watermark == 2);
    let from_the_start = fetch(leader, "b", 0, 0);
    assert_eq!((from_the_start.preferred_read_replica, has_records(&from_the_start)), (2, false));
    for rack in ["a", "z", ""] {
        let data = fetch(leader, rack, 0, 0);
        assert_eq!((data.preferred_read_replica, has_records(&data)), (-1, true), "rack {rack:?}");
    }
    let beyond = fetch(leader, "b", 3, 0);
    assert_eq!((beyond.preferred_read_replica, beyond.error_code), (-1, ErrorCode::OffsetOutOfRange.code()));

    let read = fetch(follower, "b", 0, 10_000);
    assert_eq!((read.error_code, read.preferred_read_replica), (0, -1));
    assert!(has_records(&read));
    assert_eq!(fetch(follower, "b", 3, 0).error_code, ErrorCode::OffsetOutOfRange.code());
    assert_eq!(fetch(follower, "", 0, 0).error_code, ErrorCode::NotLeaderOrFollower.code());
}

/// One that can is told; the other would let half a second go by after an error.
#[test]
fn a_consumer_that_cannot_be_told_who_leads_hears_no_error_of_a_broker_that_stops() {
    const WITHOUT_LEADERS: i16 = VERSION - 1;
    let mut cluster = racks();
    produce(&cluster, "one\n");
    let waiting = |version| {
        let mut client = Client::connect(cluster.nodes()[0].port);
        client.call(version, &request(CONSUMER, "", 1, 0)).expect("it is let in");
        client.send(&encode(version, &request(CONSUMER, "", 1, 600_000)));
        client
    };
    let (mut old, mut new) = (waiting(WITHOUT_LEADERS), waiting(VERSION));
    // What was sent before these has been read by the time that they are answered.
    for _ in 0..10 {
        fetch(&cluster.nodes()[0], "", 1, 0);
    }

    cluster.node(1).stop();

    let told = new.answer::<FetchRequest>(VERSION).map(only).expect("an answer");
    assert_eq!(told.error_code, ErrorCode::NotLeaderOrFollower.code());
    let told = old.answer::<FetchRequest>(WITHOUT_LEADERS).map(only);
    assert!(told.as_ref().is_none_or(|told| told.error_code == 0), "{told:?}");
}

#[test]
fn whoever_compares_replicas_is_answered_by_each_and_sent_nowhere() {
    let cluster = racks();
    produce(&cluster, "one\ntwo\n");

    for node in cluster.nodes() {
        let data = eventually("it knows what is committed", PATIENCE, || {
            let data = fetch_as(DEBUGGING_CONSUMER, node, "", 0, 0);
            (data.high_watermark == 2).then_some(data)
        });
        assert_eq!((data.error_code, data.preferred_read_replica), (0, -1));
        assert!(has_records(&data));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what comes too late is an answer too, and looks the same")]
fn whoever_waits_at_a_follower_is_answered_as_soon_as_records_are_committed() {
    let cluster = racks();
    produce(&cluster, "one\n");
    eventually("the follower knows of the first", PATIENCE, || {
        has_records(&fetch(&cluster.nodes()[1], "b", 0, 0)).then_some(())
    });

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let begin = Instant::now();
            (fetch(&cluster.nodes()[1], "b", 1, 25_000), begin.elapsed())
        });
        produce(&cluster, "two\n");

        let (data, waited) = waiting.join().expect("an answer");
        assert!(has_records(&data) && data.high_watermark == 2);
        assert!(waited < Duration::from_secs(10), "{waited:?}: a follower's own wait is twice as long");
    });
}

#[test]
fn kcat_reads_in_its_rack_and_goes_on_when_the_follower_comes_back() {
    let mut cluster = racks();
    let lines =
        |range: std::ops::Range<usize>| -> String { range.map(|n| format!("record {n}\n")).collect() };
    produce(&cluster, &lines(0..100));
    let bootstrap = cluster.bootstrap();
    let directory = tempfile::tempdir().expect("a directory for the consumer");
    let file = |name: &str| std::fs::File::create(directory.path().join(name)).expect("a file for it");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    let mut consumer = std::process::Command::new("kcat")
        .args([
            "-b",
            &bootstrap,
            "-u",
            "-C",
            "-t",
            "t",
            "-o",
            "beginning",
            "-X",
            "client.rack=b",
            "-d",
            "fetch",
        ])
        .stdout(file("out"))
        .stderr(file("err"))
        .spawn()
        .expect("kcat is installed by `cargo xtask test`");
    let received = |count: usize| {
        eventually(&format!("{count} records are read"), PATIENCE, || {
            (read("out").lines().count() == count).then_some(())
        });
    };
    received(100);
    let fetches = format!(":{}/2: Fetch 1/1/1 toppar(s)", cluster.nodes()[1].port);
    eventually("it reads at the follower", PATIENCE, || read("err").contains(&fetches).then_some(()));
    produce(&cluster, &lines(100..200));
    received(200);

    // librdkafka stays with a follower for five minutes, also with one that is gone or has no replica any more.
    cluster.node(2).kill();
    produce(&cluster, &lines(200..300));
    cluster.node(2).start();
    received(300);

    consumer.kill().expect("the child is ours");
    consumer.wait().expect("the child is ours");
    let out = read("out");
    assert!(
        out.lines().eq((0..300)
            .map(|n| format!("record {n}"))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str))
    );
}

#[test]
fn partitions_are_in_as_many_racks_as_they_have_replicas() {
    let cluster = Cluster::start_each(4, |id| format!("broker.rack={}", ["a", "a", "a", "b"][id - 1]));
    let bootstrap = cluster.bootstrap();
    let tool = ["kafka-topics", "--bootstrap-server", &bootstrap];
    let topic = ["--create", "--topic", "t", "--partitions", "12", "--replication-factor", "2"];
    cluster.tool(&[&tool[..], &topic].concat());

    for node in cluster.nodes() {
        let knows = || kcat::listed_by(node, "t").contains("topic \"t\" with 12 partitions").then_some(());
        eventually("the node knows of the topic", PATIENCE, knows);
    }
    let described = cluster.tool(&[&tool[..], &["--describe", "--topic", "t"]].concat());
    assert_eq!(described.lines().count(), 13, "{described}");
    let mut replicas =
        described.lines().filter_map(|line| line.split("Replicas: ").nth(1)?.split('\t').next());
    assert!(replicas.all(|replicas| replicas.split(',').any(|id| id == "4")), "{described}");
}
