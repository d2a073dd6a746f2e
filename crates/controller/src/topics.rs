//! Topics are created, enlarged and deleted.

use crate::assignment::Assignment;
use crate::controller::{Controller, PARTITIONS_PER_REQUEST_MAX};
use crate::message;
use crate::placement;
use ottla_metadata::partition::nodes;
use ottla_metadata::topic_config::{self, InvalidConfig, Owner, TopicConfigDef};
use ottla_metadata::{ConfigResource, LeaderRecoveryState, PartitionRegistration, TopicImage, broker_config};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use ottla_protocol::records::metadata::{ConfigRecord, MetadataRecord, RemoveTopicRecord, TopicRecord};
use ottla_types::{Decision, LeaderEpoch, NodeId, PartitionEpoch, Uuid, repeated, validate_topic_name};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An error code and the sentence that goes with it.
pub(crate) type Refusal = (ErrorCode, String);

/// `ConfigSource` in responses: set on the topic.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;
/// `ConfigSource` in responses: set for one broker while it runs.
const DYNAMIC_BROKER_CONFIG: i8 = 2;
/// `ConfigSource` in responses: set for all brokers while they run.
const DYNAMIC_DEFAULT_BROKER_CONFIG: i8 = 3;
/// `ConfigSource` in responses: set in the node's file.
const STATIC_BROKER_CONFIG: i8 = 4;
/// `ConfigSource` in responses: nothing sets it.
const DEFAULT_CONFIG: i8 = 5;

impl Controller {
    /// Creates topics; each succeeds or fails on its own.
    pub fn handle_create_topics(
        &mut self,
        request: &CreateTopicsRequest,
        owner: Owner,
    ) -> Decision<MetadataRecord, CreateTopicsResponse> {
        let mut records = Vec::new();
        let mut response = CreateTopicsResponse::default();
        let mut planned = BTreeSet::new();
        let mut partition_count = 0;
        let repeated = repeated(request.topics.iter().map(|topic| &topic.name));
        for topic in &request.topics {
            if repeated.contains(&topic.name) {
                if planned.insert(topic.name.clone()) {
                    let refusal = (ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned());
                    response.topics.push(refused(&topic.name, refusal));
                }
                continue;
            }
            match self.plan_topic(topic, owner, &planned, &mut partition_count) {
                Ok((topic_records, result)) => {
                    planned.insert(topic.name.clone());
                    records.extend(topic_records);
                    response.topics.push(result);
                }
                Err(refusal) => response.topics.push(refused(&topic.name, refusal)),
            }
        }
        if request.validate_only {
            records.clear();
        }
        Decision::write(records, response)
    }

