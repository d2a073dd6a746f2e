//! Requests on a broker's listeners find their handlers.

use super::answer::{open, serve};
use super::context::RequestContext;
use crate::broker::Broker;
use crate::handlers::{cluster, groups, records, topics, transactions};
use bytes::Bytes;
use ottla_net::{AnsweredIn, Closed, ConnectionInfo, Service, Started};
use ottla_protocol::ApiKey;
use std::sync::Arc;

/// The APIs that brokers serve; nothing else is advertised.
pub const BROKER_APIS: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::WriteTxnMarkers,
    ApiKey::TxnOffsetCommit,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeLogDirs,
    ApiKey::DeleteGroups,
    ApiKey::OffsetDelete,
    ApiKey::CreatePartitions,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::UnregisterBroker,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::GetTelemetrySubscriptions,
    ApiKey::PushTelemetry,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

/// What members ask of their group's coordinator again and again.
const OF_MEMBERS: [ApiKey; 6] = [
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
];

/// Serves a broker's clients and its fellow brokers.
pub struct BrokerService {
    broker: Arc<Broker>,
}

impl BrokerService {
    /// The service of this broker.
    pub fn new(broker: Arc<Broker>) -> BrokerService {
        BrokerService { broker }
    }
}

impl Service for BrokerService {
    fn start(&self, connection: &Arc<ConnectionInfo>, frame: Bytes) -> Started {
        let (header, input) = match open(frame) {
            Ok(opened) => opened,
            Err(why) => return Started::Close(why),
        };
        let (key, version) = (header.api_key, header.api_version);
        if key == ApiKey::ApiVersions {
            return cluster::api_versions::start(&self.broker, connection, &header, input);
        }
        let context = RequestContext {
            connection: connection.clone(),
            number: connection.received(),
            version,
            client_id: header.client_id.clone().unwrap_or_default(),
        };
        if OF_MEMBERS.contains(&key) {
            // When the coordinator dies, a member must know first that its other connection to it is of no use.
            connection.close_late();
        }
        let broker = &self.broker;
        broker.look_at_pulse();
        match key {
            ApiKey::Produce => serve(&header, input, |r| records::produce::handle(broker, &context, r)),
            ApiKey::Fetch => serve(&header, input, |r| records::fetch::handle(broker, context, r)),
            ApiKey::ListOffsets => {
                serve(&header, input, |r| records::list_offsets::handle(broker, &context, r))
            }
            ApiKey::OffsetForLeaderEpoch => {
                serve(&header, input, |r| records::offset_for_leader_epoch::handle(broker, r))
            }
            ApiKey::DeleteRecords => serve(&header, input, |r| records::delete_records::handle(broker, r)),
            ApiKey::InitProducerId => {
                serve(&header, input, |r| transactions::init_producer_id::handle(broker, &context, r))
            }
            ApiKey::AddPartitionsToTxn => {
                serve(&header, input, |r| transactions::add_partitions::add_partitions(broker, &context, r))
            }
            ApiKey::AddOffsetsToTxn => {
                serve(&header, input, |r| transactions::add_partitions::add_offsets(broker, &context, r))
            }
            ApiKey::EndTxn => serve(&header, input, |r| transactions::end_txn::handle(broker, &context, r)),
            ApiKey::WriteTxnMarkers => {
                serve(&header, input, |r| transactions::write_txn_markers::handle(broker, r))
            }
            ApiKey::DescribeProducers => {
                serve(&header, input, |r| transactions::describe_producers::handle(broker, &r))
            }
            ApiKey::DescribeTransactions => {
                serve(&header, input, |r| transactions::overview::describe(broker, r))
            }
            ApiKey::ListTransactions => {
                serve(&header, input, |r| transactions::overview::list(broker, &context, r))
            }
            ApiKey::Metadata => serve(&header, input, |r| cluster::metadata::handle(broker, &context, r)),
            ApiKey::DescribeCluster => {
                serve(&header, input, |r| cluster::describe_cluster::handle(broker, &context, r))
            }
            ApiKey::DescribeTopicPartitions => {
                serve(&header, input, |r| topics::describe_topic_partitions::handle(broker, &context, r))
            }
            ApiKey::DescribeConfigs => {
                serve(&header, input, |r| topics::describe_configs::handle(broker, &r))
            }
            ApiKey::ListConfigResources => {
                serve(&header, input, |r| topics::list_config_resources::handle(broker, version, &r))
            }
            ApiKey::AlterConfigs => serve(&header, input, |r| topics::alter_configs::replace(broker, r)),
            ApiKey::DescribeLogDirs => serve(&header, input, |r| topics::log_dirs::describe(broker, &r)),
            ApiKey::AlterReplicaLogDirs => serve(&header, input, |r| topics::log_dirs::alter(broker, &r)),
            ApiKey::CreateTopics => serve(&header, input, |r| topics::forwarded::create_topics(broker, r)),
            ApiKey::DeleteTopics => serve(&header, input, |r| topics::forwarded::delete_topics(broker, r)),
            ApiKey::CreatePartitions => {
                serve(&header, input, |r| topics::forwarded::create_partitions(broker, r))
            }
            ApiKey::ElectLeaders => serve(&header, input, |r| topics::forwarded::elect_leaders(broker, r)),
            ApiKey::IncrementalAlterConfigs => {
                serve(&header, input, |r| topics::alter_configs::change(broker, r))
            }
            ApiKey::AlterPartitionReassignments => {
                serve(&header, input, |r| topics::reassignments::alter(broker, r))
            }
            ApiKey::ListPartitionReassignments => {
                serve(&header, input, |r| topics::reassignments::list(broker, r))
            }
            ApiKey::DescribeQuorum => {
                serve(&header, input, |r| topics::forwarded::describe_quorum(broker, r))
            }
            ApiKey::UpdateFeatures => {
                serve(&header, input, |r| cluster::update_features::handle(broker, &context, r))
            }
            ApiKey::UnregisterBroker => {
                serve(&header, input, |r| cluster::unregister_broker::handle(broker, r))
            }
            ApiKey::GetTelemetrySubscriptions => {
                serve(&header, input, |r| cluster::telemetry::subscriptions(broker, &context, &r))
            }
            ApiKey::PushTelemetry => {
                serve(&header, input, |r| cluster::telemetry::push(broker, &context, &r))
            }
            ApiKey::AddRaftVoter => serve(&header, input, |r| cluster::raft_voters::add(broker, r)),
            ApiKey::RemoveRaftVoter => serve(&header, input, |r| cluster::raft_voters::remove(broker, r)),
            ApiKey::FindCoordinator => {
                serve(&header, input, |r| groups::find_coordinator::handle(broker, &context, r))
            }
            ApiKey::JoinGroup => {
                serve(&header, input, |r| groups::membership::join_group(broker, context, r))
            }
            ApiKey::SyncGroup => {
                serve(&header, input, |r| groups::membership::sync_group(broker, context, r))
            }
            ApiKey::Heartbeat => serve(&header, input, |r| groups::membership::heartbeat(broker, context, r)),
            ApiKey::ConsumerGroupHeartbeat => {
                serve(&header, input, |r| groups::consumer_groups::heartbeat(broker, context, r))
            }
            ApiKey::ConsumerGroupDescribe => {
                serve(&header, input, |r| groups::consumer_groups::describe(broker, context, r))
            }
            ApiKey::LeaveGroup => {
                serve(&header, input, |r| groups::membership::leave_group(broker, context, r))
            }
            ApiKey::OffsetCommit => {
                serve(&header, input, |r| groups::offsets::offset_commit(broker, context, r))
            }
            ApiKey::OffsetFetch => {
                serve(&header, input, |r| groups::offsets::offset_fetch(broker, context, r))
            }
            ApiKey::TxnOffsetCommit => {
                serve(&header, input, |r| groups::txn_offset_commit::handle(broker, context, r))
            }
            ApiKey::OffsetDelete => {
                serve(&header, input, |r| groups::offsets::offset_delete(broker, context, r))
            }
            ApiKey::DescribeGroups => {
                serve(&header, input, |r| groups::overview::describe_groups(broker, context, r))
            }
            ApiKey::ListGroups => {
                serve(&header, input, |r| groups::overview::list_groups(broker, context, r))
            }
            ApiKey::DeleteGroups => {
                serve(&header, input, |r| groups::overview::delete_groups(broker, context, r))
            }
            other => Started::Close(format!("{} is not served by brokers", other.name())),
        }
    }

    fn answered(&self, answered: &AnsweredIn) {
        self.broker.request_times.observe(answered);
    }

    fn closed(&self, connection: &ConnectionInfo, how: Closed) {
        self.broker.connection_closed(connection);
        if connection.closes_late() {
            self.broker.groups.disconnected(connection.id, how);
        }
    }
}
