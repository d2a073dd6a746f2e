//! A cluster of one: everything that is acknowledged is there again after `kill -9`, and after a planned stop.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Client, Cluster, kcat};
use ottla_protocol::messages::{HeartbeatRequest, MetadataRequest};
use std::io::Read;
use std::net::TcpStream;

fn numbers(range: std::ops::Range<u32>) -> (String, Vec<String>) {
    let lines: Vec<String> = range.map(|n| format!("record {n:05}")).collect();
    (lines.iter().map(|line| format!("{line}\n")).collect(), lines)
}

#[test]
fn what_is_acknowledged_survives_a_kill_and_a_stop() {
    let mut cluster = Cluster::start(1, "num.partitions=3");
    let (first, mut expected) = numbers(0..1000);
    kcat::produce(&cluster, "t", &first);
    assert_eq!(kcat::consume_all(&cluster, "t"), expected);

    cluster.node(1).kill();
    cluster.node(1).start();
    assert_eq!(kcat::consume_all(&cluster, "t"), expected);

    let (second, more) = numbers(1000..1500);
    kcat::run(&cluster, &["-P", "-t", "t", "-X", "enable.idempotence=true", "-z", "zstd"], &second);
    expected.extend(more);
    cluster.node(1).stop();
    cluster.node(1).start();
    assert_eq!(kcat::consume_all(&cluster, "t"), expected);
}

#[test]
fn every_codec_comes_back_as_it_went_in() {
    let cluster = Cluster::start(1, "");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        let (lines, expected) = numbers(0..200);
        kcat::run(&cluster, &["-P", "-t", &topic, "-z", codec], &lines);
        assert_eq!(kcat::consume_all(&cluster, &topic), expected, "{codec}");
    }
}

#[test]
fn a_connection_on_which_nothing_comes_is_closed() {
    let cluster = Cluster::start(1, "connections.max.idle.ms=300");
    let mut idle = TcpStream::connect(("localhost", cluster.nodes()[0].port)).expect("it listens");
    idle.set_read_timeout(Some(PATIENCE)).expect("a time-out");

    let read = idle.read(&mut [0; 1]).expect("the end, not the time-out");

    assert_eq!(read, 0);
    kcat::produce(&cluster, "t", "whoever speaks is served\n");
}

#[test]
fn of_a_killed_nodes_connections_its_groups_close_last() {
    let mut cluster = Cluster::start(1, "");
    let port = cluster.nodes()[0].port;
    // Opened before and after: it is not the order of opening that decides.
    let mut others: Vec<Client> = vec![Client::connect(port)];
    let mut member = Client::connect(port);
    others.push(Client::connect(port));
    for other in &mut others {
        other.call(9, &MetadataRequest::default()).expect("an answer");
    }
    member.call(4, &HeartbeatRequest::default()).expect("an answer");
    let watch = std::thread::spawn(move || {
        assert!(member.rest().is_empty(), "the node ends without a word");
        others.iter_mut().map(Client::is_closed).collect::<Vec<bool>>()
    });

    cluster.node(1).kill();

    assert_eq!(watch.join().expect("it was watched"), [true, true]);
}
