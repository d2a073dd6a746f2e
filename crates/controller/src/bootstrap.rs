//! The first records of a new cluster.

use ottla_metadata::{
    ELIGIBLE_LEADER_REPLICAS, GROUP_VERSION, METADATA_VERSION, MetadataVersion, TRANSACTION_VERSION,
    VersionRange,
};
use ottla_protocol::records::metadata::{FeatureLevelRecord, MetadataRecord};

/// The name of the feature that says whether the quorum's log names its voters. It is in the quorum's own records.
pub const KRAFT_VERSION: &str = "kraft.version";

/// The features that this program supports, with the levels at which it does.
///
/// Levels that ask for what does not exist yet are left out: a cluster that has finalized one refuses
/// this node, instead of being served wrongly.
pub const SUPPORTED_FEATURES: &[(&str, VersionRange)] = &[
    (METADATA_VERSION, VersionRange { min: MetadataVersion::MIN.0, max: MetadataVersion::LATEST.0 }),
    (ELIGIBLE_LEADER_REPLICAS, VersionRange { min: 0, max: 1 }),
    (GROUP_VERSION, VersionRange { min: 0, max: 1 }),
    (KRAFT_VERSION, VersionRange { min: 0, max: 1 }),
    (TRANSACTION_VERSION, VersionRange { min: 0, max: 2 }),
];

/// What `format` writes into `bootstrap.checkpoint`, and the first controller into an empty log.
pub fn records(level: MetadataVersion) -> Vec<MetadataRecord> {
    let feature = |name: &str, feature_level| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), feature_level })
    };
    let mut records = vec![feature(METADATA_VERSION, level.0)];
    if level.defaults_to_eligible_leader_replicas() {
        records.push(feature(ELIGIBLE_LEADER_REPLICAS, 1));
    }
    if level.defaults_to_consumer_groups() {
        records.push(feature(GROUP_VERSION, 1));
    }
    if level.defaults_to_epoch_bumps() {
        records.push(feature(TRANSACTION_VERSION, 2));
    }
    records
}
