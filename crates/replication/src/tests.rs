//! What one replica does, event by event; whole partitions are in `simulation.rs`.

use crate::{
    AppendError, Assignment, DeleteError, Effects, FetchError, FetchPosition, Isolation, IsrChange, Outcome,
    Partition, Peer, ReadFrom, Role, Settings, WaiterId,
};
use ottla_records::{BatchBuilder, EndTxnMarker, Origin, validate};
use ottla_storage::{AtLeast, CleanupPolicy, Log, LogConfig, Recovery, SimDisk};
use ottla_types::{
    BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Now, Offset, OffsetAndEpoch, PartitionEpoch, ProducerEpoch,
    ProducerId, Timestamp, TopicIdPartition, TopicPartition, Uuid,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const NOW: Now = Now { monotonic: Monotonic(5_000_000), wall: Timestamp(1_700_000_000_000) };

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn assignment(isr: &[i32], partition_epoch: i32) -> Assignment {
    Assignment {
        replicas: nodes(&[1, 2, 3]),
        isr: nodes(isr),
        leader: Some(NodeId(1)),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(partition_epoch),
    }
}

fn brokers() -> BTreeMap<NodeId, Peer> {
    let peer = |id: NodeId| (id, Peer { broker_epoch: BrokerEpoch(i64::from(id.0)), eligible: true });
    nodes(&[1, 2, 3]).into_iter().map(peer).collect()
}

/// Node 1, leading alone.
fn leader() -> Partition {
    leader_with(LogConfig::default())
}

fn leader_with(config: LogConfig) -> Partition {
    let disk = Arc::new(SimDisk::new());
    let (log, _) = Log::open(disk, PathBuf::from("/data/t-0"), config, Recovery::UNKNOWN, NOW).unwrap();
    let settings = Settings {
        min_insync_replicas: 1,
        replica_lag_time_max: Duration::from_secs(30),
        has_readers_elsewhere: true,
    };
    let id = TopicIdPartition::new(Uuid::from_u128(7), 0);
    let name = TopicPartition::new("t", 0);
    let mut partition = Partition::new(id, name, NodeId(1), settings, log, Offset::ZERO);
    partition.handle_assignment(&assignment(&[1], 0), brokers(), NOW, &mut Effects::default()).unwrap();
    partition
}

/// The follower fetches from the log's end; what the leader asks for then.
fn fetch(partition: &mut Partition, node: i32) -> Option<IsrChange> {
    fetch_with_start(partition, node, Offset::ZERO).isr_change
}

/// The follower, whose log begins there, fetches from the log's end.
fn fetch_with_start(partition: &mut Partition, node: i32, log_start: Offset) -> Effects {
    let mut effects = Effects::default();
    let end = partition.log().log_end_offset();
    partition
        .fetch_as_follower(
            NodeId(node),
            BrokerEpoch(i64::from(node)),
            FetchPosition {
                leader_epoch: LeaderEpoch(0),
                fetch_offset: end,
                last_fetched_epoch: LeaderEpoch::NONE,
                log_start_offset: log_start,
                high_watermark: Offset::ZERO,
            },
            1 << 20,
            AtLeast::OneBatch,
            NOW.monotonic,
            &mut effects,
        )
        .unwrap();
    effects
}

/// Appends one record.
fn append(partition: &mut Partition) -> Effects {
    let mut builder = BatchBuilder::new();
    builder.push(NOW.wall, Some(b"key"), Some(b"value"), &[]);
    let mut bytes = builder.build();
    let rules = partition.log().config().rules(Origin::Client, NOW.wall);
    let mut effects = Effects::default();
    partition.append(validate(&mut bytes, &rules).unwrap(), true, NOW, &mut effects).unwrap();
    effects
}

/// What is unsynced is synced.
fn flush(partition: &mut Partition) -> Effects {
    let target = partition.log().records_target().expect("there is something to sync");
    target.sync().unwrap();
    let mut effects = Effects::default();
    partition.handle_flushed(&target, NOW.monotonic, &mut effects);
    effects
}

fn pending(partition: &Partition) -> Option<Vec<NodeId>> {
    let Role::Leader(leader) = partition.role() else { panic!("it leads") };
    leader.isr.pending.clone()
}

/// HW-2: the controller may be about to commit it.
#[test]
fn an_image_that_says_nothing_new_leaves_the_change_under_way() {
    let mut partition = leader();
    assert!(fetch(&mut partition, 2).is_some());

    partition.handle_assignment(&assignment(&[1], 0), brokers(), NOW, &mut Effects::default()).unwrap();

    assert_eq!(pending(&partition), Some(nodes(&[1, 2])));
}

/// HW-2: the image may come before the answer, and after either another change may be asked for.
#[test]
fn a_late_answer_leaves_the_next_change_under_way() {
    let mut partition = leader();
    let first = fetch(&mut partition, 2).unwrap();
    let mut effects = Effects::default();
    partition.handle_assignment(&assignment(&[1, 2], 1), brokers(), NOW, &mut effects).unwrap();
    let second = fetch(&mut partition, 3).unwrap();
    assert_eq!((first.partition_epoch, second.partition_epoch), (PartitionEpoch(0), PartitionEpoch(1)));

    let isr = nodes(&[1, 2]);
    partition.handle_isr_committed(isr, LeaderEpoch(0), PartitionEpoch(1), NOW.monotonic, &mut effects);

    assert_eq!(pending(&partition), Some(nodes(&[1, 2, 3])));
}

/// HW-2: what was asked for before may be committed all the same.
#[test]
fn a_leader_that_was_cut_off_serves_nobody_and_goes_on_with_the_change_under_way() {
    let mut partition = leader();
    assert!(fetch(&mut partition, 2).is_some());
    let mut effects = Effects::default();
    partition.wait_as_consumer(WaiterId(1));

    partition.handle_cut_off(&mut effects);

    assert_eq!(effects.fetches, [WaiterId(1)]);
    assert!(partition.serving().is_none());
    assert_eq!(partition.deadline(), None);
    let read = partition.fetch_as_consumer(
        Offset::ZERO,
        LeaderEpoch::NONE,
        LeaderEpoch::NONE,
        ReadFrom::AnyReplica,
        Isolation::ReadUncommitted,
        1,
        AtLeast::OneBatch,
    );
    assert!(matches!(read, Err(FetchError::NotLeader)), "{read:?}");

    partition.handle_reconnected(NOW.monotonic, &mut effects);

    assert!(partition.serving().is_some());
    assert_eq!(pending(&partition), Some(nodes(&[1, 2])));
}

#[test]
fn with_flush_messages_1_nothing_is_acknowledged_before_it_is_on_disk() {
    let mut partition = leader_with(LogConfig { flush_messages: 1, ..LogConfig::default() });
    let appended = append(&mut partition);
    assert_eq!(appended.flush, Some(partition.id()));
    assert_eq!(partition.wait_for_commit(Offset(1), WaiterId(1)), None);
    assert_eq!(partition.wait_for_disk(Offset(1), WaiterId(2)), None);
    let target = partition.log().records_target().unwrap();
    append(&mut partition);
    target.sync().unwrap();

    let mut effects = Effects::default();
    partition.handle_flushed(&target, NOW.monotonic, &mut effects);

    assert_eq!(partition.high_watermark(), Offset(1), "what was appended during the sync is not in it");
    assert_eq!(effects.produced, [(WaiterId(2), Outcome::Written), (WaiterId(1), Outcome::Committed)]);
    assert_eq!(effects.flush, Some(partition.id()), "it is for the next one");
    assert_eq!(flush(&mut partition).flush, None);
    assert_eq!(partition.high_watermark(), Offset(2));
}

#[test]
fn with_more_than_1_a_sync_is_due_every_so_many_records_and_nobody_waits() {
    let mut partition = leader_with(LogConfig { flush_messages: 3, ..LogConfig::default() });
    let asked: Vec<bool> = (0..4).map(|_| append(&mut partition).flush.is_some()).collect();

    assert_eq!(asked, [false, false, true, true]);
    assert_eq!(partition.high_watermark(), Offset(4));
    assert_eq!(partition.wait_for_disk(Offset(4), WaiterId(1)), Some(Outcome::Written));
    flush(&mut partition);
    assert_eq!(append(&mut partition).flush, None);
}

#[test]
fn what_waits_for_the_disk_waits_no_longer_when_the_topic_leaves_it_to_the_page_cache() {
    let mut partition = leader_with(LogConfig { flush_messages: 1, ..LogConfig::default() });
    append(&mut partition);
    partition.wait_for_commit(Offset(1), WaiterId(1));
    partition.wait_for_disk(Offset(1), WaiterId(2));

    let settings = Settings {
        min_insync_replicas: 1,
        replica_lag_time_max: Duration::from_secs(30),
        has_readers_elsewhere: false,
    };
    let mut effects = Effects::default();
    partition.handle_settings(settings, LogConfig::default(), NOW.monotonic, &mut effects);

    assert_eq!(effects.produced, [(WaiterId(2), Outcome::Written), (WaiterId(1), Outcome::Committed)]);
}

#[test]
fn a_sync_that_failed_is_not_made_up_for_by_a_later_one() {
    let mut partition = leader_with(LogConfig { flush_messages: 1, ..LogConfig::default() });
    append(&mut partition);
    let target = partition.log().records_target().unwrap();
    partition.log_mut().mark_failed();
    target.sync().unwrap();

    let mut effects = Effects::default();
    partition.handle_flushed(&target, NOW.monotonic, &mut effects);

    assert_eq!(partition.high_watermark(), Offset::ZERO);
    assert!(effects.is_empty());
}

#[test]
fn a_deletion_is_over_when_all_live_replicas_begin_there() {
    let mut partition = leader();
    (0..5).for_each(|_| drop(append(&mut partition)));
    fetch(&mut partition, 2);
    partition.wait_as_follower(WaiterId(8));
    let mut effects = Effects::default();

    let required = partition.delete_records(Some(Offset(3)), &mut effects).unwrap();

    assert_eq!((required, partition.log().log_start_offset()), (Offset(3), Offset(3)));
    assert_eq!(effects.fetches, [WaiterId(8)], "followers are to hear of it");
    assert_eq!(partition.wait_for_deletion(required, WaiterId(1)), None);
    let fetched = fetch_with_start(&mut partition, 2, Offset(3));
    assert_eq!(fetched.produced, [], "node 3 has not fetched yet");
    let mut brokers = brokers();
    brokers.get_mut(&NodeId(3)).unwrap().eligible = false;
    let mut effects = Effects::default();
    partition.handle_brokers(brokers, NOW.monotonic, &mut effects);
    assert_eq!(effects.produced, [(WaiterId(1), Outcome::Deleted)]);
    assert_eq!(partition.low_watermark(), Some(Offset(3)));
    assert_eq!(partition.wait_for_deletion(required, WaiterId(2)), Some(Outcome::Deleted));
}

#[test]
fn only_what_is_committed_can_be_deleted_and_not_from_topics_that_are_compacted() {
    let policy = |compact, delete| LogConfig {
        cleanup_policy: CleanupPolicy { compact, delete },
        ..LogConfig::default()
    };
    let mut partition = leader_with(policy(true, true));
    append(&mut partition);
    let mut effects = Effects::default();

    for beyond in [2, -2] {
        let deleted = partition.delete_records(Some(Offset(beyond)), &mut effects);
        assert!(matches!(deleted, Err(DeleteError::OffsetOutOfRange { .. })), "{deleted:?}");
    }
    assert_eq!(partition.delete_records(None, &mut effects).unwrap(), Offset(1));
    assert_eq!(partition.delete_records(Some(Offset(0)), &mut effects).unwrap(), Offset(0));
    assert_eq!(partition.log().log_start_offset(), Offset(1), "it does not go back");
    let compacted = leader_with(policy(true, false)).delete_records(None, &mut effects);
    assert!(matches!(compacted, Err(DeleteError::Policy)), "{compacted:?}");
    assert!(leader_with(policy(false, false)).delete_records(None, &mut effects).is_ok());
}

/// Node 2, following node 1, with three records of which the leader calls two committed.
fn follower() -> Partition {
    let mut partition = leader();
    let mut assignment = assignment(&[1, 2, 3], 1);
    assignment.leader = Some(NodeId(2));
    assignment.leader_epoch = LeaderEpoch(1);
    partition.handle_assignment(&assignment, brokers(), NOW, &mut Effects::default()).unwrap();
    append_from_leader(&mut partition, 2, 2);
    append_from_leader(&mut partition, 1, 2);
    partition
}

/// The leader sends records, and says how far they are committed.
fn append_from_leader(partition: &mut Partition, records: i64, high_watermark: i64) -> Vec<WaiterId> {
    let mut builder =
        BatchBuilder::new().base_offset(partition.log().log_end_offset()).leader_epoch(LeaderEpoch(1));
    for _ in 0..records {
        builder.push(NOW.wall, None, Some(b"record"), &[]);
    }
    let batch = if records == 0 { Vec::new() } else { builder.build() };
    let (high_watermark, start) = (Offset(high_watermark), Offset::ZERO);
    let mut effects = Effects::default();
    partition.append_as_follower(&batch, LeaderEpoch(1), high_watermark, start, NOW, &mut effects).unwrap();
    effects.fetches
}

fn read(partition: &Partition, offset: i64, from: ReadFrom) -> Result<bool, FetchError> {
    let isolation = Isolation::ReadUncommitted;
    let found = partition.fetch_as_consumer(
        Offset(offset),
        LeaderEpoch::NONE,
        LeaderEpoch::NONE,
        from,
        isolation,
        1 << 20,
        AtLeast::OneBatch,
    );
    found.map(|found| found.records.is_some())
}

#[test]
fn a_follower_lets_consumers_read_what_is_committed_as_far_as_it_knows() {
    let partition = follower();

    assert!(matches!(read(&partition, 0, ReadFrom::Leader), Err(FetchError::NotLeader)));
    assert!(read(&partition, 0, ReadFrom::AnyReplica).unwrap());
    assert!(!read(&partition, 2, ReadFrom::AnyReplica).unwrap(), "not known to be committed");
    assert!(!read(&partition, 3, ReadFrom::AnyReplica).unwrap());
    let beyond = read(&partition, 4, ReadFrom::AnyReplica);
    assert!(matches!(beyond, Err(FetchError::OffsetOutOfRange { .. })), "{beyond:?}");
}

#[test]
fn who_reads_at_a_follower_is_woken_when_more_is_committed_and_when_it_serves_no_more() {
    let mut partition = follower();
    partition.wait_as_consumer(WaiterId(1));
    assert_eq!(append_from_leader(&mut partition, 1, 2), []);
    assert_eq!(append_from_leader(&mut partition, 0, 4), [WaiterId(1)]);

    partition.wait_as_consumer(WaiterId(2));
    let mut effects = Effects::default();
    partition.handle_cut_off(&mut effects);
    assert_eq!(effects.fetches, [WaiterId(2)]);
    assert!(matches!(read(&partition, 0, ReadFrom::AnyReplica), Err(FetchError::NotLeader)));
    partition.handle_reconnected(NOW.monotonic, &mut effects);
    assert!(read(&partition, 0, ReadFrom::AnyReplica).is_ok());

    partition.wait_as_consumer(WaiterId(3));
    let mut effects = Effects::default();
    partition.handle_removed(&mut effects);
    assert_eq!(effects.fetches, [WaiterId(3)]);
    assert!(matches!(read(&partition, 0, ReadFrom::AnyReplica), Err(FetchError::NotLeader)));
}

#[test]
fn consumers_are_sent_to_followers_that_are_in_sync_and_have_what_they_ask_for() {
    let mut partition = leader();
    fetch(&mut partition, 2);
    fetch(&mut partition, 3);
    let readers = |partition: &Partition, offset: i64| -> Vec<NodeId> {
        let leader = partition.serving().expect("it leads");
        leader.readers(Offset(offset), NOW.monotonic).iter().map(|reader| reader.node).collect()
    };
    assert!(readers(&partition, 0).is_empty(), "nobody else is in sync");

    partition.handle_assignment(&assignment(&[1, 2], 1), brokers(), NOW, &mut Effects::default()).unwrap();

    assert_eq!(readers(&partition, 0), nodes(&[2]));
    assert!(readers(&partition, 1).is_empty(), "it has less");
}

const MOMENT: Now = Now { monotonic: Monotonic(NOW.monotonic.0 + 4_999_999), ..NOW };
const LATER: Now = Now { monotonic: Monotonic(NOW.monotonic.0 + 5_000_000), ..NOW };

/// Sends a record of this sequence number.
fn produce(partition: &mut Partition, producer: i64, sequence: i32, now: Now) -> Result<Offset, AppendError> {
    let mut builder = BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(0), sequence);
    builder.push(now.wall, None, Some(b"value"), &[]);
    let mut bytes = builder.build();
    let valid = validate(&mut bytes, &partition.log().config().rules(Origin::Client, now.wall)).unwrap();
    partition.append(valid, true, now, &mut Effects::default()).map(|info| info.base_offset)
}

