//! A broker that the controller does not answer any more may be deposed and not know it: it serves nothing until it
//! is answered again.
//!
//! Epochs keep it from losing anything all the same; this keeps clients from waiting for it, and readers from being
//! told old news.
//!
//! So does one that has stood still ([`Pulse`]): it answers nothing of what was sent to it meanwhile as the leader that it was. A
//! producer that is told by it of a gap, which is none at the new leader, can end for it (librdkafka 2.0.2).
//!
//! A controller that cannot commit answers no heartbeats, and deposes nobody either: as long as this node hears of the
//! quorum's leader, by its own fetches, it is not cut off.

use super::Broker;
use ottla_controller::detector::Contacts;
use ottla_types::Monotonic;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How often to look. A look that comes later than it should says that this process stood still, and not the controller.
const PERIOD: Duration = Duration::from_millis(100);

/// How often to look for an answer once there was none: clients wait for it.
const PERIOD_CUT_OFF: Duration = Duration::from_millis(10);

/// A look that is later than this is a stall.
const LATE: Duration = Duration::from_millis(50);

/// A standstill of which this broker may have been fenced: a second's silence, less the time between two heartbeats, and a look.
const STANDSTILL_MIN: Duration = Duration::from_millis(700);

/// When heartbeats were answered: written by the membership, which must not wait for anybody, and read here.
#[derive(Debug, Default)]
pub struct Answers {
    heard: Mutex<Option<Heard>>,
    /// Woken when somebody waits for the next one.
    wanted: Notify,
}

#[derive(Debug)]
struct Heard {
    contacts: Contacts,
    /// When the last heartbeat was sent that was answered to a member.
    member_asked_at: Option<Monotonic>,
}

impl Answers {
    /// Waits until the next answer is waited for: there is no reason to let the interval go by.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// A heartbeat that was sent at `asked_at` was answered; `is_member` says whether this broker is one, and not fenced.
    pub fn record(&self, asked_at: Monotonic, is_member: bool, now: Monotonic) {
        let mut heard = self.heard.lock();
        let heard =
            heard.get_or_insert_with(|| Heard { contacts: Contacts::since(now), member_asked_at: None });
        heard.contacts.record(now);
        if is_member {
            heard.member_asked_at = Some(asked_at);
        }
    }

    fn subtract_stall(&self, stall: Duration, now: Monotonic) {
        if let Some(heard) = &mut *self.heard.lock() {
            heard.contacts.subtract_stall(stall, now);
        }
    }

    /// When the last answer came, and how long the next may take; `None` before the first.
    fn last(&self, session_timeout: Duration) -> Option<(Monotonic, Duration)> {
        let heard = self.heard.lock();
        let contacts = &heard.as_ref()?.contacts;
        Some((contacts.heard_at(), contacts.silence_allowed(session_timeout, true)))
    }

    /// Whether a heartbeat that was sent after `moment` was answered to a member. One that was sent before says nothing: its
    /// answer may have waited as long as this process did.
    fn is_member_since(&self, moment: Monotonic) -> bool {
        self.heard
            .lock()
            .as_ref()
            .and_then(|heard| heard.member_asked_at)
            .is_some_and(|asked_at| asked_at > moment)
    }
}

/// When this process was last seen running, for whoever is about to answer what may have waited since.
#[derive(Debug, Default)]
pub struct Pulse {
    /// In microseconds; 0 before the first beat.
    beat_at: AtomicU64,
    /// When this process went on after a standstill, until [`run`] has seen to it. Held while it stops leading, and while it
    /// begins to lead again.
    woken_at: Mutex<Option<Monotonic>>,
}

impl Pulse {
    /// It ran at `now`, which is read before anything that could take long.
    fn beat(&self, now: Monotonic) {
        self.beat_at.fetch_max(now.0, Ordering::AcqRel);
    }

    fn standstill(&self, now: Monotonic) -> Option<Duration> {
        let beat_at = Monotonic(self.beat_at.load(Ordering::Acquire));
        let since = now - beat_at;
        (beat_at.0 > 0 && since >= STANDSTILL_MIN).then_some(since)
    }
}

