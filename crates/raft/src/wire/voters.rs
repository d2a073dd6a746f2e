//! AddRaftVoter (key 80), RemoveRaftVoter (81), UpdateRaftVoter (82), and the voter set as a record (KIP-853).

use super::{Refusal, WireContext, leader_and_epoch, leader_id};
use crate::error::ErrorCode;
use crate::message::{
    AddVoterRequest, EpochResponse, RemoveVoterRequest, UpdateVoterRequest, VoterChangeResponse,
};
use crate::voters::{Endpoint, KRaftVersions, Listener, ReplicaKey, Voter, VoterSet};
use ottla_protocol::messages::{add_raft_voter_request as add, remove_raft_voter_request as remove};
use ottla_protocol::messages::{add_raft_voter_response, remove_raft_voter_response};
use ottla_protocol::messages::{update_raft_voter_request as update, update_raft_voter_response};
use ottla_protocol::records::control::voters_record as record;
use ottla_types::{LeaderEpoch, NodeId};
use std::time::Duration;

/// The endpoint of the listener that the quorum uses.
fn endpoint_of(listeners: &[Listener], name: &str) -> Option<Endpoint> {
    listeners.iter().find(|listener| listener.name == name).map(|listener| listener.endpoint.clone())
}

/// Wraps a request. `timeout` is how long whoever sends it waits.
pub fn add_voter_request_to_wire(
    request: &AddVoterRequest,
    timeout: Duration,
    context: &WireContext,
) -> add::AddRaftVoterRequest {
    add::AddRaftVoterRequest {
        cluster_id: Some(context.cluster_id.clone()),
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        voter_id: request.voter.id.0,
        voter_directory_id: request.voter.directory_id,
        listeners: request
            .listeners
            .iter()
            .map(|Listener { name, endpoint }| add::Listener {
                name: name.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
            })
            .collect(),
        ack_when_committed: request.ack_when_committed,
    }
}

/// Unwraps a request.
///
/// # Errors
/// When it is of another cluster.
pub fn add_voter_request_from_wire(
    wire: add::AddRaftVoterRequest,
    context: &WireContext,
) -> Result<AddVoterRequest, Refusal> {
    context.check_cluster(wire.cluster_id.as_deref())?;
    let listener =
        |l: add::Listener| Listener { name: l.name, endpoint: Endpoint { host: l.host, port: l.port } };
    let listeners: Vec<Listener> = wire.listeners.into_iter().map(listener).collect();
    Ok(AddVoterRequest {
        voter: ReplicaKey::new(NodeId(wire.voter_id), wire.voter_directory_id),
        endpoint: endpoint_of(&listeners, &context.listener),
        listeners,
        ack_when_committed: wire.ack_when_committed,
    })
}

/// Wraps a response.
pub fn add_voter_response_to_wire(
    response: &VoterChangeResponse,
) -> add_raft_voter_response::AddRaftVoterResponse {
    add_raft_voter_response::AddRaftVoterResponse {
        throttle_time_ms: 0,
        error_code: response.error.code(),
        error_message: response.message.clone(),
    }
}

/// Unwraps a response.
pub fn add_voter_response_from_wire(
    wire: add_raft_voter_response::AddRaftVoterResponse,
) -> VoterChangeResponse {
    VoterChangeResponse { error: ErrorCode::from_code(wire.error_code), message: wire.error_message }
}

/// Wraps a request.
pub fn remove_voter_request_to_wire(
    request: &RemoveVoterRequest,
    context: &WireContext,
) -> remove::RemoveRaftVoterRequest {
    remove::RemoveRaftVoterRequest {
        cluster_id: Some(context.cluster_id.clone()),
        voter_id: request.voter.id.0,
        voter_directory_id: request.voter.directory_id,
    }
}

/// Unwraps a request.
///
/// # Errors
/// When it is of another cluster.
pub fn remove_voter_request_from_wire(
    wire: remove::RemoveRaftVoterRequest,
    context: &WireContext,
) -> Result<RemoveVoterRequest, Refusal> {
    context.check_cluster(wire.cluster_id.as_deref())?;
    Ok(RemoveVoterRequest { voter: ReplicaKey::new(NodeId(wire.voter_id), wire.voter_directory_id) })
}

/// Wraps a response.
pub fn remove_voter_response_to_wire(
    response: &VoterChangeResponse,
) -> remove_raft_voter_response::RemoveRaftVoterResponse {
    remove_raft_voter_response::RemoveRaftVoterResponse {
        throttle_time_ms: 0,
        error_code: response.error.code(),
        error_message: response.message.clone(),
    }
}

/// Unwraps a response.
pub fn remove_voter_response_from_wire(
    wire: remove_raft_voter_response::RemoveRaftVoterResponse,
) -> VoterChangeResponse {
    VoterChangeResponse { error: ErrorCode::from_code(wire.error_code), message: wire.error_message }
}

