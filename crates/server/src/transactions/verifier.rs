//! Who asks the coordinators of transactions whether a partition takes part, before a transaction begins in it (KIP-890;
//! `AddPartitionsToTxnManager`).
//!
//! A request to each coordinator is under way at a time; what is asked meanwhile goes out together with the next one, of each
//! transactional id one question. Nothing is tried again here: whoever asks has a client that does.

use super::coordinators::TransactionCoordinators;
use crate::broker::Broker;
use ottla_net::{CallError, Task, task};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResponse;
use ottla_types::{NodeId, ProducerEpoch, ProducerId, TopicPartition};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// How long a coordinator may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a client can be told, by the version of its request (`TransactionSupportedOperation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It knows none of the newer errors.
    Old,
    /// It knows TRANSACTION_ABORTABLE.
    Abortable,
    /// It does not add partitions itself: the leader does (transaction version 2).
    Adding,
}

impl Support {
    /// Of a Produce request.
    pub fn of_produce(version: i16) -> Support {
        match version {
            ..=10 => Support::Old,
            11 => Support::Abortable,
            _ => Support::Adding,
        }
    }

    /// Of a TxnOffsetCommit request.
    pub fn of_txn_offset_commit(version: i16) -> Support {
        match version {
            ..=3 => Support::Old,
            4 => Support::Abortable,
            _ => Support::Adding,
        }
    }

    /// Whether the producer's epoch grows with each transaction.
    pub fn bumps_epoch(self) -> bool {
        self == Support::Adding
    }

    /// What a client is told of a partition's error at the coordinator.
    fn translate(self, error: ErrorCode) -> ErrorCode {
        match error {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if self == Support::Old => ErrorCode::InvalidTxnState,
            error => error,
        }
    }
}

/// A producer, and what it calls its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionalProducer {
    /// The transactional id.
    pub transactional_id: String,
    /// The producer id.
    pub id: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
}

/// The partitions that do not take part, with the errors for the client.
pub type Unverified = BTreeMap<TopicPartition, ErrorCode>;

struct Question {
    producer: TransactionalProducer,
    partitions: BTreeSet<TopicPartition>,
    support: Support,
    answer: oneshot::Sender<Unverified>,
}

impl Question {
    fn fail(self, error: ErrorCode) {
        let unverified = self.partitions.into_iter().map(|partition| (partition, error)).collect();
        // Whoever asked may have gone.
        let _ = self.answer.send(unverified);
    }
}

/// The questions that nobody has taken up yet: of each request that waits there is one.
#[derive(Default)]
pub struct Verifier {
    questions: Mutex<Vec<Question>>,
    has_come: Notify,
}

impl Verifier {
    /// Asks whether partitions take part in the producer's transaction, or lets them, as `support` says.
    pub async fn ask(
        &self,
        producer: TransactionalProducer,
        partitions: BTreeSet<TopicPartition>,
        support: Support,
    ) -> Unverified {
        let (answer, heard) = oneshot::channel();
        let asked = partitions.clone();
        self.questions.lock().push(Question { producer, partitions, support, answer });
        self.has_come.notify_one();
        // The verifier ends with the broker.
        let gone = |_| asked.into_iter().map(|at| (at, ErrorCode::CoordinatorNotAvailable)).collect();
        heard.await.unwrap_or_else(gone)
    }

    async fn take(&self) -> Vec<Question> {
        loop {
            let questions = std::mem::take(&mut *self.questions.lock());
            if !questions.is_empty() {
                return questions;
            }
            self.has_come.notified().await;
        }
    }
}

/// What a coordinator has said.
struct Answered {
    node: NodeId,
    asked: Vec<Question>,
    answer: Result<AddPartitionsToTxnResponse, CallError>,
}

/// Asks for as long as the broker runs.
pub async fn run(broker: Arc<Broker>) {
    // Of each broker there is one at most.
    let (answers, mut answered) = mpsc::channel::<Answered>(16);
    let mut busy: BTreeMap<NodeId, Task> = BTreeMap::new();
    let mut waiting: Vec<Question> = Vec::new();
    loop {
        tokio::select! {
            biased;
            answer = answered.recv() => match answer {
                Some(answer) => {
                    busy.remove(&answer.node);
                    tell(answer);
                }
                None => return,
            },
            questions = broker.verifier.take() => waiting.extend(questions),
        }
        let image = broker.image();
        let mut due: BTreeMap<NodeId, Vec<Question>> = BTreeMap::new();
        for question in std::mem::take(&mut waiting) {
            let id = &question.producer.transactional_id;
            let Some(node) = TransactionCoordinators::leader_of(&image, id) else {
                question.fail(ErrorCode::CoordinatorNotAvailable);
                continue;
            };
            let asked = due.entry(node).or_default();
            let is_asked = asked.iter().any(|other| other.producer.transactional_id == *id);
            if busy.contains_key(&node) || is_asked {
                waiting.push(question);
            } else {
                asked.push(question);
            }
        }
        for (node, asked) in due.into_iter().filter(|(_, asked)| !asked.is_empty()) {
            let transactions = asked.iter().map(transaction).collect();
            let request = AddPartitionsToTxnRequest { transactions, ..Default::default() };
            let (broker, answers) = (broker.clone(), answers.clone());
            let asking = task::spawn("transaction verification", async move {
                let answer = broker.verifier_channels.call(&broker, node, &request, TIMEOUT).await;
                // Who would hear it has stopped.
                let _ = answers.send(Answered { node, asked, answer }).await;
            });
            busy.insert(node, asking);
        }
    }
}

