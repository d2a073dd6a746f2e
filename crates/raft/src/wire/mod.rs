//! Kafka's messages and the machine's, one into the other.
//!
//! A message of Kafka's is about topics and partitions and carries the cluster's id; here it must be about
//! `__cluster_metadata-0` of this cluster and nothing else. What is not is refused with [`Refusal`], which
//! knows the error code to answer with.

mod epoch;
mod fetch;
mod snapshot;
mod vote;
mod voters;

pub use epoch::{
    begin_request_from_wire, begin_request_to_wire, begin_response_from_wire, begin_response_to_wire,
    begin_response_to_wire_refused, end_request_from_wire, end_request_to_wire, end_response_from_wire,
    end_response_to_wire, end_response_to_wire_refused,
};
pub use fetch::{
    fetch_request_from_wire, fetch_request_to_wire, fetch_response_from_wire, fetch_response_to_wire,
    fetch_response_to_wire_refused,
};
pub use snapshot::{
    fetch_snapshot_request_from_wire, fetch_snapshot_request_to_wire, fetch_snapshot_response_from_wire,
    fetch_snapshot_response_to_wire, fetch_snapshot_response_to_wire_refused,
};
pub use vote::{
    vote_request_from_wire, vote_request_to_wire, vote_response_from_wire, vote_response_to_wire,
    vote_response_to_wire_refused,
};
pub use voters::{
    add_voter_request_from_wire, add_voter_request_to_wire, add_voter_response_from_wire,
    add_voter_response_to_wire, remove_voter_request_from_wire, remove_voter_request_to_wire,
    remove_voter_response_from_wire, remove_voter_response_to_wire, update_voter_request_from_wire,
    update_voter_request_to_wire, update_voter_response_from_wire, update_voter_response_to_wire,
    voters_from_record, voters_to_record,
};

use crate::message::LeaderAndEpoch;
use ottla_protocol::ErrorCode;
use ottla_types::{LeaderEpoch, NodeId};

/// The name of the metadata log's topic.
pub const METADATA_TOPIC_NAME: &str = "__cluster_metadata";
/// The number of its only partition.
pub const METADATA_PARTITION: i32 = 0;

/// What every message of this cluster says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireContext {
    /// The cluster's id.
    pub cluster_id: String,
    /// The name of the controllers' listener, under which a leader gives its endpoint.
    pub listener: String,
}

impl WireContext {
    /// A request need not name the cluster, but must not name another.
    fn check_cluster(&self, cluster_id: Option<&str>) -> Result<(), Refusal> {
        match cluster_id {
            Some(cluster_id) if cluster_id != self.cluster_id => Err(Refusal::InconsistentClusterId),
            _ => Ok(()),
        }
    }
}

/// Why a message is not handed to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It names another cluster.
    #[error("the message is of another cluster")]
    InconsistentClusterId,
    /// It is not about the metadata log, or about more than that.
    #[error("the message is not about the metadata log alone")]
    NotTheMetadataLog,
}

impl Refusal {
    /// The code to answer with.
    pub fn error_code(self) -> ErrorCode {
        match self {
            Refusal::InconsistentClusterId => ErrorCode::InconsistentClusterId,
            Refusal::NotTheMetadataLog => ErrorCode::InvalidRequest,
        }
    }
}

/// Takes the only element, if there is exactly one.
fn only<T>(list: Vec<T>) -> Result<T, Refusal> {
    let mut elements = list.into_iter();
    match (elements.next(), elements.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(Refusal::NotTheMetadataLog),
    }
}

/// Checks the name of the only topic and the number of its only partition.
fn check_partition(topic: &str, partition: i32) -> Result<(), Refusal> {
    let is_metadata = topic == METADATA_TOPIC_NAME && partition == METADATA_PARTITION;
    if is_metadata { Ok(()) } else { Err(Refusal::NotTheMetadataLog) }
}

fn leader_and_epoch(leader_id: i32, epoch: i32) -> LeaderAndEpoch {
    LeaderAndEpoch { leader: NodeId(leader_id).some(), epoch: LeaderEpoch(epoch) }
}

fn leader_id(leader: LeaderAndEpoch) -> i32 {
    leader.leader.unwrap_or(NodeId::NONE).0
}

#[cfg(test)]
mod tests;
