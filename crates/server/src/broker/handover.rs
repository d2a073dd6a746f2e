//! Moments at which a client knows more of who leads than this broker, or this broker's replicas more than it tells.
//!
//! A leadership that moves is heard of by one broker after the other, some milliseconds apart, and by the replicas of each
//! before its image is published. Clients are as quick: the old leader tells them who leads instead (KIP-951), and they send
//! there at once. Whoever then heard that this is no leader, or that the old one still is, would wait for a pause of its
//! own, a tenth of a second and longer.

use super::Broker;
use ottla_metadata::MetadataImage;
use ottla_types::TopicIdPartition;
use std::time::Duration;
use tokio::time::Instant;

/// How long a client's request waits for what it seems to know already.
pub const HANDOVER_PATIENCE: Duration = Duration::from_millis(100);

/// How long after another took the lead clients may still send here for having heard nothing.
const CEDED: Duration = Duration::from_secs(5);

impl Broker {
    /// Returns whether clients that are told of leaders by an image are told what the replicas were.
    pub fn is_published(&self, image: &MetadataImage) -> bool {
        image.end.offset >= self.replicas.applying()
    }

    /// Waits until that is so, for a tenth of a second at most: a client that hears of a partition that is led here no more is
    /// to hear who leads it, by this answer or the next.
    pub async fn wait_until_published(&self) {
        let end = self.replicas.applying();
        self.wait_for_image(|image| image.end.offset >= end, HANDOVER_PATIENCE).await;
    }

    /// Returns whether a client that takes this broker for a partition's leader may be ahead of it: it is in sync, and was not
    /// the leader just before.
    pub fn may_come_to_lead(&self, image: &MetadataImage, at: TopicIdPartition) -> bool {
        let Some(partition) = image.topics.partition(at) else { return false };
        if partition.leader == Some(self.node_id) || !partition.isr.contains(&self.node_id) {
            return false;
        }
        if self.replicas.is_cut_off() || *self.leaving.borrow() {
            return false;
        }
        let now = self.clock.monotonic();
        let has_ceded = |at| now - at < CEDED;
        self.replicas.get(at).is_some_and(|replica| {
            // One that leads already has only not been published.
            let leads = replica.lock().serving().is_some();
            !leads && !replica.ceded_at().is_some_and(has_ceded)
        })
    }

    /// Waits until this broker leads these partitions, or it is that late.
    pub async fn wait_to_lead(&self, partitions: &[TopicIdPartition], until: Instant) {
        let leads = |image: &MetadataImage, at: TopicIdPartition| {
            image.topics.partition(at).is_some_and(|partition| partition.leader == Some(self.node_id))
        };
        let left = until.saturating_duration_since(Instant::now());
        self.wait_for_image(|image| partitions.iter().all(|&at| leads(image, at)), left).await;
    }
}
