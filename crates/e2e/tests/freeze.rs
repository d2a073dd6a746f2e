//! A leader stops running and comes back, under load: clients wait for the cluster to notice, and nothing is lost by what the
//! leader still believes when it wakes. `cargo xtask failover --kind freeze` makes many, of up to 30 s, and prints figures.
#![expect(clippy::print_stdout, reason = "the figures are worth a look")]

use ottla_e2e::Cluster;
use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::fault::Kind;
use ottla_e2e::failover::load::Load;
use ottla_e2e::failover::run::{Plan, TOPIC, pause};
use ottla_e2e::failover::{silent, table, topology};
use std::time::Duration;

/// Far above what is measured, so that a busy machine does not fail it; far below the nine seconds of a session.
const SILENCE_MAX_MS: f64 = 5000.0;

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
    let plan = Plan { client, kinds: vec![kind], faults: FAULTS, settle: Duration::ZERO };
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
