//! Which partition of `__consumer_offsets` a group lives in.

/// Returns the partition of `__consumer_offsets` that holds `group_id`, of `partition_count` partitions.
///
/// Kafka's: the hash of a Java string with its sign bit cleared, modulo the number of partitions
/// (`Utils.abs(groupId.hashCode()) % numPartitions`). Transactional ids are placed the same way in
/// `__transaction_state`.
///
/// # Panics
/// When `partition_count` is not positive.
pub fn partition_for(group_id: &str, partition_count: i32) -> i32 {
    assert!(partition_count > 0, "a topic has partitions");
    (java_hash(group_id) & i32::MAX) % partition_count
}

/// `java.lang.String.hashCode`: over UTF-16 units, wrapping.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java_does() {
        let cases = [
            ("", 0),
            ("a", 97),
            ("hello", 99_162_322),
            ("group", 98_629_247),
            ("polygenelubricants", i32::MIN),
            ("é", 233),
            // One character outside the basic plane is two UTF-16 units: 0xd83d, 0xde00.
            ("😀", 1_772_899),
        ];
        for (text, hash) in cases {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn a_partition_is_never_negative() {
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("hello", 50), 22);
        for id in ["", "a", "x-y-z", "console-consumer-12345", "😀😀😀😀😀"] {
            assert!((0..50).contains(&partition_for(id, 50)), "{id}");
            assert_eq!(partition_for(id, 1), 0);
        }
    }
}