fn is_a_gap(appended: &Result<Offset, AppendError>) -> bool {
    use ottla_storage::{AppendError::Producer, ProducerError::OutOfOrderSequence};
    matches!(appended, Err(AppendError::Log(Producer(OutOfOrderSequence { .. }))))
}

#[test]
fn a_young_leader_waits_for_what_was_sent_elsewhere_before_it_calls_it_missing() {
    let mut partition = leader();
    produce(&mut partition, 7, 0, NOW).unwrap();

    assert!(matches!(produce(&mut partition, 7, 2, MOMENT), Err(AppendError::Early)));
    assert!(is_a_gap(&produce(&mut partition, 7, 2, LATER)));
    assert!(produce(&mut partition, 7, 1, LATER).is_ok() && produce(&mut partition, 7, 2, LATER).is_ok());
}

#[test]
fn the_first_batch_of_a_producer_that_a_young_leader_gets_is_the_first_it_sent() {
    let mut partition = leader();

    assert!(matches!(produce(&mut partition, 7, 1, MOMENT), Err(AppendError::Early)));
    assert_eq!(produce(&mut partition, 7, 0, MOMENT).unwrap(), Offset(0));
    assert_eq!(produce(&mut partition, 7, 1, MOMENT).unwrap(), Offset(1));
    // Later on it is one that was silent for so long that it was forgotten, and goes on.
    assert_eq!(produce(&mut partition, 8, 50, LATER).unwrap(), Offset(2));
}

