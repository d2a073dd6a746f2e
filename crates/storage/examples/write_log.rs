//! Writes a log of several segments, all codecs, an aborted and a committed transaction into the directory named
//! on the command line, for Kafka's own tools to read:
//!
//! ```text
//! cargo run -p ottla-storage --example write_log -- /tmp/topic-0
//! kafka-dump-log.sh --deep-iteration --files /tmp/topic-0/00000000000000000000.log
//! ```

use ottla_records::{BatchBuilder, Compression, EndTxnMarker, Origin, RecordHeader};
use ottla_storage::{Log, LogConfig, RealDisk, Recovery};
use ottla_types::{LeaderEpoch, Monotonic, Now, ProducerEpoch, ProducerId, Timestamp};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

const START: Timestamp = Timestamp(1_700_000_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("name a directory")?);
    let now = Now { monotonic: Monotonic(0), wall: START };
    let config = LogConfig { segment_bytes: 40_000, index_interval_bytes: 1000, ..LogConfig::default() };
    let (mut log, _) = Log::open(Arc::new(RealDisk), dir, config, Recovery::UNKNOWN, now)?;

    let (id, epoch) = (ProducerId(1000), ProducerEpoch(0));
    let mut sequence = 0;
    for i in 0..600i64 {
        let leader_epoch = LeaderEpoch((i / 200) as i32);
        let codec = Compression::ALL[i as usize % 5];
        let mut builder =
            BatchBuilder::new().compression(codec).producer(id, epoch, sequence).transactional();
        for j in 0..3 {
            let value = format!("value {i}.{j} {}", "x".repeat((i * 7 % 200) as usize));
            let header = RecordHeader { key: b"h", value: None };
            builder.push(Timestamp(START.0 + i * 10 + j), Some(b"key"), Some(value.as_bytes()), &[header]);
        }
        sequence += builder.records_count();
        log.append_as_leader(&mut builder.build(), leader_epoch, Origin::Client, now)?;
        if i % 100 == 99 {
            let marker = EndTxnMarker { committed: i % 200 == 99, coordinator_epoch: 1 };
            let mut batch = marker.batch(id, epoch, Timestamp(START.0 + i * 10 + 9), leader_epoch);
            log.append_as_leader(&mut batch, leader_epoch, Origin::Coordinator, now)?;
        }
    }
    log.close()?;
    Ok(())
}
