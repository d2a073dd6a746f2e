//! Makes the broker what the metadata log says, in the log's order, and tells how far it has come.

use super::Broker;
use super::takeovers::Takeovers;
use crate::bug::{Bug, is_made};
use crate::io_pool::IoPool;
use crate::quorum::Committed;
use ottla_types::{BrokerEpoch, Offset};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Applies whatever is committed until the quorum stops. `applied` is one past the last record applied. `io` is whatever has
/// the disk.
pub async fn run(
    broker: Arc<Broker>,
    io: IoPool,
    mut committed: mpsc::Receiver<Committed>,
    applied: watch::Sender<Offset>,
) {
    let mut full = true;
    let mut takeovers = Takeovers::default();
    let mut next = first(&broker, &mut committed).await;
    while let Some(Committed { mut image, mut delta }) = next {
        // Logs are opened, truncated and removed here, and that takes its time.
        io.linger().await;
        // What has piled up is applied at once.
        while let Ok(next) = committed.try_recv() {
            if is_made(Bug::EarlierChangesForgotten) {
                delta = next.delta;
            } else {
                delta.merge(next.delta);
            }
            image = next.image;
        }
        broker.replicas.apply(&image, &delta, full);
        // At first all is news, and nobody was heard yet.
        if !full {
            let (before, now) = (broker.image(), broker.clock.monotonic());
            let heard_at = |peer| broker.peers.heard_at(peer);
            let partitions = delta.partitions.iter().copied();
            for silence in takeovers.take(broker.node_id, &before, &image, partitions, heard_at, now) {
                broker.failover_silence.observe(silence);
            }
            takeovers.retain(&image);
        }
        broker.groups.forget_topics(&delta);
        broker.transactions.follow_transaction_version(&image);
        full = false;
        let end = image.end.offset;
        broker.publish(image);
        broker.coordinate();
        broker.replicas.handle_published();
        applied.send_replace(end);
        next = committed.recv().await;
    }
}

/// The first image to be applied: one with this process's registration in it, and so with everything that was
/// decided before.
///
/// An earlier one, of a metadata log that is still being copied, does not name every partition that this
/// broker holds: their logs would be set aside as strays, and begin anew when a later image names them.
async fn first(broker: &Broker, committed: &mut mpsc::Receiver<Committed>) -> Option<Committed> {
    if is_made(Bug::FirstImageTaken) {
        return committed.recv().await;
    }
    let mut epoch = broker.epoch.clone();
    let mut latest: Option<Committed> = None;
    loop {
        let registered = *epoch.borrow_and_update();
        let has_it = |latest: &mut Committed| {
            registered != BrokerEpoch::NONE && latest.image.end.offset.0 > registered.0
        };
        if let Some(reached) = latest.take_if(has_it) {
            return Some(reached);
        }
        tokio::select! {
            biased;
            changed = epoch.changed() => changed.ok()?,
            next = committed.recv() => {
                let next = next?;
                match &mut latest {
                    Some(latest) => {
                        latest.delta.merge(next.delta);
                        latest.image = next.image;
                    }
                    None => latest = Some(next),
                }
            }
        }
    }
}
