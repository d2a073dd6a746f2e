//! Who tells partitions how a transaction has ended: WriteTxnMarkers to their leaders, until every one of them has it.
//!
//! A request to each broker is under way at a time; what comes meanwhile goes out together with the next one. What a leader
//! could not write is tried again, at whoever leads by then. A partition that is gone needs no marker.

use super::machine::TransactionMachine;
use crate::broker::Broker;
use crate::coordination::Shard;
use crate::coordination::shard::Standing;
use ottla_coordinator::transactions::Markers;
use ottla_metadata::MetadataImage;
use ottla_net::{CallError, Task, task};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use ottla_protocol::messages::write_txn_markers_response::WriteTxnMarkersResponse;
use ottla_types::{NodeId, TopicPartition};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// How long before what could not be written is tried again.
const BACKOFF: Duration = Duration::from_millis(20);

/// How long a leader may take to have markers replicated.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A transaction that ends, and the coordinator that decided it.
struct Ending {
    shard: Arc<Shard<TransactionMachine>>,
    /// Its partitions are those that have no marker yet.
    markers: Markers,
}

/// Transactions that have ended, and whose markers nobody has taken up yet. There is at most one for each transactional id.
///
/// Coordinators hold the queue; it holds none of them, or a process that ends would keep all that they have.
#[derive(Default)]
pub struct MarkerQueue {
    endings: Mutex<Vec<(Weak<Shard<TransactionMachine>>, Markers)>>,
    has_come: Notify,
}

impl MarkerQueue {
    /// Has markers written into all partitions of a transaction, and its coordinator told then.
    pub fn write(&self, shard: &Arc<Shard<TransactionMachine>>, markers: Markers) {
        self.endings.lock().push((Arc::downgrade(shard), markers));
        self.has_come.notify_one();
    }

    async fn take(&self) -> Vec<Ending> {
        loop {
            let endings = std::mem::take(&mut *self.endings.lock());
            if !endings.is_empty() {
                // Where the coordinator has gone, the one after it has been told by the log.
                let known = endings
                    .into_iter()
                    .filter_map(|(shard, markers)| Some(Ending { shard: shard.upgrade()?, markers }));
                return known.collect();
            }
            self.has_come.notified().await;
        }
    }
}

/// A number for each transaction that ends.
type EndingId = u64;

/// A marker that some leader is to write.
type Marker = (EndingId, TopicPartition);

/// What came of a request to a broker.
struct Answered {
    node: NodeId,
    markers: Vec<Marker>,
    answer: Result<WriteTxnMarkersResponse, CallError>,
}

struct Writer {
    broker: Arc<Broker>,
    endings: BTreeMap<EndingId, Ending>,
    next_id: EndingId,
    /// What is to be sent as soon as its leader is free.
    unsent: Vec<Marker>,
    /// What is to be sent again in a moment.
    deferred: Vec<Marker>,
    busy: BTreeMap<NodeId, Task>,
    answers: mpsc::Sender<Answered>,
}

/// Writes markers for as long as the broker runs.
pub async fn run(broker: Arc<Broker>) {
    // Of each broker there is one at most.
    let (answers, mut answered) = mpsc::channel(16);
    let queue = broker.markers.clone();
    let mut writer = Writer {
        broker,
        endings: BTreeMap::new(),
        next_id: 0,
        unsent: Vec::new(),
        deferred: Vec::new(),
        busy: BTreeMap::new(),
        answers,
    };
    loop {
        tokio::select! {
            biased;
            answer = answered.recv() => match answer {
                Some(answer) => writer.handle_answer(answer),
                None => return,
            },
            endings = queue.take() => endings.into_iter().for_each(|ending| writer.begin(ending)),
            () = tokio::time::sleep(BACKOFF), if !writer.deferred.is_empty() => {
                let again = std::mem::take(&mut writer.deferred);
                writer.unsent.extend(again);
            }
        }
        writer.send();
    }
}

impl Writer {
    fn begin(&mut self, ending: Ending) {
        let id = self.next_id;
        self.next_id += 1;
        self.unsent.extend(ending.markers.partitions.iter().map(|partition| (id, partition.clone())));
        self.endings.insert(id, ending);
        self.complete(id);
    }

    /// Tells the coordinator if a transaction has all its markers.
    fn complete(&mut self, id: EndingId) {
        let Some(ending) = self.endings.get(&id).filter(|ending| ending.markers.partitions.is_empty()) else {
            return;
        };
        let Markers { transactional_id, producer, .. } = &ending.markers;
        ending.shard.notify(|machine, now| {
            machine.coordinator().handle_markers_written(transactional_id, *producer, now)
        });
        self.endings.remove(&id);
    }

