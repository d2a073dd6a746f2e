//! Every codec: what was sent is read back equal, by the library and by another, and was compressed on the way.

use super::library::{Ability, CODECS};
use super::records::{Scene, Sent};
use crate::cluster::PATIENCE;
use crate::eventually;
use ottla_verify::Guarantee;
use std::fs;

const PARTITIONS: i32 = 3;

/// Shows it; returns the codecs.
pub fn show(scene: &Scene<'_>) -> Vec<&'static str> {
    let can = |codec: &&str| scene.library.can(Ability::Codec(codec));
    let codecs: Vec<&str> = CODECS.into_iter().filter(can).collect();
    codecs.iter().for_each(|codec| show_one(scene, codec));
    codecs
}

fn show_one(scene: &Scene<'_>, codec: &str) {
    let topic = format!("codec-{codec}");
    scene.create_topic(&topic, PARTITIONS);

    let mut sent = Sent::new(scene.library);
    let mut producer = scene.start("produce", &[&topic, codec]);
    sent.send_all(&mut producer, PARTITIONS, scene.records);
    sent.acknowledge(&producer.finish());

    sent.judge(&scene.read(&topic, "read_uncommitted", sent.count()));
    sent.judge(&scene.read_by_another(&topic));
    assert_written(scene, &topic, codec);
}

/// The batches on the disk are compressed by the codec, and are a producer's that is idempotent if the library's is.
fn assert_written(scene: &Scene<'_>, topic: &str, codec: &str) {
    let segment = scene.cluster.nodes()[0].data().join(format!("{topic}-0/00000000000000000000.log"));
    eventually("the first node has it", PATIENCE, || {
        fs::metadata(&segment).is_ok_and(|file| file.len() > 0).then_some(())
    });
    let dumped = scene.cluster.tool(&["kafka-dump-log", "--files", &segment.to_string_lossy()]);
    let batches: Vec<&str> = dumped.lines().filter(|line| line.contains("baseOffset: ")).collect();
    assert!(!batches.is_empty(), "{dumped}");
    for batch in batches {
        assert!(batch.contains(&format!("compresscodec: {codec} ")), "{codec}: {batch}");
        let idempotent = !batch.contains("producerId: -1 ");
        assert_eq!(idempotent, scene.library.guarantee() == Guarantee::FULL, "{batch}");
    }
}
