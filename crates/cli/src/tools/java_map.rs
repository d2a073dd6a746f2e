//! The order in which a Java `HashMap` with strings as keys yields them: Kafka's tools print in it.

/// The smallest table, and the one that a map without a given size begins with.
const CAPACITY_MIN: usize = 16;

/// Puts `items` into the order of a `HashMap` into which they were put in theirs, one after the other.
pub(crate) fn in_hash_order<T>(mut items: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<T> {
    // A table doubles when more than three quarters are taken; within a bucket the order is that of arrival.
    let mut capacity = CAPACITY_MIN;
    while items.len() > capacity / 4 * 3 {
        capacity *= 2;
    }
    items.sort_by_key(|item| bucket(key(item), capacity));
    items
}

fn bucket(key: &str, capacity: usize) -> usize {
    let hash = key.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    (hash ^ hash >> 16) as usize & (capacity - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_javas() {
        // As kafka-topics --describe of Apache Kafka 4.3.1 printed them.
        let names = vec!["failsafe-test-topic", "golden-a", "golden.b"];

        assert_eq!(in_hash_order(names, |name| name), ["golden-a", "golden.b", "failsafe-test-topic"]);
    }
}
