//! Replicas on their way between brokers, asked about and moved by the protocol itself.

use crate::client::Client;
use crate::cluster::PATIENCE;
use crate::eventually;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;

/// Asks for these replicas of partitions of a topic; `None` takes a move back.
///
/// # Panics
/// When the cluster refuses.
pub fn ask(bootstrap: &str, topic: &str, partitions: &[(i32, Option<&[i32]>)]) {
    let partition = |(partition_index, replicas): &(i32, Option<&[i32]>)| ReassignablePartition {
        partition_index: *partition_index,
        replicas: replicas.map(<[i32]>::to_vec),
    };
    let partitions = partitions.iter().map(partition).collect();
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic { name: topic.to_owned(), partitions }],
        ..Default::default()
    };
    let response = connect(bootstrap).call(1, &request).expect("an answer");
    assert_eq!(response.error_code, 0, "{response:?}");
    let answers = response.responses.iter().flat_map(|topic| &topic.partitions);
    answers.for_each(|partition| assert_eq!(partition.error_code, 0, "{partition:?}"));
}

/// How many partitions have replicas on their way.
///
/// # Panics
/// When the cluster does not say.
pub fn under_way(bootstrap: &str) -> usize {
    let request = ListPartitionReassignmentsRequest { topics: None, ..Default::default() };
    let response = connect(bootstrap).call(0, &request).expect("an answer");
    assert_eq!(response.error_code, 0, "{response:?}");
    response.topics.iter().map(|topic| topic.partitions.len()).sum()
}

/// Waits until no replica is on its way.
///
/// # Panics
/// When that takes too long.
pub fn wait_until_over(bootstrap: &str) {
    eventually("no replica is on its way", PATIENCE, || (under_way(bootstrap) == 0).then_some(()));
}

/// A connection to the first broker.
fn connect(bootstrap: &str) -> Client {
    let first = bootstrap.split(',').next().and_then(|first| first.rsplit(':').next());
    Client::connect(first.and_then(|port| port.parse().ok()).expect("host:port,…"))
}
