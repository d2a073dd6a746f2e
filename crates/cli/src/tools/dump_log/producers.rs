//! A snapshot of the producers' state: `.snapshot`.

use super::unreadable;
use crate::output;
use crate::tools::Failure;
use ottla_records::batch::crc32c;
use ottla_storage::ProducerState;
use ottla_storage::producer_snapshot;
use ottla_types::ProducerId;

pub(super) fn dump(file: &str) -> Result<(), Failure> {
    let bytes = std::fs::read(file).map_err(unreadable(file))?;
    if let Some((stored, computed)) = checksums(&bytes).filter(|(stored, computed)| stored != computed) {
        // Kafka's tool goes on with the next file.
        output::error_line(format_args!(
            "Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}"
        ));
        return Ok(());
    }
    let Some(producers) = producer_snapshot::decode(&bytes) else {
        output::error_line(format_args!("{file} is no snapshot of producers that can be read"));
        return Ok(());
    };
    for (id, state) in producers {
        output::line(line(id, &state));
    }
    Ok(())
}

/// The checksum that a snapshot has, and the one it should have.
fn checksums(bytes: &[u8]) -> Option<(u32, u32)> {
    let (_version, rest) = bytes.split_first_chunk::<2>()?;
    let (stored, covered) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*stored), crc32c(covered)))
}

fn line(id: ProducerId, state: &ProducerState) -> String {
    let transaction = match state.txn_first_offset {
        Some(offset) => format!("OptionalLong[{offset}]"),
        None => "OptionalLong.empty".to_owned(),
    };
    let producer = format!(
        "producerId: {id} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {transaction} \
         lastTimestamp: {} ",
        state.epoch, state.coordinator_epoch, state.last_timestamp,
    );
    // A producer that has only ended a transaction has no batch.
    let batch = state.batches.back().map(|batch| {
        // Sequences are numbers of 31 bits; before 0 comes the largest.
        let first = batch.last_sequence.wrapping_sub(batch.offset_delta) & i32::MAX;
        format!(
            "firstSequence: {first} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
            batch.last_sequence, batch.last_offset, batch.offset_delta, batch.timestamp,
        )
    });
    producer + &batch.unwrap_or_default()
}
