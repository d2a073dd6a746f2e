//! Every node is restarted in turn, under load: no send fails, and clients hardly notice. `cargo xtask failover --kind rolling`
//! makes many rounds and prints figures.
#![expect(clippy::print_stdout, reason = "the figures are worth a look")]

use ottla_e2e::client::encode;
use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::fault::Kind;
use ottla_e2e::failover::run::Plan;
use ottla_e2e::failover::{now, rolling, table, topology};
use ottla_e2e::{Client as Connection, Cluster, eventually};
use ottla_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use ottla_protocol::{ErrorCode, Records};
use ottla_records::BatchBuilder;
use ottla_types::Timestamp;
use std::time::Duration;

/// Far above what is measured, so that a busy machine does not fail it; and above what librdkafka may wait before it dials again a
/// broker that it could not reach (`reconnect.backoff.max.ms`: 10 s), when the next one is stopped meanwhile.
const GAP_MAX_MS: f64 = 12_000.0;

/// Half of all gaps are shorter, however busy the machine. A client that dials once more in vain waits a second by itself.
const MEDIAN_MAX_MS: f64 = 1500.0;

#[test]
fn no_send_fails_and_nobody_waits_long() {
    println!("{}", table::header());
    std::thread::scope(|scope| {
        for client in [Client::SystemRdkafka, Client::Java] {
            scope.spawn(move || watch(client));
        }
    });
}

fn watch(client: Client) {
    let plan =
        Plan { client, kinds: vec![Kind::Rolling], faults: 1, settle: Duration::ZERO, settings: Vec::new() };
    let directory = tempfile::tempdir().expect("a directory for the cluster");

    let report = rolling::carry_out(&plan, directory.path(), |story| println!("{story}"));

    for row in &report.rows {
        println!("{row}");
        let figures = row.figures().expect("every node led something");
        assert!(figures.p50 < MEDIAN_MAX_MS, "{row}");
        assert!(figures.max < GAP_MAX_MS, "{row}");
    }
    assert!(report.verdict.is_clean(), "{client}: {:?}", report.verdict);
    assert_eq!(report.verdict.given_up, 0, "{client}");
}

/// How long a broker waits for the news that it leads.
const WAIT_US: i64 = 100_000;

/// With leader hints (KIP-951), and topics by name.
const PRODUCE_VERSION: i16 = 12;

/// Three nodes with a topic of one partition, which the first leads.
fn led_by_the_first() -> Cluster {
    let cluster = Cluster::start(3, "");
    let bootstrap = cluster.bootstrap();
    let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"];
    cluster.tool(&[&create[..], &["--replica-assignment", "1:2:3"]].concat());
    cluster
}

fn request() -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(1_700_000_000_000), None, Some(b"record"), &[]);
    let partition = PartitionProduceData { index: 0, records: Some(Records::from(builder.build())) };
    let topic =
        TopicProduceData { name: "t".to_owned(), partition_data: vec![partition], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() }
}

fn produce(connection: &mut Connection) -> Option<PartitionProduceResponse> {
    only(connection.call(PRODUCE_VERSION, &request())?)
}

fn only(mut response: ProduceResponse) -> Option<PartitionProduceResponse> {
    response.responses.pop()?.partition_responses.pop()
}

/// A client that is behind the times may have many requests under way.
#[test]
fn what_waits_in_vain_for_a_broker_to_lead_waits_once() {
    const REQUESTS: usize = 40;
    let cluster = led_by_the_first();
    let mut follower = Connection::connect(cluster.nodes()[1].port);

    let begun = now();
    follower.send(&encode(PRODUCE_VERSION, &request()).repeat(REQUESTS));
    for _ in 0..REQUESTS {
        let answer =
            follower.answer::<ProduceRequest>(PRODUCE_VERSION).and_then(only).expect("it is answered");
        assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::NotLeaderOrFollower);
        assert_eq!(answer.current_leader.leader_id, 1);
    }

    let took = now() - begun;
    assert!(took >= WAIT_US, "it waits for none: {took} us");
    assert!(took < WAIT_US * REQUESTS as i64 / 2, "each waits by itself: {took} us");
}

/// Some clients send there within a moment: what they hear must be news to nobody.
#[test]
fn whoever_is_told_by_a_node_that_stops_who_leads_is_served_there() {
    let mut cluster = led_by_the_first();
    let mut told = 0;
    for _ in 0..8 {
        let leader =
            eventually("somebody leads", PATIENCE, || topology::leaders(&cluster, "t").get(&0).copied());
        let mut connections: Vec<Connection> =
            cluster.nodes().iter().map(|node| Connection::connect(node.port)).collect();
        let moved = std::thread::scope(|scope| {
            let producing = scope.spawn(|| {
                loop {
                    let answer = produce(&mut connections[leader - 1])?;
                    if answer.error_code != 0 {
                        return Some(answer);
                    }
                }
            });
            cluster.node(leader).stop();
            producing.join().expect("the node does its part")
        });
        // It may have closed the connection between two of them.
        if let Some(moved) = moved {
            let (id, hint) = (i32::try_from(leader).expect("a small id"), moved.current_leader);
            assert_eq!(ErrorCode::from(moved.error_code), ErrorCode::NotLeaderOrFollower);
            assert!(hint.leader_id > 0 && hint.leader_id != id, "node {id} names {hint:?}");
            let next = &mut connections[usize::try_from(hint.leader_id).expect("an id") - 1];
            let sent = now();
            let answer = produce(next).expect("it runs");
            // On a busy machine the news may take longer than it waits for them.
            let is_late = now() - sent >= WAIT_US;
            let refused = ErrorCode::from(answer.error_code);
            assert!(refused == ErrorCode::None || is_late, "node {} says {refused:?}", hint.leader_id);
            told += i32::from(!is_late);
        }
        cluster.node(leader).start();
        topology::wait_until_in_sync(&cluster);
    }
    assert!(told > 0, "no node answered anything when it had stopped leading");
}
