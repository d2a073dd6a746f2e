//! The members of the application's group: there must be none.

use super::{refused, thrown};
use crate::output;
use crate::tools::Failure;
use ottla_client::Admin;
use ottla_client::admin::groups::MemberDescription;
use ottla_protocol::ErrorCode;
use ottla_types::TopicPartition;

/// How often members are removed again of which one has left meanwhile.
const RETRIES_MAX: usize = 3;

/// For the coordinator's log.
const REASON: &str = "member was removed by an admin";

/// Fails unless the group has no members; with `force`, removes them. That there is no such group is as good.
pub(super) async fn expect_none(admin: &Admin, group: &str, force: bool) -> Result<(), Failure> {
    let mut retries = 0;
    loop {
        let members = match admin.describe_group(group).await {
            Ok(described) => described.members,
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Vec::new(),
            Err(error) => return Err(refused(error)),
        };
        if members.is_empty() {
            return Ok(());
        }
        if !force {
            return Err(active(group, &members));
        }
        output::line(format_args!("Force deleting all active members in the group: {group}"));
        match admin.remove_members(group, &members, REASON).await {
            Ok(()) => return Ok(()),
            Err(error) if error.code() == Some(ErrorCode::UnknownMemberId) && retries < RETRIES_MAX => {
                retries += 1;
            }
            Err(error) => return Err(refused(error)),
        }
    }
}

fn active(group: &str, members: &[MemberDescription]) -> Failure {
    let members = members.iter().map(shown).collect::<Vec<_>>().join(", ");
    thrown(
        "java.lang.IllegalStateException",
        format_args!(
            "Consumer group '{group}' is still active and has following members: [{members}]. Make sure to stop all \
             running application instances before running the reset tool. You can use option '--force' to remove active \
             members from the group."
        ),
    )
}

/// A member as Kafka's administrators show it (`MemberDescription`).
fn shown(member: &MemberDescription) -> String {
    let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
    let (target, epoch, upgraded) = match &member.progress {
        Some(progress) => (
            format!("Optional[{}]", share(&progress.target)),
            progress.epoch.to_string(),
            or_null(&progress.is_upgraded.map(|is_upgraded| is_upgraded.to_string())),
        ),
        None => ("Optional.empty".to_owned(), "null".to_owned(), "null".to_owned()),
    };
    format!(
        "(memberId={}, groupInstanceId={}, rackId={}, clientId={}, host={}, assignment={}, targetAssignment={target}, \
         memberEpoch={epoch}, upgraded={upgraded})",
        member.member_id,
        or_null(&member.group_instance_id),
        or_null(&member.rack_id),
        member.client_id,
        member.host,
        share(&member.assignment),
    )
}

fn share(partitions: &[TopicPartition]) -> String {
    let partitions: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
    format!("(topicPartitions={})", partitions.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::admin::groups::MemberProgress;

    #[test]
    fn a_member_is_shown_as_kafka_shows_it() {
        let share = vec![TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        let mut member = MemberDescription {
            member_id: "m".into(),
            group_instance_id: Some("i".into()),
            client_id: "c".into(),
            host: "/127.0.0.1".into(),
            rack_id: None,
            assignment: share.clone(),
            progress: None,
        };

        assert_eq!(
            shown(&member),
            "(memberId=m, groupInstanceId=i, rackId=null, clientId=c, host=/127.0.0.1, \
             assignment=(topicPartitions=t-0,t-1), targetAssignment=Optional.empty, memberEpoch=null, upgraded=null)"
        );
        member.progress = Some(MemberProgress { epoch: 5, target: share, is_upgraded: Some(true) });
        assert!(shown(&member).ends_with(
            "targetAssignment=Optional[(topicPartitions=t-0,t-1)], memberEpoch=5, upgraded=true)"
        ));
    }
}
