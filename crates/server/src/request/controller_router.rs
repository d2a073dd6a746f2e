//! Requests on a controller's listeners find their handlers.

use super::answer::{Answer, open, serve};
use crate::config::NodeConfig;
use crate::handlers::cluster::api_versions;
use crate::handlers::cluster::update_features as features;
use crate::handlers::quorum::{cluster, envelope, raft, snapshot, voters};
use crate::handlers::topics::{alter_configs, describe_configs};
use crate::io_pool::IoPool;
use crate::log_levels::LogLevels;
use crate::quorum::failure_detection::FailureDetection;
use crate::quorum::{QuorumHandle, Snapshots};
use bytes::Bytes;
use ottla_controller::Controller;
use ottla_controller::brokers::Predecessor;
use ottla_metadata::MetadataImage;
use ottla_metadata::topic_config::Owner;
use ottla_net::{Closed, ConnectionInfo, Service, Started};
use ottla_protocol::messages as m;
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::{ApiKey, Decoder, ErrorCode, Request, RequestHeader};
use ottla_raft::wire::WireContext;
use ottla_types::{BrokerEpoch, Decision, NodeId, Now};
use std::sync::Arc;
use tokio::sync::watch;

/// The APIs that controllers serve; nothing else is advertised.
pub const CONTROLLER_APIS: &[ApiKey] = &[
    ApiKey::Fetch,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::Vote,
    ApiKey::BeginQuorumEpoch,
    ApiKey::EndQuorumEpoch,
    ApiKey::DescribeQuorum,
    ApiKey::AlterPartition,
    ApiKey::UpdateFeatures,
    ApiKey::Envelope,
    ApiKey::FetchSnapshot,
    ApiKey::DescribeCluster,
    ApiKey::BrokerRegistration,
    ApiKey::BrokerHeartbeat,
    ApiKey::UnregisterBroker,
    ApiKey::AllocateProducerIds,
    ApiKey::ControllerRegistration,
    ApiKey::AssignReplicasToDirs,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
    ApiKey::UpdateRaftVoter,
];

/// Serves the quorum, the brokers, and administrators who come straight here.
pub struct ControllerService {
    /// The quorum on this node.
    pub quorum: QuorumHandle,
    /// What this node knows to be committed.
    pub image: watch::Receiver<Arc<MetadataImage>>,
    /// The cluster.
    pub wire: Arc<WireContext>,
    /// This node.
    pub node_id: NodeId,
    /// Its configuration.
    pub config: Arc<NodeConfig>,
    /// The levels of its log lines.
    pub log_levels: Arc<dyn LogLevels>,
    /// Who is gone.
    pub detection: Arc<FailureDetection>,
    /// The snapshots of the metadata log.
    pub snapshots: Snapshots,
    /// Where they are read.
    pub io: IoPool,
}

impl ControllerService {
    /// Lets the active controller decide. `refused` is the answer of a node that is not it.
    fn decide<R>(
        &self,
        header: &RequestHeader,
        input: Decoder,
        decision: impl FnOnce(&mut Controller, R, Now) -> Decision<MetadataRecord, R::Response> + Send + 'static,
        refused: impl FnOnce(&R) -> R::Response,
    ) -> Started
    where
        R: Request + Send + 'static,
        R::Response: Send + 'static,
    {
        let quorum = self.quorum.clone();
        serve(header, input, |request: R| {
            let refused = refused(&request);
            Answer::later(async move {
                quorum
                    .decide(move |controller, now| decision(controller, request, now))
                    .await
                    .unwrap_or(refused)
            })
        })
    }
}

const NOT_CONTROLLER: i16 = ErrorCode::NotController.code();

