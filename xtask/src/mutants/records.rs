//! Record batches, good and bad.

/// What is wrong with a batch, in words; the first [`GOOD`] are right.
pub(super) const KINDS: [&str; 18] = [
    "one record",
    "an idempotent record",
    "two records",
    "a wrong checksum",
    "magic 1",
    "magic 3",
    "no records",
    "a count of 1000",
    "a negative count",
    "a length of -1",
    "a length beyond the end",
    "two batches",
    "a control batch",
    "garbage said to be gzip",
    "an unknown codec",
    "a transactional record without an id",
    "a wrong last offset delta",
    "an idempotent record out of order",
];

/// How many kinds are right.
pub(super) const GOOD: usize = 3;

/// The batch of a kind, by this producer.
pub(super) fn batch(kind: usize, producer: (i64, i16)) -> Vec<u8> {
    let record = |delta: u8| vec![14, 0, 0, delta * 2, 1, 2, b'v', 0];
    let one = record(0);
    let two = [record(0), record(1)].concat();
    let nobody = (-1, -1, -1);
    let by = (producer.0, producer.1, 0);
    match KINDS[kind] {
        "an idempotent record" => build(2, 0, 0, by, 1, &one),
        "two records" => build(2, 0, 1, nobody, 2, &two),
        "a wrong checksum" => changed(&one, 17, 0xaa),
        "magic 1" => build(1, 0, 0, nobody, 1, &one),
        "magic 3" => build(3, 0, 0, nobody, 1, &one),
        "no records" => build(2, 0, 0, nobody, 0, &[]),
        "a count of 1000" => build(2, 0, 999, nobody, 1000, &one),
        "a negative count" => build(2, 0, 0, nobody, -5, &one),
        "a length of -1" => {
            let mut out = build(2, 0, 0, nobody, 1, &one);
            out[8..12].copy_from_slice(&[0xff; 4]);
            out
        }
        "a length beyond the end" => changed(&one, 10, 0x7f),
        "two batches" => [build(2, 0, 0, nobody, 1, &one), build(2, 0, 0, nobody, 1, &one)].concat(),
        "a control batch" => build(2, 0x20, 0, nobody, 1, &one),
        "garbage said to be gzip" => build(2, 1, 0, nobody, 1, &one),
        "an unknown codec" => build(2, 7, 0, nobody, 1, &one),
        "a transactional record without an id" => build(2, 0x10, 0, by, 1, &one),
        "a wrong last offset delta" => build(2, 0, 7, nobody, 1, &one),
        "an idempotent record out of order" => build(2, 0, 0, (by.0, by.1, 500), 1, &one),
        _ => build(2, 0, 0, nobody, 1, &one),
    }
}

fn changed(records: &[u8], at: usize, to: u8) -> Vec<u8> {
    let mut out = build(2, 0, 0, (-1, -1, -1), 1, records);
    out[at] = to;
    out
}

fn build(magic: u8, attributes: i16, last: i32, by: (i64, i16, i32), count: i32, records: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(attributes.to_be_bytes());
    body.extend(last.to_be_bytes());
    // Two timestamps: of a day that is past on any machine.
    body.extend([1_700_000_000_000_i64.to_be_bytes(); 2].concat());
    body.extend(by.0.to_be_bytes());
    body.extend(by.1.to_be_bytes());
    body.extend(by.2.to_be_bytes());
    body.extend(count.to_be_bytes());
    body.extend(records);
    let mut out = vec![0; 8];
    out.extend((body.len() as i32 + 9).to_be_bytes());
    out.extend((-1_i32).to_be_bytes());
    out.push(magic);
    out.extend(crc32c(&body).to_be_bytes());
    out.extend(body);
    out
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
