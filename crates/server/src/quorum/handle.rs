//! How the rest of the process reaches the quorum.

use super::actor::{ControllerJob, Event};
use ottla_controller::Controller;
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_raft::{
    Endpoint, FetchSnapshotRequest, FetchSnapshotResponse, QuorumDescription, Request, Response, SilentLeader,
};
use ottla_types::{Decision, LeaderEpoch, NodeId, Now, Offset};
use std::fmt;
use tokio::sync::{mpsc, oneshot, watch};

/// Who leads the quorum, as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, and where it listens.
    pub leader: Option<(NodeId, Endpoint)>,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// The quorum's kraft.version: 1 when its log names the voters.
    pub kraft_version: i16,
    /// The leader before, if it was given up for its silence and nothing was heard of it since.
    pub silent: Option<SilentLeader>,
}

/// This node is not the active controller, or ceased to be before the decision was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotController;

impl fmt::Display for NotController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this node is not the active controller")
    }
}

impl std::error::Error for NotController {}

/// Sends events to the quorum's task.
#[derive(Clone, Debug)]
pub struct QuorumHandle {
    events: mpsc::Sender<Event>,
    leadership: watch::Receiver<Leadership>,
}

impl QuorumHandle {
    pub(super) fn new(events: mpsc::Sender<Event>, leadership: watch::Receiver<Leadership>) -> QuorumHandle {
        QuorumHandle { events, leadership }
    }

    /// Lets the active controller decide; the answer comes when what it saw and wrote is committed.
    ///
    /// # Errors
    /// [`NotController`]; the decision may then have been carried out or not.
    pub async fn decide<R: Send + 'static>(
        &self,
        decision: impl FnOnce(&mut Controller, Now) -> Decision<MetadataRecord, R> + Send + 'static,
    ) -> Result<R, NotController> {
        let (sender, receiver) = oneshot::channel();
        let job: ControllerJob = Box::new(move |controller, now| {
            let Decision { records, mut replies } = decision(controller, now);
            assert_eq!(replies.len(), 1, "a request has one answer");
            let reply = replies.pop();
            let answer = Box::new(move |committed: bool| {
                if let Some(reply) = reply.filter(|_| committed) {
                    // Whoever asked may have gone; the decision stands all the same.
                    let _ = sender.send(reply);
                }
            });
            (records, answer)
        });
        self.events.send(Event::Decide(job)).await.map_err(|_| NotController)?;
        receiver.await.map_err(|_| NotController)
    }

    /// Changes feature levels, the quorum's own among them.
    ///
    /// # Errors
    /// As [`QuorumHandle::decide`].
    pub async fn update_features(
        &self,
        request: UpdateFeaturesRequest,
    ) -> Result<UpdateFeaturesResponse, NotController> {
        let (reply, response) = oneshot::channel();
        self.events.send(Event::UpdateFeatures(request, reply)).await.map_err(|_| NotController)?;
        response.await.map_err(|_| NotController)
    }

    /// Hands in a request of the quorum's protocol and waits for the answer; `None` when the quorum has
    /// stopped.
    pub async fn request(&self, request: Request) -> Option<Response> {
        let (reply, response) = oneshot::channel();
        self.events.send(Event::Request(request, reply)).await.ok()?;
        response.await.ok()
    }

    /// Hands in that a piece of a snapshot is asked for; the answer lacks the piece. `None` when the quorum has
    /// stopped.
    pub async fn fetch_snapshot(&self, request: FetchSnapshotRequest) -> Option<FetchSnapshotResponse> {
        let (reply, response) = oneshot::channel();
        self.events.send(Event::FetchSnapshot(request, reply)).await.ok()?;
        response.await.ok()
    }

    /// The quorum as its leader sees it; `None` where this node does not lead it.
    pub async fn describe(&self) -> Option<QuorumDescription> {
        let (reply, description) = oneshot::channel();
        self.events.send(Event::Describe(reply)).await.ok()?;
        description.await.ok()?
    }

    /// The end of what is committed, as far as this node knows.
    pub async fn high_watermark(&self) -> Option<Offset> {
        let (reply, high_watermark) = oneshot::channel();
        self.events.send(Event::HighWatermark(reply)).await.ok()?;
        high_watermark.await.ok()?
    }

    /// The quorum's kraft.version, as this node knows it.
    pub fn kraft_version(&self) -> i16 {
        self.leadership.borrow().kraft_version
    }

    /// Who leads, now and whenever that changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Leaves the quorum for good.
    pub async fn shut_down(&self) {
        let (reply, done) = oneshot::channel();
        if self.events.send(Event::ShutDown(reply)).await.is_ok() {
            // An error means that the quorum has stopped already.
            let _ = done.await;
        }
    }
}