impl Service for ControllerService {
    fn start(&self, connection: &Arc<ConnectionInfo>, frame: Bytes) -> Started {
        let (header, input) = match open(frame) {
            Ok(opened) => opened,
            Err(why) => return Started::Close(why),
        };
        let key = header.api_key;
        if key == ApiKey::ApiVersions {
            let image = self.image.borrow().clone();
            return api_versions::answer(
                &header,
                input,
                CONTROLLER_APIS,
                &image,
                &self.wire.cluster_id,
                self.node_id,
                self.quorum.kraft_version(),
                |software| self.detection.introduced(connection.id, &software.name),
            );
        }
        match key {
            ApiKey::Vote => raft::vote(&self.quorum, &self.wire, &header, input),
            ApiKey::BeginQuorumEpoch => raft::begin_quorum_epoch(&self.quorum, &self.wire, &header, input),
            ApiKey::EndQuorumEpoch => raft::end_quorum_epoch(&self.quorum, &self.wire, &header, input),
            ApiKey::Fetch => raft::fetch(&self.quorum, &self.wire, &header, input),
            ApiKey::AddRaftVoter => voters::add(&self.quorum, &self.wire, &header, input),
            ApiKey::RemoveRaftVoter => voters::remove(&self.quorum, &self.wire, &header, input),
            ApiKey::UpdateRaftVoter => voters::update(&self.quorum, &self.wire, &header, input),
            ApiKey::FetchSnapshot => serve(&header, input, |r| {
                snapshot::fetch_snapshot(&self.quorum, &self.snapshots, &self.io, &self.wire, r)
            }),
            ApiKey::DescribeQuorum => {
                serve(&header, input, |r| cluster::describe_quorum(&self.quorum, &self.image, r))
            }
            ApiKey::DescribeCluster => {
                let version = header.api_version;
                serve(&header, input, |r| {
                    cluster::describe_cluster(&self.quorum, &self.image, &self.wire, r, version)
                })
            }
            ApiKey::BrokerRegistration => self.decide(
                &header,
                input,
                {
                    let detection = self.detection.clone();
                    move |controller, request: m::BrokerRegistrationRequest, _| {
                        let id = NodeId(request.broker_id);
                        let registered = controller.image().cluster.broker(id).map(|broker| broker.epoch);
                        let predecessor =
                            registered.map_or(Predecessor::Gone, |epoch| detection.predecessor(id, epoch));
                        controller.set_newcomers(detection.newcomers());
                        controller.handle_broker_registration(&request, predecessor)
                    }
                },
                |_| m::BrokerRegistrationResponse { error_code: NOT_CONTROLLER, ..Default::default() },
            ),
            ApiKey::BrokerHeartbeat => serve(&header, input, |request: m::BrokerHeartbeatRequest| {
                let (broker, epoch) = (NodeId(request.broker_id), BrokerEpoch(request.broker_epoch));
                self.detection.contact(broker, epoch, connection.id);
                let (quorum, detection) = (self.quorum.clone(), self.detection.clone());
                let unanswered = detection.unanswered(broker, epoch);
                Answer::later(async move {
                    let answer = quorum.decide(move |controller, _| {
                        if request.want_shut_down {
                            controller.set_newcomers(detection.newcomers());
                        }
                        controller.handle_broker_heartbeat(&request)
                    });
                    let answer = answer.await;
                    drop(unanswered);
                    answer.unwrap_or(m::BrokerHeartbeatResponse {
                        error_code: NOT_CONTROLLER,
                        ..Default::default()
                    })
                })
            }),
            ApiKey::ControllerRegistration => self.decide(
                &header,
                input,
                |controller, request: m::ControllerRegistrationRequest, _| {
                    controller.handle_controller_registration(&request)
                },
                |_| m::ControllerRegistrationResponse { error_code: NOT_CONTROLLER, ..Default::default() },
            ),
            ApiKey::UpdateFeatures => {
                let version = header.api_version;
                serve(&header, input, |r| features::on_controller(&self.quorum, r, version))
            }
            ApiKey::UnregisterBroker => self.decide(
                &header,
                input,
                |controller, request: m::UnregisterBrokerRequest, _| {
                    controller.handle_unregister_broker(&request)
                },
                |_| m::UnregisterBrokerResponse { error_code: NOT_CONTROLLER, ..Default::default() },
            ),
            ApiKey::AlterPartition => self.decide(
                &header,
                input,
                |controller, request: m::AlterPartitionRequest, _| {
                    controller.handle_alter_partition(&request)
                },
                |_| m::AlterPartitionResponse { error_code: NOT_CONTROLLER, ..Default::default() },
            ),
            ApiKey::AssignReplicasToDirs => self.decide(
                &header,
                input,
                |controller, request: m::AssignReplicasToDirsRequest, _| {
                    controller.handle_assign_replicas_to_dirs(&request)
                },
                |_| m::AssignReplicasToDirsResponse { error_code: NOT_CONTROLLER, ..Default::default() },
            ),
            ApiKey::AllocateProducerIds => self.decide(
                &header,
                input,
                |controller, request: m::AllocateProducerIdsRequest, _| {
                    controller.handle_allocate_producer_ids(&request)
                },
                |_| m::AllocateProducerIdsResponse { error_code: NOT_CONTROLLER, ..Default::default() },
            ),
            ApiKey::CreateTopics => self.decide(
                &header,
                input,
                |controller, request: m::CreateTopicsRequest, _| {
                    controller.handle_create_topics(&request, owner(&request))
                },
                cluster::topics_not_created,
            ),
            ApiKey::DeleteTopics => self.decide(
                &header,
                input,
                |controller, request: m::DeleteTopicsRequest, _| controller.handle_delete_topics(&request),
                cluster::topics_not_deleted,
            ),
            ApiKey::CreatePartitions => self.decide(
                &header,
                input,
                |controller, request: m::CreatePartitionsRequest, _| {
                    controller.handle_create_partitions(&request)
                },
                cluster::partitions_not_created,
            ),
            ApiKey::ElectLeaders => self.decide(
                &header,
                input,
                |controller, request: m::ElectLeadersRequest, _| controller.handle_elect_leaders(&request),
                |_| m::ElectLeadersResponse { error_code: NOT_CONTROLLER, ..Default::default() },
            ),
            ApiKey::AlterPartitionReassignments => self.decide(
                &header,
                input,
                |controller, request: m::AlterPartitionReassignmentsRequest, _| {
                    controller.handle_alter_partition_reassignments(&request)
                },
                |_| m::AlterPartitionReassignmentsResponse {
                    error_code: NOT_CONTROLLER,
                    ..Default::default()
                },
            ),
            ApiKey::ListPartitionReassignments => self.decide(
                &header,
                input,
                |controller, request: m::ListPartitionReassignmentsRequest, _| {
                    controller.handle_list_partition_reassignments(&request)
                },
                |_| m::ListPartitionReassignmentsResponse {
                    error_code: NOT_CONTROLLER,
                    ..Default::default()
                },
            ),
            ApiKey::DescribeConfigs => serve(&header, input, |r| {
                let image = self.image.borrow().clone();
                describe_configs::on_controller(&self.config, &image, &*self.log_levels, &r)
            }),
            ApiKey::AlterConfigs => self.decide(
                &header,
                input,
                |controller, request: m::AlterConfigsRequest, _| controller.handle_alter_configs(&request),
                |request| {
                    let error = ErrorCode::NotController;
                    alter_configs::not_replaced(request, error, error.message())
                },
            ),
            ApiKey::IncrementalAlterConfigs => serve(&header, input, |r| {
                alter_configs::change_on_controller(&self.quorum, &*self.log_levels, self.node_id, r)
            }),
            ApiKey::Envelope => envelope::envelope(&header, input, |inner| self.start(connection, inner)),
            other => Started::Close(format!("{} is not served by controllers", other.name())),
        }
    }

    fn closed(&self, connection: &ConnectionInfo, how: Closed) {
        self.detection.connection_closed(connection.id, how);
    }
}

/// Internal topics are configured as no user may.
fn owner(request: &m::CreateTopicsRequest) -> Owner {
    if request.topics.iter().all(|topic| crate::broker::is_internal_topic(&topic.name)) {
        Owner::Internal
    } else {
        Owner::User
    }
}