    /// Deletes topics, by name or by id; each succeeds or fails on its own.
    pub fn handle_delete_topics(
        &mut self,
        request: &DeleteTopicsRequest,
    ) -> Decision<MetadataRecord, DeleteTopicsResponse> {
        let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO));
        let by_state = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
        let asked: Vec<(Option<String>, Uuid)> = by_name.chain(by_state).collect();
        let mut records = Vec::new();
        let mut response = DeleteTopicsResponse::default();
        let mut seen = BTreeSet::new();
        let mut named = BTreeSet::new();
        let repeated = repeated(&asked);
        for one @ (name, topic_id) in &asked {
            // What is named twice is refused, and answered once.
            if !named.insert(one) {
                continue;
            }
            let is_repeated = repeated.contains(one);
            let (name, topic_id) = (name.clone(), *topic_id);
            let found = if is_repeated && (name.is_some() || !topic_id.is_zero()) {
                let what = if name.is_some() { "name" } else { "id" };
                Err((ErrorCode::InvalidRequest, format!("Duplicate topic {what}.")))
            } else {
                self.find_topic_to_delete(name.as_deref(), topic_id)
            };
            let found = found.and_then(|topic| {
                if seen.insert(topic.id) {
                    Ok(topic)
                } else {
                    Err((ErrorCode::InvalidRequest, "Duplicate topic.".to_owned()))
                }
            });
            response.responses.push(match found {
                Ok(topic) => {
                    records.push(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: topic.id }));
                    DeletableTopicResult {
                        name: Some(topic.name.clone()),
                        topic_id: topic.id,
                        ..Default::default()
                    }
                }
                Err((error, message)) => DeletableTopicResult {
                    name,
                    topic_id,
                    error_code: error.code(),
                    error_message: Some(message),
                },
            });
        }
        Decision::write(records, response)
    }

    /// Adds partitions to topics; each succeeds or fails on its own.
    pub fn handle_create_partitions(
        &mut self,
        request: &CreatePartitionsRequest,
    ) -> Decision<MetadataRecord, CreatePartitionsResponse> {
        let mut records = Vec::new();
        let mut response = CreatePartitionsResponse::default();
        let repeated = repeated(request.topics.iter().map(|topic| &topic.name));
        let mut named = BTreeSet::new();
        for topic in &request.topics {
            // What is named twice is refused, and answered once.
            if !named.insert(&topic.name) {
                continue;
            }
            let planned = if repeated.contains(&topic.name) {
                Err((ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned()))
            } else {
                self.plan_partitions(topic)
            };
            let (error_code, error_message) = match planned {
                Ok(planned) => {
                    records.extend(planned);
                    (ErrorCode::None.code(), None)
                }
                Err((error, message)) => (error.code(), Some(message)),
            };
            let name = topic.name.clone();
            response.results.push(CreatePartitionsTopicResult { name, error_code, error_message });
        }
        if request.validate_only {
            records.clear();
        }
        Decision::write(records, response)
    }

    fn plan_topic(
        &mut self,
        topic: &CreatableTopic,
        owner: Owner,
        planned: &BTreeSet<String>,
        partition_count: &mut i64,
    ) -> Result<(Vec<MetadataRecord>, CreatableTopicResult), Refusal> {
        self.check_new_name(&topic.name, planned)?;
        for config in &topic.configs {
            let value = config.value.as_deref().ok_or_else(|| {
                (
                    ErrorCode::InvalidConfig,
                    format!("Null value not supported for topic configs: {}", config.name),
                )
            })?;
            topic_config::validate(&config.name, value, owner).map_err(invalid_config)?;
        }
        self.check_together(|name| own_config(topic, name))?;
        let placements = if topic.assignments.is_empty() {
            self.automatic_placement(topic)?
        } else {
            self.manual_placement(topic)?
        };
        *partition_count += placements.len() as i64;
        if *partition_count > PARTITIONS_PER_REQUEST_MAX {
            return Err((
                ErrorCode::PolicyViolation,
                format!(
                    "Excessively large number of partitions per request, at most {PARTITIONS_PER_REQUEST_MAX}."
                ),
            ));
        }
        let id = self.random.uuid();
        let mut records = vec![MetadataRecord::Topic(TopicRecord { name: topic.name.clone(), topic_id: id })];
        let result = CreatableTopicResult {
            name: topic.name.clone(),
            topic_id: id,
            num_partitions: i32::try_from(placements.len()).expect("bounded by the partitions per request"),
            replication_factor: i16::try_from(placements[0].len()).expect("bounded by the brokers"),
            configs: Some(self.described_configs(topic)),
            error_message: None,
            ..Default::default()
        };
        records.extend(topic.configs.iter().map(|config| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: ottla_metadata::ResourceType::Topic.to_wire(),
                resource_name: topic.name.clone(),
                name: config.name.clone(),
                value: config.value.clone(),
            })
        }));
        for (number, replicas) in (0..).zip(placements) {
            records.push(self.new_partition(id, number, replicas));
        }
        Ok((records, result))
    }

    fn check_new_name(&self, name: &str, planned: &BTreeSet<String>) -> Result<(), Refusal> {
        validate_topic_name(name).map_err(|e| (ErrorCode::InvalidTopicException, e.to_string()))?;
        if self.image.topics.by_name(name).is_some() {
            return Err((ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        // Metrics spell '.' as '_': two names that differ only so would share theirs.
        let spelled = name.replace('.', "_");
        let existing = self.image.topics.iter().map(|topic| &topic.name).chain(planned);
        for other in existing {
            if other.replace('.', "_") == spelled && (other.contains(['.', '_']) || name.contains(['.', '_']))
            {
                return Err((
                    ErrorCode::InvalidTopicException,
                    format!("Topic '{name}' collides with existing topic: {other}"),
                ));
            }
        }
        Ok(())
    }

    fn automatic_placement(&mut self, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, Refusal> {
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            return Err((
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.".to_owned(),
            ));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            return Err((
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.".to_owned(),
            ));
        }
        let count =
            if topic.num_partitions < 0 { self.settings.num_partitions } else { topic.num_partitions };
        let factor = if topic.replication_factor < 0 {
            self.settings.default_replication_factor
        } else {
            topic.replication_factor
        };
        if i64::from(count) > PARTITIONS_PER_REQUEST_MAX {
            return Err((
                ErrorCode::PolicyViolation,
                format!(
                    "Excessively large number of partitions per request, at most {PARTITIONS_PER_REQUEST_MAX}."
                ),
            ));
        }
        let (count, factor) = (count.unsigned_abs() as usize, usize::from(factor.unsigned_abs()));
        placement::place(&self.image.cluster, count, factor, &mut self.random).map_err(|error| {
            (
                ErrorCode::InvalidReplicationFactor,
                format!("Unable to replicate the partition {factor} time(s): {error}"),
            )
        })
    }

    fn manual_placement(&self, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, Refusal> {
        let invalid = |message: String| Err((ErrorCode::InvalidReplicaAssignment, message));
        if topic.replication_factor != -1 {
            return Err((
                ErrorCode::InvalidRequest,
                "A manual partition assignment was specified, but replication factor was not set to -1."
                    .to_owned(),
            ));
        }
        if topic.num_partitions != -1 {
            return Err((
                ErrorCode::InvalidRequest,
                "A manual partition assignment was specified, but numPartitions was not set to -1."
                    .to_owned(),
            ));
        }
        let mut assignments = topic.assignments.iter().collect::<Vec<_>>();
        assignments.sort_by_key(|assignment| assignment.partition_index);
        let mut placements: Vec<Vec<NodeId>> = Vec::new();
        for (expected, assignment) in (0..).zip(assignments) {
            if assignment.partition_index == expected - 1 {
                return invalid(format!(
                    "Found multiple manual partition assignments for partition {}",
                    assignment.partition_index
                ));
            }
            if assignment.partition_index != expected {
                return invalid("partitions should be a consecutive 0-based integer sequence".to_owned());
            }
            let replicas = nodes(&assignment.broker_ids);
            self.check_assignment(&replicas)?;
            if placements.first().is_some_and(|first| first.len() != replicas.len()) {
                return invalid(format!(
                    "The manual partition assignment includes partition {expected} with {} replica(s), but \
                     this is not consistent with previous partitions, which have {} replica(s).",
                    replicas.len(),
                    placements[0].len()
                ));
            }
            placements.push(replicas);
        }
        Ok(placements)
    }

    /// Checks the replicas of one manual assignment.
    pub(crate) fn check_assignment(&self, replicas: &[NodeId]) -> Result<(), Refusal> {
        let invalid = |message: String| Err((ErrorCode::InvalidReplicaAssignment, message));
        self.check_replicas(replicas)?;
        if !replicas.iter().any(|&replica| self.image.cluster.is_active(replica)) {
            return invalid("All brokers specified in the manual partition assignment are fenced or in controlled shutdown.".to_owned());
        }
        Ok(())
    }

    /// Checks that replicas can be: different brokers, and registered.
    pub(crate) fn check_replicas(&self, replicas: &[NodeId]) -> Result<(), Refusal> {
        let invalid = |message: String| Err((ErrorCode::InvalidReplicaAssignment, message));
        if replicas.is_empty() {
            return invalid("The manual partition assignment includes an empty replica list.".to_owned());
        }
        for (i, replica) in replicas.iter().enumerate() {
            if replicas[..i].contains(replica) {
                return invalid(format!(
                    "The manual partition assignment includes the broker {replica} more than once."
                ));
            }
            if self.image.cluster.broker(*replica).is_none() {
                return invalid(format!(
                    "The manual partition assignment includes broker {replica}, but no such broker is registered."
                ));
            }
        }
        Ok(())
    }

    /// Where a broker will hold a new replica: in its only directory; which of several, it says itself.
    pub(crate) fn default_directory(&self, node: NodeId) -> Uuid {
        match self.image.cluster.broker(node).map(|broker| broker.directories.as_slice()) {
            Some([only]) => *only,
            _ => Uuid::UNASSIGNED_DIR,
        }
    }

    /// A partition whose in-sync set is what of its replicas is active.
    fn new_partition(&self, topic_id: Uuid, number: i32, replicas: Vec<NodeId>) -> MetadataRecord {
        let cluster = &self.image.cluster;
        let isr: Vec<NodeId> = replicas.iter().copied().filter(|&node| cluster.is_active(node)).collect();
        let leader = isr.first().copied();
        assert!(leader.is_some(), "ISR-1: placement puts an active broker into every partition");
        let directories = replicas.iter().map(|&node| self.default_directory(node)).collect();
        let registration = PartitionRegistration {
            replicas,
            directories,
            isr,
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            eligible_leader_replicas: Vec::new(),
            last_known_elr: Vec::new(),
            leader,
            leader_recovery_state: LeaderRecoveryState::Recovered,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        };
        MetadataRecord::Partition(registration.to_record(topic_id, number))
    }

    fn find_topic_to_delete(&self, name: Option<&str>, topic_id: Uuid) -> Result<Arc<TopicImage>, Refusal> {
        if !self.settings.delete_topic_enable {
            return Err((ErrorCode::TopicDeletionDisabled, "Topic deletion is disabled.".to_owned()));
        }
        let (found, error) = match name {
            Some(_) if !topic_id.is_zero() => {
                return Err((
                    ErrorCode::InvalidRequest,
                    "You may not specify both topic name and topic id.".to_owned(),
                ));
            }
            Some(name) => (self.image.topics.by_name(name), ErrorCode::UnknownTopicOrPartition),
            None if topic_id.is_zero() => {
                return Err((
                    ErrorCode::InvalidRequest,
                    "Neither topic name nor id were specified.".to_owned(),
                ));
            }
            None => (self.image.topics.by_id(topic_id), ErrorCode::UnknownTopicId),
        };
        found.cloned().ok_or_else(|| (error, error.message().to_owned()))
    }

    fn plan_partitions(&mut self, topic: &CreatePartitionsTopic) -> Result<Vec<MetadataRecord>, Refusal> {
        let existing = self.image.topics.by_name(&topic.name).cloned().ok_or_else(|| {
            let error = ErrorCode::UnknownTopicOrPartition;
            (error, error.message().to_owned())
        })?;
        let invalid = |message: String| Err((ErrorCode::InvalidPartitions, message));
        let old_count = i32::try_from(existing.partitions.len()).expect("partition numbers are i32");
        if topic.count == old_count {
            return invalid(format!("Topic already has {old_count} partition(s)."));
        }
        if topic.count < old_count {
            return invalid(format!(
                "The topic {} currently has {old_count} partition(s); {} would not be an increase.",
                topic.name, topic.count
            ));
        }
        let added = (topic.count - old_count) as usize;
        if added as i64 > PARTITIONS_PER_REQUEST_MAX {
            return Err((
                ErrorCode::PolicyViolation,
                format!(
                    "Excessively large number of partitions per request, at most {PARTITIONS_PER_REQUEST_MAX}."
                ),
            ));
        }
        // What is to be: a new partition has no use for those that a reassignment takes away from the others.
        let factor = existing.partitions.values().next().map_or(1, |p| Assignment::of(p).target().len());
        let placements = match &topic.assignments {
            Some(assignments) => {
                if assignments.len() != added {
                    return Err((
                        ErrorCode::InvalidReplicaAssignment,
                        format!(
                            "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                            assignments.len()
                        ),
                    ));
                }
                let mut placements = Vec::new();
                for assignment in assignments {
                    let replicas = nodes(&assignment.broker_ids);
                    self.check_assignment(&replicas)?;
                    if replicas.len() != factor {
                        return Err((
                            ErrorCode::InvalidReplicaAssignment,
                            format!(
                                "The manual partition assignment has {} replica(s), but the topic has {factor}.",
                                replicas.len()
                            ),
                        ));
                    }
                    placements.push(replicas);
                }
                placements
            }
            None => {
                placement::place(&self.image.cluster, added, factor, &mut self.random).map_err(|error| {
                    (
                        ErrorCode::InvalidReplicationFactor,
                        format!("Unable to replicate the partition {factor} time(s): {error}"),
                    )
                })?
            }
        };
        Ok((old_count..)
            .zip(placements)
            .map(|(number, replicas)| self.new_partition(existing.id, number, replicas))
            .collect())
    }
}

fn refused(name: &str, (error, message): Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        error_code: error.code(),
        error_message: Some(message::cut(message)),
        // The Java client fails on null configs next to a partition count; −1 tells it there are none.
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

/// Why a configuration is refused.
pub(crate) fn invalid_config(why: InvalidConfig) -> Refusal {
    (ErrorCode::InvalidConfig, why.to_string())
}

/// What a new topic sets itself. Of what is named twice the last counts.
fn own_config<'a>(topic: &'a CreatableTopic, name: &str) -> Option<&'a str> {
    topic.configs.iter().rfind(|config| config.name == name)?.value.as_deref()
}

impl Controller {
    /// Checks what a topic's configurations say together; where it sets nothing, this node's file counts, as with Kafka's controllers.
    pub(crate) fn check_together<'a>(&'a self, own: impl Fn(&str) -> Option<&'a str>) -> Result<(), Refusal> {
        let of_file = |name: &str| self.settings.topic_defaults.get(name).map(String::as_str);
        topic_config::validate_together(|name| own(name).or_else(|| of_file(name))).map_err(invalid_config)
    }

    /// The new topic's configuration as CreateTopics v5+ reports it: what it sets, or else what is set for this node, for all brokers, or
    /// what this node's file has, as Kafka's controllers do.
    fn described_configs(&self, topic: &CreatableTopic) -> Vec<CreatableTopicConfigs> {
        let (this_node, all_brokers) =
            (ConfigResource::broker(self.settings.node_id), ConfigResource::cluster());
        let described = |def: &TopicConfigDef| {
            let set_for = |brokers| broker_config::value(&self.image.configs, brokers, def.synonyms.first()?);
            let of_file = || self.settings.topic_defaults.get(def.name).map(String::as_str);
            let (value, config_source) = own_config(topic, def.name)
                .map(|value| (value, DYNAMIC_TOPIC_CONFIG))
                .or_else(|| Some((set_for(&this_node)?, DYNAMIC_BROKER_CONFIG)))
                .or_else(|| Some((set_for(&all_brokers)?, DYNAMIC_DEFAULT_BROKER_CONFIG)))
                .or_else(|| Some((of_file()?, STATIC_BROKER_CONFIG)))
                .unwrap_or((def.default, DEFAULT_CONFIG));
            CreatableTopicConfigs {
                name: def.name.to_owned(),
                value: Some(value.to_owned()),
                read_only: false,
                config_source,
                is_sensitive: false,
            }
        };
        topic_config::TOPIC_CONFIGS.iter().map(described).collect()
    }
}

#[cfg(test)]
mod tests;