/// Keeps the pulse, on a thread that waits for no disk and no partition: that these are slow is no standstill.
pub async fn keep_pulse(broker: Arc<Broker>) {
    loop {
        let now = broker.clock.monotonic();
        // Whoever sees a standstill first has to see to it.
        if broker.pulse.standstill(now).is_none() {
            broker.pulse.beat(now);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

impl Broker {
    /// Called before anything is answered: leads nothing any more when this process has stood still for so long that it may be
    /// deposed. What was sent to it meanwhile lies ready, and would be answered before the controller is heard of.
    pub fn look_at_pulse(&self) {
        if self.pulse.standstill(self.clock.monotonic()).is_none() {
            return;
        }
        let mut woken_at = self.pulse.woken_at.lock();
        // Another thread may have seen to it.
        let now = self.clock.monotonic();
        let Some(standstill) = self.pulse.standstill(now) else { return };
        tracing::warn!(
            ?standstill,
            "this process stood still: nothing is served until the controller answers"
        );
        self.stop_serving();
        *woken_at = Some(now);
        self.pulse.beat(now);
    }

    /// Leads and coordinates nothing any more, whatever a task may still do that was ended or is late.
    pub fn stop_serving(&self) {
        self.replicas.stop_leading();
        let _coordinating = self.coordinating.lock();
        self.groups.stop();
        self.transactions.stop();
    }

    /// Goes on with what the latest image gives to this broker.
    fn serve_again(&self) {
        self.replicas.resume_leading();
        self.coordinate();
    }

    /// Coordinates what the published image gives to this broker; nothing while it is cut off.
    pub fn coordinate(&self) {
        // One after the other, so that no older image comes after a newer one, and none after the order to stop.
        let _coordinating = self.coordinating.lock();
        if !self.replicas.is_cut_off() {
            let image = self.image();
            self.groups.apply(&image);
            self.transactions.apply(&image);
        }
        self.coordinated.send_replace(());
    }
}

/// Watches the answers to heartbeats for as long as the broker lives.
pub async fn run(broker: Arc<Broker>, answers: Arc<Answers>) {
    let session_timeout = broker.config.properties.millis("broker.session.timeout.ms");
    let leadership = broker.controller.leadership();
    let mut looked_at = broker.clock.monotonic();
    let mut was_leaderless = false;
    // An error means that the quorum has stopped, and the broker with it.
    while leadership.has_changed().is_ok() {
        tokio::time::sleep(PERIOD).await;
        broker.look_at_pulse();
        let now = broker.clock.monotonic();
        let stall = (now - looked_at).saturating_sub(PERIOD);
        if stall > LATE {
            answers.subtract_stall(stall, now);
        }
        looked_at = now;
        let woken_at = broker.pulse.woken_at.lock().take();
        let is_leaderless = leadership.borrow().leader.is_none();
        let silence =
            answers.last(session_timeout).map(|(answered_at, allowed)| (now - answered_at, allowed));
        if let Some(woken_at) = woken_at {
            until_answered(&broker, &answers, woken_at).await;
            looked_at = broker.clock.monotonic();
        } else if let Some((silence, allowed)) = silence
            && silence > allowed
            && is_leaderless
            && was_leaderless
        {
            tracing::warn!(?silence, "the controller does not answer: nothing is served until it does");
            broker.stop_serving();
            until_answered(&broker, &answers, now).await;
            looked_at = broker.clock.monotonic();
        }
        was_leaderless = is_leaderless;
    }
}

/// Waits until the controller has told this broker, asked after `moment`, that it is a member, and goes on then.
async fn until_answered(broker: &Broker, answers: &Answers, mut moment: Monotonic) {
    answers.wanted.notify_one();
    loop {
        broker.look_at_pulse();
        {
            // Held until it serves again: who sees another standstill meanwhile stops it afterwards.
            let mut woken_at = broker.pulse.woken_at.lock();
            if let Some(woken_again_at) = woken_at.take() {
                moment = woken_again_at;
                answers.wanted.notify_one();
            } else if answers.is_member_since(moment) {
                tracing::info!("the controller answers again");
                broker.serve_again();
                return;
            }
        }
        tokio::time::sleep(PERIOD_CUT_OFF).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic(millis * 1000)
    }

    #[test]
    fn a_pause_that_is_too_short_to_be_fenced_for_is_no_standstill() {
        let pulse = Pulse::default();
        assert_eq!(pulse.standstill(at(3_600_000)), None, "it has not begun");

        pulse.beat(at(1000));
        assert_eq!(pulse.standstill(at(1600)), None);
        assert_eq!(pulse.standstill(at(1700)), Some(STANDSTILL_MIN));
        pulse.beat(at(1700));
        assert_eq!(pulse.standstill(at(1701)), None);
    }

    #[test]
    fn only_what_was_asked_afterwards_says_that_this_is_a_member() {
        let answers = Answers::default();
        assert!(!answers.is_member_since(at(0)));

        answers.record(at(900), true, at(1100));
        assert!(!answers.is_member_since(at(1000)), "the answer is older than it looks");
        answers.record(at(1200), false, at(1300));
        assert!(!answers.is_member_since(at(1000)), "it is fenced");
        answers.record(at(1300), true, at(1400));
        assert!(answers.is_member_since(at(1000)));
    }
}
