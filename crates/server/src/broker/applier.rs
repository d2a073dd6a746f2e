//! Makes the broker what the metadata log says, in the log's order, and tells how far it has come.

use super::Broker;
use crate::quorum::Committed;
use ottla_types::Offset;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Applies whatever is committed until the quorum stops. `applied` is one past the last record applied.
pub async fn run(
    broker: Arc<Broker>,
    mut committed: mpsc::Receiver<Committed>,
    applied: watch::Sender<Offset>,
) {
    let mut full = true;
    while let Some(Committed { image, mut delta }) = committed.recv().await {
        let mut image = image;
        // What has piled up is applied at once.
        while let Ok(next) = committed.try_recv() {
            delta.merge(next.delta);
            image = next.image;
        }
        broker.replicas.apply(&image, &delta, full);
        broker.groups.apply(&image, &delta);
        full = false;
        let end = image.end.offset;
        broker.publish(image);
        applied.send_replace(end);
    }
}
