//! Kafka's error codes.

use std::fmt;

macro_rules! error_codes {
    ($(($code:literal, $variant:ident, $name:literal, $message:literal),)*) => {
        /// Why a request failed, as a number that clients know (`org.apache.kafka.common.protocol.Errors`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $name] $variant = $code,)*
        }

        impl ErrorCode {
            /// All of them, in ascending order.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant),*];

            /// The number, as fields of responses carry it.
            pub const fn code(self) -> i16 {
                self as i16
            }

            /// Kafka's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                }
            }

            /// What to say of it when nothing more exact is known; empty for [`ErrorCode::None`].
            pub const fn message(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $message,)*
                }
            }
        }
    };
}

error_codes! {
    (-1, UnknownServerError, "UNKNOWN_SERVER_ERROR", "The server experienced an unexpected error when processing the request."),
    (0, None, "NONE", ""),
    (1, OffsetOutOfRange, "OFFSET_OUT_OF_RANGE", "The requested offset lies outside the range of offsets that the server keeps."),
    (2, CorruptMessage, "CORRUPT_MESSAGE", "The records fail their checksum, exceed the valid size, have a null key for a compacted topic, or are otherwise corrupt."),
    (3, UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION", "This server does not host this topic-partition."),
    (4, InvalidFetchSize, "INVALID_FETCH_SIZE", "The requested fetch size is invalid."),
    (5, LeaderNotAvailable, "LEADER_NOT_AVAILABLE", "There is no leader for this topic-partition, as an election is under way."),
    (6, NotLeaderOrFollower, "NOT_LEADER_OR_FOLLOWER", "The broker is neither leader nor follower of this partition."),
    (7, RequestTimedOut, "REQUEST_TIMED_OUT", "The request timed out."),
    (8, BrokerNotAvailable, "BROKER_NOT_AVAILABLE", "The broker is not available."),
    (9, ReplicaNotAvailable, "REPLICA_NOT_AVAILABLE", "The replica is not available for the requested topic-partition."),
    (10, MessageTooLarge, "MESSAGE_TOO_LARGE", "The batch is larger than the server accepts."),
    (11, StaleControllerEpoch, "STALE_CONTROLLER_EPOCH", "The controller has moved to another node."),
    (12, OffsetMetadataTooLarge, "OFFSET_METADATA_TOO_LARGE", "The metadata of the offset commit is too large."),
    (13, NetworkException, "NETWORK_EXCEPTION", "The server disconnected before a response was received."),
    (14, CoordinatorLoadInProgress, "COORDINATOR_LOAD_IN_PROGRESS", "The coordinator is loading and cannot answer yet."),
    (15, CoordinatorNotAvailable, "COORDINATOR_NOT_AVAILABLE", "The coordinator is not available."),
    (16, NotCoordinator, "NOT_COORDINATOR", "This is not the correct coordinator."),
    (17, InvalidTopicException, "INVALID_TOPIC_EXCEPTION", "The topic is not valid for this operation."),
    (18, RecordListTooLarge, "RECORD_LIST_TOO_LARGE", "The batch is larger than a segment of the log."),
    (19, NotEnoughReplicas, "NOT_ENOUGH_REPLICAS", "There are fewer in-sync replicas than required."),
    (20, NotEnoughReplicasAfterAppend, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "The records were written, but to fewer in-sync replicas than required."),
    (21, InvalidRequiredAcks, "INVALID_REQUIRED_ACKS", "The value of acks is invalid."),
    (22, IllegalGeneration, "ILLEGAL_GENERATION", "The generation is not the group's current one."),
    (23, InconsistentGroupProtocol, "INCONSISTENT_GROUP_PROTOCOL", "The member's protocol type or protocols do not fit those of the group."),
    (24, InvalidGroupId, "INVALID_GROUP_ID", "The group id is invalid."),
    (25, UnknownMemberId, "UNKNOWN_MEMBER_ID", "The coordinator does not know this member."),
    (26, InvalidSessionTimeout, "INVALID_SESSION_TIMEOUT", "The session timeout lies outside the range that the broker allows."),
    (27, RebalanceInProgress, "REBALANCE_IN_PROGRESS", "The group is rebalancing, so a rejoin is needed."),
    (28, InvalidCommitOffsetSize, "INVALID_COMMIT_OFFSET_SIZE", "The offset commit is too large to be stored."),
    (29, TopicAuthorizationFailed, "TOPIC_AUTHORIZATION_FAILED", "Topic authorization failed."),
    (30, GroupAuthorizationFailed, "GROUP_AUTHORIZATION_FAILED", "Group authorization failed."),
    (31, ClusterAuthorizationFailed, "CLUSTER_AUTHORIZATION_FAILED", "Cluster authorization failed."),
    (32, InvalidTimestamp, "INVALID_TIMESTAMP", "The timestamp of a record is out of the acceptable range."),
    (33, UnsupportedSaslMechanism, "UNSUPPORTED_SASL_MECHANISM", "The broker does not support the requested SASL mechanism."),
    (34, IllegalSaslState, "ILLEGAL_SASL_STATE", "The request is not valid in the current SASL state."),
    (35, UnsupportedVersion, "UNSUPPORTED_VERSION", "The version of API is not supported."),
    (36, TopicAlreadyExists, "TOPIC_ALREADY_EXISTS", "A topic with this name already exists."),
    (37, InvalidPartitions, "INVALID_PARTITIONS", "The number of partitions is below 1."),
    (38, InvalidReplicationFactor, "INVALID_REPLICATION_FACTOR", "The replication factor is below 1 or larger than the number of available brokers."),
    (39, InvalidReplicaAssignment, "INVALID_REPLICA_ASSIGNMENT", "The replica assignment is invalid."),
    (40, InvalidConfig, "INVALID_CONFIG", "The configuration is invalid."),
    (41, NotController, "NOT_CONTROLLER", "This is not the correct controller for this cluster."),
    (42, InvalidRequest, "INVALID_REQUEST", "The request is malformed, or lacks something that its version requires."),
    (43, UnsupportedForMessageFormat, "UNSUPPORTED_FOR_MESSAGE_FORMAT", "The message format on the broker does not support the request."),
    (44, PolicyViolation, "POLICY_VIOLATION", "The request violates a policy of the cluster."),
    (45, OutOfOrderSequenceNumber, "OUT_OF_ORDER_SEQUENCE_NUMBER", "The sequence number from the producer is out of order."),
    (46, DuplicateSequenceNumber, "DUPLICATE_SEQUENCE_NUMBER", "The sequence number from the producer was seen before."),
    (47, InvalidProducerEpoch, "INVALID_PRODUCER_EPOCH", "The producer's epoch is an old one."),
    (48, InvalidTxnState, "INVALID_TXN_STATE", "The state of the transaction does not allow this operation."),
    (49, InvalidProducerIdMapping, "INVALID_PRODUCER_ID_MAPPING", "The producer id is not the one assigned to this transactional id."),
    (50, InvalidTransactionTimeout, "INVALID_TRANSACTION_TIMEOUT", "The transaction timeout is larger than the broker allows (transaction.max.timeout.ms)."),
    (51, ConcurrentTransactions, "CONCURRENT_TRANSACTIONS", "Another operation on the same transaction is still under way."),
    (52, TransactionCoordinatorFenced, "TRANSACTION_COORDINATOR_FENCED", "The transaction coordinator is no longer the current one for this transactional id."),
    (53, TransactionalIdAuthorizationFailed, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "Transactional id authorization failed."),
    (54, SecurityDisabled, "SECURITY_DISABLED", "Security features are disabled."),
    (55, OperationNotAttempted, "OPERATION_NOT_ATTEMPTED", "The operation was not attempted, as another one of the same request failed."),
    (56, KafkaStorageError, "KAFKA_STORAGE_ERROR", "Disk error when accessing a log file."),
    (57, LogDirNotFound, "LOG_DIR_NOT_FOUND", "The log directory is not found."),
    (58, SaslAuthenticationFailed, "SASL_AUTHENTICATION_FAILED", "SASL authentication failed."),
    (59, UnknownProducerId, "UNKNOWN_PRODUCER_ID", "The broker has no state for this producer id."),
    (60, ReassignmentInProgress, "REASSIGNMENT_IN_PROGRESS", "A partition reassignment is in progress."),
    (61, DelegationTokenAuthDisabled, "DELEGATION_TOKEN_AUTH_DISABLED", "Delegation tokens are not enabled."),
    (62, DelegationTokenNotFound, "DELEGATION_TOKEN_NOT_FOUND", "The delegation token is not found."),
    (63, DelegationTokenOwnerMismatch, "DELEGATION_TOKEN_OWNER_MISMATCH", "The principal is neither owner nor renewer of the token."),
    (64, DelegationTokenRequestNotAllowed, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", "Delegation token requests are not allowed on this connection."),
    (65, DelegationTokenAuthorizationFailed, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", "Delegation token authorization failed."),
    (66, DelegationTokenExpired, "DELEGATION_TOKEN_EXPIRED", "The delegation token is expired."),
    (67, InvalidPrincipalType, "INVALID_PRINCIPAL_TYPE", "The principal type is not supported."),
    (68, NonEmptyGroup, "NON_EMPTY_GROUP", "The group is not empty."),
    (69, GroupIdNotFound, "GROUP_ID_NOT_FOUND", "The group id does not exist."),
    (70, FetchSessionIdNotFound, "FETCH_SESSION_ID_NOT_FOUND", "The fetch session is not found."),
    (71, InvalidFetchSessionEpoch, "INVALID_FETCH_SESSION_EPOCH", "The epoch of the fetch session is invalid."),
    (72, ListenerNotFound, "LISTENER_NOT_FOUND", "The leader has no listener that matches the one the request came in on."),
    (73, TopicDeletionDisabled, "TOPIC_DELETION_DISABLED", "Topic deletion is disabled."),
    (74, FencedLeaderEpoch, "FENCED_LEADER_EPOCH", "The leader epoch in the request is older than the broker's."),
    (75, UnknownLeaderEpoch, "UNKNOWN_LEADER_EPOCH", "The leader epoch in the request is newer than the broker's."),
    (76, UnsupportedCompressionType, "UNSUPPORTED_COMPRESSION_TYPE", "The compression type is not supported in this version."),
    (77, StaleBrokerEpoch, "STALE_BROKER_EPOCH", "The broker epoch is an old one."),
    (78, OffsetNotAvailable, "OFFSET_NOT_AVAILABLE", "The new leader's high watermark has not caught up, so the offset is not known yet."),
    (79, MemberIdRequired, "MEMBER_ID_REQUIRED", "The member must join again with the member id it was just given."),
    (80, PreferredLeaderNotAvailable, "PREFERRED_LEADER_NOT_AVAILABLE", "The preferred leader is not available."),
    (81, GroupMaxSizeReached, "GROUP_MAX_SIZE_REACHED", "The group has reached its maximum size."),
    (82, FencedInstanceId, "FENCED_INSTANCE_ID", "Another member with the same instance id has taken its place."),
    (83, EligibleLeadersNotAvailable, "ELIGIBLE_LEADERS_NOT_AVAILABLE", "No eligible leader is available."),
    (84, ElectionNotNeeded, "ELECTION_NOT_NEEDED", "No leader election is needed for this partition."),
    (85, NoReassignmentInProgress, "NO_REASSIGNMENT_IN_PROGRESS", "No partition reassignment is in progress."),
    (86, GroupSubscribedToTopic, "GROUP_SUBSCRIBED_TO_TOPIC", "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."),
    (87, InvalidRecord, "INVALID_RECORD", "The broker refused a record as invalid."),
    (88, UnstableOffsetCommit, "UNSTABLE_OFFSET_COMMIT", "There are offsets of a transaction that is not yet ended."),
    (89, ThrottlingQuotaExceeded, "THROTTLING_QUOTA_EXCEEDED", "The throttling quota has been exceeded."),
    (90, ProducerFenced, "PRODUCER_FENCED", "A newer producer with the same transactional id has fenced this one."),
    (91, ResourceNotFound, "RESOURCE_NOT_FOUND", "The resource is not found."),
    (92, DuplicateResource, "DUPLICATE_RESOURCE", "The resource appears twice in the request."),
    (93, UnacceptableCredential, "UNACCEPTABLE_CREDENTIAL", "The credential does not meet the criteria for acceptability."),
    (94, InconsistentVoterSet, "INCONSISTENT_VOTER_SET", "The sender or the receiver is not among the expected voters."),
    (95, InvalidUpdateVersion, "INVALID_UPDATE_VERSION", "The update version is invalid."),
    (96, FeatureUpdateFailed, "FEATURE_UPDATE_FAILED", "Features could not be updated because of an unexpected error."),
    (97, PrincipalDeserializationFailure, "PRINCIPAL_DESERIALIZATION_FAILURE", "The principal of a forwarded request cannot be read."),
    (98, SnapshotNotFound, "SNAPSHOT_NOT_FOUND", "The snapshot is not found."),
    (99, PositionOutOfRange, "POSITION_OUT_OF_RANGE", "The position lies outside of the snapshot."),
    (100, UnknownTopicId, "UNKNOWN_TOPIC_ID", "This server does not host this topic id."),
    (101, DuplicateBrokerRegistration, "DUPLICATE_BROKER_REGISTRATION", "The broker id is already in use."),
    (102, BrokerIdNotRegistered, "BROKER_ID_NOT_REGISTERED", "The broker id is not registered."),
    (103, InconsistentTopicId, "INCONSISTENT_TOPIC_ID", "The log's topic id does not match that of the request."),
    (104, InconsistentClusterId, "INCONSISTENT_CLUSTER_ID", "The cluster id in the request is not that of this server."),
    (105, TransactionalIdNotFound, "TRANSACTIONAL_ID_NOT_FOUND", "The transactional id is not found."),
    (106, FetchSessionTopicIdError, "FETCH_SESSION_TOPIC_ID_ERROR", "The fetch session mixes topic ids and topic names."),
    (107, IneligibleReplica, "INELIGIBLE_REPLICA", "The new in-sync set contains a replica that is not eligible."),
    (108, NewLeaderElected, "NEW_LEADER_ELECTED", "The change completed the election of another leader, so the request had no effect."),
    (109, OffsetMovedToTieredStorage, "OFFSET_MOVED_TO_TIERED_STORAGE", "The requested offset has moved to tiered storage."),
    (110, FencedMemberEpoch, "FENCED_MEMBER_EPOCH", "The member's epoch is fenced, so it must abandon its partitions and rejoin."),
    (111, UnreleasedInstanceId, "UNRELEASED_INSTANCE_ID", "The instance id is still used by another member, which must leave first."),
    (112, UnsupportedAssignor, "UNSUPPORTED_ASSIGNOR", "The assignor, or its version range, is not supported by the group."),
    (113, StaleMemberEpoch, "STALE_MEMBER_EPOCH", "The member's epoch is an old one, so it must retry with its new one."),
    (114, MismatchedEndpointType, "MISMATCHED_ENDPOINT_TYPE", "The request was sent to an endpoint of the wrong type."),
    (115, UnsupportedEndpointType, "UNSUPPORTED_ENDPOINT_TYPE", "The endpoint type is not supported."),
    (116, UnknownControllerId, "UNKNOWN_CONTROLLER_ID", "The controller id is not known."),
    (117, UnknownSubscriptionId, "UNKNOWN_SUBSCRIPTION_ID", "The subscription id of the client's metrics is not the current one."),
    (118, TelemetryTooLarge, "TELEMETRY_TOO_LARGE", "The client's metrics are larger than the broker accepts."),
    (119, InvalidRegistration, "INVALID_REGISTRATION", "The controller considers the broker registration invalid."),
    (120, TransactionAbortable, "TRANSACTION_ABORTABLE", "The transaction met an error and can only be aborted."),
    (121, InvalidRecordState, "INVALID_RECORD_STATE", "The record is not in a state that allows this acknowledgement."),
    (122, ShareSessionNotFound, "SHARE_SESSION_NOT_FOUND", "The share session is not found."),
    (123, InvalidShareSessionEpoch, "INVALID_SHARE_SESSION_EPOCH", "The epoch of the share session is invalid."),
    (124, FencedStateEpoch, "FENCED_STATE_EPOCH", "The share coordinator's state epoch does not match."),
    (125, InvalidVoterKey, "INVALID_VOTER_KEY", "The voter key does not match that of the receiver."),
    (126, DuplicateVoter, "DUPLICATE_VOTER", "The voter is already one of the voters."),
    (127, VoterNotFound, "VOTER_NOT_FOUND", "The voter is not one of the voters."),
    (128, InvalidRegularExpression, "INVALID_REGULAR_EXPRESSION", "The regular expression is not valid."),
    (129, RebootstrapRequired, "REBOOTSTRAP_REQUIRED", "The client's metadata is stale, so it should bootstrap again."),
    (130, StreamsInvalidTopology, "STREAMS_INVALID_TOPOLOGY", "The topology is invalid."),
    (131, StreamsInvalidTopologyEpoch, "STREAMS_INVALID_TOPOLOGY_EPOCH", "The topology epoch is invalid."),
    (132, StreamsTopologyFenced, "STREAMS_TOPOLOGY_FENCED", "The topology epoch is an old one."),
    (133, ShareSessionLimitReached, "SHARE_SESSION_LIMIT_REACHED", "The limit of share sessions is reached."),
    (134, GroupDeletionFailed, "GROUP_DELETION_FAILED", "The group could not be deleted."),
    (135, StreamsTopologyDescriptionUpdateFailed, "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", "The description of the topology could not be stored."),
    (136, ControllerIdNotRegistered, "CONTROLLER_ID_NOT_REGISTERED", "The controller id is not registered."),
}

impl ErrorCode {
    /// Returns whether a client may try the same request again, perhaps elsewhere, and succeed
    /// (`RetriableException`).
    pub const fn is_retriable(self) -> bool {
        use ErrorCode::*;
        matches!(
            self,
            CorruptMessage
                | UnknownTopicOrPartition
                | LeaderNotAvailable
                | NotLeaderOrFollower
                | RequestTimedOut
                | ReplicaNotAvailable
                | NetworkException
                | CoordinatorLoadInProgress
                | CoordinatorNotAvailable
                | NotCoordinator
                | NotEnoughReplicas
                | NotEnoughReplicasAfterAppend
                | NotController
                | ConcurrentTransactions
                | KafkaStorageError
                | FetchSessionIdNotFound
                | InvalidFetchSessionEpoch
                | ListenerNotFound
                | FencedLeaderEpoch
                | UnknownLeaderEpoch
                | OffsetNotAvailable
                | PreferredLeaderNotAvailable
                | EligibleLeadersNotAvailable
                | ElectionNotNeeded
                | UnstableOffsetCommit
                | ThrottlingQuotaExceeded
                | UnknownTopicId
                | InconsistentTopicId
                | FetchSessionTopicIdError
                | ShareSessionNotFound
                | InvalidShareSessionEpoch
                | ShareSessionLimitReached
        )
    }

    /// Returns whether a client should refresh its metadata, or look for the coordinator, before it tries
    /// again (`RefreshRetriableException`).
    pub const fn is_refreshing(self) -> bool {
        use ErrorCode::*;
        matches!(
            self,
            UnknownTopicOrPartition
                | LeaderNotAvailable
                | NotLeaderOrFollower
                | ReplicaNotAvailable
                | NetworkException
                | CoordinatorNotAvailable
                | NotCoordinator
                | KafkaStorageError
                | ListenerNotFound
                | FencedLeaderEpoch
                | PreferredLeaderNotAvailable
                | EligibleLeadersNotAvailable
                | ElectionNotNeeded
                | UnknownTopicId
                | InconsistentTopicId
        )
    }

    /// Returns whether this is an error at all.
    pub const fn is_error(self) -> bool {
        !matches!(self, ErrorCode::None)
    }
}

/// As clients do: an unknown code is [`ErrorCode::UnknownServerError`].
impl From<i16> for ErrorCode {
    fn from(code: i16) -> ErrorCode {
        let index = usize::try_from(i32::from(code) + 1).ok();
        index.and_then(|index| ErrorCode::ALL.get(index).copied()).unwrap_or(ErrorCode::UnknownServerError)
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> i16 {
        error as i16
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_run_from_minus_one_to_136_without_a_gap() {
        for (index, error) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(i16::from(*error), index as i16 - 1, "{error}");
            assert_eq!(ErrorCode::from(i16::from(*error)), *error);
        }
        assert_eq!(ErrorCode::ALL.len(), 138);
    }

    #[test]
    fn a_code_of_the_future_is_an_unknown_error() {
        for code in [-2, 137, i16::MIN, i16::MAX] {
            assert_eq!(ErrorCode::from(code), ErrorCode::UnknownServerError);
        }
    }

    #[test]
    fn every_error_but_none_has_something_to_say() {
        for error in ErrorCode::ALL {
            assert_eq!(error.message().is_empty(), *error == ErrorCode::None, "{error}");
        }
    }

    #[test]
    fn what_refreshes_is_retriable() {
        assert!(ErrorCode::NotLeaderOrFollower.is_refreshing());
        assert!(!ErrorCode::InvalidRequest.is_retriable());
        assert!(ErrorCode::ALL.iter().all(|error| error.is_retriable() || !error.is_refreshing()));
    }
}
