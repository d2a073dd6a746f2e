//! Brokers come, prove that they live, and go.

use crate::controller::Controller;
use crate::elections::{Brokers, Election};
use ottla_metadata::cluster::BrokerRegistration;
use ottla_metadata::{METADATA_VERSION, MetadataVersion};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_protocol::messages::broker_registration_response::BrokerRegistrationResponse;
use ottla_protocol::messages::controller_registration_request::ControllerRegistrationRequest;
use ottla_protocol::messages::controller_registration_response::ControllerRegistrationResponse;
use ottla_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_protocol::records::metadata::{
    BrokerRegistrationChangeRecord, MetadataRecord, UnregisterBrokerRecord, register_broker_record,
    register_controller_record,
};
use ottla_types::{BrokerEpoch, Decision, NodeId, Offset, TopicIdPartition, Uuid};
use std::collections::BTreeSet;

/// What is known of a broker's process beyond its registration. Not in the log: it is heard anew.
#[derive(Clone, Debug)]
pub(crate) struct Liveness {
    epoch: BrokerEpoch,
    /// The end of what it has replayed.
    metadata_offset: Offset,
    /// The offset it must see all others reach before it may stop.
    shutdown_offset: Option<Offset>,
    /// While it is fenced: what it must have replayed before it is let in. Else it would lead what it led before, by an image
    /// that is older than its fencing.
    rejoin_offset: Option<Offset>,
}

impl Liveness {
    fn new(epoch: BrokerEpoch, metadata_offset: Offset) -> Liveness {
        Liveness { epoch, metadata_offset, shutdown_offset: None, rejoin_offset: None }
    }
}

/// What the driver's failure detector says about the process registered under a broker id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// It may live: its session is not over and its connections are open.
    MayLive,
    /// Its connections are closed; whether it lives is not known.
    Disconnected,
    /// It is gone, or has not been heard of for a whole session.
    Gone,
}

/// Whether an address can stand in the metadata log. Kafka's nodes end where they read one that they do not understand; its security
/// protocols are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL.
fn is_endpoint(port: u16, security_protocol: i16) -> bool {
    port > 0 && (0..=3).contains(&security_protocol)
}

impl Controller {
    /// A broker announces a new incarnation (KIP-631). It starts fenced.
    ///
    /// A predecessor under the same id is replaced at once when it is gone, or when it is disconnected
    /// and the newcomer holds one of its directories: the directory's lock was free.
    pub fn handle_broker_registration(
        &mut self,
        request: &BrokerRegistrationRequest,
        predecessor: Predecessor,
    ) -> Decision<MetadataRecord, BrokerRegistrationResponse> {
        let refuse = |error: ErrorCode| {
            Decision::reply(BrokerRegistrationResponse { error_code: error.code(), ..Default::default() })
        };
        let id = NodeId(request.broker_id);
        if let Err(error) = self.check_registration(request) {
            return refuse(error);
        }
        let mut records = Vec::new();
        if let Some(old) = self.image.cluster.broker(id) {
            if old.incarnation_id == request.incarnation_id {
                // A retry of a registration whose answer was lost.
                let response = BrokerRegistrationResponse { broker_epoch: old.epoch.0, ..Default::default() };
                return Decision::reply(response);
            }
            let same_directory = old.directories.iter().any(|dir| request.log_dirs.contains(dir));
            let replaced = match predecessor {
                Predecessor::Gone => true,
                Predecessor::Disconnected => same_directory,
                Predecessor::MayLive => old.fenced && same_directory,
            };
            if !replaced {
                return refuse(ErrorCode::DuplicateBrokerRegistration);
            }
            // An epoch that is not the last one's: it may have lost what it had not synced (KIP-966).
            if BrokerEpoch(request.previous_broker_epoch) != old.epoch {
                records = self.change_partitions(id, |election| election.without_lost(id));
            } else if !old.fenced {
                records = self.leave_partitions(id);
            }
        } else {
            // What it had when it was unregistered nobody knows any more.
            records = self.change_partitions(id, |election| election.without_lost(id));
        }
        let epoch = self.image.end.offset + records.len() as i64;
        records.push(MetadataRecord::RegisterBroker(self.registration_record(request, epoch)));
        let response = BrokerRegistrationResponse { broker_epoch: epoch.0, ..Default::default() };
        Decision::write(records, response)
    }

