//! A leader is killed while the library produces: whatever it was told is kept is there.

use super::records::{Scene, Sent};
use crate::failover::topology;
use crate::patience::Pace;
use std::time::Duration;

const TOPIC: &str = "killed";

const PARTITIONS: i32 = 6;

/// How far apart the records to a partition are.
const APART: Duration = Duration::from_millis(10);

/// Records to each partition before each kill, and after it.
const RECORDS: usize = 100;

/// Shows it; returns how many records were acknowledged.
pub fn show(scene: &mut Scene<'_>) -> usize {
    scene.create_topic(TOPIC, PARTITIONS);
    let mut sent = Sent::new(scene.library);
    let mut producer = scene.start("produce", &[TOPIC, "none"]);
    let mut pace = Pace::new(APART);
    let mut send = |sent: &mut Sent, producer: &mut _| {
        for _ in 0..RECORDS {
            pace.wait();
            sent.send_all(producer, PARTITIONS, 1);
        }
    };
    for _ in 0..scene.kills {
        topology::wait_until_in_sync(scene.cluster);
        topology::wait_until_balanced(scene.cluster, TOPIC);
        send(&mut sent, &mut producer);
        producer
            .wait_for("something is acknowledged before the kill", |said| (!said.is_empty()).then_some(()));
        let leader = topology::leaders(scene.cluster, TOPIC)[&0];
        scene.cluster.node(leader).kill();
        send(&mut sent, &mut producer);
        let count = sent.count();
        // While the node is down.
        producer.wait_for("everything is acknowledged", |said| (said.len() >= count).then_some(()));
        scene.cluster.node(leader).start();
    }
    sent.acknowledge(&producer.finish());
    topology::wait_until_in_sync(scene.cluster);
    sent.judge(&scene.read_by_another(TOPIC));
    sent.judge(&scene.read(TOPIC, "read_uncommitted", sent.count()));
    sent.count()
}
