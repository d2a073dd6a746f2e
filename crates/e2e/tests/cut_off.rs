//! A broker that hears nothing of any controller does not pretend to lead.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Cluster, eventually, kcat};

/// The leader of each of the topic's partitions, as node 1 tells it; −1 while nobody is named.
fn leaders(cluster: &Cluster) -> Vec<String> {
    let listed = kcat::listed_by(&cluster.nodes()[0], "t");
    let leader = |line: &str| Some(line.split("leader ").nth(1)?.split(',').next()?.to_owned());
    listed.lines().filter(|line| line.trim_start().starts_with("partition")).filter_map(leader).collect()
}

#[test]
fn a_broker_without_a_controller_leads_nothing_until_one_answers() {
    let mut cluster = Cluster::start(3, "num.partitions=3");
    kcat::produce(&cluster, "t", "before\n");
    let first = leaders(&cluster);
    assert!(first.contains(&"1".to_owned()), "{first:?}");

    for id in [2, 3] {
        cluster.node(id).freeze();
    }
    eventually("node 1 names nobody, itself neither", PATIENCE, || {
        (!leaders(&cluster).contains(&"1".to_owned())).then_some(())
    });
    assert!(cluster.nodes()[0].log().contains("the controller does not answer"), "for that reason");

    for id in [2, 3] {
        cluster.node(id).thaw();
    }
    eventually("every partition has a leader again", PATIENCE, || {
        let now = leaders(&cluster);
        (now.len() == 3 && !now.contains(&"-1".to_owned())).then_some(())
    });
    kcat::produce(&cluster, "t", "after\n");
    assert_eq!(kcat::consume_all(&cluster, "t"), ["after", "before"]);
}
