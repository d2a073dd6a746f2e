//! Kills and a planned stop under each foreign client, a few: `cargo xtask failover` makes many and prints figures.

use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::fault::Kind;
use ottla_e2e::failover::run::{self, Plan};
use ottla_e2e::failover::table;
use std::time::Duration;

/// Far above what is measured, so that a busy machine does not fail it; far below the nine seconds of a session.
const SILENCE_MAX_MS: f64 = 3000.0;

#[test]
fn nothing_is_lost_and_nobody_waits_long() {
    println!("{}", table::header());
    for client in Client::ALL {
        let plan = Plan {
            client,
            kinds: vec![Kind::Leader, Kind::Stop, Kind::Controller, Kind::Coordinator],
            faults: 1,
            settle: Duration::from_secs(1),
        };
        let directory = tempfile::tempdir().unwrap();

        let report = run::carry_out(&plan, directory.path(), |_| {});

        let mut measured = 0;
        for row in &report.rows {
            println!("{row}");
            // A node may have led everything, and followed nothing.
            let Some(figures) = row.figures() else { continue };
            assert!(figures.max < SILENCE_MAX_MS, "{row}");
            measured += 1;
        }
        assert!(measured >= plan.kinds.len(), "{client}");
        assert!(report.verdict.is_clean(), "{client}: {:?}", report.verdict);
        assert!(report.verdict.acknowledged > 0, "{client}");
        assert_eq!((report.set_back, report.rebalances), (0, 0), "{client}");
    }
}
