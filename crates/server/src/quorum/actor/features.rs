//! Feature levels change. Of the quorum's own level only the quorum can say what is possible, and carry it out.

use super::{Actor, QuorumFailed};
use ottla_controller::features::QuorumFeatures;
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_types::Now;
use tokio::sync::oneshot;

impl Actor {
    /// Lets the active controller decide, and raises the kraft.version first if that is part of it. On a node that is
    /// not the active controller the reply is dropped.
    pub(super) fn update_features(
        &mut self,
        request: &UpdateFeaturesRequest,
        reply: oneshot::Sender<UpdateFeaturesResponse>,
        now: Now,
    ) -> Result<(), QuorumFailed> {
        let quorum = QuorumFeatures {
            node_id: self.quorum.identity().id,
            voters: self.quorum.voters().iter().map(|voter| voter.key.id).collect(),
            kraft_version: self.quorum.kraft_version(),
            upgrade_refusal: self.quorum.check_upgrade().err().map(|refusal| refusal.to_string()),
        };
        let term = self.term.as_ref();
        let Some(controller) = term.and_then(|term| term.controller.as_ref()) else { return Ok(()) };
        let update = controller.handle_update_features(request, &quorum);
        if update.upgrades_kraft_version {
            // That it can be done was asked a moment ago.
            if let Err(refusal) = self.quorum.upgrade(now, &mut self.effects)? {
                tracing::warn!(%refusal, "kraft.version was not raised");
                return Ok(());
            }
        }
        let (records, mut replies) = (update.decision.records, update.decision.replies);
        let response = replies.pop().unwrap_or_default();
        let answer = move |committed: bool| {
            if committed {
                // Whoever asked may have gone; the decision stands all the same.
                let _ = reply.send(response);
            }
        };
        self.decide(Box::new(move |_, _| (records, Box::new(answer))), now)
    }
}
