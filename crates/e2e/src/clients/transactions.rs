//! Transactions: what is committed is seen, what is aborted is not, and a producer that was replaced is refused.

use super::driver::Driver;
use super::library::Ability;
use super::records::{Scene, Sent, acknowledged};
use crate::cluster::PATIENCE;
use crate::eventually;
use crate::failover::topology;
use ottla_types::Offset;
use ottla_verify::Stamp;
use ottla_verify::judge::Partition;
use std::collections::BTreeMap;

const TOPIC: &str = "transactions";
const GROUP: &str = "transactional-readers";
const PARTITIONS: i32 = 3;

/// Shows it.
pub fn show(scene: &Scene<'_>) {
    scene.create_topic(TOPIC, PARTITIONS);
    let mut sent = Sent::new(scene.library);
    let (mut every, mut kept) = (Vec::new(), Vec::new());

    let mut first = scene.start("transact", &[TOPIC, "the-id"]);
    for end in ["commit", "abort", "commit"] {
        let told = write(scene, &mut first, &mut sent);
        every.extend(told.clone());
        let offset = every.len();
        if scene.library.can(Ability::TransactionalOffsets) {
            assert_eq!(first.ask(&format!("offset {GROUP} 0 {offset}")), "written");
        }
        if end == "abort" {
            assert_eq!(first.ask("abort"), "aborted");
            continue;
        }
        assert_eq!(first.ask("commit"), "committed");
        kept.extend(told);
        if scene.library.can(Ability::TransactionalOffsets) {
            wait_for_offset(scene, offset);
        }
    }
    // The first stays open; another with its id takes over.
    every.extend(write(scene, &mut first, &mut sent));
    let mut second = scene.start("transact", &[TOPIC, "the-id"]);
    let told = write(scene, &mut second, &mut sent);
    every.extend(told.clone());
    kept.extend(told);
    assert_eq!(second.ask("commit"), "committed");
    let refused = first.ask("commit");
    assert!(refused.starts_with("refused"), "{refused}");
    first.kill();
    second.finish();
    if scene.library.can(Ability::TransactionalOffsets) {
        // The aborted transaction's was between the two; the last committed one's is still there.
        wait_for_offset(scene, 3 * scene.records * PARTITIONS as usize);
    }

    assert_eq!(records(scene.read(TOPIC, "read_committed", kept.len())), sorted(kept));
    assert_eq!(records(scene.read(TOPIC, "read_uncommitted", every.len())), sorted(every));
}

/// One transaction's records, all of them written; it stays open.
fn write(scene: &Scene<'_>, driver: &mut Driver, sent: &mut Sent) -> Vec<(i32, Offset, Stamp)> {
    assert_eq!(driver.ask("begin"), "begun");
    let before = driver.said().len();
    sent.send_all(driver, PARTITIONS, scene.records);
    let count = scene.records * PARTITIONS as usize;
    driver.wait_for("a transaction is written", |said| {
        let told: Vec<_> = said[before..].iter().filter_map(|line| acknowledged(line)).collect();
        let of_record = |(partition, offset, value): (i32, i64, &str)| {
            (partition, Offset(offset), Stamp::read(value.as_bytes()).expect("what was sent"))
        };
        (told.len() == count).then(|| told.into_iter().map(of_record).collect())
    })
}

/// Waits until the group's offset is the last that a committed transaction has: one of an aborted one is never seen.
fn wait_for_offset(scene: &Scene<'_>, offset: usize) {
    let offset = i64::try_from(offset).expect("a few");
    eventually("the offset is committed", PATIENCE, || {
        let committed = topology::committed(scene.cluster, GROUP);
        (committed == BTreeMap::from([(0, offset)])).then_some(())
    });
}

fn records(found: BTreeMap<i32, Partition>) -> Vec<(i32, Offset, Stamp)> {
    let of_partition = |(partition, records): (i32, Partition)| {
        records.into_iter().map(move |(offset, stamp)| (partition, offset, stamp.expect("what was sent")))
    };
    sorted(found.into_iter().flat_map(of_partition).collect())
}

fn sorted(mut records: Vec<(i32, Offset, Stamp)>) -> Vec<(i32, Offset, Stamp)> {
    records.sort_unstable();
    records
}
