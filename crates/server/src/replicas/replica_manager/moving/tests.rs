use super::super::opening::tests::{apply, place};
use super::super::tests::{append, directory_id, manager_on_disks};
use super::*;
use ottla_records::batches;
use ottla_storage::SimDisk;

const AT: TopicIdPartition = TopicIdPartition { topic_id: Uuid::from_u128(71), partition: 0 };

/// A replica of so many records, in the first of two directories.
fn with_records(disks: &[SimDisk; 2], count: usize) -> (ReplicaManager, Arc<Replica>) {
    let manager = manager_on_disks(disks);
    apply(&manager, &[directory_id(0)]);
    let replica = manager.get(AT).unwrap();
    for _ in 0..count {
        drop(append(&manager, &replica));
    }
    (manager, replica)
}

fn disks() -> [SimDisk; 2] {
    [SimDisk::new(), SimDisk::new()]
}

fn move_to(manager: &ReplicaManager, replica: &Replica, number: usize) -> bool {
    let directory = manager.directories.all()[number].clone();
    manager.moves.request(replica, &directory);
    move_replica(manager, directory.id)
}

/// Carries a move out, whatever the throttle says; returns `false` when it has to wait for the cleaner.
fn move_replica(manager: &ReplicaManager, to: Uuid) -> bool {
    match manager.begin_move(AT, to) {
        Begin::Busy => return false,
        Begin::Nothing => {}
        Begin::Copy(mut copying) => {
            let ended = manager.copy_on(&mut copying);
            manager.end_move(copying, ended.map(|open_at| assert_eq!(open_at, None)));
        }
    }
    manager.moves.done(AT, to);
    true
}

fn begin(manager: &ReplicaManager, to: Uuid) -> Box<Copying> {
    match manager.begin_move(AT, to) {
        Begin::Copy(copying) => copying,
        Begin::Nothing | Begin::Busy => panic!("it does not begin"),
    }
}

/// The log's batches, byte for byte.
fn bytes(replica: &Replica) -> Vec<u8> {
    let partition = replica.lock();
    let log = partition.log();
    let mut bytes = Vec::new();
    let mut from = log.log_start_offset();
    while from < log.log_end_offset() {
        let piece = log.read_bytes(from, log.log_end_offset(), 1 << 20).unwrap();
        from = batches(&piece).last().unwrap().unwrap().header().next_offset();
        bytes.extend(piece);
    }
    bytes
}

fn dirs(manager: &ReplicaManager, number: usize) -> Vec<PartitionDir> {
    let dirs = manager.directories.all()[number].files.partition_dirs().unwrap();
    dirs.into_iter().map(|(_, dir)| dir).collect()
}

#[test]
fn a_replica_moves_and_goes_on_where_it_was() {
    let disks = disks();
    let (manager, replica) = with_records(&disks, 200);
    replica.lock().log_mut().increment_log_start_offset(Offset(50)).unwrap();
    let (before, end) = (bytes(&replica), replica.lock().log().log_end_offset());

    assert!(move_to(&manager, &replica, 1));

    assert_eq!(place(&manager, 0), Some(directory_id(1)));
    assert_eq!(bytes(&replica), before);
    assert_eq!(replica.lock().log().log_start_offset(), Offset(50));
    assert_eq!((dirs(&manager, 0), dirs(&manager, 1).len()), (vec![], 1));
    drop(append(&manager, &replica));
    assert_eq!(replica.lock().log().log_end_offset(), end + 1);
    assert!(manager.moves.future(AT, directory_id(1)).is_none());

    // And that is how the next process finds it.
    let whole = bytes(&replica);
    manager.checkpoint_log_starts();
    drop((replica, manager));
    let manager = manager_on_disks(&disks);
    apply(&manager, &[directory_id(0)]);
    assert_eq!(place(&manager, 0), Some(directory_id(1)));
    assert_eq!(bytes(&manager.get(AT).unwrap()), whole);
}

#[test]
fn what_is_asked_for_is_seen_until_it_is_done_and_can_be_taken_back() {
    let (manager, replica) = with_records(&disks(), 3);
    let all = manager.directories.all().to_vec();
    manager.moves.request(&replica, &all[1]);
    assert_eq!(manager.moves.future(AT, directory_id(1)).unwrap().log_end_offset, Offset::ZERO);

    manager.moves.request(&replica, &all[0]);

    assert!(manager.moves.future(AT, directory_id(1)).is_none());
    assert!(move_replica(&manager, directory_id(1)), "nobody wants it");
    assert_eq!(place(&manager, 0), Some(directory_id(0)));
    assert_eq!(dirs(&manager, 1), vec![]);
}

