//! The first records of a new cluster.

use ottla_metadata::{
    ELIGIBLE_LEADER_REPLICAS, FeaturesImage, GROUP_VERSION, METADATA_VERSION, MetadataVersion,
    TRANSACTION_VERSION, VersionRange,
};
use ottla_protocol::records::metadata::{FeatureLevelRecord, MetadataRecord};
use thiserror::Error;

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

/// The cluster has agreed on what this program does not have: it would serve and decide wrongly.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the cluster has finalized {name}={level}, and Ottla supports {min} to {max}: lower it with kafka-features downgrade, or format the cluster with --feature {name}={max}",
    min = .supported.min, max = .supported.max
)]
pub struct UnsupportedFeature {
    /// The feature.
    pub name: String,
    /// Its level.
    pub level: i16,
    /// The levels that are supported.
    pub supported: VersionRange,
}

/// Looks whether this program supports all that a cluster has agreed on.
///
/// # Errors
/// [`UnsupportedFeature`] names the first that it does not.
pub fn check_supported(features: &FeaturesImage) -> Result<(), UnsupportedFeature> {
    for (name, level) in features.iter() {
        let known = SUPPORTED_FEATURES.iter().find(|(known, _)| *known == name);
        // What is not known is not there: level 0.
        let supported = known.map_or(VersionRange { min: 0, max: 0 }, |(_, levels)| *levels);
        if !supported.contains(level) {
            return Err(UnsupportedFeature { name: name.to_owned(), level, supported });
        }
    }
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::{MetadataDelta, MetadataImage};

    #[test]
    fn a_level_that_is_not_there_is_named() {
        let levels = |levels: &[(&str, i16)]| {
            let mut image = MetadataImage::default();
            for (name, feature_level) in levels {
                let record = FeatureLevelRecord { name: (*name).to_owned(), feature_level: *feature_level };
                image.replay(&MetadataRecord::FeatureLevel(record), &mut MetadataDelta::default()).unwrap();
            }
            check_supported(&image.features).map_err(|error| (error.name, error.level))
        };

        assert_eq!(levels(&[(METADATA_VERSION, 33), (TRANSACTION_VERSION, 2)]), Ok(()));
        assert_eq!(levels(&[("share.version", 2)]), Err(("share.version".to_owned(), 2)));
        assert_eq!(levels(&[(METADATA_VERSION, 34)]), Err((METADATA_VERSION.to_owned(), 34)));
    }
}