    /// Whether a registration can be one at all (`ClusterControlManager.registerBroker`).
    fn check_registration(&self, request: &BrokerRegistrationRequest) -> Result<(), ErrorCode> {
        if request.cluster_id != self.settings.cluster_id {
            return Err(ErrorCode::InconsistentClusterId);
        }
        if request.is_migrating_zk_broker {
            return Err(ErrorCode::BrokerIdNotRegistered);
        }
        let id = NodeId(request.broker_id);
        if !id.is_some()
            || request.incarnation_id.is_zero()
            || request.listeners.is_empty()
            || !request.listeners.iter().all(|l| is_endpoint(l.port, l.security_protocol))
        {
            return Err(ErrorCode::InvalidRegistration);
        }
        if self.image.metadata_version().has_directories() {
            let directories: BTreeSet<&Uuid> = request.log_dirs.iter().collect();
            // One of another broker's is a copy, or moved from there: a partition could have the same replica twice.
            let others = self.image.cluster.brokers.values().filter(|broker| broker.id != id);
            let is_taken = others.flat_map(|broker| &broker.directories).any(|id| directories.contains(id));
            if directories.is_empty()
                || directories.len() < request.log_dirs.len()
                || directories.iter().any(|id| id.is_reserved())
                || is_taken
            {
                return Err(ErrorCode::InvalidRegistration);
            }
        }
        if !self.supports_finalized_features(request) {
            return Err(ErrorCode::UnsupportedVersion);
        }
        Ok(())
    }

    /// The broker that speaks, if this is its present incarnation.
    ///
    /// # Errors
    /// STALE_BROKER_EPOCH, of one that is not registered too (`ClusterControlManager.checkBrokerEpoch`).
    pub(crate) fn check_broker_epoch(&self, id: i32, epoch: i64) -> Result<&BrokerRegistration, ErrorCode> {
        let broker = self.image.cluster.broker(NodeId(id));
        broker.filter(|broker| broker.epoch == BrokerEpoch(epoch)).ok_or(ErrorCode::StaleBrokerEpoch)
    }

    /// A broker says that it lives, how far it has replayed the log, and what it wants.
    pub fn handle_broker_heartbeat(
        &mut self,
        request: &BrokerHeartbeatRequest,
    ) -> Decision<MetadataRecord, BrokerHeartbeatResponse> {
        let id = NodeId(request.broker_id);
        let epoch = BrokerEpoch(request.broker_epoch);
        let refuse = |error: ErrorCode| {
            Decision::reply(BrokerHeartbeatResponse { error_code: error.code(), ..Default::default() })
        };
        let broker = match self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            Ok(broker) => broker.clone(),
            Err(error) => return refuse(error),
        };
        // The wire carries the last offset replayed; ends are one past it.
        let replayed = Offset(request.current_metadata_offset.saturating_add(1));
        let end = self.image.end.offset;
        let known = self.liveness.entry(id).or_insert(Liveness::new(epoch, replayed));
        if known.epoch != epoch {
            *known = Liveness::new(epoch, replayed);
        }
        known.metadata_offset = known.metadata_offset.max(replayed);
        let rejoin_offset =
            if broker.fenced { *known.rejoin_offset.get_or_insert(end) } else { Offset::ZERO };
        let caught_up = replayed.0 > broker.epoch.0 && replayed >= rejoin_offset;

