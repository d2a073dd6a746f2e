//! Who leads instead: what Produce and Fetch tell a client that asked the wrong broker (KIP-951).

use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_types::{NodeId, TopicIdPartition};

/// Who leads a partition.
pub(crate) struct LeaderHint {
    pub(crate) leader_id: i32,
    pub(crate) leader_epoch: i32,
    /// Where the client can reach it; `None` when nobody leads, or it has no such listener.
    pub(crate) endpoint: Option<LeaderEndpoint>,
}

/// A broker as clients of one listener see it.
pub(crate) struct LeaderEndpoint {
    pub(crate) node_id: i32,
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) rack: Option<String>,
}

impl LeaderHint {
    /// Returns whether a hint goes with an error.
    pub(crate) fn goes_with(error_code: i16) -> bool {
        [ErrorCode::NotLeaderOrFollower.code(), ErrorCode::FencedLeaderEpoch.code()].contains(&error_code)
    }

    /// The hint that goes with an error, for a client of this listener; `None` with errors that say nothing of the
    /// leader, and of a partition that is not there.
    pub(crate) fn with(
        error_code: i16,
        image: &MetadataImage,
        at: TopicIdPartition,
        listener: &str,
    ) -> Option<LeaderHint> {
        if !LeaderHint::goes_with(error_code) {
            return None;
        }
        let partition = image.topics.partition(at)?;
        let leader = partition.leader.and_then(|id| image.cluster.broker(id));
        let endpoint = leader.and_then(|leader| {
            let endpoint = leader.endpoint(listener)?;
            Some(LeaderEndpoint {
                node_id: leader.id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: leader.rack.clone(),
            })
        });
        Some(LeaderHint {
            leader_id: partition.leader.unwrap_or(NodeId::NONE).0,
            leader_epoch: partition.leader_epoch.0,
            endpoint,
        })
    }
}
