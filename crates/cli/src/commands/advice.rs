//! Errors of the cluster's, in words that say what to do.

use anyhow::{Error, anyhow};
use ottla_client::{Client, ClientError};
use ottla_protocol::ErrorCode;

/// What somebody who types a command is told of an error.
pub(super) fn explain(client: &Client, error: ClientError) -> Error {
    match &error {
        ClientError::NoNode { .. } | ClientError::Unreachable { .. } => {
            let servers: Vec<String> = client.config().bootstrap.iter().map(ToString::to_string).collect();
            anyhow!(
                "no broker answers at {} ({error}). Is the cluster running? Another one is named with \
                 --bootstrap-server, and `ottla up` starts one on this machine",
                servers.join(",")
            )
        }
        ClientError::TimedOut { .. } => anyhow!("{error}. --timeout gives it more time"),
        ClientError::Refused { code, .. } => match advice(*code) {
            Some(advice) => anyhow!("{}. {advice}", error.to_string().trim_end_matches('.')),
            None => anyhow!("{error}"),
        },
        _ => anyhow!(error),
    }
}

/// What to do about a refusal, where that is not plain from its words.
fn advice(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UnknownTopicOrPartition => "`ottla topic list` shows which topics there are",
        ErrorCode::TopicAlreadyExists => "`ottla topic alter` changes it; --if-not-exists takes it as it is",
        ErrorCode::InvalidReplicationFactor => "`ottla cluster info` shows how many brokers there are",
        ErrorCode::InvalidPartitions => "A topic cannot have fewer partitions than it has now",
        ErrorCode::NonEmptyGroup => "Stop its members first; `ottla group describe` shows them",
        ErrorCode::GroupIdNotFound => "`ottla group list` shows which groups there are",
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            "Too few replicas are in sync; `ottla topic describe` shows which"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::{ClientConfig, HostPort};

    #[test]
    fn an_error_says_what_to_do() {
        let client = Client::new(ClientConfig::new(vec![HostPort::new("h", 1)], "t", 0));
        let cases = [
            (ClientError::NoNode { what: "listTopics" }, "no broker answers at h:1"),
            (ClientError::refused(ErrorCode::NonEmptyGroup, None), "Stop its members first"),
            (ClientError::refused(ErrorCode::InvalidConfig, Some("no".to_owned())), "no"),
        ];
        for (error, expected) in cases {
            let told = explain(&client, error).to_string();
            assert!(told.contains(expected), "{told}");
        }
    }
}
