//! `__transaction_state` of a coordinator that is busy all year: of each transactional id what was said last is left, and ids with
//! which nothing is done expire.

use super::coordinator::{Care, Coordinator};
use super::sizes::Sizes;
use super::time::{self, DAY, YEAR_DAYS};
use crate::transactions::machine::{MachineSettings, TransactionMachine};
use ottla_coordinator::transactions::{
    ClientVersion, EndTransaction, InitProducerId, Markers, Producer, TransactionReply, TransactionSettings,
};
use ottla_protocol::ErrorCode;
use ottla_types::{ProducerId, TopicPartition};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI16;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often producers make a transaction, and the broker looks after its logs.
const STEP: Duration = Duration::from_secs(600);

/// Producers that are there all year.
const STEADY: usize = 5;

/// What the log may take: as that of offsets.
const BYTES_MAX: u64 = 4 << 20;

/// Ids that are there, and those of one week that were left; expiry looks for them now and then.
const IDS_MAX: usize = STEADY + 8 * 24;

/// A coordinator, and those who lead what is written to.
struct Cluster {
    coordinator: Coordinator<TransactionMachine>,
    markers: mpsc::Receiver<Markers>,
    next_producer_id: i64,
}

impl Cluster {
    fn start(settings: TransactionSettings) -> Cluster {
        let (sender, markers) = mpsc::channel(STEADY + 1);
        let settings = MachineSettings { settings, transaction_version: Arc::new(AtomicI16::new(2)) };
        let worker = Arc::new(move |_: &_, markers| sender.try_send(markers).unwrap());
        let coordinator = Coordinator::start(settings, "transaction.state.log.segment.bytes", worker);
        Cluster { coordinator, markers, next_producer_id: 0 }
    }

    /// Another coordinator takes over, and sends again what was not known to be written.
    async fn fail_over(&mut self) {
        self.coordinator.fail_over().await;
        while let Ok(markers) = self.markers.try_recv() {
            self.write(&markers);
        }
    }

    fn write(&self, Markers { transactional_id, producer, .. }: &Markers) {
        let shard = &self.coordinator.shard;
        shard.notify(|machine, now| {
            machine.coordinator().handle_markers_written(transactional_id, *producer, now)
        });
    }

    /// An id that no producer has had, if the coordinator wants one: some are used up, for their epochs are.
    fn provide_producer_id(&mut self) {
        let fresh = ProducerId(self.next_producer_id);
        self.next_producer_id += 1;
        self.coordinator.shard.with(|machine| {
            if machine.coordinator().wanted_producer_ids() > 0 {
                machine.coordinator().handle_producer_ids([fresh]);
            }
        });
    }

    async fn init(&mut self, transactional_id: &str) -> Producer {
        self.provide_producer_id();
        let request = InitProducerId {
            transactional_id: transactional_id.to_owned(),
            timeout_ms: 60_000,
            expected: Producer::NONE,
        };
        let answer = self.coordinator.shard.handle(|machine, token, now| {
            machine.coordinator().handle_init_producer_id(&request, token, now)
        });
        match answer.await {
            Ok(TransactionReply::InitProducerId(Ok(producer))) => producer,
            other => panic!("{other:?}"),
        }
    }

    /// One transaction, which writes to a few partitions; returns who the producer is after it.
    async fn transact(&mut self, transactional_id: &str, producer: Producer, committed: bool) -> Producer {
        self.provide_producer_id();
        let partitions: BTreeSet<_> = (0..4).map(|partition| TopicPartition::new("t", partition)).collect();
        let shard = &self.coordinator.shard;
        let added = shard.handle(|machine, token, now| {
            let coordinator = machine.coordinator();
            coordinator.handle_add_partitions(transactional_id, producer, &partitions, token, now)
        });
        assert!(matches!(added.await, Ok(TransactionReply::Added(ErrorCode::None))));
        let request = EndTransaction {
            transactional_id: transactional_id.to_owned(),
            producer,
            committed,
            client_version: ClientVersion::EpochBumps,
        };
        let ended =
            shard.handle(|machine, token, now| machine.coordinator().handle_end_txn(&request, token, now));
        let Ok(TransactionReply::EndTxn(Ok(after))) = ended.await else { panic!("it cannot be ended") };
        let markers = self.markers.recv().await.expect("the coordinator is there");
        assert_eq!((markers.transactional_id.as_str(), markers.committed), (transactional_id, committed));
        self.write(&markers);
        after
    }
}

/// What the log had on the disk each day, and how many ids there were at the end.
fn pass(days: usize, care: Care) -> (Sizes, usize) {
    let shipped = TransactionSettings::default();
    let id_expiration = if care == Care::NothingExpires { 2 * DAY * 365 } else { shipped.id_expiration };
    // No transaction takes long: to look for one every ten seconds would change nothing and take the most of this test.
    let settings = TransactionSettings { id_expiration, abort_interval: STEP, ..shipped };
    time::runtime().block_on(async {
        let mut cluster = Cluster::start(settings);
        cluster.fail_over().await;
        let mut steady = Vec::new();
        for number in 0..STEADY {
            let id = format!("steady-{number}");
            let producer = cluster.init(&id).await;
            steady.push((id, producer));
        }
        let mut sizes = Sizes::default();
        for day in 0..days {
            if day % 30 == 29 {
                cluster.fail_over().await;
            }
            for step in 0..DAY.as_secs() / STEP.as_secs() {
                tokio::time::sleep(STEP).await;
                for (id, producer) in &mut steady {
                    *producer = cluster.transact(id, *producer, step % 10 != 0).await;
                }
                if step % 6 == 0 {
                    // A job that takes an id of its own each time.
                    let id = format!("job-{day}-{step}");
                    let producer = cluster.init(&id).await;
                    cluster.transact(&id, producer, true).await;
                }
                cluster.coordinator.look_after_logs(care);
            }
            cluster.coordinator.note_size(&mut sizes);
        }
        let count = |machine: &mut TransactionMachine| machine.coordinator().transactional_ids_count();
        let known = cluster.coordinator.shard.with(count).unwrap();
        // Whoever takes over knows the same.
        cluster.fail_over().await;
        assert_eq!(cluster.coordinator.shard.with(count), Some(known));
        (sizes, known)
    })
}

#[test]
fn the_topic_of_transactions_stays_bounded_over_a_year() {
    let (sizes, ids) = pass(YEAR_DAYS, Care::Shipped);

    println!("at most {} bytes, {ids} transactional ids", sizes.peak());
    assert_eq!(sizes.check(BYTES_MAX), Ok(()));
    assert!((STEADY + 6 * 24..IDS_MAX).contains(&ids), "{ids} ids");
}

#[test]
fn notices_transactions_that_are_not_compacted() {
    let (sizes, _) = pass(YEAR_DAYS / 4, Care::NothingIsCompacted);

    assert!(sizes.check(BYTES_MAX).is_err());
}

#[test]
fn notices_transactional_ids_that_do_not_expire() {
    let (_, ids) = pass(YEAR_DAYS / 4, Care::NothingExpires);

    assert!(ids > IDS_MAX, "{ids} ids");
}
