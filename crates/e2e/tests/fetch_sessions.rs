//! Fetch sessions (KIP-227), as a client sees them that speaks the protocol by hand.

use ottla_e2e::client::encode;
use ottla_e2e::{Client, Cluster, kcat};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use ottla_protocol::messages::fetch_response::FetchResponse;

/// With names instead of ids.
const VERSION: i16 = 12;

/// One record of kcat's in a batch of its own is smaller than this, and larger than one byte.
const BYTES_MAX: i32 = 1 << 20;

fn connect(cluster: &Cluster) -> Client {
    Client::connect(cluster.nodes()[0].port)
}

fn fetch(client: &mut Client, request: &FetchRequest) -> FetchResponse {
    client.call(VERSION, request).expect("an answer")
}

/// Asks of the topic's partitions, from these offsets on, and does not wait.
fn request(session: (i32, i32), asked: &[(i32, i64)]) -> FetchRequest {
    let partition = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: BYTES_MAX,
        ..Default::default()
    };
    let partitions: Vec<FetchPartition> = asked.iter().map(partition).collect();
    let topic = FetchTopic { topic: "t".to_owned(), partitions, ..Default::default() };
    FetchRequest {
        replica_id: -1,
        min_bytes: 1,
        max_bytes: BYTES_MAX,
        session_id: session.0,
        session_epoch: session.1,
        topics: if asked.is_empty() { Vec::new() } else { vec![topic] },
        ..Default::default()
    }
}

fn forgetting(partition: i32, request: FetchRequest) -> FetchRequest {
    let topic = ForgottenTopic { topic: "t".to_owned(), partitions: vec![partition], ..Default::default() };
    FetchRequest { forgotten_topics_data: vec![topic], ..request }
}

/// The partitions of an answer, in order, and whether they have records.
fn answered(response: &FetchResponse) -> Vec<(i32, bool)> {
    assert_eq!(response.error_code, 0);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|data| {
            assert_eq!(data.error_code, 0, "partition {}", data.partition_index);
            (data.partition_index, data.records.as_ref().is_some_and(|records| !records.is_empty()))
        })
        .collect()
}

fn produce(cluster: &Cluster, partition: &str) {
    kcat::run(cluster, &["-P", "-t", "t", "-p", partition, "-X", "acks=all"], "record\n");
}

fn two_partitions() -> Cluster {
    let cluster = Cluster::start(1, "num.partitions=2");
    produce(&cluster, "0");
    produce(&cluster, "1");
    cluster
}

#[test]
fn a_session_is_answered_with_what_is_new() {
    let cluster = two_partitions();
    let mut client = connect(&cluster);
    let full = fetch(&mut client, &request((0, 0), &[(0, 0), (1, 0)]));
    assert_eq!(answered(&full), [(0, true), (1, true)]);
    let id = full.session_id;
    assert!(id > 0);

    let caught_up = fetch(&mut client, &request((id, 1), &[(0, 1), (1, 1)]));
    assert!(answered(&caught_up).is_empty());
    assert_eq!(caught_up.session_id, id);

    produce(&cluster, "1");
    assert_eq!(answered(&fetch(&mut client, &request((id, 2), &[]))), [(1, true)]);
    // Nothing says that the answer arrived.
    assert_eq!(answered(&fetch(&mut client, &request((id, 3), &[]))), [(1, true)]);

    let forgotten = fetch(&mut client, &forgetting(1, request((id, 4), &[])));
    assert!(answered(&forgotten).is_empty());
    produce(&cluster, "1");
    assert!(answered(&fetch(&mut client, &request((id, 5), &[]))).is_empty());

    let out_of_turn = fetch(&mut client, &request((id, 9), &[])).error_code;
    assert_eq!(out_of_turn, ErrorCode::InvalidFetchSessionEpoch.code());
    let unknown = fetch(&mut client, &request((id ^ 1, 6), &[])).error_code;
    assert_eq!(unknown, ErrorCode::FetchSessionIdNotFound.code());

    // A request for no session ends the one that it names.
    assert_eq!(fetch(&mut client, &request((id, -1), &[(0, 0)])).session_id, 0);
    let ended = fetch(&mut client, &request((id, 6), &[])).error_code;
    assert_eq!(ended, ErrorCode::FetchSessionIdNotFound.code());
}

#[test]
fn a_waiting_session_is_woken_by_a_partition_that_the_request_does_not_name() {
    let cluster = two_partitions();
    let mut client = connect(&cluster);
    let id = fetch(&mut client, &request((0, 0), &[(0, 1), (1, 1)])).session_id;
    assert!(answered(&fetch(&mut client, &request((id, 1), &[]))).is_empty());

    let patient = FetchRequest { max_wait_ms: 60_000, ..request((id, 2), &[]) };
    client.send(&encode(VERSION, &patient));
    produce(&cluster, "1");

    assert_eq!(answered(&client.answer::<FetchRequest>(VERSION).expect("an answer")), [(1, true)]);
}

#[test]
fn what_an_answer_has_no_room_for_comes_first_in_the_next() {
    let cluster = two_partitions();
    let mut client = connect(&cluster);
    let little = |request| FetchRequest { max_bytes: 1, ..request };

    let first = fetch(&mut client, &little(request((0, 0), &[(0, 0), (1, 0)])));
    assert_eq!(answered(&first), [(0, true), (1, false)]);

    let second = fetch(&mut client, &little(request((first.session_id, 1), &[])));
    assert_eq!(answered(&second), [(1, true)]);
    let third = fetch(&mut client, &little(request((first.session_id, 2), &[(1, 1)])));
    assert_eq!(answered(&third), [(0, true)]);
}

/// The client of these tests waits for an answer for less than a minute.
#[test]
fn a_fetch_does_not_wait_for_more_than_its_answer_may_hold() {
    let cluster = Cluster::start(1, "fetch.max.bytes=1024\n");
    for record in ["one\n", "another\n", &format!("{}\n", "x".repeat(3000))] {
        kcat::produce(&cluster, "t", record);
    }
    let mut client = connect(&cluster);
    let patient = |offset: i64| FetchRequest { max_wait_ms: 60_000, ..request((0, -1), &[(0, offset)]) };

    // More than the broker lets an answer hold, and than the client does.
    let much = FetchRequest { min_bytes: i32::MAX, ..patient(2) };
    assert_eq!(answered(&fetch(&mut client, &much)), [(0, true)]);
    assert_eq!(answered(&fetch(&mut client, &FetchRequest { max_bytes: 100, ..much })), [(0, true)]);
    // More than the client takes of the partition, of which there is more: of two small batches the first.
    let mut cut = FetchRequest { min_bytes: 1024, ..patient(0) };
    cut.topics[0].partitions[0].partition_max_bytes = 1;
    assert_eq!(answered(&fetch(&mut client, &cut)), [(0, true)]);
}
