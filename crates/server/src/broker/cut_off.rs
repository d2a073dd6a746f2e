//! A broker that the controller does not answer any more may be deposed and not know it: it serves nothing until it
//! is answered again.
//!
//! Epochs keep it from losing anything all the same; this keeps clients from waiting for it, and readers from being
//! told old news.
//!
//! A controller that cannot commit answers no heartbeats, and deposes nobody either: as long as this node hears of the
//! quorum's leader, by its own fetches, it is not cut off.

use super::Broker;
use ottla_controller::detector::Contacts;
use ottla_metadata::MetadataDelta;
use ottla_types::Monotonic;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often to look. A look that comes later than it should says that this process stood still, and not the controller.
const PERIOD: Duration = Duration::from_millis(100);

/// A look that is later than this is a stall.
const LATE: Duration = Duration::from_millis(50);

/// Watches the answers to heartbeats, whose times `answered` gives, for as long as the broker lives.
pub async fn run(broker: Arc<Broker>, mut answered: watch::Receiver<Option<Monotonic>>) {
    let session_timeout = broker.config.properties.millis("broker.session.timeout.ms");
    let mut contacts: Option<Contacts> = None;
    let mut looked_at = broker.clock.monotonic();
    loop {
        let changed = tokio::time::timeout(PERIOD, answered.changed()).await;
        let now = broker.clock.monotonic();
        match changed {
            // The broker is going.
            Ok(Err(_)) => return,
            Ok(Ok(())) => {
                let Some(at) = *answered.borrow_and_update() else { continue };
                contacts.get_or_insert_with(|| Contacts::since(at)).record(at);
                if broker.replicas.is_cut_off() {
                    tracing::info!("the controller answers again");
                    reconnect(&broker);
                }
            }
            Err(_) => {
                let Some(contacts) = &mut contacts else { continue };
                let stall = (now - looked_at).saturating_sub(PERIOD);
                if stall > LATE {
                    contacts.subtract_stall(stall, now);
                }
                let silence = now - contacts.heard_at();
                let has_leader = broker.controller.leadership().borrow().leader.is_some();
                if !broker.replicas.is_cut_off()
                    && !has_leader
                    && silence > contacts.silence_allowed(session_timeout, true)
                {
                    tracing::warn!(
                        ?silence,
                        "the controller does not answer: nothing is served until it does"
                    );
                    broker.replicas.stop_leading();
                    broker.groups.stop();
                }
            }
        }
        looked_at = now;
    }
}

/// Goes on with what the latest image gives to this broker.
fn reconnect(broker: &Broker) {
    broker.replicas.resume_leading();
    broker.groups.apply(&broker.image(), &MetadataDelta::default());
}
