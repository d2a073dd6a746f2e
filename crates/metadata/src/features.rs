//! Feature levels that the whole cluster has agreed on (KIP-584).

use std::collections::BTreeMap;
use std::fmt;

/// The name of the feature that versions the metadata records themselves.
pub const METADATA_VERSION: &str = "metadata.version";

/// The name of the feature that lets replicas lead that left a small in-sync set (KIP-966).
pub const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";

/// The name of the feature that says how transactions are written down and ended (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// The name of the feature that lets consumers use the protocol of KIP-848.
pub const GROUP_VERSION: &str = "group.version";

/// The levels of a feature that a node supports, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl VersionRange {
    /// Returns whether `level` lies in the range.
    pub fn contains(self, level: i16) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

/// A level of `metadata.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataVersion(pub i16);

/// Kafka's names of the levels, from [`MetadataVersion::MIN`] on.
const NAMES: [&str; 27] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0",
    "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2",
    "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0", "4.4-IV0", "4.4-IV1", "4.4-IV2",
];

impl MetadataVersion {
    /// The oldest level a cluster may have (3.3-IV3).
    pub const MIN: MetadataVersion = MetadataVersion(7);
    /// The level of a cluster formatted today (4.4-IV2).
    pub const LATEST: MetadataVersion = MetadataVersion(33);
    /// The lowest level whose records have eligible leader replicas (4.0-IV1).
    pub const ELIGIBLE_LEADER_REPLICAS_MIN: MetadataVersion = MetadataVersion(23);

    /// The level of this name, such as `4.4-IV2`; `4.4` names its last one.
    pub fn from_name(name: &str) -> Option<MetadataVersion> {
        let position =
            NAMES.iter().rposition(|known| *known == name || known.split('-').next() == Some(name))?;
        Some(MetadataVersion(MetadataVersion::MIN.0 + i16::try_from(position).ok()?))
    }

    /// The names of all levels, from [`MetadataVersion::MIN`] to [`MetadataVersion::LATEST`].
    pub fn names() -> &'static [&'static str] {
        &NAMES
    }

    /// The version of RegisterBrokerRecord to write at this level.
    pub fn register_broker_record(self) -> i16 {
        match self.0 {
            ..8 => 1,
            8..17 => 2,
            17..30 => 3,
            _ => 4,
        }
    }

    /// The version of BrokerRegistrationChangeRecord to write at this level.
    pub fn broker_registration_change_record(self) -> i16 {
        match self.0 {
            ..17 => 1,
            17..30 => 2,
            _ => 3,
        }
    }

    /// The version of PartitionRecord and PartitionChangeRecord to write at this level.
    pub fn partition_record(self) -> i16 {
        match self.0 {
            ..17 => 0,
            17..23 => 1,
            _ => 2,
        }
    }

    /// Returns whether records of this level may say what those of the level before it cannot
    /// (`didMetadataChange`): there is no way back then.
    pub fn changes_metadata(self) -> bool {
        matches!(self.0, 8 | 11 | 13..=15 | 17 | 23 | 30 | 32..)
    }

    /// Returns whether a cluster formatted at this level has eligible leader replicas (4.1-IV0).
    pub fn defaults_to_eligible_leader_replicas(self) -> bool {
        self.0 >= 26
    }

    /// Returns whether producers of a cluster formatted at this level have another epoch for each transaction (4.0-IV2).
    pub fn defaults_to_epoch_bumps(self) -> bool {
        self.0 >= 24
    }

    /// Returns whether consumers of a cluster formatted at this level may use the protocol of KIP-848 (4.0-IV0).
    pub fn defaults_to_consumer_groups(self) -> bool {
        self.0 >= 22
    }

    /// Returns whether brokers say in which of their directories replicas are (3.7-IV2).
    pub fn has_directories(self) -> bool {
        self.0 >= 17
    }

    /// Returns whether controllers register themselves at this level.
    pub fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = usize::try_from(self.0 - MetadataVersion::MIN.0).ok();
        match position.and_then(|i| NAMES.get(i)) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The finalized levels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeaturesImage {
    levels: BTreeMap<String, i16>,
}

impl FeaturesImage {
    /// Finalizes a level; 0 removes the feature.
    pub(crate) fn set(&mut self, name: &str, level: i16) {
        if level == 0 {
            self.levels.remove(name);
        } else {
            self.levels.insert(name.to_owned(), level);
        }
    }

    /// The finalized level of a feature; 0 when it is not finalized.
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// The finalized metadata.version; `None` before the first record.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.levels.get(METADATA_VERSION).copied().map(MetadataVersion)
    }

    /// All finalized features, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i16)> {
        self.levels.iter().map(|(name, &level)| (name.as_str(), level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_versions_have_kafkas_names() {
        assert_eq!(MetadataVersion::LATEST.to_string(), "4.4-IV2");
        assert_eq!(MetadataVersion(27).to_string(), "4.1-IV1");
        assert_eq!(MetadataVersion::from_name("4.1"), Some(MetadataVersion(27)));
        assert_eq!(MetadataVersion::from_name("3.3-IV3"), Some(MetadataVersion::MIN));
        assert_eq!(MetadataVersion::from_name("2.8"), None);
    }
}
