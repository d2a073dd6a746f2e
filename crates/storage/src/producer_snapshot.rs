//! `<offset>.snapshot`: the producers as of an offset, in Kafka's bytes (version 1).
//!
//! ```text
//!  version i16 | crc u32 of the rest | count i32 | per producer: id i64, epoch i16, last sequence i32,
//!  last offset i64, offset delta i32, timestamp i64, coordinator epoch i32, transaction's first offset i64
//! ```
//! Only the last batch of each producer is kept: after a restart, older ones are not recognised as repeated.

use crate::producer_state::{ProducerBatch, ProducerState};
use ottla_records::batch::{NO_SEQUENCE, crc32c};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};
use std::collections::{BTreeMap, VecDeque};

const VERSION: i16 = 1;
const CRC_COVERS_FROM: usize = 6;
const ENTRY_BYTES: usize = 46;

/// The snapshot's bytes, ordered as `producers` come.
pub fn encode<'a>(producers: impl Iterator<Item = (ProducerId, &'a ProducerState)>) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    let mut count = 0i32;
    for (id, state) in producers {
        count += 1;
        let last = state.batches.back();
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&state.epoch.0.to_be_bytes());
        out.extend_from_slice(&state.last_sequence().to_be_bytes());
        out.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset.0).to_be_bytes());
        out.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        out.extend_from_slice(&state.last_timestamp.0.to_be_bytes());
        out.extend_from_slice(&state.coordinator_epoch.to_be_bytes());
        out.extend_from_slice(&state.txn_first_offset.unwrap_or(Offset::UNKNOWN).0.to_be_bytes());
    }
    out[CRC_COVERS_FROM..CRC_COVERS_FROM + 4].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c(&out[CRC_COVERS_FROM..]);
    out[2..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
    out
}

/// The producers in a snapshot, in its order; `None` when it is torn or of another version.
pub fn decode(bytes: &[u8]) -> Option<Vec<(ProducerId, ProducerState)>> {
    let (version, rest) = bytes.split_first_chunk::<2>()?;
    let (crc, covered) = rest.split_first_chunk::<4>()?;
    if i16::from_be_bytes(*version) != VERSION || u32::from_be_bytes(*crc) != crc32c(covered) {
        return None;
    }
    let (count, entries) = covered.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    if entries.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    entries.chunks_exact(ENTRY_BYTES).map(entry).collect()
}

/// As [`decode`], by producer.
pub fn decode_map(bytes: &[u8]) -> Option<BTreeMap<ProducerId, ProducerState>> {
    Some(decode(bytes)?.into_iter().collect())
}

fn entry(bytes: &[u8]) -> Option<(ProducerId, ProducerState)> {
    let i32_at = |at: usize| Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let i64_at = |at: usize| Some(i64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let (last_sequence, last_offset, offset_delta) = (i32_at(10)?, Offset(i64_at(14)?), i32_at(22)?);
    let timestamp = Timestamp(i64_at(26)?);
    let mut batches = VecDeque::new();
    if last_sequence != NO_SEQUENCE || last_offset.is_some() {
        if last_sequence < NO_SEQUENCE || offset_delta < 0 || last_offset.0 < i64::from(offset_delta) {
            return None;
        }
        batches.push_back(ProducerBatch { last_sequence, last_offset, offset_delta, timestamp });
    }
    let state = ProducerState {
        epoch: ProducerEpoch(i16::from_be_bytes(*bytes.get(8..)?.first_chunk()?)),
        batches,
        last_timestamp: timestamp,
        coordinator_epoch: i32_at(34)?,
        txn_first_offset: Some(Offset(i64_at(38)?)).filter(|offset| offset.is_some()),
    };
    Some((ProducerId(i64_at(0)?), state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KAFKA: &[u8] = include_bytes!("../tests/golden/topic1-0/00000000000000000012.snapshot");

    #[test]
    fn kafkas_snapshot_is_read_and_written_back() {
        let producers = decode(KAFKA).unwrap();

        assert_eq!(producers.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [2000, 1000]);
        assert_eq!(producers[0].1.txn_first_offset, Some(Offset(11)));
        assert_eq!(encode(producers.iter().map(|(id, state)| (*id, state))), KAFKA);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bit in 0..KAFKA.len() * 8 {
            let mut flipped = KAFKA.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_sealed_bytes_are_read_without_panic(mut rest: Vec<u8>, count in 0..4i32) {
            rest.resize(46 * count as usize, 7);
            let covered = [&count.to_be_bytes()[..], &rest].concat();
            decode(&[&[0, 1][..], &crc32c(&covered).to_be_bytes(), &covered].concat());
        }
    }
}
