//! Watches the cluster and tells what happens to it: topics, leaders, brokers, groups, and how healthy it is.

use super::health::{Health, MIN_ISR};
use super::layout::Layout;
use super::{events, past, story};
use crate::format;
use crate::observer::Observer;
use crate::properties_file;
use ottla_client::{Admin, Client, ClientConfig, ClientError, HostPort, Quorum};
use ottla_metadata::MetadataImage;
use ottla_server::broker::OFFSETS_TOPIC;
use ottla_server::quorum::JournalEntry;
use ottla_types::{BrokerEpoch, NodeId, Offset};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long things must have been quiet before the cluster's health is told: elections follow a death.
const SETTLED_AFTER: Duration = Duration::from_millis(300);

/// How often groups are looked at.
const GROUPS_EVERY: Duration = Duration::from_secs(1);

/// How long an answer may take before it is asked for again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sees the cluster through its controllers.
pub(crate) struct Watcher {
    layout: Layout,
    all: BTreeSet<NodeId>,
    min_isr: usize,
    observer: Observer,
    /// Whether a group has committed or joined ever: there is a topic for that then.
    has_groups: watch::Sender<bool>,
}

impl Watcher {
    /// Reads what the metadata log of a cluster says.
    pub(crate) async fn start(layout: &Layout) -> Result<Watcher, ClientError> {
        let observer = Observer::start(quorum(layout)).await?;
        let all = layout.nodes().iter().map(|node| NodeId(node.id.into())).collect();
        let has_groups = watch::Sender::new(has_groups(&observer.image));
        Ok(Watcher { layout: layout.clone(), all, min_isr: min_isr(layout), observer, has_groups })
    }

    /// Turns true when there may be groups.
    pub(super) fn has_groups(&self) -> watch::Receiver<bool> {
        self.has_groups.subscribe()
    }

    /// How the cluster is when these nodes run.
    pub(crate) fn health(&self, live: &BTreeSet<NodeId>) -> Health {
        Health::of(&self.observer.image, &self.all, live, self.min_isr)
    }

    /// How many topics there are, and partitions in all.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let topics = &self.observer.image.topics;
        (topics.len(), topics.iter().map(|topic| topic.partitions.len()).sum())
    }

    /// Tells what happens until it is dropped. `told` is the health that was told last.
    pub(super) async fn tell(mut self, mut live: watch::Receiver<BTreeSet<NodeId>>, mut told: Health) {
        let mut settled_at = None;
        loop {
            let before = self.observer.image.clone();
            tokio::select! {
                biased;
                changed = live.changed() => match changed {
                    Ok(()) => settled_at = Some(Instant::now() + SETTLED_AFTER),
                    Err(_) => return,
                },
                // Dropped when something else comes first: what was fetched is then fetched again.
                next = self.observer.next() => match next {
                    Ok(Some(delta)) => {
                        let after = &self.observer.image;
                        let cause = |id, epoch| self.cause(id, epoch, before.end.offset);
                        let lines = events::tell(&before, after, &delta, cause);
                        if !delta.is_empty() {
                            settled_at = Some(Instant::now() + SETTLED_AFTER);
                        }
                        lines.into_iter().for_each(story::event);
                        let has = has_groups(after);
                        self.has_groups.send_if_modified(|known| std::mem::replace(known, has) != has);
                    }
                    Ok(None) => {}
                    // An election, or too few voters: the next look finds out.
                    Err(error) => {
                        tracing::debug!(%error, "the metadata log");
                        tokio::time::sleep(SETTLED_AFTER).await;
                    }
                },
                () = until(settled_at) => {
                    settled_at = None;
                    let health = self.health(&live.borrow_and_update());
                    if health != told {
                        story::event(&health);
                        told = health;
                    }
                }
            }
        }
    }

    /// Why an incarnation of a broker was fenced at this offset of the metadata log or later, as the controller that did
    /// it has written down.
    fn cause(&self, id: NodeId, epoch: BrokerEpoch, since: Offset) -> Option<String> {
        let entries = past::journals(&self.layout).unwrap_or_default();
        let is_it = |entry: &JournalEntry| {
            (entry.broker, entry.broker_epoch) == (id.0, epoch.0) && entry.offset >= since.0
        };
        let found = entries.into_iter().filter(is_it).max_by_key(|entry| entry.offset);
        found.map(|entry| entry.cause)
    }
}

/// The controllers of a cluster.
pub(super) fn quorum(layout: &Layout) -> Quorum {
    let controllers = layout.nodes().iter().map(|node| localhost(node.controller_port)).collect();
    Quorum::new(config(controllers))
}

/// Tells how groups share their partitions, whenever that has changed, until it is dropped. Brokers are not asked
/// before there can be groups; without `may_be` they always are.
pub(super) async fn tell_groups(layout: Layout, mut may_be: Option<watch::Receiver<bool>>) {
    let brokers = layout.nodes().iter().filter_map(|node| node.client_port).map(localhost).collect();
    let admin = Admin::new(Client::new(config(brokers)));
    let mut told: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut ticks = tokio::time::interval(GROUPS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(may_be) = &mut may_be {
            // An error means that nobody watches the topics any more.
            let _ = may_be.wait_for(|&may_be| may_be).await;
        }
        // A coordinator that is moving says nothing; it is asked again.
        let Ok(groups) = admin.list_groups(&["Stable".to_owned()], &[]).await else { continue };
        let mut stable = BTreeSet::new();
        for group in groups {
            let Ok(described) = admin.describe_group(&group.group_id).await else { continue };
            let mut shares: Vec<usize> =
                described.members.iter().map(|member| member.assignment.len()).collect();
            shares.sort_unstable_by(|a, b| b.cmp(a));
            stable.insert(group.group_id.clone());
            if told.get(&group.group_id) != Some(&shares) {
                let text = shares.iter().map(usize::to_string).collect::<Vec<_>>().join(" + ");
                story::event(format_args!("group {} stable: {text} partitions", group.group_id));
                told.insert(group.group_id, shares);
            }
        }
        told.retain(|group, _| stable.contains(group));
    }
}

fn has_groups(image: &MetadataImage) -> bool {
    image.topics.iter().any(|topic| topic.name == OFFSETS_TOPIC)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn config(addresses: Vec<HostPort>) -> ClientConfig {
    let mut config = ClientConfig::new(addresses, "ottla-up", format::seed());
    (config.request_timeout, config.deadline) = (PATIENCE, PATIENCE);
    config
}

fn localhost(port: u16) -> HostPort {
    HostPort::new("localhost", port)
}

/// What the brokers' own configuration says of how many in-sync replicas a partition needs.
fn min_isr(layout: &Layout) -> usize {
    let written = layout.nodes().first().and_then(|node| {
        let config = properties_file::read(&node.properties(), &[]).ok()?;
        usize::try_from(config.properties.number(MIN_ISR)).ok()
    });
    // Kafka's default.
    written.unwrap_or(1)
}