#[test]
fn what_comes_behind_a_batch_that_was_refused_is_not_out_of_order() {
    let mut partition = leader();
    let settings = |min_insync_replicas| Settings {
        min_insync_replicas,
        replica_lag_time_max: Duration::from_secs(30),
        has_readers_elsewhere: false,
    };
    produce(&mut partition, 7, 0, NOW).unwrap();
    let (config, now) = (LogConfig::default(), LATER.monotonic);
    partition.handle_settings(settings(2), config, now, &mut Effects::default());
    assert!(matches!(produce(&mut partition, 7, 1, LATER), Err(AppendError::NotEnoughReplicas { .. })));
    partition.handle_settings(settings(1), config, now, &mut Effects::default());

    assert!(matches!(produce(&mut partition, 7, 2, LATER), Err(AppendError::Early)));
    partition.handle_cut_off(&mut Effects::default());
    let much_later = LATER.after(Duration::from_secs(60));
    partition.handle_reconnected(much_later.monotonic, &mut Effects::default());
    assert!(matches!(produce(&mut partition, 7, 2, much_later), Err(AppendError::Early)));
}

/// A record of a transaction, and the marker that aborts it.
fn abort(partition: &mut Partition, sequence: i32) {
    let (id, epoch) = (ProducerId(7), ProducerEpoch(0));
    let mut builder = BatchBuilder::new().producer(id, epoch, sequence).transactional();
    builder.push(NOW.wall, None, Some(b"value"), &[]);
    let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
    let marker = marker.batch(id, epoch, NOW.wall, LeaderEpoch(0));
    for (mut bytes, origin) in [(builder.build(), Origin::Client), (marker, Origin::Coordinator)] {
        let rules = partition.log().config().rules(origin, NOW.wall);
        partition.append(validate(&mut bytes, &rules).unwrap(), true, NOW, &mut Effects::default()).unwrap();
    }
}

