//! `__consumer_offsets` of a coordinator that is busy all year: compaction leaves of each key what was said last, and
//! offsets that nobody needs expire.

use super::sizes::Sizes;
use super::time::{self, DAY, YEAR_DAYS};
use crate::config::Properties;
use crate::coordination::loading::Loading;
use crate::coordination::shard::{Shard, Standing};
use crate::replicas::directories::FoundDirectory;
use crate::replicas::replica_manager::ReplicaManagerOptions;
use crate::replicas::{Replica, ReplicaManager};
use bytes::Bytes;
use ottla_coordinator::{
    ConnectionToken, GroupCoordinator, GroupDecision, GroupReply, RequestContext, Settings,
};
use ottla_metadata::{MetadataDelta, MetadataImage};
use ottla_net::Task;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::records::metadata::{ConfigRecord, MetadataRecord, PartitionRecord, TopicRecord};
use ottla_storage::{CleanerOptions, Disk, LogDirectory, SimDisk};
use ottla_types::{LeaderEpoch, NodeId, Now, TopicIdPartition, Uuid};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const LOGS: &str = "/logs";
const TOPIC: &str = "__consumer_offsets";
const TOPIC_ID: Uuid = Uuid::from_u128(71);

/// How often groups commit, and the broker looks after its logs.
const STEP: Duration = Duration::from_secs(600);

/// Groups that are there all year.
const STEADY: usize = 5;

/// The longest session that the coordinator grants: who commits every ten minutes lives.
const SESSION_MS: i32 = 1_800_000;

/// What the log may take: two weeks of commits, since a segment lasts for one and only those before it are compacted; and what
/// compaction leaves.
const BYTES_MAX: u64 = 4 << 20;

/// What keeps the log small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// As shipped.
    Shipped,
    /// `log.cleaner.enable=false`.
    NothingIsCompacted,
    /// `offsets.retention.minutes` is longer than the year.
    NothingExpires,
}

fn image() -> MetadataImage {
    let segment_bytes = Properties::default().number("offsets.topic.segment.bytes").to_string();
    let config = |name: &str, value: String| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: 2,
            resource_name: TOPIC.to_owned(),
            name: name.to_owned(),
            value: Some(value),
        })
    };
    let records = [
        MetadataRecord::Topic(TopicRecord { name: TOPIC.to_owned(), topic_id: TOPIC_ID }),
        config("cleanup.policy", "compact".to_owned()),
        config("segment.bytes", segment_bytes),
        MetadataRecord::Partition(PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC_ID,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            ..Default::default()
        }),
    ];
    let mut image = MetadataImage::default();
    for record in records {
        image.replay(&record, &mut MetadataDelta::default()).unwrap();
    }
    image
}

fn manager(disk: &SimDisk) -> Arc<ReplicaManager> {
    let directory = Arc::new(LogDirectory::open(Arc::new(disk.clone()), PathBuf::from(LOGS)).unwrap());
    let (isr_changes, _) = mpsc::channel(16);
    let manager = ReplicaManager::new(ReplicaManagerOptions {
        node_id: NodeId(1),
        clock: time::clock(),
        metadata_directory: PathBuf::from(LOGS),
        directories: vec![FoundDirectory { directory, id: Uuid::from_u128(101), clean: false }],
        unusable_directories: Vec::new(),
        topic_defaults: Properties::default().topic_defaults().unwrap(),
        replica_lag_time_max: Duration::from_secs(30),
        has_readers_elsewhere: false,
        transaction_verification: true,
        producer_id_expiration_ms: Properties::default().number("producer.id.expiration.ms"),
        isr_changes,
        seed: 7,
    });
    Arc::new(manager.unwrap())
}

/// A coordinator and the broker around it.
struct Coordinator {
    manager: Arc<ReplicaManager>,
    replica: Arc<Replica>,
    settings: Settings,
    shard: Arc<Shard<GroupCoordinator>>,
    _running: Task,
    /// How often it was loaded.
    terms: u64,
}

