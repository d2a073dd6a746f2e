//! Coordinators that are kept ready where others lead.
//!
//! A coordinator that moves has its whole log to replay before it answers, a third of a second for 30 MB of offsets. So
//! whoever follows a partition of its topic replays it as it comes: when it is to lead, the last moments are all that is
//! missing. Only what is committed is replayed, which is never cut.

use super::Coordinators;
use super::loading::Loading;
use super::machine::Machine;
use crate::broker::Broker;
use crate::replicas::Replica;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// How often followed partitions are looked at: what came since is to be replayed in a moment.
const PERIOD: Duration = Duration::from_millis(500);

/// A partition that another broker leads. Empty once it is led here, or cannot be read.
pub(super) struct Standby<M: Machine> {
    pub(super) replica: Arc<Replica>,
    pub(super) loading: Arc<Mutex<Option<Loading<M>>>>,
}

impl<M: Machine> Clone for Standby<M> {
    fn clone(&self) -> Standby<M> {
        Standby { replica: self.replica.clone(), loading: self.loading.clone() }
    }
}

impl<M: Machine> Standby<M> {
    /// Replays a piece. Returns whether there is more.
    fn advance(&self) -> bool {
        let mut loading = self.loading.lock();
        let Some(ready) = loading.as_mut() else { return false };
        let end = self.replica.lock().high_watermark();
        match ready.advance(&self.replica, end) {
            Ok(is_complete) => !is_complete,
            Err(error) => {
                // Whoever is to lead reads it from its start, and says what is wrong.
                tracing::debug!(%error, "no standby");
                *loading = None;
                false
            }
        }
    }
}

/// Keeps coordinators ready for as long as the broker runs.
pub(crate) async fn run(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        advance(&broker.groups).await;
        advance(&broker.transactions).await;
    }
}

async fn advance<M: Machine>(coordinators: &Coordinators<M>) {
    let standbys: Vec<Standby<M>> = coordinators.standbys.lock().values().cloned().collect();
    for standby in standbys {
        while standby.advance() {
            // A long log is not the only thing that this thread has to do.
            tokio::task::yield_now().await;
        }
    }
}
