//! `__consumer_offsets` of a coordinator that is busy all year: compaction leaves of each key what was said last, and
//! offsets that nobody needs expire.

use super::coordinator::{Care, Coordinator};
use super::sizes::Sizes;
use super::time::{self, DAY, YEAR_DAYS};
use crate::groups::topics::ImageTopics;
use bytes::Bytes;
use ottla_coordinator::{
    ConnectionToken, GroupCoordinator, GroupDecision, GroupReply, RequestContext, Settings,
};
use ottla_metadata::MetadataImage;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_types::Now;
use std::sync::Arc;
use std::time::Duration;

/// How often groups commit, and the broker looks after its logs.
const STEP: Duration = Duration::from_secs(600);

/// Groups that are there all year.
const STEADY: usize = 5;

/// The longest session that the coordinator grants: who commits every ten minutes lives.
const SESSION_MS: i32 = 1_800_000;

/// What the log may take: two weeks of commits, since a segment lasts for one and only those before it are compacted; and what
/// compaction leaves.
const BYTES_MAX: u64 = 4 << 20;

/// The one who coordinates all groups.
type Groups = Coordinator<GroupCoordinator>;

async fn ask(
    coordinator: &Groups,
    version: i16,
    ask: impl FnOnce(&mut GroupCoordinator, &RequestContext, Now) -> GroupDecision + Send,
) -> GroupReply {
    let answer = coordinator.shard.handle(|machine, token, now| {
        let context = RequestContext {
            client_id: "client".to_owned(),
            client_host: "/192.0.2.1".to_owned(),
            version,
            connection: ConnectionToken(0),
            token,
        };
        ask(machine, &context, now)
    });
    answer.await.unwrap()
}

/// The one member of a group.
struct Member {
    group: String,
    id: String,
    generation: i32,
}

impl Member {
    async fn join(coordinator: &Groups, group: String) -> Member {
        let request = JoinGroupRequest {
            group_id: group.clone(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: SESSION_MS,
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".to_owned(),
                metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            }],
            ..Default::default()
        };
        // Groups of the classic protocol do not look at topics.
        let image = MetadataImage::default();
        let joined = ask(coordinator, 3, |machine, context, now| {
            machine.handle_join_group(&request, context, &ImageTopics(&image), now)
        })
        .await;
        let GroupReply::JoinGroup(joined) = joined else { panic!("{joined:?}") };
        assert_eq!(joined.error_code, 0);
        let member = Member { group, id: joined.member_id, generation: joined.generation_id };
        let request = SyncGroupRequest {
            group_id: member.group.clone(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: member.id.clone(),
                assignment: Bytes::from_static(b"everything"),
            }],
            ..Default::default()
        };
        let synced = ask(coordinator, 3, |machine, context, now| {
            machine.handle_sync_group(&request, context, &ImageTopics(&image), now)
        })
        .await;
        let GroupReply::SyncGroup(synced) = synced else { panic!("{synced:?}") };
        assert_eq!(synced.error_code, 0);
        member
    }

    async fn commit(&self, coordinator: &Groups, topic: &str, offset: i64) {
        let partition = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: (0..4).map(partition).collect(),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            topics: vec![topic],
            ..Default::default()
        };
        let told =
            ask(coordinator, 8, |machine, context, now| machine.handle_offset_commit(&request, context, now))
                .await;
        let GroupReply::OffsetCommit(told) = told else { panic!("{told:?}") };
        assert!(told.topics[0].partitions.iter().all(|partition| partition.error_code == 0), "{told:?}");
    }

    async fn leave(self, coordinator: &Groups) {
        let member = MemberIdentity { member_id: self.id, ..Default::default() };
        let request = LeaveGroupRequest { group_id: self.group, members: vec![member], ..Default::default() };
        let left =
            ask(coordinator, 4, |machine, context, now| machine.handle_leave_group(&request, context, now))
                .await;
        assert!(matches!(left, GroupReply::LeaveGroup(left) if left.error_code == 0));
    }
}

/// What the log had on the disk each day, and at the end how many groups there were, and how many offsets.
fn pass(days: usize, care: Care) -> (Sizes, usize, usize) {
    let shipped = Settings::default();
    let offsets_retention =
        if care == Care::NothingExpires { 2 * DAY * 365 } else { shipped.offsets_retention };
    let settings = Settings { offsets_retention, ..shipped };
    time::runtime().block_on(async {
        let nothing = Arc::new(|_: &_, none| match none {});
        let mut coordinator = Groups::start(settings, "offsets.topic.segment.bytes", nothing);
        coordinator.fail_over().await;
        let mut steady = Vec::new();
        for group in 0..STEADY {
            steady.push(Member::join(&coordinator, format!("steady-{group}")).await);
        }
        let mut sizes = Sizes::default();
        for day in 0..days {
            // Topics are deleted: nobody commits what was read of them any more.
            let topic = format!("topic-{}", day / 7);
            if day % 7 == 0 && day > 0 {
                let gone = [format!("topic-{}", day / 7 - 1)];
                coordinator.shard.notify(|machine, _| machine.handle_topic_deleted(&gone));
            }
            if day % 30 == 29 {
                coordinator.fail_over().await;
            }
            for step in 0..i64::try_from(DAY.as_secs() / STEP.as_secs()).unwrap() {
                tokio::time::sleep(STEP).await;
                for member in &steady {
                    member.commit(&coordinator, &topic, step).await;
                }
                if step % 6 == 0 {
                    // Whoever looks into a topic from the command line makes a group of a name that does not come again.
                    let member = Member::join(&coordinator, format!("console-{day}-{step}")).await;
                    member.commit(&coordinator, "looked-at", step).await;
                    // Some are killed.
                    if step % 12 == 0 {
                        member.leave(&coordinator).await;
                    }
                }
                coordinator.look_after_logs(care);
            }
            coordinator.note_size(&mut sizes);
        }
        let count = |machine: &mut GroupCoordinator| (machine.groups_count(), machine.committed().count());
        let known = coordinator.shard.with(count).unwrap();
        // Whoever takes over knows the same.
        coordinator.fail_over().await;
        assert_eq!(coordinator.shard.with(count), Some(known));
        (sizes, known.0, known.1)
    })
}

/// Those that are there, and those of one week that were left; expiry looks for them now and then.
const GROUPS_MAX: usize = STEADY + 8 * 24;

#[test]
fn the_topic_of_committed_offsets_stays_bounded_over_a_year() {
    let (sizes, groups, offsets) = pass(YEAR_DAYS, Care::Shipped);

    println!("at most {} bytes, {groups} groups, {offsets} offsets", sizes.peak());
    assert_eq!(sizes.check(BYTES_MAX), Ok(()));
    assert!((STEADY + 6 * 24..GROUPS_MAX).contains(&groups), "{groups} groups");
    assert!(offsets <= 4 * GROUPS_MAX, "{offsets} offsets");
}

#[test]
fn notices_offsets_that_are_not_compacted() {
    let (sizes, ..) = pass(YEAR_DAYS / 4, Care::NothingIsCompacted);

    assert!(sizes.check(BYTES_MAX).is_err());
}

#[test]
fn notices_groups_that_do_not_expire() {
    let (sizes, groups, _) = pass(YEAR_DAYS / 4, Care::NothingExpires);

    assert!(groups > GROUPS_MAX && sizes.check(BYTES_MAX).is_err(), "{groups} groups");
}
