//! What a node must remember to keep its word: the `quorum-state` file.
//!
//! Kafka's JSON, in its two versions (`QuorumStateData`): version 0 of a static voter set, version 1 of
//! kraft.version 1, which adds the directory of who got the vote and drops what version 0 never used.

use crate::voters::{ReplicaKey, VoterSet};
use ottla_types::{LeaderEpoch, NodeId, Uuid};
use serde_json::{Value, json};

/// The epoch a node is in, who leads it, and who got this node's vote in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumState {
    /// The epoch; 0 on a new node.
    pub epoch: LeaderEpoch,
    /// Who leads it, once that is known.
    pub leader: Option<NodeId>,
    /// Who got this node's vote in it.
    pub voted: Option<ReplicaKey>,
}

/// The text is not a `quorum-state` file.
#[derive(Debug, thiserror::Error)]
pub enum QuorumStateError {
    /// Not JSON.
    #[error("quorum-state is not JSON")]
    Json(#[from] serde_json::Error),
    /// A version written by a later release.
    #[error("quorum-state has data_version {0}, only 0 and 1 are known")]
    Version(i64),
    /// A field is missing or is not what it must be.
    #[error("quorum-state has no sound `{0}`")]
    Field(&'static str),
}

impl Default for QuorumState {
    fn default() -> QuorumState {
        QuorumState::new(LeaderEpoch(0))
    }
}

impl QuorumState {
    /// In `epoch`, knowing no leader and not having voted.
    pub fn new(epoch: LeaderEpoch) -> QuorumState {
        QuorumState { epoch, leader: None, voted: None }
    }

    /// The file's text in version 0, which names the static voters and no directory.
    pub fn encode_v0(&self, voters: &VoterSet) -> String {
        let voters: Vec<Value> = voters.iter().map(|voter| json!({ "voterId": voter.key.id.0 })).collect();
        json!({
            "clusterId": "",
            "leaderId": self.leader.unwrap_or(NodeId::NONE).0,
            "leaderEpoch": self.epoch.0,
            "votedId": self.voted.map_or(NodeId::NONE, |voted| voted.id).0,
            "appliedOffset": 0,
            "currentVoters": voters,
            "data_version": 0,
        })
        .to_string()
    }

    /// The file's text in version 1.
    pub fn encode_v1(&self) -> String {
        json!({
            "leaderId": self.leader.unwrap_or(NodeId::NONE).0,
            "leaderEpoch": self.epoch.0,
            "votedId": self.voted.map_or(NodeId::NONE, |voted| voted.id).0,
            "votedDirectoryId": self.voted.map_or(Uuid::ZERO, |voted| voted.directory_id).to_string(),
            "data_version": 1,
        })
        .to_string()
    }

    /// Reads the file's text, of either version.
    ///
    /// # Errors
    /// When it is not JSON, of a later version, or a field is missing or out of range.
    pub fn decode(text: &str) -> Result<QuorumState, QuorumStateError> {
        let file: Value = serde_json::from_str(text)?;
        let version = file
            .get("data_version")
            .and_then(Value::as_i64)
            .ok_or(QuorumStateError::Field("data_version"))?;
        if !(0..=1).contains(&version) {
            return Err(QuorumStateError::Version(version));
        }
        let epoch = number(&file, "leaderEpoch")?;
        if epoch < 0 {
            return Err(QuorumStateError::Field("leaderEpoch"));
        }
        let leader = NodeId(number(&file, "leaderId")?).some();
        let voted = match NodeId(number(&file, "votedId")?).some() {
            Some(id) if version == 1 => Some(ReplicaKey::new(id, directory(&file)?)),
            Some(id) => Some(ReplicaKey::new(id, Uuid::ZERO)),
            None => None,
        };
        Ok(QuorumState { epoch: LeaderEpoch(epoch), leader, voted })
    }
}

fn number(file: &Value, field: &'static str) -> Result<i32, QuorumStateError> {
    let number = file.get(field).and_then(Value::as_i64).ok_or(QuorumStateError::Field(field))?;
    i32::try_from(number).map_err(|_| QuorumStateError::Field(field))
}

fn directory(file: &Value) -> Result<Uuid, QuorumStateError> {
    let error = || QuorumStateError::Field("votedDirectoryId");
    file.get("votedDirectoryId").and_then(Value::as_str).ok_or_else(error)?.parse().map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voters::{Endpoint, Voter};
    use proptest::prelude::*;

    fn voters() -> VoterSet {
        let voter = |id| {
            let key = ReplicaKey::new(NodeId(id), Uuid::ZERO);
            Voter::configured(key, Endpoint { host: "h".into(), port: 1 })
        };
        VoterSet::new([voter(1), voter(2)]).unwrap()
    }

    #[test]
    fn text_is_kafkas() {
        let state = QuorumState {
            epoch: LeaderEpoch(7),
            leader: None,
            voted: Some(ReplicaKey::new(NodeId(2), Uuid::from_u128(100))),
        };

        let v0: Value = serde_json::from_str(&state.encode_v0(&voters())).unwrap();
        let v1: Value = serde_json::from_str(&state.encode_v1()).unwrap();

        let expected = r#"{"clusterId":"","leaderId":-1,"leaderEpoch":7,"votedId":2,"appliedOffset":0,
            "currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#;
        assert_eq!(v0, serde_json::from_str::<Value>(expected).unwrap());
        let expected = r#"{"leaderId":-1,"leaderEpoch":7,"votedId":2,
            "votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAZA","data_version":1}"#;
        assert_eq!(v1, serde_json::from_str::<Value>(expected).unwrap());
    }

    #[test]
    fn refuses_what_is_no_quorum_state() {
        let cases = [
            "",
            "{",
            "[]",
            "{}",
            r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"data_version":2}"#,
            r#"{"leaderId":1,"leaderEpoch":-1,"votedId":-1,"data_version":0}"#,
            r#"{"leaderId":1,"leaderEpoch":4294967296,"votedId":-1,"data_version":0}"#,
            r#"{"leaderId":"1","leaderEpoch":1,"votedId":-1,"data_version":0}"#,
            r#"{"leaderId":1,"leaderEpoch":1,"votedId":1,"data_version":1}"#,
            r#"{"leaderId":1,"leaderEpoch":1,"votedId":1,"votedDirectoryId":"x","data_version":1}"#,
        ];
        for text in cases {
            assert!(QuorumState::decode(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(epoch in 0..=i32::MAX, leader in -1..9, voted in -1..9, dir in any::<u128>()) {
            let voted = NodeId(voted).some().map(|id| ReplicaKey::new(id, Uuid::from_u128(dir)));
            let state = QuorumState { epoch: LeaderEpoch(epoch), leader: NodeId(leader).some(), voted };
            let without_directory = QuorumState {
                voted: voted.map(|voted| ReplicaKey::new(voted.id, Uuid::ZERO)),
                ..state.clone()
            };

            prop_assert_eq!(QuorumState::decode(&state.encode_v1()).unwrap(), state.clone());
            prop_assert_eq!(QuorumState::decode(&state.encode_v0(&voters())).unwrap(), without_directory);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = QuorumState::decode(&text);
        }
    }
}