/// Wraps a request.
pub fn update_voter_request_to_wire(
    request: &UpdateVoterRequest,
    context: &WireContext,
) -> update::UpdateRaftVoterRequest {
    update::UpdateRaftVoterRequest {
        cluster_id: Some(context.cluster_id.clone()),
        current_leader_epoch: request.epoch.0,
        voter_id: request.voter.id.0,
        voter_directory_id: request.voter.directory_id,
        listeners: request
            .listeners
            .iter()
            .map(|Listener { name, endpoint }| update::Listener {
                name: name.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
            })
            .collect(),
        kraft_version_feature: update::KRaftVersionFeature {
            min_supported_version: request.kraft_versions.min,
            max_supported_version: request.kraft_versions.max,
        },
    }
}

/// Unwraps a request.
///
/// # Errors
/// When it is of another cluster.
pub fn update_voter_request_from_wire(
    wire: update::UpdateRaftVoterRequest,
    context: &WireContext,
) -> Result<UpdateVoterRequest, Refusal> {
    context.check_cluster(wire.cluster_id.as_deref())?;
    let listener =
        |l: update::Listener| Listener { name: l.name, endpoint: Endpoint { host: l.host, port: l.port } };
    let listeners: Vec<Listener> = wire.listeners.into_iter().map(listener).collect();
    let versions = wire.kraft_version_feature;
    Ok(UpdateVoterRequest {
        epoch: LeaderEpoch(wire.current_leader_epoch),
        voter: ReplicaKey::new(NodeId(wire.voter_id), wire.voter_directory_id),
        endpoint: endpoint_of(&listeners, &context.listener),
        listeners,
        kraft_versions: KRaftVersions {
            min: versions.min_supported_version,
            max: versions.max_supported_version,
        },
    })
}

/// Wraps a response.
pub fn update_voter_response_to_wire(
    response: &EpochResponse,
) -> update_raft_voter_response::UpdateRaftVoterResponse {
    let endpoint = response.leader_endpoint.as_ref();
    update_raft_voter_response::UpdateRaftVoterResponse {
        throttle_time_ms: 0,
        error_code: response.error.code(),
        current_leader: update_raft_voter_response::CurrentLeader {
            leader_id: leader_id(response.leader),
            leader_epoch: response.leader.epoch.0,
            host: endpoint.map(|endpoint| endpoint.host.clone()).unwrap_or_default(),
            port: endpoint.map_or(0, |endpoint| i32::from(endpoint.port)),
        },
    }
}

/// Unwraps a response.
pub fn update_voter_response_from_wire(
    wire: update_raft_voter_response::UpdateRaftVoterResponse,
) -> EpochResponse {
    let leader = wire.current_leader;
    let port = u16::try_from(leader.port).ok().filter(|_| !leader.host.is_empty());
    EpochResponse {
        error: ErrorCode::from_code(wire.error_code),
        leader: leader_and_epoch(leader.leader_id, leader.leader_epoch),
        leader_endpoint: port.map(|port| Endpoint { host: leader.host, port }),
    }
}

/// The set as a record of the log.
pub fn voters_to_record(voters: &VoterSet) -> record::VotersRecord {
    let endpoint = |listener: &Listener| record::Endpoint {
        name: listener.name.clone(),
        host: listener.endpoint.host.clone(),
        port: listener.endpoint.port,
    };
    let voter = |voter: &Voter| record::Voter {
        voter_id: voter.key.id.0,
        voter_directory_id: voter.key.directory_id,
        endpoints: voter.listeners.iter().map(endpoint).collect(),
        kraft_version_feature: record::KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.min,
            max_supported_version: voter.kraft_versions.max,
        },
    };
    record::VotersRecord { version: 0, voters: voters.iter().map(voter).collect() }
}

/// The set that a record names. `listener` is the one that the quorum uses; of a voter that has none of this name
/// it is the first.
///
/// # Errors
/// Says in words why it is no voter set.
pub fn voters_from_record(record: record::VotersRecord, listener: &str) -> Result<VoterSet, String> {
    let voter = |voter: record::Voter| {
        let key = ReplicaKey::new(NodeId(voter.voter_id), voter.voter_directory_id);
        if !key.id.is_some() || key.directory_id.is_zero() {
            return Err(format!("{key} is no replica"));
        }
        let named = |endpoint: record::Endpoint| Listener {
            name: endpoint.name,
            endpoint: Endpoint { host: endpoint.host, port: endpoint.port },
        };
        let listeners: Vec<Listener> = voter.endpoints.into_iter().map(named).collect();
        let first = || listeners.first().map(|listener| listener.endpoint.clone());
        let endpoint = endpoint_of(&listeners, listener).or_else(first);
        let endpoint = endpoint.ok_or_else(|| format!("voter {key} has no listener"))?;
        let versions = voter.kraft_version_feature;
        let kraft_versions =
            KRaftVersions { min: versions.min_supported_version, max: versions.max_supported_version };
        Ok(Voter { key, endpoint, listeners, kraft_versions })
    };
    let voters = record.voters.into_iter().map(voter).collect::<Result<Vec<Voter>, String>>()?;
    if voters.is_empty() {
        return Err("the voter set is empty".to_owned());
    }
    VoterSet::new(voters).map_err(|error| error.to_string())
}