impl Coordinator {
    fn start(disk: &SimDisk, settings: Settings) -> Coordinator {
        let manager = manager(disk);
        manager.apply(&image(), &MetadataDelta::default(), true);
        let replica = manager.get(TopicIdPartition::new(TOPIC_ID, 0)).unwrap();
        let (shard, running) = load(&manager, &replica, &settings, 0);
        Coordinator { manager, replica, settings, shard, _running: running, terms: 0 }
    }

    /// Another one takes over, which knows the log only.
    async fn fail_over(&mut self) {
        self.shard.stop();
        self.terms += 1;
        (self.shard, self._running) = load(&self.manager, &self.replica, &self.settings, self.terms);
        let mut standing = self.shard.standing();
        standing.wait_for(|standing| *standing == Standing::Active).await.unwrap();
    }

    /// What a broker does with its logs every now and then.
    fn look_after_logs(&self, care: Care) {
        self.manager.checkpoint_logs();
        self.manager.handle_retention();
        let properties = Properties::default();
        let options = CleanerOptions {
            map_bytes_max: usize::try_from(properties.number("log.cleaner.dedupe.buffer.size")).unwrap(),
            secret: [7; 16],
        };
        while care != Care::NothingIsCompacted && self.manager.clean_filthiest(&options) {}
    }

    async fn ask(
        &self,
        version: i16,
        ask: impl FnOnce(&mut GroupCoordinator, &RequestContext, Now) -> GroupDecision + Send,
    ) -> GroupReply {
        let answer = self.shard.handle(|machine, token, now| {
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
}

fn load(
    manager: &Arc<ReplicaManager>,
    replica: &Arc<Replica>,
    settings: &Settings,
    seed: u64,
) -> (Arc<Shard<GroupCoordinator>>, Task) {
    let timeout = Properties::default().millis("offsets.commit.timeout.ms");
    let loading = Loading::new(settings.clone(), seed);
    Shard::start(
        manager.clone(),
        replica.clone(),
        LeaderEpoch(0),
        loading,
        timeout,
        Arc::new(|_, none| match none {}),
    )
}

/// The one member of a group.
struct Member {
    group: String,
    id: String,
    generation: i32,
}

impl Member {
    async fn join(coordinator: &Coordinator, group: String) -> Member {
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
        let joined = coordinator
            .ask(3, |machine, context, now| machine.handle_join_group(&request, context, now))
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
        let synced = coordinator
            .ask(3, |machine, context, now| machine.handle_sync_group(&request, context, now))
            .await;
        let GroupReply::SyncGroup(synced) = synced else { panic!("{synced:?}") };
        assert_eq!(synced.error_code, 0);
        member
    }

    async fn commit(&self, coordinator: &Coordinator, topic: &str, offset: i64) {
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
        let told = coordinator
            .ask(8, |machine, context, now| machine.handle_offset_commit(&request, context, now))
            .await;
        let GroupReply::OffsetCommit(told) = told else { panic!("{told:?}") };
        assert!(told.topics[0].partitions.iter().all(|partition| partition.error_code == 0), "{told:?}");
    }

    async fn leave(self, coordinator: &Coordinator) {
        let member = MemberIdentity { member_id: self.id, ..Default::default() };
        let request = LeaveGroupRequest { group_id: self.group, members: vec![member], ..Default::default() };
        let left = coordinator
            .ask(4, |machine, context, now| machine.handle_leave_group(&request, context, now))
            .await;
        assert!(matches!(left, GroupReply::LeaveGroup(left) if left.error_code == 0));
    }
}

/// What the log had on the disk each day, and at the end how many groups there were, and how many offsets.
fn pass(days: usize, care: Care) -> (Sizes, usize, usize) {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new(LOGS)).unwrap();
    let dir = Path::new(LOGS).join(format!("{TOPIC}-0"));
    let shipped = Settings::default();
    let offsets_retention =
        if care == Care::NothingExpires { 2 * DAY * 365 } else { shipped.offsets_retention };
    let settings = Settings { offsets_retention, ..shipped };
    time::runtime().block_on(async {
        let mut coordinator = Coordinator::start(&disk, settings);
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
            sizes.note(&disk, &dir);
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
