//! What happens when nothing happens: members are given up.

use super::bug::{Bug, is_made};
use super::turn::ConsumerTurn;

impl ConsumerTurn<'_> {
    /// Gives up members that have been silent for too long, that have not given up in time what they were asked to, that
    /// have not joined or synced in time, or whose connections have closed for good.
    pub(crate) fn expire(&mut self) {
        let now = self.now.monotonic;
        let silent = self.group.sessions.iter().filter(|(_, deadline)| **deadline <= now);
        let mut gone: Vec<String> = silent.map(|(member_id, _)| member_id.clone()).collect();
        for (member_id, deadline) in &self.group.revocations {
            let epoch = self.group.member(member_id).map(|member| member.current.epoch);
            if deadline.at <= now && epoch == Some(deadline.epoch) && !gone.contains(member_id) {
                gone.push(member_id.clone());
            }
        }
        let late = self
            .group
            .gone
            .iter()
            .chain(&self.group.joins)
            .chain(&self.group.syncs)
            .filter(|(_, deadline)| **deadline <= now);
        gone.extend(late.map(|(member_id, _)| member_id.clone()));
        gone.sort_unstable();
        gone.dedup();
        for member_id in gone {
            self.remove_member(&member_id);
        }
        if let Some(deadline) = self.group.next_deadline() {
            self.alarms.arm(&self.group.id, deadline);
        }
    }

    /// The log is replayed: whoever is in the group is expected to be heard of.
    pub(crate) fn begin(&mut self) {
        if is_made(Bug::SessionsForgotten) {
            return;
        }
        let member_ids: Vec<String> = self.group.members().map(|(id, _)| id.to_owned()).collect();
        for member_id in member_ids {
            self.renew_session(&member_id);
            self.renew_revocation(&member_id);
        }
    }
}
