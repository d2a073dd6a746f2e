//! Which APIs there are, in which versions, and who serves them.

use crate::codec::{DecodeErrorKind, Form};
use std::fmt;
use std::ops::RangeInclusive;

pub use crate::generated::api_key::ApiKey;

/// The facts about an API.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) versions: (i16, i16),
    pub(crate) flexible: Option<i16>,
    pub(crate) unstable: Option<i16>,
    pub(crate) broker: bool,
    pub(crate) controller: bool,
}

impl ApiKey {
    /// The number, as headers carry it.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// The versions that can be decoded, as in Kafka 4.4.
    pub const fn valid_versions(self) -> RangeInclusive<i16> {
        let (first, last) = self.spec().versions;
        first..=last
    }

    /// The lowest version that a node says it has: lower than those it has for Produce. Clients built on
    /// librdkafka before 2.11 turn compression off unless Produce 0 is offered (KAFKA-18659); whoever sends
    /// it is refused all the same.
    pub const fn advertised_version_min(self) -> i16 {
        match self {
            ApiKey::Produce => 0,
            _ => self.spec().versions.0,
        }
    }

    /// The highest version that is not announced as unstable (`unstable.api.versions.enable`).
    pub const fn stable_version_max(self) -> i16 {
        match self.spec().unstable {
            Some(unstable) => unstable - 1,
            None => self.spec().versions.1,
        }
    }

    /// Returns whether a version is one of [`ApiKey::valid_versions`].
    pub fn is_valid(self, version: i16) -> bool {
        self.valid_versions().contains(&version)
    }

    /// Returns whether a version has varint lengths and tagged fields (KIP-482).
    pub const fn is_flexible(self, version: i16) -> bool {
        match self.spec().flexible {
            Some(first) => version >= first,
            None => false,
        }
    }

    /// The form of a version.
    pub const fn form(self, version: i16) -> Form {
        Form::flexible_if(self.is_flexible(version))
    }

    /// Returns whether Kafka serves it on a broker's listeners.
    pub const fn is_on_brokers(self) -> bool {
        self.spec().broker
    }

    /// Returns whether Kafka serves it on a controller's listeners.
    pub const fn is_on_controllers(self) -> bool {
        self.spec().controller
    }
}

impl TryFrom<i16> for ApiKey {
    type Error = DecodeErrorKind;

    fn try_from(key: i16) -> Result<ApiKey, DecodeErrorKind> {
        // Sorted, and almost without gaps: the search ends after few steps.
        match ApiKey::ALL.binary_search_by_key(&key, |api| *api as i16) {
            Ok(index) => Ok(ApiKey::ALL[index]),
            Err(_) => Err(DecodeErrorKind::UnknownApiKey(key)),
        }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_versions_are_those_of_kafka_4_4() {
        let cases = [
            (ApiKey::Produce, 0, 3..=13, 0),
            (ApiKey::Fetch, 1, 4..=18, 4),
            (ApiKey::ListOffsets, 2, 1..=11, 1),
            (ApiKey::JoinGroup, 11, 0..=9, 0),
            (ApiKey::ApiVersions, 18, 0..=5, 0),
            (ApiKey::CreateTopics, 19, 2..=7, 2),
            (ApiKey::TxnOffsetCommit, 28, 0..=6, 0),
            (ApiKey::StreamsGroupHeartbeat, 88, 0..=1, 0),
            (ApiKey::UnregisterController, 94, 0..=0, 0),
        ];
        for (key, number, versions, advertised_min) in cases {
            assert_eq!(ApiKey::try_from(number), Ok(key));
            assert_eq!(key.valid_versions(), versions, "{key}");
            assert_eq!(key.advertised_version_min(), advertised_min, "{key}");
        }
        assert_eq!(ApiKey::ALL.len(), 91);
    }

    #[test]
    fn keys_of_the_zookeeper_era_are_unknown() {
        for key in [-1, 4, 5, 6, 7, 95, i16::MAX] {
            assert_eq!(ApiKey::try_from(key), Err(DecodeErrorKind::UnknownApiKey(key)));
        }
    }

    #[test]
    fn only_init_producer_id_has_an_unstable_version() {
        let unstable: Vec<&ApiKey> =
            ApiKey::ALL.iter().filter(|key| key.stable_version_max() < *key.valid_versions().end()).collect();

        assert_eq!(unstable, [&ApiKey::InitProducerId]);
        assert_eq!(ApiKey::InitProducerId.stable_version_max(), 5);
    }
}
