//! What the cluster knows, as every node sees it: an image, built by replaying metadata records.
//!
//! The image at offset N depends on records 0..=N alone (META-1): [`MetadataImage::replay`] is the only
//! way to change it. The controller decides on one and writes records; brokers replay them, publish the
//! image, and act on its [`MetadataDelta`]. The crate decides nothing and does no I/O.
//!
//! Reading order: [`partition`], [`topics`], [`cluster`], [`configs`], [`topic_config`], [`broker_config`], [`group_config`],
//! [`expression`], [`client_metrics`], [`features`], [`kept`], [`image`], [`delta`], [`frames`], [`replay`], [`snapshot`], [`checkpoint`].

pub mod broker_config;
pub mod checkpoint;
pub mod client_metrics;
pub mod cluster;
pub mod configs;
pub mod delta;
pub mod expression;
pub mod features;
pub mod frames;
pub mod group_config;
pub mod image;
pub mod kept;
pub mod partition;
pub mod replay;
pub mod snapshot;
pub mod topic_config;
pub mod topics;

pub use cluster::{BrokerRegistration, ClusterImage, ControllerRegistration, Endpoint};
pub use configs::{ConfigResource, ConfigsImage, ResourceType};
pub use delta::MetadataDelta;
pub use features::{
    ELIGIBLE_LEADER_REPLICAS, FeaturesImage, GROUP_VERSION, METADATA_VERSION, MetadataVersion,
    TRANSACTION_VERSION, VersionRange,
};
pub use image::{MetadataImage, ReplayError};
pub use kept::KeptRecords;
pub use partition::{LeaderRecoveryState, PartitionRegistration};
pub use replay::Unreadable;
pub use topic_config::TopicConfig;
pub use topics::{TopicImage, TopicsImage};
