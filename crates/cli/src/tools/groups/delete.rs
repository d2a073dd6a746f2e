//! `--delete` and `--delete-offsets`.

use super::scope::{self, Scope};
use super::{Trouble, complain, exception, selected, text};
use crate::output;
use crate::tools::options::Parsed;
use ottla_client::{Admin, ClientError};
use ottla_protocol::ErrorCode;
use ottla_types::TopicPartition;
use std::collections::BTreeMap;

pub(super) async fn groups(parsed: &Parsed, admin: &Admin) -> Result<(), Trouble> {
    let (mut deleted, mut refused) = (Vec::new(), Vec::new());
    for id in selected(parsed, admin).await? {
        match admin.delete_group(&id).await {
            Ok(()) => deleted.push(format!("'{id}'")),
            Err(error) => {
                let why = exception(&error);
                refused.push(format!("* Group '{id}' could not be deleted due to: {why}"));
            }
        }
    }
    let deleted = deleted.join(", ");
    if refused.is_empty() {
        output::line(format_args!("Deletion of requested consumer groups ({deleted}) was successful."));
        return Ok(());
    }
    complain("Deletion of some consumer groups failed:");
    refused.iter().for_each(output::line);
    if !deleted.is_empty() {
        output::line(format_args!("\nThese consumer groups were deleted successfully: {deleted}"));
    }
    Ok(())
}

/// What came of each partition; of a topic that does not exist, under no number.
type Outcome = BTreeMap<(String, Option<i32>), Option<ClientError>>;

pub(super) async fn offsets(parsed: &Parsed, admin: &Admin) -> Result<(), Trouble> {
    let id = parsed.value("group").unwrap_or_default();
    let mut outcome = Outcome::new();
    let mut asked = Vec::new();
    for scope in scope::scopes(parsed)? {
        match scope {
            Scope::Partitions(partitions) => asked.extend(partitions),
            Scope::Topic(topic) => match scope::partitions_of(&topic, admin).await? {
                Some(numbers) => {
                    asked
                        .extend(numbers.into_iter().map(|number| TopicPartition::new(topic.clone(), number)));
                }
                None => {
                    let unknown = ClientError::refused(ErrorCode::UnknownTopicOrPartition, None);
                    outcome.insert((topic, None), Some(unknown));
                }
            },
        }
    }
    let mut some_failed = false;
    match admin.delete_offsets(id, &asked).await {
        Ok(codes) => {
            for (at, code) in codes {
                some_failed |= code.is_error();
                let error = code.is_error().then(|| ClientError::refused(code, None));
                outcome.insert((at.topic, Some(at.partition)), error);
            }
            if some_failed {
                complain("Encountered some partition-level error, see the follow-up details.");
            } else {
                output::line(format_args!("Request succeeded for deleting offsets from group {id}."));
            }
        }
        Err(ClientError::Refused { code, message }) => {
            complain(&message);
            for at in asked {
                let error = ClientError::refused(code, Some(message.clone()));
                outcome.insert((at.topic, Some(at.partition)), Some(error));
            }
        }
        Err(error) => return Err(error.into()),
    }
    let rows = outcome.into_iter().map(|((topic, partition), error)| {
        let status = error.map_or("Successful".to_owned(), |error| format!("Error: {}", exception(&error)));
        (topic, partition, status)
    });
    output::text(&text::deleted_offsets(&rows.collect::<Vec<_>>()));
    Ok(())
}
