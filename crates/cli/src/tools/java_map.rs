//! The order in which a Java `HashMap` with strings as keys yields them: Kafka's tools print in it.

use ottla_types::TopicPartition;

/// The table that a map without a given size begins with.
const CAPACITY: usize = 16;

/// Puts `items` into the order of a `HashMap` into which they were put in theirs, one after the other.
pub(crate) fn in_hash_order<T>(items: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<T> {
    in_order_of_hash(items, CAPACITY, |item| string_hash(key(item)))
}

/// As [`in_hash_order`], where they were put there by `computeIfAbsent`: a new one stands before those of its bucket.
pub(crate) fn in_hash_order_computed<T>(mut items: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<T> {
    items.reverse();
    in_hash_order(items, key)
}

/// As [`in_hash_order`], where the map was told beforehand how many they are: fewer than seven have a smaller table.
pub(crate) fn in_sized_hash_order<T>(items: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<T> {
    in_order_of_hash(items, 1, |item| string_hash(key(item)))
}

/// As [`in_hash_order`], where the keys are Kafka's `TopicPartition`.
pub(crate) fn partitions_in_hash_order<T>(items: Vec<T>, key: impl Fn(&T) -> &TopicPartition) -> Vec<T> {
    in_order_of_hash(items, CAPACITY, |item| partition_hash(key(item)))
}

/// As [`partitions_in_hash_order`], where the map was told beforehand how many they are.
pub(crate) fn partitions_in_sized_hash_order<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> &TopicPartition,
) -> Vec<T> {
    in_order_of_hash(items, 1, |item| partition_hash(key(item)))
}

fn in_order_of_hash<T>(mut items: Vec<T>, mut capacity: usize, hash: impl Fn(&T) -> u32) -> Vec<T> {
    // A table doubles when more than three quarters are taken; within a bucket the order is that of arrival.
    while items.len() * 4 > capacity * 3 {
        capacity *= 2;
    }
    items.sort_by_key(|item| {
        let hash = hash(item);
        (hash ^ hash >> 16) as usize & (capacity - 1)
    });
    items
}

fn partition_hash(at: &TopicPartition) -> u32 {
    let hash = 31_u32.wrapping_add(at.partition as u32);
    hash.wrapping_mul(31).wrapping_add(string_hash(&at.topic))
}

fn string_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_a_bucket_is_in_the_order_in_which_java_put_it_there() {
        // As kafka-dump-log of Apache Kafka 4.3.1 printed them, told of the first first.
        let [first, second] = ["00000000000000000000", "00000000000000010000"]
            .map(|name| format!("/tmp/.tmp1LLhAw/1/data/t-0/{name}.log"));
        let both = vec![first.clone(), second.clone()];

        assert_eq!(in_hash_order_computed(both.clone(), |name| name), [second, first]);
        assert_eq!(in_hash_order(both.clone(), |name| name), both);
    }

    #[test]
    fn the_order_is_javas() {
        // As kafka-topics --describe of Apache Kafka 4.3.1 printed them.
        let names = vec!["failsafe-test-topic", "golden-a", "golden.b"];

        assert_eq!(in_sized_hash_order(names, |name| name), ["golden-a", "golden.b", "failsafe-test-topic"]);

        // It showed three of these five.
        let mut names =
            in_sized_hash_order(vec!["configured", "many-settings", "plain", "spaced", "t"], |name| name);
        names.retain(|name| matches!(*name, "spaced" | "t" | "many-settings"));
        assert_eq!(names, ["spaced", "t", "many-settings"]);
    }
}
