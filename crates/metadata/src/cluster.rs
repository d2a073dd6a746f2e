//! Brokers and controllers as they registered themselves.

use crate::PartitionRegistration;
use crate::VersionRange;
use ottla_protocol::records::metadata::{register_broker_record, register_controller_record};
use ottla_types::{BrokerEpoch, NodeId, Uuid};
use std::collections::BTreeMap;

/// Where a listener is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, as in `listeners`.
    pub name: String,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
    /// Kafka's number of the security protocol: 0 is PLAINTEXT.
    pub security_protocol: i16,
}

/// A broker's current incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its `node.id`.
    pub id: NodeId,
    /// The metadata offset of its registration.
    pub epoch: BrokerEpoch,
    /// Chosen by the process at its start.
    pub incarnation_id: Uuid,
    /// Where clients and other brokers reach it.
    pub endpoints: Vec<Endpoint>,
    /// The features it supports, by name.
    pub features: BTreeMap<String, VersionRange>,
    /// Its rack, if it has one.
    pub rack: Option<String>,
    /// Fenced brokers lead nothing and are hidden from clients.
    pub fenced: bool,
    /// It has asked to leave: it gets no new leaderships.
    pub in_controlled_shutdown: bool,
    /// The ids of its log directories that work.
    pub directories: Vec<Uuid>,
    /// Directories that take no new replicas (KIP-1066).
    pub cordoned_directories: Option<Vec<Uuid>>,
}

impl BrokerRegistration {
    /// Returns whether a replica that is said to be in this directory is served: nothing is known against it
    /// (`DirectoryId.isOnline`).
    pub fn has_online(&self, directory: Uuid) -> bool {
        directory != Uuid::LOST_DIR
            && (directory.is_reserved()
                || self.directories.is_empty()
                || self.directories.contains(&directory))
    }

    /// The registration that a record creates.
    pub fn from_record(record: &register_broker_record::RegisterBrokerRecord) -> BrokerRegistration {
        BrokerRegistration {
            id: NodeId(record.broker_id),
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation_id: record.incarnation_id,
            endpoints: record
                .end_points
                .iter()
                .map(|e| Endpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                })
                .collect(),
            features: record
                .features
                .iter()
                .map(|f| {
                    (
                        f.name.clone(),
                        VersionRange { min: f.min_supported_version, max: f.max_supported_version },
                    )
                })
                .collect(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            directories: record.log_dirs.clone(),
            cordoned_directories: record.cordoned_log_dirs.clone(),
        }
    }

    /// The record that creates this registration in a fresh image.
    pub fn to_record(&self) -> register_broker_record::RegisterBrokerRecord {
        register_broker_record::RegisterBrokerRecord {
            broker_id: self.id.0,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch.0,
            end_points: self
                .endpoints
                .iter()
                .map(|e| register_broker_record::BrokerEndpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| register_broker_record::BrokerFeature {
                    name: name.clone(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                })
                .collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.directories.clone(),
            cordoned_log_dirs: self.cordoned_directories.clone(),
            ..Default::default()
        }
    }

    /// The endpoint of the listener called `name`.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == name)
    }

    /// Returns whether it may lead partitions and join in-sync sets.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

/// A controller's current incarnation (KIP-919).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerRegistration {
    /// Its `node.id`.
    pub id: NodeId,
    /// Chosen by the process at its start.
    pub incarnation_id: Uuid,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// The features it supports, by name.
    pub features: BTreeMap<String, VersionRange>,
}

impl ControllerRegistration {
    /// The registration that a record creates.
    pub fn from_record(
        record: &register_controller_record::RegisterControllerRecord,
    ) -> ControllerRegistration {
        ControllerRegistration {
            id: NodeId(record.controller_id),
            incarnation_id: record.incarnation_id,
            endpoints: record
                .end_points
                .iter()
                .map(|e| Endpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                })
                .collect(),
            features: record
                .features
                .iter()
                .map(|f| {
                    (
                        f.name.clone(),
                        VersionRange { min: f.min_supported_version, max: f.max_supported_version },
                    )
                })
                .collect(),
        }
    }

    /// The record that creates this registration in a fresh image.
    pub fn to_record(&self) -> register_controller_record::RegisterControllerRecord {
        register_controller_record::RegisterControllerRecord {
            controller_id: self.id.0,
            incarnation_id: self.incarnation_id,
            zk_migration_ready: false,
            end_points: self
                .endpoints
                .iter()
                .map(|e| register_controller_record::ControllerEndpoint {
                    name: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.security_protocol,
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| register_controller_record::ControllerFeature {
                    name: name.clone(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                })
                .collect(),
        }
    }
}

/// All registered nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterImage {
    /// Brokers, fenced ones too.
    pub brokers: BTreeMap<NodeId, BrokerRegistration>,
    /// Controllers.
    pub controllers: BTreeMap<NodeId, ControllerRegistration>,
}

impl ClusterImage {
    /// The broker with this id.
    pub fn broker(&self, id: NodeId) -> Option<&BrokerRegistration> {
        self.brokers.get(&id)
    }

    /// Returns whether this broker is registered, unfenced and not leaving.
    pub fn is_active(&self, id: NodeId) -> bool {
        self.broker(id).is_some_and(BrokerRegistration::is_active)
    }

    /// Returns whether clients that came to this listener can reach a broker.
    pub fn is_reachable(&self, id: NodeId, listener: &str) -> bool {
        self.broker(id).is_some_and(|broker| !broker.fenced && broker.endpoint(listener).is_some())
    }

    /// Returns whether nothing is known against the directory in which this broker has its replica of a partition.
    pub fn serves(&self, partition: &PartitionRegistration, node: NodeId) -> bool {
        self.broker(node).is_some_and(|broker| broker.has_online(partition.directory(node)))
    }

    /// Brokers that clients may see, in the order of their ids.
    pub fn unfenced(&self) -> impl Iterator<Item = &BrokerRegistration> {
        self.brokers.values().filter(|broker| !broker.fenced)
    }
}
