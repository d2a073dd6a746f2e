//! The vocabulary every other crate speaks: bytes and nouns, no behaviour.
//!
//! What lives here are values that two crates hand to each other and that could be mistaken for one
//! another if they were bare integers. It deliberately knows no protocol, no file and no clock: time is
//! a value ([`Now`]) and chance is a value ([`Random`]), both handed in by whoever drives a machine.
//!
//! Reading order: [`ids`], [`epoch`], [`offset`], [`time`], [`random`], [`uuid`], [`topic`],
//! [`decision`], [`region`], [`repeated`], [`seeds`].

pub mod decision;
pub mod epoch;
pub mod ids;
pub mod offset;
pub mod random;
pub mod region;
pub mod repeated;
pub mod seeds;
pub mod time;
pub mod topic;
pub mod uuid;

pub use decision::Decision;
pub use epoch::{BrokerEpoch, LeaderEpoch, PartitionEpoch};
pub use ids::{NodeId, ProducerEpoch, ProducerId};
pub use offset::{Offset, OffsetAndEpoch};
pub use random::Random;
pub use region::{FileRegion, ReadAt};
pub use repeated::repeated;
pub use seeds::seeds;
pub use time::{Monotonic, Now, Timestamp};
pub use topic::{InvalidTopicName, TopicIdPartition, TopicPartition, validate_topic_name};
pub use uuid::{ParseUuidError, Uuid};
