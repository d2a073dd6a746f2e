//! Record batches: what a producer sends and what lies in a log or a snapshot of metadata.
//!
//! Checksums are mended first: noise would hardly ever get past them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::bounded;
use ottla_metadata::{MetadataDelta, MetadataImage, checkpoint};
use ottla_records::{BatchMut, EndTxnMarker, Origin, batches, validate};
use ottla_storage::LogConfig;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

/// The most that records may be when decompressed, here.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    mend_checksums(&mut bytes);
    // The records, the codec's own window, and the copy that is compressed anew.
    bounded(data.len(), 8 * DECOMPRESSED_BYTES_MAX, || {
        for batch in batches(&bytes).map_while(Result::ok) {
            let _ = EndTxnMarker::of(&batch);
            if let Ok(records) = batch.records(DECOMPRESSED_BYTES_MAX) {
                records
                    .iter()
                    .map_while(Result::ok)
                    .for_each(|record| assert!(record.offset >= batch.header().base_offset));
            }
        }
        let config = LogConfig { decompressed_bytes_max: DECOMPRESSED_BYTES_MAX, ..LogConfig::default() };
        let rules = config.rules(Origin::Client, Timestamp(1_700_000_000_000));
        if let Ok(mut batch) = validate(&mut bytes.clone(), &rules) {
            batch.assign(Offset(7), LeaderEpoch(3));
            let records = batch.view().records(DECOMPRESSED_BYTES_MAX).expect("a valid batch has records");
            assert!(records.iter().all(|record| record.is_ok()), "a valid batch has valid records");
        }
    });
    // What these decompress is bounded by the size of a batch of metadata, which noise does not come near.
    let _ = checkpoint::decode(&bytes);
    let _ = MetadataImage::default().replay_batches(&bytes, Offset::MAX, &mut MetadataDelta::default());
});

fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(Ok(batch)) = batches(&bytes[at..]).next() {
        let len = batch.bytes().len();
        let (kind, latest) = (batch.header().timestamp_type(), batch.header().max_timestamp);
        let mut batch = BatchMut::parse_exactly(&mut bytes[at..at + len]).expect("it was parsed just now");
        // Writes what is there, and the checksum.
        batch.set_timestamps(kind, latest);
        at += len;
    }
}
