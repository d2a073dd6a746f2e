//! Kills and a planned stop under each foreign client, a few: `cargo xtask failover` makes many and prints figures.
#![expect(clippy::print_stdout, reason = "the figures are worth a look")]

use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::fault::Kind;
use ottla_e2e::failover::run::{self, Plan};
use ottla_e2e::failover::table;
use std::time::Duration;

/// Far above what is measured, so that a busy machine does not fail it; far below the nine seconds of a session.
const SILENCE_MAX_MS: f64 = 3000.0;

/// Half of all are shorter, however busy the machine.
const MEDIAN_MAX_MS: f64 = 1000.0;

/// A member of a group that finds no processor to notice a death may ask the dead broker who coordinates; librdkafka asks
/// again when it has dialled that broker anew, up to 10 s later.
const COMMITS_MAX_MS: f64 = 11_000.0;

/// So many of each kind.
const FAULTS: usize = 5;

/// Each client has a cluster of its own, all at the same time: on two cores this is a busy machine.
#[test]
fn nothing_is_lost_and_nobody_waits_long() {
    println!("{}", table::header());
    std::thread::scope(|scope| {
        for client in Client::ALL {
            scope.spawn(move || watch(client));
        }
    });
}

fn watch(client: Client) {
    let plan = Plan {
        client,
        kinds: vec![Kind::Leader, Kind::Stop, Kind::Controller, Kind::Coordinator],
        faults: FAULTS,
        settle: Duration::from_secs(1),
        settings: Vec::new(),
    };
    let directory = tempfile::tempdir().expect("a directory for the cluster");

    let report = run::carry_out(&plan, directory.path(), |_| {});

    for row in &report.rows {
        println!("{row}");
        let figures = row.figures().expect("every kind of fault was seen by somebody");
        let max = if row.what.contains("commits") { COMMITS_MAX_MS } else { SILENCE_MAX_MS };
        assert!(figures.p50 < MEDIAN_MAX_MS, "{row}");
        assert!(figures.max < max, "{row}");
    }
    assert!(report.rows.len() >= plan.kinds.len(), "{client}");
    assert!(report.verdict.is_clean(), "{client}: {:?}", report.verdict);
    assert!(report.verdict.acknowledged > 0, "{client}");
    assert_eq!((report.set_back, report.rebalances), (0, 0), "{client}");
}
