//! What nodes tell of themselves by HTTP.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::failover::client::{Client, Driver, Place};
use ottla_e2e::{Cluster, Node, eventually, kcat};
use std::io::{Read, Write};
use std::net::TcpStream;

/// The status and the body of an answer.
fn get(node: &Node, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("localhost", node.http_port)).expect("metrics are served");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = text.split_once("\r\n\r\n").expect("a body").1;
    (status, body.to_owned())
}

/// The value of a metric, whose labels are part of its name.
fn value(node: &Node, name: &str) -> Option<i64> {
    number(node, name).map(|value| value as i64)
}

fn number(node: &Node, name: &str) -> Option<f64> {
    let (status, page) = get(node, "/metrics");
    assert_eq!(status, 200, "{page}");
    assert!(page.ends_with("# EOF\n"), "{page}");
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn sum(cluster: &Cluster, name: &str) -> i64 {
    cluster.nodes().iter().filter_map(|node| value(node, name)).sum()
}

#[test]
fn nodes_tell_what_passes_through_and_what_is_amiss() {
    let mut cluster = Cluster::start(3, "num.partitions=8");
    kcat::produce(&cluster, "t", &"0123456789\n".repeat(100));
    let member = kcat::Member::start(&cluster, "g", "t", &[]);
    eventually("everything is read", PATIENCE, || (member.records().len() == 100).then_some(()));
    member.interrupt();

    for node in cluster.nodes() {
        assert_eq!(get(node, "/livez"), (200, "ok\n".to_owned()));
        assert_eq!(get(node, "/readyz"), (200, "ok\n".to_owned()));
        assert_eq!(get(node, "/elsewhere").0, 404);
    }
    assert_eq!(sum(&cluster, "kafka_controller_kafkacontroller_activecontrollercount"), 1);
    assert_eq!(sum(&cluster, "kafka_server_brokertopicmetrics_messagesin_total"), 100);
    assert!(sum(&cluster, "kafka_server_brokertopicmetrics_bytesin_total") > 1000);
    assert!(sum(&cluster, "kafka_server_brokertopicmetrics_bytesout_total") > 1000);
    let lag = |partition| {
        let labels = format!("consumergroup=\"g\",topic=\"t\",partition=\"{partition}\"");
        cluster.nodes().iter().find_map(|node| value(node, &format!("kafka_consumergroup_lag{{{labels}}}")))
    };
    eventually("what was read is committed", PATIENCE, || {
        // Partitions of which nothing was read have no offset.
        ((0..8).filter_map(lag).all(|lag| lag == 0) && (0..8).any(|partition| lag(partition).is_some()))
            .then_some(())
    });
    assert_eq!(sum(&cluster, "kafka_server_replicamanager_underreplicatedpartitions"), 0);
    for api in ["Produce", "Fetch", "OffsetCommit"] {
        let times = |part: &str| {
            sum(&cluster, &format!("kafka_network_requestmetrics_{part}timems_count{{request=\"{api}\"}}"))
        };
        eventually("requests are timed", PATIENCE, || (times("total") > 0).then_some(()));
        for part in ["requestqueue", "local", "remote", "responsesend"] {
            // Others go on meanwhile.
            let before = times("total");
            assert!(times(part) >= before, "{api} {part}");
        }
    }
    let led = value(cluster.node(3), "kafka_server_replicamanager_leadercount").expect("it is a broker");
    let taken_over = |cluster: &mut Cluster, what: &str| -> f64 {
        let name = format!("ottla_failoversilencems_{what}");
        [1, 2].map(|node| number(cluster.node(node), &name).expect("it is told")).iter().sum()
    };
    let (count, sum_ms) = (taken_over(&mut cluster, "count"), taken_over(&mut cluster, "sum"));

    cluster.node(3).kill();
    eventually("whoever takes over says how long nobody led", PATIENCE, || {
        (taken_over(&mut cluster, "count") - count >= led as f64).then_some(())
    });
    let taken = taken_over(&mut cluster, "count") - count;
    let silence_ms = (taken_over(&mut cluster, "sum") - sum_ms) / taken;
    assert!(led > 0 && silence_ms > 0.0 && silence_ms < 2_000.0, "{silence_ms} ms, {led} partitions");

    let live = &cluster.nodes()[..2];
    eventually("the others miss it", PATIENCE, || {
        let short = |node| value(node, "kafka_server_replicamanager_underreplicatedpartitions");
        let fenced = |node| value(node, "kafka_controller_kafkacontroller_fencedbrokercount");
        let total: i64 = live.iter().filter_map(short).sum();
        (total >= 8 && live.iter().filter_map(fenced).sum::<i64>() == 1).then_some(())
    });
}

/// Clients are asked for what they measure, tell it, and stop when they are not asked any more (KIP-714).
fn tells_what_it_measures(client: Client, software: &str) {
    let cluster = Cluster::start(1, "");
    let bootstrap = cluster.bootstrap();
    kcat::produce(&cluster, "t", "a\n");
    let subscriptions = |arguments: &[&str]| {
        cluster.tool(&[&["kafka-client-metrics", "--bootstrap-server", &bootstrap], arguments].concat())
    };
    let wanted = format!("client_software_name={software}");
    let subscribe = ["--alter", "--name", "s", "--metrics", "org.apache.kafka.", "--interval", "500"];
    subscriptions(&[&subscribe[..], &["--match", &wanted]].concat());
    let directory = tempfile::tempdir().expect("a directory for the client");
    let place = Place { bootstrap: &bootstrap, topic: "t", settings: &[], directory: directory.path() };
    let producer = Driver::produce(client, &place, 1, 20);

    let page = || get(&cluster.nodes()[0], "/metrics").1;
    let told = |name: &str| {
        let page = page();
        let line = page.lines().find(|line| line.starts_with(name))?;
        line.rsplit_once(' ')?.1.parse::<f64>().ok()
    };
    let who = format!("client_software_name=\"{software}\"");
    eventually("it tells who it is", PATIENCE, || {
        page().lines().any(|line| line.starts_with("ottla_client{") && line.contains(&who)).then_some(())
    });
    let connections = "org_apache_kafka_producer_connection_creation_total{client_id=";
    assert!(told(connections).is_some_and(|count| count >= 1.0), "{}", page());

    subscriptions(&["--delete", "--name", "s"]);
    let refused = "kafka_server_client_metrics_unknown_subscription_request_total";
    eventually("what is not wanted any more is refused", PATIENCE, || {
        told(refused).is_some_and(|count| count > 0.0).then_some(())
    });
    assert!(producer.finish().failures.is_empty());
    eventually("who has gone is forgotten", PATIENCE, || {
        (told("kafka_server_client_metrics_instance_count") == Some(0.0)).then_some(())
    });
    assert_eq!(told(connections), None);
}

#[test]
fn librdkafka_tells_what_it_measures() {
    tells_what_it_measures(Client::NewRdkafka, "librdkafka");
}

#[test]
fn kafkas_client_tells_what_it_measures() {
    tells_what_it_measures(Client::Java, "apache-kafka-java");
}
