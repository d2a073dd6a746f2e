//! A group: members share the partitions and commit; one crashes, one leaves; whoever is left goes on from what is committed.

use super::driver::Driver;
use super::records::{Scene, Sent, read};
use crate::failover::topology;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PARTITIONS: i32 = 4;

/// How long a member may be silent. By their defaults it is 45 s with most libraries, which is long to wait.
pub const SESSION_MS: &str = "10000";

/// Until a member that crashed is thrown out, and the others have its partitions.
const SESSION_PATIENCE: Duration = Duration::from_secs(60);

/// Shows it by the protocol of this name: `classic` or `consumer`.
pub fn show(scene: &Scene<'_>, protocol: &str) {
    let topic = format!("group-{protocol}");
    let group = format!("readers-{protocol}");
    scene.create_topic(&topic, PARTITIONS);
    let member = || scene.start("group", &[&topic, &group, protocol, SESSION_MS]);
    let records = i64::try_from(scene.records).expect("a few");
    let mut sent = Sent::new(scene.library);
    let mut told = Vec::new();
    let mut produce = || {
        let mut producer = scene.start("produce", &[&topic, "none"]);
        sent.send_all(&mut producer, PARTITIONS, scene.records);
        told.extend(producer.finish());
    };

    let (mut first, mut second) = (member(), member());
    wait_until_shared(&mut first, &second);
    let bootstrap = scene.cluster.bootstrap();
    let list = ["kafka-consumer-groups", "--bootstrap-server", &bootstrap, "--list", "--type", protocol];
    let of_protocol = scene.cluster.tool(&list);
    assert!(
        of_protocol.lines().any(|line| line.starts_with(&group)),
        "{group} is not {protocol}: {of_protocol}"
    );
    produce();
    wait_until_committed(&mut first, records);
    wait_until_committed(&mut second, records);

    // The second reads on and commits no more; then it crashes.
    assert_eq!(answer(&mut second, "hold"), "held");
    produce();
    wait_until_committed(&mut first, 2 * records);
    second.wait_for("it reads on", |said| {
        assigned(said)
            .iter()
            .all(|&partition| last_read(said, partition) == Some(2 * records - 1))
            .then_some(())
    });
    let of_first = assigned(&first.said());
    let second = second.kill();
    first.wait_long_for("the rest is left to the first", SESSION_PATIENCE, |said| {
        (assigned(said) == all()).then_some(())
    });
    wait_until_committed(&mut first, 2 * records);
    {
        let said = first.said();
        for partition in all() {
            let begin = if of_first.contains(&partition) { 0 } else { records };
            assert_eq!(offsets(&said, partition), (begin..2 * records).collect::<Vec<_>>(), "{partition}");
        }
    }
    for partition in assigned(&second) {
        assert_eq!(offsets(&second, partition), (0..2 * records).collect::<Vec<_>>(), "{partition}");
    }

    // A third comes, and the first leaves.
    let mut third = member();
    wait_until_shared(&mut third, &first);
    let first = first.finish();
    third.wait_for("everything is left to the third", |said| (assigned(said) == all()).then_some(()));
    produce();
    wait_until_committed(&mut third, 3 * records);
    let third = third.finish();
    for partition in all() {
        assert_eq!(offsets(&third, partition), (2 * records..3 * records).collect::<Vec<_>>(), "{partition}");
    }
    assert!(first.iter().all(|line| read(line).is_none_or(|(_, offset, _)| offset < 2 * records)));

    sent.acknowledge(&told);
    sent.judge(&scene.read_by_another(&topic));
    let committed: BTreeMap<i32, i64> = all().into_iter().map(|partition| (partition, 3 * records)).collect();
    assert_eq!(topology::committed(scene.cluster, &group), committed);
}

fn all() -> BTreeSet<i32> {
    (0..PARTITIONS).collect()
}

/// Waits until two members have some partitions each, and together all.
fn wait_until_shared(one: &mut Driver, other: &Driver) {
    one.wait_long_for("two members share the partitions", SESSION_PATIENCE, |said| {
        let (one, other) = (assigned(said), assigned(&other.said()));
        let is_shared = one.is_disjoint(&other) && !one.is_empty() && !other.is_empty();
        (is_shared && one.union(&other).copied().collect::<BTreeSet<i32>>() == all()).then_some(())
    });
}

/// Waits until a member has committed this offset in all partitions that it has.
fn wait_until_committed(member: &mut Driver, offset: i64) {
    member.wait_for(&format!("{offset} is committed"), |said| {
        let has = assigned(said);
        (!has.is_empty() && has.iter().all(|&partition| committed(said, partition) == Some(offset)))
            .then_some(())
    });
}

/// Writes a line to a member that says other things meanwhile, and waits for this answer.
fn answer(member: &mut Driver, line: &str) -> String {
    member.tell(line);
    member.wait_for("it holds", |said| said.iter().find(|line| *line == "held").cloned())
}

/// What a member has at last.
fn assigned(said: &[String]) -> BTreeSet<i32> {
    let last = said.iter().rev().find_map(|line| line.strip_prefix("assigned "));
    last.unwrap_or_default().split(',').filter_map(|partition| partition.parse().ok()).collect()
}

/// What a member has committed last.
fn committed(said: &[String], partition: i32) -> Option<i64> {
    let words = format!("committed {partition} ");
    said.iter().rev().find_map(|line| line.strip_prefix(&words)?.parse().ok())
}

/// The offsets that a member was given, in order.
fn offsets(said: &[String], partition: i32) -> Vec<i64> {
    let of_line = |line: &String| read(line).filter(|record| record.0 == partition).map(|record| record.1);
    said.iter().filter_map(of_line).collect()
}

fn last_read(said: &[String], partition: i32) -> Option<i64> {
    offsets(said, partition).pop()
}
