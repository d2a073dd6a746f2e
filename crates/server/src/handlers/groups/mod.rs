//! Consumer groups and their offsets.

pub mod consumer_groups;
pub mod find_coordinator;
pub mod membership;
pub mod offsets;
pub mod overview;
pub mod txn_offset_commit;

use ottla_types::Uuid;
use std::collections::BTreeMap;

/// Adds what is said of more partitions to what is said of their topics.
fn merge<T>(
    topics: &mut Vec<T>,
    more: Vec<T>,
    topic: impl Fn(&T) -> (String, Uuid),
    join: impl Fn(&mut T, T),
) {
    if more.is_empty() {
        return;
    }
    let mut places: BTreeMap<_, usize> =
        topics.iter().enumerate().map(|(place, known)| (topic(known), place)).collect();
    for added in more {
        let place = *places.entry(topic(&added)).or_insert(topics.len());
        match topics.get_mut(place) {
            Some(known) => join(known, added),
            None => topics.push(added),
        }
    }
}
