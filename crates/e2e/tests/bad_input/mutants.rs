//! Requests of every API and version that are wrong somewhere, made from the schemas (`cargo xtask mutants`).

use crate::one_node_with;
use crate::wire::resident_kib;
use ottla_e2e::cluster::profile_directory;
use std::process::Command;

/// How many.
const MUTANTS: &str = "600";

/// What a node may have taken more than before, in KiB: its buffers, and what the topics and groups of the mutants take.
const GROWTH_KIB_MAX: u64 = 128 << 10;

#[test]
fn every_mutant_is_answered_or_closed_in_time_and_none_takes_the_node_down() {
    // Members stay while their requests come on other connections.
    let cluster =
        one_node_with("group.initial.rebalance.delay.ms=0\ngroup.member.disconnect.grace.ms=600000");
    let node = &cluster.nodes()[0];
    let before = resident_kib(node.pid());

    let output = Command::new(profile_directory().join("xtask"))
        .args(["mutants", MUTANTS, "7", "--ottla", &node.address()])
        .output()
        .expect("xtask is built by `cargo xtask test`");

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", node.log());
    assert!(!node.log().contains("panicked"), "{}", node.log());
    let grown = resident_kib(node.pid()).saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB more than before");
}
