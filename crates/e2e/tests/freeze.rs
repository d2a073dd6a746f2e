//! A leader stops running and comes back, under load: clients wait for the cluster to notice, and nothing is lost by what the
//! leader still believes when it wakes. `cargo xtask failover --kind freeze` makes many, of up to 30 s, and prints figures.
#![expect(clippy::print_stdout, reason = "the figures are worth a look")]

use ottla_e2e::client::{Client as Connection, encode};
use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::fault::Kind;
use ottla_e2e::failover::load::Load;
use ottla_e2e::failover::run::{Plan, TOPIC, pause};
use ottla_e2e::failover::{silent, table, topology};
use ottla_e2e::{Cluster, eventually, kcat};
use ottla_protocol::messages::metadata_request::MetadataRequest;
use ottla_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::{ErrorCode, Records};
use ottla_records::BatchBuilder;
use ottla_types::Timestamp;
use std::time::Duration;

/// Far above what is measured, so that a busy machine does not fail it; far below the nine seconds of a session.
const SILENCE_MAX_MS: f64 = 5000.0;

/// One that names topics, not their ids.
const PRODUCE_VERSION: i16 = 9;

/// Whoever connects meanwhile does not know the frozen node: one that asks it first waits for a time-out of its own, and whom
/// a client asks first is its own affair. That is so for the first fault of each series.
const FAULTS: usize = 1;

#[test]
fn clients_are_served_by_others_before_a_frozen_leader_wakes() {
    println!("{}", table::header());
    // One after the other: a Java client that starts beside other clusters takes seconds of its own.
    watch(Client::NewRdkafka, Kind::Freeze);
    watch(Client::Java, Kind::Freeze);
    watch(Client::NewRdkafka, Kind::FreezeController);
}

fn watch(client: Client, kind: Kind) {
    let plan =
        Plan { client, kinds: vec![kind], faults: FAULTS, settle: Duration::ZERO, settings: Vec::new() };
    let directory = tempfile::tempdir().expect("a directory for the cluster");

    let report = silent::carry_out(&plan, kind, directory.path(), |story| println!("{story}"));

    for row in &report.rows {
        println!("{row}");
        let figures = row.figures().expect("rows without samples are left out");
        assert!(figures.max < SILENCE_MAX_MS, "{row}");
    }
    assert_eq!(report.rows.len(), 2, "{client}");
    assert!(report.verdict.is_clean(), "{client}: {:?}", report.verdict);
    assert!(report.verdict.acknowledged > 0, "{client}");
}

/// Waits until these nodes say that somebody leads whom `is_right` takes.
fn led_by(cluster: &Cluster, bootstrap: &str, is_right: &dyn Fn(usize) -> bool) {
    eventually("the right one leads", PATIENCE, || {
        let leader = *topology::leaders_by(cluster, bootstrap, "t").get(&0)?;
        (leader > 0 && is_right(leader)).then_some(())
    });
}

/// What clients have sent to a leader while it stood still lies ready when it wakes, before it can have heard that another one
/// leads: as the leader that it was it would acknowledge (`acks=1`) what is gone a moment later, and find gaps that are none.
#[test]
fn a_leader_that_wakes_takes_nothing_before_it_has_heard_of_its_successor() {
    let mut cluster = Cluster::start(3, "");
    let bootstrap = cluster.bootstrap();
    let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"];
    // One that is the active controller too has nobody's word but its own at first.
    let leader = topology::controller(&cluster);
    let assignment = ["1:2:3", "2:3:1", "3:1:2"][leader - 1];
    cluster.tool(&[&create[..], &["--replica-assignment", assignment]].concat());
    let others = cluster.nodes().iter().filter(|node| node.id != leader);
    let others = others.map(|node| format!("localhost:{}", node.port)).collect::<Vec<_>>().join(",");
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(1_700_000_000_000), None, Some(b"late"), &[]);
    let partition = PartitionProduceData { index: 0, records: Some(Records::from(builder.build())) };
    let topic =
        TopicProduceData { name: "t".to_owned(), partition_data: vec![partition], ..Default::default() };
    let late = ProduceRequest { acks: 1, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() };
    let port = cluster.nodes()[leader - 1].port;
    let mut connections: Vec<Connection> = (0..20).map(|_| Connection::connect(port)).collect();
    for connection in &mut connections {
        connection.call(12, &MetadataRequest::default()).expect("the node answers");
    }

    for node in cluster.nodes() {
        led_by(&cluster, &format!("localhost:{}", node.port), &|now| now == leader);
    }
    cluster.node(leader).freeze();
    connections.iter_mut().for_each(|connection| connection.send(&encode(PRODUCE_VERSION, &late)));
    led_by(&cluster, &others, &|now| now != leader);
    cluster.node(leader).thaw();

    for mut connection in connections {
        let answer = connection.answer::<ProduceRequest>(PRODUCE_VERSION).expect("it is answered");
        let error = ErrorCode::from(answer.responses[0].partition_responses[0].error_code);
        assert_eq!(error, ErrorCode::NotLeaderOrFollower);
    }
    assert_eq!(kcat::consume_all(&cluster, "t"), Vec::<String>::new());
}

/// A pause that is shorter than the shortest silence that counts: nobody is to be thrown out for it.
#[test]
fn a_pause_of_half_a_second_costs_no_leadership() {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let mut cluster = Cluster::start_in(directory.path(), 3, "");
    let mut load = Load::start(&cluster, Client::SystemRdkafka, directory.path());
    // A node that has said little yet is given longer: this is about one that is known.
    pause(Duration::from_secs(3));
    let before = topology::leaders(&cluster, TOPIC);

    for node in 1..=3 {
        cluster.node(node).freeze();
        pause(Duration::from_millis(500));
        cluster.node(node).thaw();
        load.goes_on();
        pause(Duration::from_secs(1));
    }

    assert_eq!(topology::fenced(&cluster), Vec::<String>::new());
    assert_eq!(topology::leaders(&cluster, TOPIC), before);
    load.judge(&cluster);
}
