//! Requests that are well formed, and get as far as they can: they name what is there on both sides.

use super::chance::Chance;
use super::codec::{Name, Value, default};
use super::records;
use crate::codegen::schema::{Api, Field, Message, Struct, Type};

/// A topic of three partitions with a few records, one that is compacted, and names of topics that come and go.
pub(super) const TOPIC: &str = "mutants-a";
pub(super) const COMPACTED: &str = "mutants-compacted";
pub(super) const PASSING: [&str; 3] = ["mutants-new", "mutants-newer", "mutants-newest"];

/// What there is besides topics. Each round has its own, for the last round's may be in any state.
#[derive(Clone, Debug, Default)]
pub(super) struct Round(pub(super) u64);

impl Round {
    /// A group of the classic protocol with one member.
    pub(super) fn live(&self) -> String {
        format!("mutants-live-{}", self.0)
    }

    /// A group of offsets without members.
    pub(super) fn empty(&self) -> String {
        format!("mutants-empty-{}", self.0)
    }

    /// A group of the protocol of KIP-848 with one member.
    pub(super) fn consumer(&self) -> String {
        format!("mutants-consumer-{}", self.0)
    }

    pub(super) fn transactional_id(&self) -> String {
        format!("mutants-txn-{}", self.0)
    }
}

/// Makes requests of one API.
pub(super) struct Maker<'a> {
    pub(super) api: &'a Api,
    pub(super) version: i16,
    pub(super) round: &'a Round,
    /// Which group it is about.
    group: String,
}

