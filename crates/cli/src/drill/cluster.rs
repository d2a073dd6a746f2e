//! What the drill asks the cluster: who is what, and whether everybody is in sync. Any Kafka answers.

use super::nodes::Nodes;
use super::scenario::Roles;
use anyhow::{Context, Result, bail, ensure};
use ottla_client::admin::topics::NewTopic;
use ottla_client::client::Topics;
use ottla_client::consumer::group::find_coordinator;
use ottla_client::{Admin, Client, ClientConfig, ClientError, HostPort, Metadata};
use ottla_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many partitions the topic has.
pub(super) const PARTITIONS: i32 = 8;

/// Topics of earlier drills with the same seed that may still be there.
const NAMES_MAX: usize = 1000;

/// Where a group's offsets are kept.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// How long a client waits for one answer: Kafka's clients do for 30 s, in which nothing could be seen of a node that stands
/// still.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// A cluster under drill.
pub(super) struct Cluster {
    client: Client,
    bootstrap: Vec<HostPort>,
}

/// The topic that was made for a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    /// Its name.
    pub(super) name: String,
    /// How many replicas each partition has.
    pub(super) replication_factor: usize,
    /// How many of them must be in sync.
    pub(super) min_insync_replicas: usize,
}

/// A client's settings.
pub(super) fn client_config(bootstrap: &[HostPort], name: &str) -> ClientConfig {
    let mut config = ClientConfig::new(bootstrap.to_vec(), name, crate::format::seed());
    config.request_timeout = REQUEST_TIMEOUT;
    config
}

impl Cluster {
    /// The cluster that these addresses belong to.
    pub(super) fn new(bootstrap: &[HostPort]) -> Cluster {
        let mut config = client_config(bootstrap, "ottla-drill");
        config.deadline = Duration::from_secs(30);
        Cluster { client: Client::new(config), bootstrap: bootstrap.to_vec() }
    }

    /// How many brokers are there, as far as is known.
    pub(super) fn brokers(&self) -> usize {
        self.client.metadata().brokers.len()
    }

    /// A client for questions.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes sure that all brokers are on this machine.
    ///
    /// # Errors
    /// When one is not, or none answers.
    pub(super) async fn check_loopback(&self) -> Result<()> {
        let metadata = self.client.refresh(Topics::Named(&[])).await?;
        let brokers = metadata.brokers.values().map(|broker| broker.address.clone());
        for address in brokers.chain(self.bootstrap.iter().cloned()) {
            let (host, port) = (address.host.as_str(), address.port);
            let mut found =
                tokio::net::lookup_host((host, port)).await.with_context(|| address.to_string())?;
            ensure!(
                found.all(|found| found.ip().is_loopback()),
                "{address} is not on this machine: a drill kills and freezes nodes. If that is meant: --yes"
            );
        }
        Ok(())
    }

    /// Makes a topic for a drill, with as many replicas as there can be, three at most.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub(super) async fn make_topic(&self, seed: u64) -> Result<Topic> {
        let metadata = self.client.refresh(Topics::All).await?;
        let replication_factor = metadata.brokers.len().clamp(1, 3);
        let min_insync_replicas = replication_factor.min(2);
        let names = (1..=NAMES_MAX).map(|number| match number {
            1 => format!("ottla-drill-{seed}"),
            number => format!("ottla-drill-{seed}-{number}"),
        });
        let Some(name) = names.into_iter().find(|name| !metadata.topics.contains_key(name)) else {
            bail!("delete topics of earlier drills first: ottla-drill-{seed} and others")
        };
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let topic = NewTopic {
            name: name.clone(),
            partitions: Some(PARTITIONS),
            replication_factor: i16::try_from(replication_factor).ok(),
            configs: vec![
                setting("min.insync.replicas", &min_insync_replicas.to_string()),
                // What was acknowledged must be there until it is judged.
                setting("retention.ms", "-1"),
                setting("retention.bytes", "-1"),
            ],
            ..NewTopic::default()
        };
        Admin::new(self.client.clone()).create_topic(&topic).await.with_context(|| name.clone())?;
        Ok(Topic { name, replication_factor, min_insync_replicas })
    }

    /// Deletes what a drill has made.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub(super) async fn delete(&self, topic: &Topic, group: &str) -> Result<(), ClientError> {
        let admin = Admin::new(self.client.clone());
        admin.delete_topic(&topic.name).await?;
        admin.delete_group(group).await
    }

    /// Who is what.
    ///
    /// # Errors
    /// When nobody says.
    pub(super) async fn roles(&self, nodes: &Nodes, topic: &Topic, group: &str) -> Result<Roles> {
        let metadata = self.client.refresh(Topics::Named(std::slice::from_ref(&topic.name))).await?;
        let partitions = metadata.topics.get(&topic.name).map(|topic| &topic.partitions);
        let leaders = partitions
            .into_iter()
            .flatten()
            .filter_map(|(&partition, known)| Some((partition, known.leader?)));
        let quorum = Admin::new(self.client.clone()).describe_quorum().await?;
        Ok(Roles {
            nodes: nodes.ids(),
            away: nodes.away(),
            leaders: leaders.collect(),
            controller: NodeId(quorum.partition.leader_id).some(),
            coordinator: Some(find_coordinator(&self.client, group).await?),
        })
    }

    /// Whether every replica of the topic, and of the groups' offsets, is in sync, and so many brokers are there; and where
    /// each partition of the topic is.
    ///
    /// # Errors
    /// When nobody says.
    pub(super) async fn in_sync(
        &self,
        topic: &Topic,
        brokers: usize,
    ) -> Result<Option<BTreeMap<i32, Vec<NodeId>>>, ClientError> {
        let names = [topic.name.clone(), OFFSETS_TOPIC.to_owned()];
        let metadata = self.client.refresh(Topics::Named(&names)).await?;
        Ok(all_in_sync(&metadata, topic, brokers))
    }
}

fn all_in_sync(metadata: &Metadata, topic: &Topic, brokers: usize) -> Option<BTreeMap<i32, Vec<NodeId>>> {
    let partitions = &metadata.topics.get(&topic.name)?.partitions;
    let offsets = metadata.topics.get(OFFSETS_TOPIC).map(|topic| &topic.partitions);
    let mut all = partitions.values().chain(offsets.into_iter().flat_map(BTreeMap::values));
    let is_whole = metadata.brokers.len() >= brokers
        && partitions.len() == PARTITIONS as usize
        && all.all(|known| known.leader.is_some() && known.isr.len() == known.replicas.len());
    is_whole
        .then(|| partitions.iter().map(|(&partition, known)| (partition, known.replicas.clone())).collect())
}
