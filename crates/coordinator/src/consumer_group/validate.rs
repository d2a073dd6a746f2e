//! What a ConsumerGroupHeartbeat must be, whatever the group
//! (`GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid`).

use super::member::LEFT_FOR_A_WHILE;
use super::regex;
use crate::settings::ConsumerGroupSettings;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;

/// The first version at which members make their ids themselves (KIP-1082).
const OWN_MEMBER_ID_VERSION: i16 = 1;

/// The epoch of a member that joins.
pub(crate) const JOINING: i32 = 0;
/// The epoch of a member that leaves.
pub(crate) const LEAVING: i32 = -1;

/// Why a heartbeat is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    /// A refusal, in words for who runs the client.
    pub(crate) fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }

    /// The answer that tells it.
    pub(crate) fn into_response(self) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse {
            error_code: self.error.code(),
            error_message: Some(self.message),
            ..Default::default()
        }
    }
}

/// Checks a request by itself.
pub(crate) fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    settings: &ConsumerGroupSettings,
) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let is_empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
    let epoch = request.member_epoch;
    if request.member_id.is_empty() && (version >= OWN_MEMBER_ID_VERSION || epoch > 0 || epoch == LEAVING) {
        return invalid("a member has an id");
    }
    if request.group_id.is_empty() {
        return invalid("a group has an id");
    }
    if is_empty(&request.instance_id) || is_empty(&request.rack_id) {
        return invalid("an instance id or rack that is given is not empty");
    }
    match epoch {
        JOINING => {
            if request.rebalance_timeout_ms == -1 {
                return invalid("who joins has a rebalance timeout");
            }
            if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
                return invalid("who joins owns no partitions, and says so");
            }
            if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
                return invalid("who joins has a subscription, which may be empty");
            }
        }
        LEFT_FOR_A_WHILE if request.instance_id.is_none() => {
            return invalid("only who has an instance id can leave for a while");
        }
        ..LEFT_FOR_A_WHILE => return invalid("there is no such member epoch"),
        _ => {}
    }
    if let Some(name) = &request.server_assignor
        && !settings.assignors.iter().any(|assignor| assignor.name() == name)
    {
        let names: Vec<&str> = settings.assignors.iter().map(|assignor| assignor.name()).collect();
        let message = format!("there is no assignor {name}, but {}", names.join(", "));
        return Err(Refusal::new(ErrorCode::UnsupportedAssignor, message));
    }
    let names = request.subscribed_topic_names.iter().flatten();
    if names.map(String::len).sum::<usize>() > regex::NAMES_BYTES_MAX {
        return invalid("the names of the topics are longer together than what can be written down");
    }
    Ok(())
}
