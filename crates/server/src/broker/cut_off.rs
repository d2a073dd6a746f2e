//! A broker that the controller does not answer any more may be deposed and not know it: it serves nothing until it
//! is answered again.
//!
//! Epochs keep it from losing anything all the same; this keeps clients from waiting for it, and readers from being
//! told old news.
//!
//! A controller that cannot commit answers no heartbeats, and deposes nobody either: as long as this node hears of the
//! quorum's leader, by its own fetches, it is not cut off, and nothing here runs.

use super::Broker;
use ottla_controller::detector::Contacts;
use ottla_types::Monotonic;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// How often to look. A look that comes later than it should says that this process stood still, and not the controller.
const PERIOD: Duration = Duration::from_millis(100);

/// How often to look for an answer once there was none: clients wait for it.
const PERIOD_CUT_OFF: Duration = Duration::from_millis(10);

/// A look that is later than this is a stall.
const LATE: Duration = Duration::from_millis(50);

/// When heartbeats were answered: written by the membership, which must not wait for anybody, and read here.
#[derive(Debug, Default)]
pub struct Answers(Mutex<Option<Contacts>>);

impl Answers {
    /// A heartbeat was answered.
    pub fn record(&self, now: Monotonic) {
        self.0.lock().get_or_insert_with(|| Contacts::since(now)).record(now);
    }

    fn subtract_stall(&self, stall: Duration, now: Monotonic) {
        if let Some(contacts) = &mut *self.0.lock() {
            contacts.subtract_stall(stall, now);
        }
    }

    /// When the last answer came, and how long the next may take; `None` before the first.
    fn last(&self, session_timeout: Duration) -> Option<(Monotonic, Duration)> {
        let contacts = self.0.lock();
        let contacts = contacts.as_ref()?;
        Some((contacts.heard_at(), contacts.silence_allowed(session_timeout, true)))
    }
}

/// Watches the answers to heartbeats for as long as the broker lives.
pub async fn run(broker: Arc<Broker>, answers: Arc<Answers>) {
    let session_timeout = broker.config.properties.millis("broker.session.timeout.ms");
    let mut leadership = broker.controller.leadership();
    loop {
        // An error means that the quorum has stopped, and the broker with it.
        if leadership.wait_for(|known| known.leader.is_none()).await.is_err() {
            return;
        }
        let looked_at = broker.clock.monotonic();
        tokio::time::sleep(PERIOD).await;
        let now = broker.clock.monotonic();
        let stall = (now - looked_at).saturating_sub(PERIOD);
        if stall > LATE {
            answers.subtract_stall(stall, now);
        }
        let Some((answered_at, allowed)) = answers.last(session_timeout) else { continue };
        let silence = now - answered_at;
        if leadership.borrow().leader.is_none() && silence > allowed {
            tracing::warn!(?silence, "the controller does not answer: nothing is served until it does");
            broker.replicas.stop_leading();
            broker.groups.stop();
            broker.transactions.stop();
            until_answered(&broker, &answers, answered_at, session_timeout).await;
        }
    }
}

/// Waits for an answer after `before`, and goes on then.
async fn until_answered(broker: &Broker, answers: &Answers, before: Monotonic, session_timeout: Duration) {
    while answers.last(session_timeout).is_none_or(|(answered_at, _)| answered_at <= before) {
        tokio::time::sleep(PERIOD_CUT_OFF).await;
    }
    tracing::info!("the controller answers again");
    reconnect(broker);
}

/// Goes on with what the latest image gives to this broker.
fn reconnect(broker: &Broker) {
    broker.replicas.resume_leading();
    let image = broker.image();
    broker.groups.apply(&image);
    broker.transactions.apply(&image);
}
