//! What nodes tell of themselves by HTTP.

use ottla_e2e::cluster::PATIENCE;
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

    cluster.node(3).kill();

    let live = &cluster.nodes()[..2];
    eventually("the others miss it", PATIENCE, || {
        let short = |node| value(node, "kafka_server_replicamanager_underreplicatedpartitions");
        let fenced = |node| value(node, "kafka_controller_kafkacontroller_fencedbrokercount");
        let total: i64 = live.iter().filter_map(short).sum();
        (total >= 8 && live.iter().filter_map(fenced).sum::<i64>() == 1).then_some(())
    });
}
