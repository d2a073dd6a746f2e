//! What members are subscribed to, as topics that exist, and what these look like.

use super::bug::{Bug, is_made};
use super::group::{ConsumerGroup, ResolvedRegex};
use super::member::Subscription;
use super::topics::{TopicShape, Topics};
use std::collections::{BTreeMap, BTreeSet};

/// The topics of one member, by name, those that do not exist too.
pub(crate) fn names_of<'a>(
    subscription: &'a Subscription,
    regexes: &'a BTreeMap<String, ResolvedRegex>,
) -> BTreeSet<&'a str> {
    let resolved = subscription.topic_regex.as_ref().and_then(|regex| regexes.get(regex));
    let matched = resolved.into_iter().flat_map(|resolved| &resolved.topics);
    subscription.topic_names.iter().chain(matched).map(String::as_str).collect()
}

/// The topics of one member that exist.
pub(crate) fn topics_of(
    subscription: &Subscription,
    regexes: &BTreeMap<String, ResolvedRegex>,
    topics: &dyn Topics,
) -> BTreeSet<TopicShape> {
    names_of(subscription, regexes).into_iter().filter_map(|name| topics.by_name(name)).collect()
}

/// The topics that anybody in a group is subscribed to, by name.
pub(crate) fn names_of_group(group: &ConsumerGroup) -> BTreeSet<&str> {
    group.members().flat_map(|(_, member)| names_of(&member.subscription, &group.regexes)).collect()
}

/// What the subscribed topics look like, in one number: another one when one of them is created, deleted, or grows, or is not
/// subscribed to any more. 0 when there are none.
///
/// Kafka's is another number for the same topics (KIP-1101: XXH3, and racks are in it). Whoever takes over a group of the
/// other's bumps its epoch once.
pub(crate) fn metadata_hash(names: &BTreeSet<&str>, topics: &dyn Topics) -> i64 {
    let mut hash = 0_i64;
    for name in names {
        if let Some(TopicShape { id, partitions }) = topics.by_name(name) {
            let partitions = if is_made(Bug::GrowthUnnoticed) { 0 } else { partitions };
            let mut one = Fnv::default();
            one.write(name.as_bytes());
            one.write(&[0]);
            one.write(id.as_bytes());
            one.write(&partitions.to_be_bytes());
            // The sum of well mixed parts does not depend on their order.
            hash = hash.wrapping_add(one.finish());
        }
    }
    hash
}

/// FNV-1a of 64 bits, mixed at the end.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(self) -> i64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).cast_signed()
    }
}
