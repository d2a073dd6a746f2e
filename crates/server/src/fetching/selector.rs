//! Which replica a consumer had better read from (KIP-392).

use ottla_replication::Reader;
use ottla_types::NodeId;
use std::cmp::Reverse;

/// The follower in this rack that has most of the log; of several, the one that lags least
/// (`RackAwareReplicaSelector`). `rack_of` tells where a broker is, and nothing of those that cannot be named.
pub fn nearest<'a>(
    rack: &str,
    readers: &[Reader],
    rack_of: impl Fn(NodeId) -> Option<&'a str>,
) -> Option<NodeId> {
    readers
        .iter()
        .filter(|reader| rack_of(reader.node) == Some(rack))
        .max_by_key(|reader| (reader.log_end, Reverse(reader.lag), reader.node))
        .map(|reader| reader.node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::Offset;
    use std::time::Duration;

    #[test]
    fn the_one_in_the_rack_that_has_most_and_lags_least_is_the_nearest() {
        let reader = |node, end, lag| Reader {
            node: NodeId(node),
            log_end: Offset(end),
            lag: Duration::from_millis(lag),
        };
        let readers =
            [reader(2, 10, 0), reader(3, 12, 9), reader(4, 12, 5), reader(5, 12, 5), reader(6, 99, 0)];
        let rack_of = |node: NodeId| match node.0 {
            2..=5 => Some("a"),
            6 => Some("b"),
            _ => None,
        };

        assert_eq!(nearest("a", &readers, rack_of), Some(NodeId(5)));
        assert_eq!(nearest("a", &readers[..3], rack_of), Some(NodeId(4)));
        assert_eq!(nearest("a", &readers[..1], rack_of), Some(NodeId(2)));
        assert_eq!(nearest("b", &readers, rack_of), Some(NodeId(6)));
        assert_eq!(nearest("c", &readers, rack_of), None);
        assert_eq!(nearest("", &readers, rack_of), None);
    }
}
