//! What a list has more than once: in requests a mistake, and a list may be as long as a client likes.

use std::collections::BTreeSet;

/// The items that come more than once. Takes no longer than sorting them does.
pub fn repeated<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    for item in items {
        if let Some(before) = seen.replace(item) {
            repeated.insert(before);
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_once_is_not_repeated() {
        assert_eq!(repeated([3, 1, 2, 1, 3, 3]), BTreeSet::from([1, 3]));
    }
}