#[test]
fn a_log_that_is_being_compacted_moves_later() {
    let (manager, replica) = with_records(&disks(), 3);
    manager.cleaner.busy.lock().insert(replica.name.clone());
    assert!(!move_to(&manager, &replica, 1));
    manager.cleaner.busy.lock().clear();
    assert!(move_to(&manager, &replica, 1));
    assert_eq!(place(&manager, 0), Some(directory_id(1)));
    assert!(manager.cleaner.busy.lock().is_empty());
}

/// At each operation of the move a disk fails, or the process is killed there.
#[test]
fn whatever_ends_a_move_the_log_is_whole_in_one_of_the_directories() {
    let (mut moved, mut stayed) = (0, 0);
    for operation in 0.. {
        let disks = disks();
        let (manager, replica) = with_records(&disks, 40);
        let before = bytes(&replica);
        let begun = disks[1].operations();
        disks[1].stop_after(operation);
        move_to(&manager, &replica, 1);
        let is_over = disks[1].operations() - begun < operation;
        disks[1].heal();
        assert!(!manager.directories.is_given_up());
        match manager.get(AT) {
            Some(replica) => assert_eq!(bytes(&replica), before, "operation {operation}"),
            // It had moved when the disk failed.
            None => assert!(manager.is_offline(AT), "operation {operation}"),
        }
        drop((replica, manager));

        let manager = manager_on_disks(&disks);
        apply(&manager, &[directory_id(0)]);
        let replica = manager.get(AT).unwrap();
        assert_eq!(bytes(&replica), before, "operation {operation}, after a start");
        let place = replica.directory().id;
        if place == directory_id(1) {
            moved += 1
        } else {
            stayed += 1
        }
        if is_over {
            break;
        }
    }
    assert!(moved > 0 && stayed > 5, "moved {moved}, stayed {stayed}");
}

#[test]
fn a_copy_that_a_kill_interrupted_is_begun_anew() {
    let disks = disks();
    let (manager, replica) = with_records(&disks, 40);
    let path = manager.directories.all()[1].files.future_path(&replica.name, Uuid::from_u128(5));
    manager.open_future(&path, replica.log_config(), &manager.directories.all()[1]).unwrap();
    drop((replica, manager));

    let manager = manager_on_disks(&disks);
    apply(&manager, &[directory_id(0)]);

    assert_eq!(dirs(&manager, 1), vec![]);
    assert!(manager.moves.future(AT, directory_id(1)).is_some());
    assert!(move_replica(&manager, directory_id(1)));
    assert_eq!(place(&manager, 0), Some(directory_id(1)));
}

/// What was cut meanwhile must not be in the copy.
#[test]
fn a_log_that_is_cut_is_copied_anew() {
    let (manager, replica) = with_records(&disks(), 10);
    let to = manager.directories.all()[1].clone();
    manager.moves.request(&replica, &to);
    let mut copying = begin(&manager, to.id);
    copying.begun = Some(manager.begin_copy(&replica, &to, &copying.path).ok().unwrap());
    let now = manager.clock().now();
    replica.lock().log_mut().truncate_to(Offset(4), now).unwrap();

    assert!(matches!(manager.copy_on(&mut copying), Err(Ended::Overtaken)));
    copying.begun = None;
    assert!(matches!(manager.copy_on(&mut copying), Ok(None)));

    assert_eq!(place(&manager, 0), Some(to.id));
    assert_eq!(replica.lock().log().log_end_offset(), Offset(4));
}

#[test]
fn a_throttled_copy_waits_when_it_has_had_what_it_may() {
    let (manager, replica) = with_records(&disks(), 40);
    let before = bytes(&replica);
    let to = manager.directories.all()[1].clone();
    manager.moves.request(&replica, &to);
    let throttle = &manager.throttles.directories;
    let now = manager.clock().monotonic();
    throttle.lock().set_rate(Some(1), now);
    let mut copying = begin(&manager, to.id);

    for batches in 1..=2 {
        let step = manager.copy_on(&mut copying);

        assert!(matches!(step, Ok(Some(open_at)) if open_at > now));
        assert_eq!(manager.moves.future(AT, to.id).unwrap().log_end_offset, Offset(batches));
        // Another rate counts at once.
        throttle.lock().set_rate(Some(batches.unsigned_abs() + 1), now);
    }
    throttle.lock().set_rate(None, now);
    assert!(matches!(manager.copy_on(&mut copying), Ok(None)));
    manager.end_move(copying, Ok(()));
    assert_eq!(place(&manager, 0), Some(to.id));
    assert_eq!(bytes(&replica), before);
}