    /// Sends what there is to every leader that has nothing to answer yet.
    fn send(&mut self) {
        if self.unsent.is_empty() {
            return;
        }
        // Whoever coordinates now has been told by the log.
        self.endings.retain(|_, ending| *ending.shard.standing().borrow() != Standing::Resigned);
        let image = self.broker.image();
        let mut by_leader: BTreeMap<NodeId, Vec<Marker>> = BTreeMap::new();
        let (mut gone, mut waiting) = (Vec::new(), Vec::new());
        for (id, partition) in std::mem::take(&mut self.unsent) {
            let Some(ending) = self.endings.get(&id) else { continue };
            if !ending.shard.is_known_to(&image) {
                self.deferred.push((id, partition));
                continue;
            }
            match leader(&image, &partition) {
                None => gone.push((id, partition)),
                Some(Some(leader)) if self.busy.contains_key(&leader) => waiting.push((id, partition)),
                Some(Some(leader)) => by_leader.entry(leader).or_default().push((id, partition)),
                Some(None) => self.deferred.push((id, partition)),
            }
        }
        self.unsent = waiting;
        for (id, partition) in gone {
            self.written(id, &partition);
        }
        for (node, markers) in by_leader {
            let request = self.request(&markers);
            let (broker, answers) = (self.broker.clone(), self.answers.clone());
            let asking = task::spawn("transaction markers", async move {
                let answer = broker.marker_channels.call(&broker, node, &request, TIMEOUT).await;
                // Who would hear it has stopped.
                let _ = answers.send(Answered { node, markers, answer }).await;
            });
            self.busy.insert(node, asking);
        }
    }

    fn request(&self, markers: &[Marker]) -> WriteTxnMarkersRequest {
        let mut by_ending: BTreeMap<EndingId, Vec<&TopicPartition>> = BTreeMap::new();
        for (id, partition) in markers {
            by_ending.entry(*id).or_default().push(partition);
        }
        let markers = by_ending.into_iter().filter_map(|(id, partitions)| {
            let Ending { shard, markers } = self.endings.get(&id)?;
            let topics = TopicPartition::by_topic(partitions);
            let topics = topics.into_iter().map(|(name, partition_indexes)| WritableTxnMarkerTopic {
                name: name.to_owned(),
                partition_indexes,
            });
            Some(WritableTxnMarker {
                producer_id: markers.producer.id.0,
                producer_epoch: markers.producer.epoch.0,
                transaction_result: markers.committed,
                topics: topics.collect(),
                coordinator_epoch: shard.epoch().0,
                transaction_version: markers.transaction_version,
            })
        });
        WriteTxnMarkersRequest { markers: markers.collect() }
    }

    fn handle_answer(&mut self, Answered { node, markers, answer }: Answered) {
        self.busy.remove(&node);
        let errors = match answer {
            Ok(response) => errors(&response),
            Err(error) => {
                tracing::debug!(node = node.0, %error, "transaction markers are sent again");
                self.deferred.extend(markers);
                return;
            }
        };
        let mut superseded = BTreeSet::new();
        for (id, partition) in markers {
            let Some(ending) = self.endings.get(&id) else { continue };
            let producer_id = ending.markers.producer.id.0;
            // What nothing is said of was not written.
            let error = errors.get(&(producer_id, partition.clone())).copied();
            match error.unwrap_or(ErrorCode::UnknownServerError) {
                ErrorCode::None => self.written(id, &partition),
                // The partition has heard of a later incarnation, which had to ask before it wrote there: this one's
                // transaction is over, whoever ended it.
                ErrorCode::InvalidProducerEpoch => self.written(id, &partition),
                error @ ErrorCode::TransactionCoordinatorFenced => {
                    let transactional_id = &ending.markers.transactional_id;
                    let error = error.name();
                    tracing::info!(transactional_id, %partition, error, "markers are somebody else's to write");
                    superseded.insert(id);
                }
                error => {
                    tracing::debug!(%partition, error = error.name(), "a transaction marker is sent again");
                    self.deferred.push((id, partition));
                }
            }
        }
        self.endings.retain(|id, _| !superseded.contains(id));
    }

    fn written(&mut self, id: EndingId, partition: &TopicPartition) {
        if let Some(ending) = self.endings.get_mut(&id) {
            ending.markers.partitions.remove(partition);
        }
        self.complete(id);
    }
}

/// Who leads a partition; `None` when there is no such partition any more. An image in which the coordinator leads is never older
/// than the partitions of its transactions: it had seen them when they were added, or became coordinator after that.
fn leader(image: &MetadataImage, partition: &TopicPartition) -> Option<Option<NodeId>> {
    let topic = image.topics.by_name(&partition.topic)?;
    Some(topic.partitions.get(&partition.partition)?.leader)
}

/// The errors of an answer, by producer id and partition.
fn errors(response: &WriteTxnMarkersResponse) -> BTreeMap<(i64, TopicPartition), ErrorCode> {
    let mut errors = BTreeMap::new();
    for marker in &response.markers {
        for topic in &marker.topics {
            for partition in &topic.partitions {
                let at = TopicPartition::new(&topic.name, partition.partition_index);
                errors.insert((marker.producer_id, at), ErrorCode::from(partition.error_code));
            }
        }
    }
    errors
}
