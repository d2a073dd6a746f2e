//! Administrators change which feature levels the cluster has agreed on (KIP-584, KIP-1022).
//!
//! All features of a request change, or none. A level is finalized only if every broker and every controller that is
//! registered supports it, and every voter is registered. The order of the checks, and the words, are Kafka's
//! (`FeatureControlManager`).

use crate::bootstrap::{KRAFT_VERSION, SUPPORTED_FEATURES};
use crate::configs::{self, MIN_ISR};
use crate::controller::Controller;
use crate::message;
use crate::topics::Refusal;
use ottla_metadata::partition::NO_LEADER_CHANGE;
use ottla_metadata::partition::ids;
use ottla_metadata::{
    ConfigResource, ELIGIBLE_LEADER_REPLICAS, GROUP_VERSION, METADATA_VERSION, MetadataVersion, ResourceType,
    TRANSACTION_VERSION, VersionRange,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::update_features_request::UpdateFeaturesRequest;
use ottla_protocol::messages::update_features_response::UpdateFeaturesResponse;
use ottla_protocol::records::metadata::{
    FeatureLevelRecord, MetadataRecord, NoOpRecord, PartitionChangeRecord,
};
use ottla_types::{Decision, NodeId};
use std::collections::BTreeMap;

/// What the quorum says of itself when features are updated: its own version is not in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumFeatures {
    /// The active controller's node.
    pub node_id: NodeId,
    /// The voters.
    pub voters: Vec<NodeId>,
    /// The kraft.version.
    pub kraft_version: i16,
    /// Why it cannot be raised to 1, if it cannot: the end of a sentence.
    pub upgrade_refusal: Option<String>,
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureUpdate {
    /// Whether the quorum must raise its kraft.version before the records are appended.
    pub upgrades_kraft_version: bool,
    /// The records and the answer.
    pub decision: Decision<MetadataRecord, UpdateFeaturesResponse>,
}

/// Which way a level may go (`FeatureUpdate.UpgradeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpgradeType {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

impl UpgradeType {
    fn from_wire(value: i8) -> Option<UpgradeType> {
        match value {
            1 => Some(UpgradeType::Upgrade),
            2 => Some(UpgradeType::SafeDowngrade),
            3 => Some(UpgradeType::UnsafeDowngrade),
            _ => None,
        }
    }
}

/// No node that does not name a feature supports more than that it is not there.
const DISABLED: VersionRange = VersionRange { min: 0, max: 0 };

impl Controller {
    /// Changes finalized levels, or tells whether they could be changed.
    pub fn handle_update_features(
        &self,
        request: &UpdateFeaturesRequest,
        quorum: &QuorumFeatures,
    ) -> FeatureUpdate {
        match self.plan_features(request, quorum) {
            Ok((mut records, mut upgrades_kraft_version)) => {
                if request.validate_only {
                    records.clear();
                    upgrades_kraft_version = false;
                }
                let decision = Decision::write(records, UpdateFeaturesResponse::default());
                FeatureUpdate { upgrades_kraft_version, decision }
            }
            Err((error, message)) => {
                let cause = "The update failed for all features since the following feature had an error: ";
                let response = UpdateFeaturesResponse {
                    error_code: error.code(),
                    error_message: Some(message::cut(format!("{cause}{message}"))),
                    ..Default::default()
                };
                FeatureUpdate { upgrades_kraft_version: false, decision: Decision::reply(response) }
            }
        }
    }

    /// The records, and whether the quorum is to raise its version.
    fn plan_features(
        &self,
        request: &UpdateFeaturesRequest,
        quorum: &QuorumFeatures,
    ) -> Result<(Vec<MetadataRecord>, bool), Refusal> {
        let updates: BTreeMap<&str, (i16, i8)> = request
            .feature_updates
            .iter()
            .map(|update| (update.feature.as_str(), (update.max_version_level, update.upgrade_type)))
            .collect();
        let proposed_metadata_version =
            updates.get(METADATA_VERSION).map_or(self.image.metadata_version().0, |(level, _)| *level);
        let (mut records, mut upgrades_kraft_version) = (Vec::new(), false);
        for (&name, &(level, upgrade_type)) in &updates {
            let invalid = |why: String| invalid_update(name, level, &why);
            let current = match name {
                METADATA_VERSION => self.image.metadata_version().0,
                KRAFT_VERSION => quorum.kraft_version,
                _ => self.image.features.level(name),
            };
            let upgrade_type = check_direction(level, current, upgrade_type, || {
                self.reason_not_supported(name, level, quorum)
            })
            .map_err(invalid)?;
            match name {
                METADATA_VERSION => records.push(self.metadata_version_record(level, upgrade_type)?),
                KRAFT_VERSION if upgrade_type == UpgradeType::Upgrade => {
                    if let (1, Some(why)) = (level, &quorum.upgrade_refusal) {
                        let message = format!("Invalid upgrade of {name} to {level} because {why}");
                        return Err((ErrorCode::InvalidUpdateVersion, message));
                    }
                    upgrades_kraft_version = level > current;
                    // Something whose being committed can be waited for.
                    records.push(MetadataRecord::NoOp(NoOpRecord::default()));
                }
                KRAFT_VERSION if level != current => {
                    return Err(invalid("Can't downgrade the version of this feature.".to_owned()));
                }
                KRAFT_VERSION => {}
                ELIGIBLE_LEADER_REPLICAS => {
                    let needed = MetadataVersion::ELIGIBLE_LEADER_REPLICAS_MIN.0;
                    if level > 0 && proposed_metadata_version < needed {
                        return Err(invalid(format!(
                            "{name} could not be set to {level} because it depends on {METADATA_VERSION} level \
                             {needed}"
                        )));
                    }
                    if level == 0 {
                        records.extend(self.without_eligible_leaders());
                    } else {
                        records.extend(self.before_eligible_leaders());
                    }
                    records.push(feature_level(name, level));
                }
                GROUP_VERSION | TRANSACTION_VERSION => records.push(feature_level(name, level)),
                _ => return Err(invalid(format!("Feature {name} not found."))),
            }
        }
        Ok((records, upgrades_kraft_version))
    }

    /// Why the cluster does not support a level, if somebody in it does not.
    fn reason_not_supported(&self, name: &str, level: i16, quorum: &QuorumFeatures) -> Option<String> {
        let supported = SUPPORTED_FEATURES.iter().find(|(known, _)| *known == name);
        let local = supported.map_or(DISABLED, |(_, range)| *range);
        let here = quorum.node_id;
        let of = |features: &BTreeMap<String, VersionRange>| features.get(name).copied().unwrap_or(DISABLED);
        let cluster = &self.image.cluster;
        let brokers = cluster.brokers.values().map(|b| (format!("Broker {}", b.id), of(&b.features)));
        // Below that, controllers are not registered, and nobody can say what they support.
        let registers = self.image.metadata_version().has_controller_registration();
        let others = cluster.controllers.values().filter(|c| registers && c.id != here);
        let controllers = others.map(|c| (format!("Controller {}", c.id), of(&c.features)));
        let lacking = std::iter::once((format!("Local controller {here}"), local))
            .chain(brokers)
            .chain(controllers)
            .find(|(_, range)| !range.contains(level));
        if let Some((node, range)) = lacking {
            return Some(match range {
                DISABLED => format!("{node} does not support this feature."),
                VersionRange { min, max } if min == max => format!("{node} only supports versions {min}"),
                VersionRange { min, max } => format!("{node} only supports versions {min}-{max}"),
            });
        }
        let mut unknown = quorum
            .voters
            .iter()
            .filter(|voter| registers && **voter != here && !cluster.controllers.contains_key(voter));
        unknown
            .next()
            .map(|voter| format!("controller {voter} has not registered, and may not support this feature"))
    }

    /// The record of another metadata.version. Back goes only what needs no record to be rewritten.
    fn metadata_version_record(
        &self,
        level: i16,
        upgrade_type: UpgradeType,
    ) -> Result<MetadataRecord, Refusal> {
        let (current, new) = (self.image.metadata_version(), MetadataVersion(level));
        let is_lossy = (new.0 + 1..=current.0).any(|level| MetadataVersion(level).changes_metadata());
        if is_lossy {
            let why = match upgrade_type {
                UpgradeType::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
                UpgradeType::Upgrade | UpgradeType::SafeDowngrade => {
                    "Refusing to perform the requested downgrade because it might delete metadata information."
                }
            };
            let message =
                format!("Unsupported metadata.version downgrade from {} to {level}. {why}", current.0);
            return Err((ErrorCode::InvalidUpdateVersion, message));
        }
        Ok(feature_level(METADATA_VERSION, level))
    }

    /// What ends eligible leader replicas: from now on in-sync sets alone count, and what was true of who had left one
    /// may soon not be. Where a set is empty, those who are eligible have all that was acknowledged: they become it, as
    /// its last members would have stayed in it without the feature. Kafka leaves them as they were.
    fn without_eligible_leaders(&self) -> impl Iterator<Item = MetadataRecord> {
        let has_any = |partition: &ottla_metadata::PartitionRegistration| {
            let eligible = &partition.eligible_leader_replicas;
            // Whoever led last may go on where nobody is known to have everything, with the feature or without.
            !eligible.is_empty() || (!partition.isr.is_empty() && !partition.last_known_elr.is_empty())
        };
        self.partitions().filter(move |(_, partition)| has_any(partition)).map(|(at, partition)| {
            MetadataRecord::PartitionChange(PartitionChangeRecord {
                partition_id: at.partition,
                topic_id: at.topic_id,
                leader: NO_LEADER_CHANGE,
                isr: partition.isr.is_empty().then(|| ids(&partition.eligible_leader_replicas)),
                eligible_leader_replicas: Some(Vec::new()),
                last_known_elr: Some(Vec::new()),
                ..Default::default()
            })
        })
    }
}

/// Checks what can be said of any feature, and returns which way its level may go.
fn check_direction(
    level: i16,
    current: i16,
    upgrade_type: i8,
    reason_not_supported: impl FnOnce() -> Option<String>,
) -> Result<UpgradeType, String> {
    let Some(upgrade_type) = UpgradeType::from_wire(upgrade_type) else {
        return Err("The controller does not support the given upgrade type.".to_owned());
    };
    if level < 0 {
        return Err("A feature version cannot be less than 0.".to_owned());
    }
    if let Some(reason) = reason_not_supported() {
        return Err(reason);
    }
    let is_upgrade = upgrade_type == UpgradeType::Upgrade;
    if level < current && is_upgrade {
        return Err(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe \
                    or unsafe downgrade."
                .to_owned(),
        );
    }
    if level > current && !is_upgrade {
        return Err("Can't downgrade to a newer version.".to_owned());
    }
    Ok(upgrade_type)
}

fn invalid_update(name: &str, level: i16, why: &str) -> Refusal {
    (ErrorCode::InvalidUpdateVersion, format!("Invalid update version {level} for feature {name}. {why}"))
}

impl Controller {
    /// The first records of a new cluster: what it was formatted with, and what that needs.
    pub fn first_records(&self, formatted: Vec<MetadataRecord>) -> Vec<MetadataRecord> {
        let has_eligible_leaders = formatted.iter().any(|record| match record {
            MetadataRecord::FeatureLevel(level) => {
                level.name == ELIGIBLE_LEADER_REPLICAS && level.feature_level > 0
            }
            _ => false,
        });
        let needed = if has_eligible_leaders { self.before_eligible_leaders() } else { Vec::new() };
        formatted.into_iter().chain(needed).collect()
    }

    /// What eligible leaders go by must be the same whoever is the controller: `min.insync.replicas` of all brokers is in the
    /// log, as this node's file has it if nobody has set it, and no broker has one of its own
    /// (`ConfigurationControlManager.maybeGenerateElrSafetyRecords`).
    fn before_eligible_leaders(&self) -> Vec<MetadataRecord> {
        let known = &self.image.configs;
        let cluster = ConfigResource::cluster();
        let of_all = known.value(&cluster, MIN_ISR).is_none().then(|| {
            let value = self.settings.min_insync_replicas.to_string();
            configs::record(&cluster, MIN_ISR, Some(value))
        });
        let own = known.iter().filter(|(resource, values)| {
            let is_broker = resource.resource_type == ResourceType::Broker && **resource != cluster;
            is_broker && values.contains_key(MIN_ISR)
        });
        of_all.into_iter().chain(own.map(|(broker, _)| configs::record(broker, MIN_ISR, None))).collect()
    }
}

fn feature_level(name: &str, level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), feature_level: level })
}

#[cfg(test)]
mod tests;
