//! Every node is restarted in turn, under load: no send fails, and clients hardly notice. `cargo xtask failover --kind rolling`
//! makes many rounds and prints figures.
#![expect(clippy::print_stdout, reason = "the figures are worth a look")]

use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::fault::Kind;
use ottla_e2e::failover::run::Plan;
use ottla_e2e::failover::{rolling, table};
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
