//! Brokers, controllers and partitions as Kafka's classes write themselves (`BrokerRegistration.toString` and its likes).

use ottla_metadata::{
    BrokerRegistration, ControllerRegistration, Endpoint, LeaderRecoveryState, PartitionRegistration,
    VersionRange,
};
use ottla_types::{NodeId, Uuid};
use std::collections::BTreeMap;
use std::fmt::Display;

/// A broker. That it migrates from ZooKeeper, no broker of this day says.
pub(super) fn broker(broker: &BrokerRegistration) -> String {
    format!(
        "BrokerRegistration(id={}, epoch={}, incarnationId={}, listeners={}, supportedFeatures={}, rack={}, fenced={}, \
         inControlledShutdown={}, isMigratingZkBroker=false, directories={}, cordonedDirectories={})",
        broker.id,
        broker.epoch,
        broker.incarnation_id,
        endpoints(&broker.endpoints),
        features(&broker.features),
        optional(broker.rack.as_deref()),
        broker.fenced,
        broker.in_controlled_shutdown,
        list(sorted(&broker.directories)),
        broker.cordoned_directories.as_ref().map_or_else(|| "null".to_owned(), list),
    )
}

/// A controller. That it is ready to migrate from ZooKeeper, no controller of this day says.
pub(super) fn controller(controller: &ControllerRegistration) -> String {
    format!(
        "ControllerRegistration(id={}, incarnationId={}, zkMigrationReady=false, listeners={}, supportedFeatures={})",
        controller.id,
        controller.incarnation_id,
        endpoints(&controller.endpoints),
        features(&controller.features),
    )
}

/// A partition.
pub(super) fn partition(partition: &PartitionRegistration) -> String {
    let recovery = match partition.leader_recovery_state {
        LeaderRecoveryState::Recovered => "RECOVERED",
        LeaderRecoveryState::Recovering => "RECOVERING",
    };
    format!(
        "PartitionRegistration(replicas={}, directories={}, isr={}, removingReplicas={}, addingReplicas={}, elr={}, \
         lastKnownElr={}, leader={}, leaderRecoveryState={recovery}, leaderEpoch={}, partitionEpoch={})",
        list(&partition.replicas),
        list(&partition.directories),
        list(&partition.isr),
        list(&partition.removing_replicas),
        list(&partition.adding_replicas),
        list(&partition.eligible_leader_replicas),
        list(&partition.last_known_elr),
        partition.leader.unwrap_or(NodeId::NONE),
        partition.leader_epoch,
        partition.partition_epoch,
    )
}

/// A value that may not be there, as `Optional` writes itself.
pub(super) fn optional(value: Option<impl Display>) -> String {
    value.map_or_else(|| "Optional.empty".to_owned(), |value| format!("Optional[{value}]"))
}

fn endpoints(endpoints: &[Endpoint]) -> String {
    let mut endpoints: Vec<&Endpoint> = endpoints.iter().collect();
    endpoints.sort_by_key(|endpoint| &endpoint.name);
    list(endpoints.into_iter().map(|endpoint| {
        format!(
            "Endpoint(listenerName='{}', securityProtocol={}, host='{}', port={})",
            endpoint.name,
            security_protocol(endpoint.security_protocol),
            endpoint.host,
            endpoint.port,
        )
    }))
}

/// The protocol with this number (`SecurityProtocol`).
fn security_protocol(id: i16) -> String {
    match id {
        0 => "PLAINTEXT".to_owned(),
        1 => "SSL".to_owned(),
        2 => "SASL_PLAINTEXT".to_owned(),
        3 => "SASL_SSL".to_owned(),
        id => id.to_string(),
    }
}

fn features(features: &BTreeMap<String, VersionRange>) -> String {
    let ranges: Vec<String> =
        features.iter().map(|(name, range)| format!("{name}: {}", version_range(*range))).collect();
    format!("{{{}}}", ranges.join(", "))
}

fn version_range(VersionRange { min, max }: VersionRange) -> String {
    match max {
        max if max == min => max.to_string(),
        i16::MAX => format!("{min}+"),
        max => format!("{min}-{max}"),
    }
}

/// Directories in the order that Kafka keeps a broker's in: of two signed numbers.
fn sorted(directories: &[Uuid]) -> Vec<Uuid> {
    let mut directories = directories.to_vec();
    directories.sort_by_key(|id| {
        let id = u128::from_be_bytes(*id.as_bytes());
        ((id >> 64) as i64, id as i64)
    });
    directories
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_shown_as_ranges() {
        let range = |min, max| version_range(VersionRange { min, max });
        assert_eq!([range(1, 1), range(7, 33), range(2, i16::MAX)], ["1", "7-33", "2+"]);
    }

    #[test]
    fn directories_are_in_javas_order() {
        let ids = [1, u128::MAX, 1 << 63, 1 << 64].map(Uuid::from_u128);

        let sorted = sorted(&ids);

        assert_eq!(sorted, [u128::MAX, 1 << 63, 1, 1 << 64].map(Uuid::from_u128));
    }

    #[test]
    fn what_is_not_there_is_said_to_be_empty() {
        let registration = ControllerRegistration {
            id: NodeId(1),
            incarnation_id: Uuid::from_u128(100),
            endpoints: [("SSL", 1), ("A", 9)]
                .map(|(name, security_protocol)| Endpoint {
                    name: name.to_owned(),
                    host: "h".to_owned(),
                    port: 1,
                    security_protocol,
                })
                .to_vec(),
            features: BTreeMap::new(),
        };

        assert_eq!(
            controller(&registration),
            "ControllerRegistration(id=1, incarnationId=AAAAAAAAAAAAAAAAAAAAZA, zkMigrationReady=false, \
             listeners=[Endpoint(listenerName='A', securityProtocol=9, host='h', port=1), \
             Endpoint(listenerName='SSL', securityProtocol=SSL, host='h', port=1)], supportedFeatures={})"
        );
        assert_eq!([optional(None::<i32>), optional(Some(1))], ["Optional.empty", "Optional[1]"]);
    }
}
