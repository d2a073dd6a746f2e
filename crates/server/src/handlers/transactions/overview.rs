//! DescribeTransactions (key 65, version 0), ListTransactions (66, 0–2), broker listener.
//!
//! What transactions there are, and how they stand (KIP-664).
//!
//! - ListTransactions tells of those that this broker coordinates; clients ask every broker. v1 by their duration; v2 by a
//!   pattern of their ids.
//! - Differs from Kafka: a pattern has the syntax of the crate `regex`, which is RE2's but for rare escapes.

use crate::broker::Broker;
use crate::coordination::coordinators::wait_until_loaded;
use crate::request::{Answer, RequestContext};
use ottla_coordinator::transactions::{
    TransactionDescription, TransactionFilter, TransactionReply, TransactionState as State,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::DescribeTransactionsRequest;
use ottla_protocol::messages::describe_transactions_response::{
    DescribeTransactionsResponse, TopicData, TransactionState as Described,
};
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::messages::list_transactions_response::{
    ListTransactionsResponse, TransactionState as Listed,
};
use ottla_types::{ProducerId, TopicPartition};
use regex::Regex;
use std::sync::Arc;

/// Describes transactional ids.
pub fn describe(
    broker: &Arc<Broker>,
    request: DescribeTransactionsRequest,
) -> Answer<DescribeTransactionsResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let mut response = DescribeTransactionsResponse::default();
        for transactional_id in request.transactional_ids {
            let described = match describe_one(&broker, &transactional_id).await {
                Ok(description) => described(description),
                Err(error) => Described { error_code: error.code(), transactional_id, ..Default::default() },
            };
            response.transaction_states.push(described);
        }
        response
    })
}

async fn describe_one(broker: &Broker, transactional_id: &str) -> Result<TransactionDescription, ErrorCode> {
    if transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let image = broker.image();
    let handled = broker.transactions.handle(&image, transactional_id, |machine, token, _| {
        machine.coordinator().handle_describe(transactional_id, token)
    });
    let TransactionReply::Described(described) = handled.await? else { unreachable!("asked for") };
    described
}

fn described(description: TransactionDescription) -> Described {
    let topics = TopicPartition::by_topic(&description.partitions)
        .into_iter()
        .map(|(topic, partitions)| TopicData { topic: topic.to_owned(), partitions })
        .collect();
    Described {
        error_code: ErrorCode::None.code(),
        transactional_id: description.transactional_id,
        transaction_state: description.state.name().to_owned(),
        transaction_timeout_ms: description.timeout_ms,
        transaction_start_time_ms: description.started_at.0,
        producer_id: description.producer.id.0,
        producer_epoch: description.producer.epoch.0,
        topics,
    }
}

/// States of Kafka's in which no transaction of this coordinator ever is.
const NEVER_SEEN: [&str; 2] = ["Dead", "PrepareEpochFence"];

/// Lists the transactions coordinated here.
pub fn list(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListTransactionsRequest,
) -> Answer<ListTransactionsResponse> {
    let pattern = match request.transactional_id_pattern.filter(|pattern| !pattern.is_empty()) {
        None => None,
        // As a whole: so does Kafka match.
        Some(pattern) => match Regex::new(&format!("^(?:{pattern})$")) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                tracing::debug!(client = context.client_id, %error, "a pattern of transactional ids");
                let error_code = ErrorCode::InvalidRegularExpression.code();
                return Answer::Now(ListTransactionsResponse { error_code, ..Default::default() });
            }
        },
    };
    let by_name = |name: &String| State::ALL.into_iter().find(|state| state.name() == name);
    let is_known = |name: &String| by_name(name).is_some() || NEVER_SEEN.contains(&name.as_str());
    let unknown: Vec<String> = request.state_filters.iter().filter(|name| !is_known(name)).cloned().collect();
    let filter = TransactionFilter {
        states: request.state_filters.iter().filter_map(by_name).collect(),
        producer_ids: request.producer_id_filters.iter().map(|&id| ProducerId(id)).collect(),
        duration_ms: request.duration_filter,
    };
    // Who names only states that there are not wants nothing.
    let wants_none = filter.states.is_empty() && !request.state_filters.is_empty();
    let broker = broker.clone();
    Answer::later(async move {
        let mut response = ListTransactionsResponse { unknown_state_filters: unknown, ..Default::default() };
        if wants_none {
            return response;
        }
        for shard in broker.transactions.all() {
            wait_until_loaded(&shard).await;
            let handled = shard
                .handle(|machine, token, now| machine.coordinator().handle_list(&filter, token, now))
                .await;
            match handled {
                Ok(TransactionReply::Listed(Ok(listed))) => {
                    let fits = |id: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
                    let listed = listed.into_iter().filter(|one| fits(&one.transactional_id));
                    response.transaction_states.extend(listed.map(|one| Listed {
                        transactional_id: one.transactional_id,
                        producer_id: one.producer.id.0,
                        transaction_state: one.state.name().to_owned(),
                    }));
                }
                // It has moved: another broker tells of its transactions.
                Err(ErrorCode::NotCoordinator)
                | Ok(TransactionReply::Listed(Err(ErrorCode::NotCoordinator))) => {}
                Ok(TransactionReply::Listed(Err(error))) | Err(error) => {
                    return ListTransactionsResponse { error_code: error.code(), ..Default::default() };
                }
                Ok(_) => unreachable!("asked for"),
            }
        }
        response
    })
}
