//! What a Produce request's transaction needs before its batches are appended (KIP-890).

use super::produce::find_topic;
use crate::broker::Broker;
use crate::transactions::verifier::{Support, TransactionalProducer};
use ottla_metadata::MetadataImage;
use ottla_protocol::messages::produce_request::ProduceRequest;
use ottla_protocol::{ErrorCode, Records};
use ottla_records::BatchHeader;
use ottla_storage::VerificationGuard;
use ottla_types::{ProducerEpoch, ProducerId, TopicIdPartition, TopicPartition};
use std::collections::BTreeMap;

/// A transactional batch, and where it is to be appended.
struct Batch {
    name: TopicPartition,
    at: TopicIdPartition,
    sequence: i32,
}

/// The transactional batches of a request, of one producer.
pub(super) struct Transaction {
    producer: TransactionalProducer,
    support: Support,
    batches: Vec<Batch>,
}

/// What a transaction's coordinator has said.
#[derive(Default)]
pub(super) struct Verified {
    /// By which batches begin the transaction in a partition.
    pub(super) guards: BTreeMap<TopicIdPartition, VerificationGuard>,
    /// Where they must not, with what is told to the client.
    pub(super) refused: BTreeMap<TopicIdPartition, (ErrorCode, Option<String>)>,
}

impl Transaction {
    /// What of a request must be verified; `None` if nothing must. Without an answer there is nobody to tell (acks=0): what
    /// begins a transaction is then refused by the log.
    ///
    /// # Errors
    /// INVALID_PRODUCER_ID_MAPPING when there is more than one producer, TRANSACTIONAL_ID_AUTHORIZATION_FAILED when the
    /// request does not say whose transaction it is.
    pub(super) fn of(
        broker: &Broker,
        image: &MetadataImage,
        version: i16,
        request: &ProduceRequest,
    ) -> Result<Option<Transaction>, ErrorCode> {
        let mut producer: Option<(ProducerId, ProducerEpoch)> = None;
        let mut batches = Vec::new();
        for topic in &request.topic_data {
            for data in &topic.partition_data {
                let Some(header) = header(data.records.as_ref()).filter(BatchHeader::is_transactional) else {
                    continue;
                };
                let sender = (header.producer_id, header.producer_epoch);
                if *producer.get_or_insert(sender) != sender {
                    return Err(ErrorCode::InvalidProducerIdMapping);
                }
                // What does not exist is refused where it is looked for.
                if let Ok((name, id)) = find_topic(image, version, &topic.name, topic.topic_id) {
                    let (name, at) =
                        (TopicPartition::new(name, data.index), TopicIdPartition::new(id, data.index));
                    batches.push(Batch { name, at, sequence: header.base_sequence });
                }
            }
        }
        let support = Support::of_produce(version);
        let Some((id, epoch)) = producer else { return Ok(None) };
        let Some(transactional_id) = request.transactional_id.clone() else {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        };
        if request.acks == 0 || (!support.bumps_epoch() && !broker.verifies_transactions()) {
            return Ok(None);
        }
        Ok(Some(Transaction {
            producer: TransactionalProducer { transactional_id, id, epoch },
            support,
            batches,
        }))
    }

    /// Takes a guard in every partition in which the transaction has yet to begin.
    pub(super) fn start(&self, broker: &Broker) -> BTreeMap<TopicIdPartition, VerificationGuard> {
        let producer = (self.producer.id, self.producer.epoch);
        let now = broker.clock.now();
        let guard = |batch: &Batch| {
            let replica = broker.replicas.get(batch.at)?;
            let mut partition = replica.lock();
            // Who does not lead says so when it is to append.
            let started =
                partition.start_verification(producer, batch.sequence, self.support.bumps_epoch(), now);
            Some((batch.at, started.ok()??))
        };
        self.batches.iter().filter_map(guard).collect()
    }

    /// Asks the coordinator about the partitions for which there are guards.
    pub(super) async fn verify(
        &self,
        broker: &Broker,
        guards: BTreeMap<TopicIdPartition, VerificationGuard>,
    ) -> Verified {
        let asked = self.batches.iter().filter(|batch| guards.contains_key(&batch.at));
        let partitions = asked.map(|batch| batch.name.clone()).collect();
        let unverified = broker.verify(&self.producer, partitions, self.support).await;
        let refused = self.batches.iter().filter_map(|batch| {
            let error = unverified.get(&batch.name)?;
            Some((batch.at, refusal(*error, self.support)))
        });
        Verified { refused: refused.collect(), guards }
    }
}

/// What a client is told that sends batches again as its version does (`ReplicaManager.handleProduceAppend`).
fn refusal(error: ErrorCode, support: Support) -> (ErrorCode, Option<String>) {
    let unverified = |error: ErrorCode| {
        let name = error.name();
        let message =
            format!("whether the partition takes part in the transaction could not be verified: {name}");
        // Every version sends again what is refused so, and does not look for another leader.
        (ErrorCode::NotEnoughReplicas, Some(message))
    };
    match error {
        ErrorCode::InvalidTxnState => {
            (error, Some("the partition does not take part in the transaction".to_owned()))
        }
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => unverified(error),
        ErrorCode::ConcurrentTransactions if !support.bumps_epoch() => unverified(error),
        error => (error, None),
    }
}

/// The header of what a client sent, when it has one.
pub(super) fn header(records: Option<&Records>) -> Option<BatchHeader> {
    match records {
        Some(Records::Memory(bytes)) => BatchHeader::parse(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_what_makes_it_send_again() {
        for (error, support, told) in [
            (ErrorCode::NotCoordinator, Support::Adding, ErrorCode::NotEnoughReplicas),
            (ErrorCode::NetworkException, Support::Old, ErrorCode::NotEnoughReplicas),
            (ErrorCode::ConcurrentTransactions, Support::Abortable, ErrorCode::NotEnoughReplicas),
            (ErrorCode::ConcurrentTransactions, Support::Adding, ErrorCode::ConcurrentTransactions),
            (ErrorCode::InvalidProducerEpoch, Support::Old, ErrorCode::InvalidProducerEpoch),
            (ErrorCode::InvalidProducerIdMapping, Support::Old, ErrorCode::InvalidProducerIdMapping),
            (ErrorCode::InvalidTxnState, Support::Old, ErrorCode::InvalidTxnState),
        ] {
            assert_eq!(refusal(error, support).0, told, "{error} {support:?}");
        }
    }
}