fn transaction(question: &Question) -> AddPartitionsToTxnTransaction {
    let topics = TopicPartition::by_topic(&question.partitions)
        .into_iter()
        .map(|(name, partitions)| AddPartitionsToTxnTopic { name: name.to_owned(), partitions });
    AddPartitionsToTxnTransaction {
        transactional_id: question.producer.transactional_id.clone(),
        producer_id: question.producer.id.0,
        producer_epoch: question.producer.epoch.0,
        verify_only: question.support != Support::Adding,
        topics: topics.collect(),
    }
}

fn tell(Answered { node, asked, answer }: Answered) {
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(node = node.0, %error, "transactions are not verified");
            asked.into_iter().for_each(|question| question.fail(ErrorCode::NetworkException));
            return;
        }
    };
    for question in asked {
        let unverified = unverified(&question, &response);
        // Whoever asked may have gone.
        let _ = question.answer.send(unverified);
    }
}

fn unverified(question: &Question, response: &AddPartitionsToTxnResponse) -> Unverified {
    let id = &question.producer.transactional_id;
    let result = response.results_by_transaction.iter().find(|result| result.transactional_id == *id);
    let error_of = |at: &TopicPartition| {
        let of_request = ErrorCode::from(response.error_code);
        if of_request != ErrorCode::None {
            return of_request;
        }
        let topic =
            result.and_then(|result| result.topic_results.iter().find(|topic| topic.name == at.topic));
        let partitions = topic.map_or(&[][..], |topic| &topic.results_by_partition);
        let found = partitions.iter().find(|partition| partition.partition_index == at.partition);
        // What nothing is said of does not take part.
        found.map_or(ErrorCode::UnknownServerError, |found| ErrorCode::from(found.partition_error_code))
    };
    let told = question.partitions.iter().map(|at| (at.clone(), question.support.translate(error_of(at))));
    told.filter(|(_, error)| *error != ErrorCode::None).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::add_partitions_to_txn_response::{
        AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
    };

    fn question(support: Support) -> Question {
        let producer = TransactionalProducer {
            transactional_id: "t".to_owned(),
            id: ProducerId(1),
            epoch: ProducerEpoch(2),
        };
        let partitions = [TopicPartition::new("a", 0), TopicPartition::new("a", 1)].into();
        Question { producer, partitions, support, answer: oneshot::channel().0 }
    }

    fn response(error: ErrorCode) -> AddPartitionsToTxnResponse {
        let partition = |partition_index, error: ErrorCode| AddPartitionsToTxnPartitionResult {
            partition_index,
            partition_error_code: error.code(),
        };
        let topic = AddPartitionsToTxnTopicResult {
            name: "a".to_owned(),
            results_by_partition: vec![partition(0, ErrorCode::None), partition(1, error)],
        };
        let result =
            AddPartitionsToTxnResult { transactional_id: "t".to_owned(), topic_results: vec![topic] };
        AddPartitionsToTxnResponse { results_by_transaction: vec![result], ..Default::default() }
    }

    #[test]
    fn a_client_is_told_errors_that_it_knows() {
        use ErrorCode::{
            ConcurrentTransactions, InvalidProducerEpoch, InvalidProducerIdMapping, InvalidTxnState,
            ProducerFenced, TransactionAbortable,
        };
        for (error, support, told) in [
            (ProducerFenced, Support::Old, InvalidProducerEpoch),
            (ProducerFenced, Support::Adding, InvalidProducerEpoch),
            (TransactionAbortable, Support::Old, InvalidTxnState),
            (TransactionAbortable, Support::Abortable, TransactionAbortable),
            (TransactionAbortable, Support::Adding, TransactionAbortable),
            (InvalidProducerIdMapping, Support::Old, InvalidProducerIdMapping),
            (ConcurrentTransactions, Support::Adding, ConcurrentTransactions),
        ] {
            let unverified = unverified(&question(support), &response(error));
            assert_eq!(unverified, [(TopicPartition::new("a", 1), told)].into(), "{error} {support:?}");
        }
    }

    #[test]
    fn an_error_of_the_request_is_one_of_every_partition_and_silence_is_one_too() {
        let failed = AddPartitionsToTxnResponse {
            error_code: ErrorCode::ClusterAuthorizationFailed.code(),
            ..Default::default()
        };
        assert_eq!(unverified(&question(Support::Old), &failed).len(), 2);
        let silent = AddPartitionsToTxnResponse::default();
        let told = unverified(&question(Support::Old), &silent);
        assert!(told.len() == 2 && told.values().all(|error| *error == ErrorCode::UnknownServerError));
    }

    #[test]
    fn only_newer_clients_leave_adding_to_the_leader() {
        for (version, verify_only) in [(9, true), (11, true), (12, false), (13, false)] {
            let asked = transaction(&question(Support::of_produce(version)));
            assert_eq!((asked.verify_only, asked.topics[0].partitions.len()), (verify_only, 2));
        }
        assert_eq!(Support::of_txn_offset_commit(4), Support::Abortable);
        assert_eq!(Support::of_txn_offset_commit(5), Support::Adding);
    }
}