        let mut records = Vec::new();
        let mut fenced = broker.fenced;
        let mut should_shut_down = false;
        if request.want_shut_down {
            (records, should_shut_down) = self.shut_down(&broker);
        } else if broker.fenced && !request.want_fence && caught_up {
            records = self.unfence(&broker);
            fenced = false;
            if let Some(known) = self.liveness.get_mut(&id) {
                known.rejoin_offset = None;
            }
        } else if !broker.fenced && request.want_fence {
            records = self.fence(id, epoch);
            fenced = true;
        }
        if !request.offline_log_dirs.is_empty() {
            records.extend(self.lose_directories(&broker, &request.offline_log_dirs));
        }
        let response = BrokerHeartbeatResponse {
            is_caught_up: caught_up,
            is_fenced: fenced,
            should_shut_down,
            ..Default::default()
        };
        Decision::write(records, response)
    }

    /// Fences a broker: it leaves its in-sync sets and leaderships, and clients no longer see it. Nothing
    /// when that incarnation is not registered any more, or is fenced already.
    pub fn fence(&self, id: NodeId, epoch: BrokerEpoch) -> Vec<MetadataRecord> {
        match self.image.cluster.broker(id) {
            Some(broker) if broker.epoch == epoch && !broker.fenced => {}
            _ => return Vec::new(),
        }
        let mut records = vec![registration_change(id, epoch, |change| change.fenced = 1)];
        records.extend(self.leave_partitions(id));
        records
    }

    /// A controller announces itself (KIP-919).
    pub fn handle_controller_registration(
        &mut self,
        request: &ControllerRegistrationRequest,
    ) -> Decision<MetadataRecord, ControllerRegistrationResponse> {
        let refuse = |error: ErrorCode, message: String| {
            Decision::reply(ControllerRegistrationResponse {
                error_code: error.code(),
                error_message: Some(message),
                ..Default::default()
            })
        };
        let version = self.image.metadata_version();
        if !version.has_controller_registration() {
            let message = format!("controllers do not register at metadata.version {version}");
            return refuse(ErrorCode::UnsupportedVersion, message);
        }
        if let Some(listener) = request.listeners.iter().find(|l| !is_endpoint(l.port, l.security_protocol)) {
            let message = format!(
                "listener {} has port {} and security protocol {}",
                listener.name, listener.port, listener.security_protocol
            );
            return refuse(ErrorCode::InvalidRegistration, message);
        }
        let registration = register_controller_record::RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: false,
            end_points: request
                .listeners
                .iter()
                .map(|l| register_controller_record::ControllerEndpoint {
                    name: l.name.clone(),
                    host: l.host.clone(),
                    port: l.port,
                    security_protocol: l.security_protocol,
                })
                .collect(),
            features: request
                .features
                .iter()
                .map(|f| register_controller_record::ControllerFeature {
                    name: f.name.clone(),
                    min_supported_version: f.min_supported_version,
                    max_supported_version: f.max_supported_version,
                })
                .collect(),
        };
        Decision::write(
            vec![MetadataRecord::RegisterController(registration)],
            ControllerRegistrationResponse::default(),
        )
    }

    /// Forgets a broker that will not come back.
    pub fn handle_unregister_broker(
        &mut self,
        request: &UnregisterBrokerRequest,
    ) -> Decision<MetadataRecord, UnregisterBrokerResponse> {
        let id = NodeId(request.broker_id);
        let Some(broker) = self.image.cluster.broker(id) else {
            return Decision::reply(UnregisterBrokerResponse {
                error_code: ErrorCode::BrokerIdNotRegistered.code(),
                error_message: Some(format!("Broker ID {id} is not currently registered")),
                ..Default::default()
            });
        };
        let mut records = self.leave_partitions(id);
        records.push(MetadataRecord::UnregisterBroker(UnregisterBrokerRecord {
            broker_id: id.0,
            broker_epoch: broker.epoch.0,
        }));
        Decision::write(records, UnregisterBrokerResponse::default())
    }

    /// Elections and in-sync sets without this broker, for every partition that it is in.
    fn leave_partitions(&self, leaving: NodeId) -> Vec<MetadataRecord> {
        self.change_partitions(leaving, |election| election.without(leaving))
    }

    /// Elections for every partition of which a broker has a replica.
    fn change_partitions(
        &self,
        broker: NodeId,
        change: impl Fn(Election<'_>) -> Election<'_>,
    ) -> Vec<MetadataRecord> {
        self.partitions()
            .filter(|(_, partition)| partition.has_replica(broker))
            .filter_map(|(at, partition)| {
                change(self.election(at, partition)).elect(&self.candidates(partition))
            })
            .map(MetadataRecord::PartitionChange)
            .collect()
    }

    /// All partitions of all topics.
    pub(crate) fn partitions(
        &self,
    ) -> impl Iterator<Item = (TopicIdPartition, &ottla_metadata::PartitionRegistration)> {
        self.image.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|(&number, partition)| (TopicIdPartition::new(topic.id, number), partition))
        })
    }

    fn supports_finalized_features(&self, request: &BrokerRegistrationRequest) -> bool {
        self.image.features.iter().all(|(name, level)| {
            request.features.iter().any(|f| {
                f.name == name && (f.min_supported_version..=f.max_supported_version).contains(&level)
            })
        })
    }

    fn registration_record(
        &self,
        request: &BrokerRegistrationRequest,
        epoch: Offset,
    ) -> register_broker_record::RegisterBrokerRecord {
        let mut features: Vec<register_broker_record::BrokerFeature> = request
            .features
            .iter()
            .map(|f| register_broker_record::BrokerFeature {
                name: f.name.clone(),
                min_supported_version: f.min_supported_version,
                max_supported_version: f.max_supported_version,
            })
            .collect();
        if !features.iter().any(|f| f.name == METADATA_VERSION) {
            // Brokers older than the feature are assumed to know the lowest level only.
            features.push(register_broker_record::BrokerFeature {
                name: METADATA_VERSION.to_owned(),
                min_supported_version: MetadataVersion::MIN.0,
                max_supported_version: MetadataVersion::MIN.0,
            });
        }
        register_broker_record::RegisterBrokerRecord {
            broker_id: request.broker_id,
            incarnation_id: request.incarnation_id,
            broker_epoch: epoch.0,
            end_points: request
                .listeners
                .iter()
                .map(|l| register_broker_record::BrokerEndpoint {
                    name: l.name.clone(),
                    host: l.host.clone(),
                    port: l.port,
                    security_protocol: l.security_protocol,
                })
                .collect(),
            features,
            rack: request.rack.clone(),
            fenced: true,
            log_dirs: request.log_dirs.clone(),
            ..Default::default()
        }
    }

    /// Lets a broker back in: it may lead again the partitions that waited for it.
    fn unfence(&self, broker: &BrokerRegistration) -> Vec<MetadataRecord> {
        let mut records = vec![registration_change(broker.id, broker.epoch, |change| change.fenced = -1)];
        let mut cluster = (*self.image.cluster).clone();
        cluster.brokers.insert(broker.id, BrokerRegistration { fenced: false, ..broker.clone() });
        for (at, partition) in self.partitions() {
            if partition.leader.is_some() || !partition.has_replica(broker.id) {
                continue;
            }
            let candidates = Brokers { cluster: &cluster, ..self.candidates(partition) };
            let change = self.election(at, partition).elect(&candidates);
            records.extend(change.map(MetadataRecord::PartitionChange));
        }
        records
    }

    /// Controlled shutdown: first its leaderships and in-sync memberships move, then it waits until every
    /// active broker has seen that, then it may go.
    fn shut_down(&mut self, broker: &BrokerRegistration) -> (Vec<MetadataRecord>, bool) {
        if broker.fenced {
            return (Vec::new(), true);
        }
        if !broker.in_controlled_shutdown {
            let mut records = vec![registration_change(broker.id, broker.epoch, |change| {
                change.in_controlled_shutdown = 1;
            })];
            records.extend(self.leave_partitions(broker.id));
            let end = self.image.end.offset + records.len() as i64;
            let known = self.liveness.get_mut(&broker.id).expect("heard from just before");
            known.shutdown_offset = Some(end);
            return (records, false);
        }
        let leads = self.partitions().any(|(_, partition)| partition.leader == Some(broker.id));
        // A controller that took over meanwhile begins to count when it first hears of it, and stays there: the
        // log's end moves on while the others' heartbeats say where they were.
        let end = self.image.end.offset;
        let known = self.liveness.get_mut(&broker.id).expect("heard from just before");
        let shutdown_offset = *known.shutdown_offset.get_or_insert(end);
        let others_have_seen = self
            .image
            .cluster
            .brokers
            .values()
            .filter(|other| other.is_active())
            .filter_map(|other| self.liveness.get(&other.id).filter(|known| known.epoch == other.epoch))
            .all(|known| known.metadata_offset >= shutdown_offset);
        if leads || !others_have_seen {
            return (Vec::new(), false);
        }
        // Its listeners close last, after this record: whoever reads it goes elsewhere.
        (self.fence(broker.id, broker.epoch), true)
    }
}

pub(crate) fn registration_change(
    id: NodeId,
    epoch: BrokerEpoch,
    set: impl FnOnce(&mut BrokerRegistrationChangeRecord),
) -> MetadataRecord {
    let mut change =
        BrokerRegistrationChangeRecord { broker_id: id.0, broker_epoch: epoch.0, ..Default::default() };
    set(&mut change);
    MetadataRecord::BrokerRegistrationChange(change)
}

#[cfg(test)]
mod tests;
