//! Consumers of a group share the work; those that are left take over from one that leaves and one that dies.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::patience::Pace;
use ottla_e2e::{Cluster, eventually, kcat};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PARTITIONS: usize = 8;

/// What each member says it has been given last.
fn owned(members: &[kcat::Member]) -> BTreeMap<usize, BTreeSet<u32>> {
    members.iter().enumerate().map(|(i, member)| (i, member.assigned())).collect()
}

/// Waits until every partition has exactly one owner among `members`, and returns how many each has.
fn settled(members: &[kcat::Member]) -> Vec<usize> {
    eventually("every partition has one owner", PATIENCE, || {
        let owned = owned(members);
        let all: Vec<u32> = owned.values().flatten().copied().collect();
        let distinct: BTreeSet<u32> = all.iter().copied().collect();
        let whole = all.len() == PARTITIONS && distinct.len() == PARTITIONS;
        let mut counts: Vec<usize> = owned.values().map(BTreeSet::len).collect();
        counts.sort_unstable();
        (whole && counts[0] > 0).then_some(counts)
    })
}

#[test]
fn three_members_share_eight_partitions_and_survive_each_other() {
    let cluster = Cluster::start(3, &format!("num.partitions={PARTITIONS}"));
    kcat::produce(&cluster, "t", "made\n");
    let member = || kcat::Member::start(&cluster, "test-group", "t", &["-X", "session.timeout.ms=6000"]);
    let mut members = vec![member(), member(), member()];
    assert_eq!(settled(&members), [2, 3, 3]);

    let keyed =
        |range: std::ops::Range<u32>| range.map(|n| format!("{n}:record {n:04}\n")).collect::<String>();
    kcat::run(&cluster, &["-P", "-t", "t", "-K", ":"], &keyed(0..200));
    let received = |members: &[kcat::Member]| {
        let mut all: Vec<String> = members.iter().flat_map(kcat::Member::records).collect();
        all.retain(|record| record.starts_with("record"));
        all.sort_unstable();
        all
    };
    let expected = |range: std::ops::Range<u32>| range.map(|n| format!("record {n:04}")).collect::<Vec<_>>();
    eventually("each record is received once", PATIENCE, || {
        (received(&members) == expected(0..200)).then_some(())
    });

    // Ctrl-C: it says goodbye.
    let left = members.pop().expect("there are three");
    let mut before = left.records();
    left.interrupt();
    assert_eq!(settled(&members), [4, 4]);
    kcat::run(&cluster, &["-P", "-t", "t", "-K", ":"], &keyed(200..207));
    eventually("seven more, each received once by those left", PATIENCE, || {
        let mut all = received(&members);
        all.extend(before.iter().filter(|record| record.starts_with("record")).cloned());
        all.sort_unstable();
        (all == expected(0..207)).then_some(())
    });

    // kill -9: nobody says goodbye.
    let dead = members.pop().expect("there are two");
    before.extend(dead.records());
    dead.kill();
    assert_eq!(settled(&members), [8]);
    kcat::run(&cluster, &["-P", "-t", "t", "-K", ":"], &keyed(207..220));
    eventually("the last member receives everything new", PATIENCE, || {
        let all: BTreeSet<String> = received(&members).into_iter().chain(before.iter().cloned()).collect();
        expected(0..220).iter().all(|record| all.contains(record)).then_some(())
    });
}

/// Kafka would wait for its session: 45 s by default, and nothing here is set otherwise.
#[test]
fn a_killed_member_is_replaced_without_waiting_for_its_session() {
    let cluster = Cluster::start(3, &format!("num.partitions={PARTITIONS}"));
    kcat::produce(&cluster, "t", "made\n");
    let mut members: Vec<kcat::Member> =
        (0..3).map(|_| kcat::Member::start(&cluster, "g", "t", &[])).collect();
    settled(&members);
    // As long as three heartbeats: the coordinator must have seen how often they come.
    let mut pace = Pace::new(Duration::from_secs(1));
    for n in 0..10 {
        pace.wait();
        kcat::produce(&cluster, "t", &format!("record {n}\n"));
    }

    members.pop().expect("there are three").kill();

    // On a busy machine too; on an idle one it takes 3 to 6 s.
    let counts = eventually("the others own everything", Duration::from_secs(20), || {
        let mut counts: Vec<usize> = owned(&members).values().map(BTreeSet::len).collect();
        counts.sort_unstable();
        (counts.iter().sum::<usize>() == PARTITIONS).then_some(counts)
    });
    assert_eq!(counts, [4, 4]);
}

#[test]
fn members_go_on_when_their_coordinator_is_killed() {
    let mut cluster =
        Cluster::start(3, &format!("num.partitions={PARTITIONS}\noffsets.topic.num.partitions=1"));
    kcat::produce(&cluster, "t", "made\n");
    let members: Vec<kcat::Member> = (0..3)
        .map(|_| kcat::Member::start(&cluster, "g", "t", &["-X", "session.timeout.ms=30000"]))
        .collect();
    settled(&members);
    let rebalances: usize = members.iter().map(kcat::Member::rebalances).sum();
    let listed = kcat::run(&cluster, &["-L", "-t", "__consumer_offsets"], "");
    let coordinator: usize = listed
        .split("leader ")
        .nth(1)
        .and_then(|rest| rest.split(',').next()?.parse().ok())
        .expect("the topic has a leader");

    cluster.node(coordinator).kill();
    let keyed: String = (0..100).map(|n| format!("{n}:record {n:04}\n")).collect();
    kcat::run(&cluster, &["-P", "-t", "t", "-K", ":"], &keyed);

    eventually("every record is received", PATIENCE, || {
        let all: BTreeSet<String> = members.iter().flat_map(kcat::Member::records).collect();
        (0..100).all(|n| all.contains(&format!("record {n:04}"))).then_some(())
    });
    let after: usize = members.iter().map(kcat::Member::rebalances).sum();
    assert_eq!(after, rebalances, "nobody was given anything else");
}