/// A reader far behind would be told of all that was ever aborted again with each answer.
#[test]
fn who_reads_what_is_committed_is_told_of_the_aborted_transactions_among_what_it_gets() {
    let mut partition = leader();
    abort(&mut partition, 0);
    abort(&mut partition, 1);
    let told = |offset: i64, isolation: Isolation, bytes_max: usize| {
        let (from, at_least, unknown) = (ReadFrom::Leader, AtLeast::OneBatch, LeaderEpoch::NONE);
        let found = partition.fetch_as_consumer(
            Offset(offset),
            unknown,
            unknown,
            from,
            isolation,
            bytes_max,
            at_least,
        );
        found
            .unwrap()
            .aborted
            .map(|aborted| aborted.iter().map(|aborted| aborted.first_offset.0).collect::<Vec<_>>())
    };

    assert_eq!(told(0, Isolation::ReadCommitted, usize::MAX), Some(vec![0, 2]));
    assert_eq!(told(0, Isolation::ReadCommitted, 1), Some(vec![0]));
    assert_eq!(told(1, Isolation::ReadCommitted, 1), Some(vec![0]), "its marker");
    assert_eq!(told(2, Isolation::ReadCommitted, 1), Some(vec![2]));
    assert_eq!(told(4, Isolation::ReadCommitted, 1), Some(vec![]));
    assert_eq!(told(0, Isolation::ReadUncommitted, 1), None);
}

#[test]
fn a_consumer_that_says_which_epoch_it_read_last_is_told_where_the_logs_part() {
    let mut partition = leader();
    append(&mut partition);
    let ask = |offset: i64, last_fetched: i32| {
        partition.fetch_as_consumer(
            Offset(offset),
            LeaderEpoch::NONE,
            LeaderEpoch(last_fetched),
            ReadFrom::Leader,
            Isolation::ReadUncommitted,
            usize::MAX,
            AtLeast::OneBatch,
        )
    };

    assert_eq!(ask(1, 0).unwrap().diverging, None);
    let parted = Some(OffsetAndEpoch { offset: Offset(1), epoch: LeaderEpoch(0) });
    assert_eq!(ask(2, 0).unwrap().diverging, parted);
    for (offset, last_fetched) in [(2, -1), (1, 5), (-1, 0)] {
        let refused = ask(offset, last_fetched);
        assert!(matches!(refused, Err(FetchError::OffsetOutOfRange { .. })), "{offset}: {refused:?}");
    }
}
