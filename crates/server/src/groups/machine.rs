//! The group coordinator as its driver sees it.

use crate::coordination::{Due, Machine};
use bytes::Bytes;
use ottla_coordinator::{GroupCoordinator, GroupDecision, GroupReply, ReplyToken, Settings, records};
use ottla_protocol::records::group::GroupRecord;
use ottla_protocol::{EncodeError, ErrorCode};
use ottla_types::{Monotonic, Now, ProducerId};
use std::convert::Infallible;

impl Machine for GroupCoordinator {
    const TOPIC: &'static str = crate::broker::OFFSETS_TOPIC;
    const NAME: &'static str = "group coordinator";

    type Settings = Settings;
    type Record = GroupRecord;
    type Effect = (ReplyToken, GroupReply);
    type Reply = GroupReply;
    /// A group only answers.
    type Work = Infallible;

    fn new(settings: &Settings, seed: u64) -> GroupCoordinator {
        GroupCoordinator::new(settings.clone(), seed)
    }

    fn replay(&mut self, record: &GroupRecord) {
        GroupCoordinator::replay(self, record);
    }

    fn replay_transactional(&mut self, producer_id: ProducerId, record: &GroupRecord) {
        GroupCoordinator::replay_transactional(self, producer_id, record);
    }

    fn replay_marker(&mut self, producer_id: ProducerId, committed: bool) {
        GroupCoordinator::replay_marker(self, producer_id, committed);
    }

    /// Kinds that are not known here belong to groups of other types.
    fn replay_bytes(
        &mut self,
        key: Bytes,
        value: Option<Bytes>,
        transaction: Option<ProducerId>,
    ) -> Result<(), String> {
        let record = GroupRecord::decode(key, value).map_err(|error| error.to_string())?;
        match transaction {
            Some(producer_id) => GroupCoordinator::replay_transactional(self, producer_id, &record),
            None => GroupCoordinator::replay(self, &record),
        }
        Ok(())
    }

    fn encode(&self, record: &GroupRecord) -> Result<(Vec<u8>, Option<Vec<u8>>), EncodeError> {
        records::encode(record)
    }

    fn handle_loaded(&mut self, now: Now) -> GroupDecision {
        GroupCoordinator::handle_loaded(self, now)
    }

    fn deadline(&self) -> Option<Monotonic> {
        GroupCoordinator::deadline(self)
    }

    fn handle_timeout(&mut self, now: Now) -> GroupDecision {
        GroupCoordinator::handle_timeout(self, now)
    }

    fn resign(self) -> Vec<(ReplyToken, GroupReply)> {
        GroupCoordinator::resign(self)
    }

    fn due((token, reply): (ReplyToken, GroupReply)) -> Due<GroupCoordinator> {
        Due::Reply(token, reply)
    }

    fn refuse(reply: GroupReply, error: ErrorCode) -> GroupReply {
        reply.into_error(error)
    }
}