impl<'a> Maker<'a> {
    pub(super) fn new(api: &'a Api, version: i16, round: &'a Round, chance: &mut Chance) -> Maker<'a> {
        let about_consumers = api.name.starts_with("ConsumerGroup");
        let consumer = about_consumers || chance.is(if api.name.starts_with("Offset") { 30 } else { 5 });
        let group = match api.name.as_str() {
            "DeleteGroups" | "OffsetDelete" => round.empty(),
            _ if consumer => round.consumer(),
            _ if chance.is(25) => round.empty(),
            _ => round.live(),
        };
        Maker { api, version, round, group }
    }

    /// A request.
    pub(super) fn request(&self, chance: &mut Chance) -> Value {
        self.structure(&self.api.request, &self.api.request.main, chance)
    }

    fn structure(&self, message: &Message, structure: &Struct, chance: &mut Chance) -> Value {
        let mut fields = Vec::new();
        for field in structure.fields.iter().filter(|f| f.versions.contains(self.version)) {
            if field.tag.is_none() || chance.is(30) {
                fields.push((field.name.clone(), self.field(message, structure, field, chance)));
            }
        }
        Value::Struct(fields)
    }

    fn field(&self, message: &Message, structure: &Struct, field: &Field, chance: &mut Chance) -> Value {
        match &field.ty {
            Type::Struct(_) if field.nullable.is_some() => Value::Null,
            Type::Struct(name) => self.inner(message, name, chance),
            Type::Array(element) => match (element.as_ref(), field.name.as_str()) {
                (
                    _,
                    "ForgottenTopicsData"
                    | "StatesFilter"
                    | "TypesFilter"
                    | "StateFilters"
                    | "ProducerIdFilters",
                ) => Value::List(Vec::new()),
                (Type::Struct(_), "TopicPartitions") if self.api.name == "ConsumerGroupHeartbeat" => {
                    if chance.is(50) { Value::Null } else { Value::List(Vec::new()) }
                }
                (Type::Struct(_), "Assignments") if self.api.name.starts_with("Create") => {
                    if field.nullable.is_some() { Value::Null } else { Value::List(Vec::new()) }
                }
                (Type::Struct(name), _) => Value::List(vec![self.inner(message, name, chance)]),
                (element, _) => Value::List(vec![self.leaf(structure, field, element, chance)]),
            },
            ty => self.leaf(structure, field, ty, chance),
        }
    }

    fn inner(&self, message: &Message, name: &str, chance: &mut Chance) -> Value {
        message.inner(name).map_or(Value::Null, |inner| self.structure(message, inner, chance))
    }

    fn leaf(&self, structure: &Struct, field: &Field, ty: &Type, chance: &mut Chance) -> Value {
        match ty {
            Type::String => self.text(structure, field, chance),
            Type::Records => Value::Named(Name::Batch(chance.below(records::GOOD)), 0),
            Type::Bytes if field.name == "Metadata" => Value::Blob(subscription()),
            Type::Bytes => Value::Blob(vec![0; 10]),
            Type::Uuid => match (self.api.name.as_str(), field.name.as_str()) {
                // What has a name needs no id, and the topics that are there stay.
                ("DeleteTopics", _) => Value::Uuid([0; 16]),
                ("Metadata", _) if chance.is(60) => Value::Uuid([0; 16]),
                (_, "TopicId") => Value::Named(Name::TopicId(TOPIC.to_owned()), 0),
                _ => Value::Uuid([0; 16]),
            },
            _ => self.number(structure, field, chance),
        }
    }

    fn text(&self, structure: &Struct, field: &Field, chance: &mut Chance) -> Value {
        let text =
            match (self.api.name.as_str(), field.name.as_str()) {
                ("JoinGroup", "Name") | ("SyncGroup", "ProtocolName") => "range",
                (_, "ProtocolType") => "consumer",
                ("CreateTopics", "Name") if structure.name.contains("Config") => {
                    *chance.pick(&["retention.ms", "max.message.bytes", "segment.bytes"])
                }
                ("CreateTopics" | "CreatePartitions", "Name") | ("DeleteTopics", _) => chance.pick(&PASSING),
                ("AlterConfigs" | "IncrementalAlterConfigs", "Name") | (_, "ConfigurationKeys") => {
                    *chance.pick(&["retention.ms", "max.message.bytes", "min.insync.replicas"])
                }
                ("AddRaftVoter" | "UpdateRaftVoter", "Name") => "CONTROLLER",
                ("BrokerRegistration" | "ControllerRegistration", "Name")
                    if structure.name.contains("Feature") =>
                {
                    "metadata.version"
                }
                ("BrokerRegistration" | "ControllerRegistration", "Name") => "CONTROLLER",
                (_, "Value") => *chance.pick(&["1000000", "2097152"]),
                (_, "Name" | "Topic" | "TopicName" | "SubscribedTopicNames" | "TopicNames") => {
                    if chance.is(10) { COMPACTED } else { TOPIC }
                }
                ("AlterConfigs" | "IncrementalAlterConfigs", "ResourceName") => PASSING[0],
                (_, "ResourceName") => TOPIC,
                (_, "GroupId" | "GroupIds" | "Groups" | "GroupsNames" | "Key" | "CoordinatorKeys") => {
                    &self.group
                }
                (_, "MemberId") => return Value::Named(Name::Member(self.group.clone()), 0),
                ("Produce", "TransactionalId") => return Value::Null,
                (_, "TransactionalId" | "TransactionalIds" | "V3AndBelowTransactionalId") => {
                    return Value::text(&self.round.transactional_id());
                }
                (_, "ClusterId") if chance.is(50) => return Value::Named(Name::ClusterId, 0),
                (_, "ClientSoftwareName") => "mutants",
                (_, "ClientSoftwareVersion") => "1.0",
                (_, "Feature") => "metadata.version",
                (_, "Path") => "/nowhere",
                (_, "Host") => "localhost",
                _ if field.nullable.is_some() => return Value::Null,
                _ => "",
            };
        Value::text(text)
    }

    fn number(&self, structure: &Struct, field: &Field, chance: &mut Chance) -> Value {
        Value::Int(match (self.api.name.as_str(), field.name.as_str()) {
            (
                "OffsetCommit" | "TxnOffsetCommit" | "OffsetFetch",
                "GenerationIdOrMemberEpoch" | "MemberEpoch",
            )
            | (_, "GenerationId")
            | ("ConsumerGroupHeartbeat", "MemberEpoch") => {
                return Value::Named(Name::Generation(self.group.clone()), 0);
            }
            (_, "ProducerId" | "V3AndBelowProducerId")
                if self.api.name != "InitProducerId" || chance.is(40) =>
            {
                return Value::Named(Name::ProducerId, 0);
            }
            (_, "ProducerEpoch" | "V3AndBelowProducerEpoch")
                if self.api.name != "InitProducerId" || chance.is(40) =>
            {
                return Value::Named(Name::ProducerEpoch, 0);
            }
            (_, "NumPartitions" | "ReplicationFactor" | "BrokerIds" | "Replicas") => 1,
            (_, "Count") => 2,
            (_, "Acks") => *chance.pick(&[-1, 1, -1, 1, 0]),
            (_, "TimeoutMs" | "timeoutMs") => 1_000,
            (_, "MaxWaitMs") => 10,
            (_, "MaxBytes" | "PartitionMaxBytes") => 1 << 20,
            (_, "SessionTimeoutMs") => 30_000,
            (_, "RebalanceTimeoutMs" | "TransactionTimeoutMs") => 60_000,
            (_, "ResourceType" | "ResourceTypes") => 2,
            (_, "MaxVersionLevel") => 33,
            // A heartbeat with which it is unfenced would have partitions placed on it.
            (api, "BrokerEpoch") if api != "BrokerHeartbeat" => return Value::Named(Name::BrokerEpoch, 0),
            (_, "BrokerId" | "VoterId" | "ControllerId") => i64::from(BROKER),
            (_, "Port") => 9092,
            (_, "MinSupportedVersion") => 1,
            (_, "MaxSupportedVersion") => 33,
            (_, "ReplicaId") if structure.name != "ReplicaState" => -1,
            (_, "Timestamp") => *chance.pick(&[-1, -2, -3, 0, 1]),
            (_, "FetchOffset" | "Offset" | "CommittedOffset") => *chance.pick(&[0, 1, 3]),
            (_, "ResponsePartitionLimit") => 100,
            (_, "ElectionType") => 0,
            ("ConsumerGroupHeartbeat", "Partitions") => 0,
            _ => match default(field) {
                Value::Int(number) => number,
                _ => 0,
            },
        })
    }
}

/// A broker that is registered and never runs, where mutants go to controllers.
pub(super) const BROKER: i32 = 77;

/// What a member of a classic group subscribes to: version 0, one topic, no user data.
pub(super) fn subscription() -> Vec<u8> {
    let name = TOPIC.as_bytes();
    let mut out = vec![0, 0, 0, 0, 0, 1, 0, name.len() as u8];
    out.extend(name);
    out.extend([0xff; 4]);
    out
}
