//! What a client may do, for one that asks (KIP-430): everything, where nobody is refused anything. Bit fields of the codes of
//! `AclOperation`; which there are for what, Kafka's `AclEntry.supportedOperations` says.

const READ: u32 = 3;
const WRITE: u32 = 4;
const CREATE: u32 = 5;
const DELETE: u32 = 6;
const ALTER: u32 = 7;
const DESCRIBE: u32 = 8;
const CLUSTER_ACTION: u32 = 9;
const DESCRIBE_CONFIGS: u32 = 10;
const ALTER_CONFIGS: u32 = 11;
const IDEMPOTENT_WRITE: u32 = 12;

/// With the cluster.
pub(in crate::handlers) const ON_CLUSTER: i32 =
    bits(&[CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE]);

/// With a topic.
pub(in crate::handlers) const ON_TOPIC: i32 =
    bits(&[READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);

/// With a group.
pub(in crate::handlers) const ON_GROUP: i32 =
    bits(&[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);

/// What an answer says to who asked, or did not.
pub(in crate::handlers) fn told(is_asked: bool, operations: i32) -> i32 {
    if is_asked { operations } else { i32::MIN }
}

const fn bits(operations: &[u32]) -> i32 {
    let (mut bits, mut at) = (0, 0);
    while at < operations.len() {
        bits |= 1 << operations[at];
        at += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_kafka_4_4() {
        assert_eq!((ON_CLUSTER, ON_TOPIC, ON_GROUP), (8096, 3576, 3400));
    }
}
