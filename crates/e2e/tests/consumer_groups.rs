//! Consumers that use the protocol of KIP-848: they share the work, take over from each other, and follow a topic that grows, while
//! their coordinator moves.

use ottla_e2e::Cluster;
use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::failover::client::{Client, Driver, Manner, Place};
use ottla_e2e::failover::topology;
use std::collections::BTreeSet;
use std::time::Duration;

const TOPIC: &str = "t";

/// A session that a test can wait for.
const SETTINGS: &str = "num.partitions=6\n\
    group.consumer.min.session.timeout.ms=6000\n\
    group.consumer.session.timeout.ms=6000\n\
    group.consumer.min.heartbeat.interval.ms=1000\n\
    group.consumer.heartbeat.interval.ms=1000";

/// What is waited for takes several heartbeats of each member, and a session at most.
const REBALANCE_PATIENCE: Duration = Duration::from_secs(60);

/// The sessions of both protocols are equally long.
const CLASSIC_PROTOCOL: Manner<'_> =
    Manner { number: 0, settings: &["session.timeout.ms=6000", "heartbeat.interval.ms=1000"], later: false };

const NEW_PROTOCOL: Manner<'_> = Manner { number: 0, settings: &["group.protocol=consumer"], later: false };

/// How many partitions each member of a driver has, when all drivers together have all, each once.
fn shares(drivers: &mut [&mut Driver], partitions: i32, expected: &[usize]) {
    shares_within(REBALANCE_PATIENCE, drivers, partitions, expected);
}

fn shares_within(patience: Duration, drivers: &mut [&mut Driver], partitions: i32, expected: &[usize]) {
    let all: BTreeSet<i32> = (0..partitions).collect();
    ottla_e2e::eventually("every partition has one owner", patience, || {
        let mut owned = Vec::new();
        let mut counts = Vec::new();
        for driver in drivers.iter() {
            let history = driver.history();
            for given in history.assigned.values().filter(|given| !given.is_empty()) {
                counts.push(given.len());
                owned.extend(given.iter().copied());
            }
        }
        counts.sort_unstable();
        let is_whole = owned.len() == all.len() && owned.into_iter().collect::<BTreeSet<i32>>() == all;
        (is_whole && counts == expected).then_some(())
    });
}

/// Waits until every member of a driver that has partitions has committed once more.
fn commits_go_on(driver: &mut Driver) {
    let count = |driver: &Driver| driver.history().commits.values().map(Vec::len).sum::<usize>();
    let before = count(driver);
    driver.wait_long_for("commits go on", REBALANCE_PATIENCE, |told| {
        let now: usize = told.commits.values().map(Vec::len).sum();
        (now > before + 3).then_some(())
    });
}

fn shared_by(client: Client) {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let mut cluster = Cluster::start_in(directory.path(), 3, SETTINGS);
    let bootstrap = cluster.bootstrap();
    let create = ["--create", "--topic", TOPIC, "--partitions", "6", "--replication-factor", "3"];
    cluster.tool(&[&["kafka-topics", "--bootstrap-server", &bootstrap][..], &create].concat());
    let place = |name: &str| {
        let own = directory.path().join(name);
        std::fs::create_dir_all(&own).expect("the directory is ours");
        own
    };
    let (at_producer, at_first, at_second) = (place("producer"), place("first"), place("second"));
    let at = |directory| Place { bootstrap: &bootstrap, topic: TOPIC, directory };
    let producer = Driver::produce(Client::SystemRdkafka, &at(&at_producer), 6, 20);

    let mut first = Driver::group_as(client, &at(&at_first), "g", 3, 100, &NEW_PROTOCOL);
    shares(&mut [&mut first], 6, &[2, 2, 2]);
    commits_go_on(&mut first);
    let listed =
        cluster.tool(&["kafka-consumer-groups", "--bootstrap-server", &bootstrap, "--list", "--type"]);
    assert!(listed.lines().any(|line| line.split_whitespace().eq(["g", "Consumer"])), "{listed}");

    let mut second = Driver::group_as(client, &at(&at_second), "g", 3, 100, &NEW_PROTOCOL);
    shares(&mut [&mut first, &mut second], 6, &[1, 1, 1, 1, 1, 1]);
    commits_go_on(&mut second);
    // kill -9: nobody says goodbye.
    drop(second);
    shares(&mut [&mut first], 6, &[2, 2, 2]);

    let coordinator = topology::coordinator(&cluster, "g");
    cluster.node(coordinator).kill();
    commits_go_on(&mut first);
    cluster.node(coordinator).start();
    topology::wait_until_in_sync(&cluster);
    let alter = ["--alter", "--topic", TOPIC, "--partitions", "9"];
    cluster.tool(&[&["kafka-topics", "--bootstrap-server", &bootstrap][..], &alter].concat());
    shares(&mut [&mut first], 9, &[3, 3, 3]);
    commits_go_on(&mut first);

    let told = first.finish();
    let made = producer.finish();
    assert!(made.failures.is_empty(), "{:?}", made.failures);
    assert!(told.set_back.is_empty(), "GROUP-1: {:?}", told.set_back);
    ottla_e2e::eventually("all have left", PATIENCE, || {
        let said =
            cluster.tool(&["kafka-consumer-groups", "--bootstrap-server", &bootstrap, "--list", "--state"]);
        said.lines().any(|line| line.split_whitespace().eq(["g", "Empty"])).then_some(())
    });
}

#[test]
fn librdkafka_shares_partitions_by_the_new_protocol() {
    shared_by(Client::NewRdkafka);
}

#[test]
fn kafkas_client_shares_partitions_by_the_new_protocol() {
    shared_by(Client::Java);
}

/// A group whose members are replaced, from one protocol to the other and back, while it is read.
fn migrates(client: Client) {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let cluster = Cluster::start_in(directory.path(), 3, SETTINGS);
    let bootstrap = cluster.bootstrap();
    let create = ["--create", "--topic", TOPIC, "--partitions", "6", "--replication-factor", "3"];
    cluster.tool(&[&["kafka-topics", "--bootstrap-server", &bootstrap][..], &create].concat());
    let place = |name: &str| {
        let own = directory.path().join(name);
        std::fs::create_dir_all(&own).expect("the directory is ours");
        own
    };
    let places = ["producer", "classic", "consumer", "again"].map(place);
    let at = |number: usize| Place { bootstrap: &bootstrap, topic: TOPIC, directory: &places[number] };
    let is_of_type = |group_type: &str| {
        let list = ["kafka-consumer-groups", "--bootstrap-server", &bootstrap, "--list", "--type"];
        ottla_e2e::eventually("the group has changed its type", REBALANCE_PATIENCE, || {
            let listed = cluster.tool(&list);
            listed.lines().any(|line| line.split_whitespace().eq(["g", group_type])).then_some(())
        });
    };
    let producer = Driver::produce(Client::SystemRdkafka, &at(0), 6, 20);

    let mut classic = Driver::group_as(client, &at(1), "g", 3, 100, &CLASSIC_PROTOCOL);
    shares(&mut [&mut classic], 6, &[2, 2, 2]);
    commits_go_on(&mut classic);
    is_of_type("Classic");

    let mut modern = Driver::group_as(client, &at(2), "g", 3, 100, &NEW_PROTOCOL);
    shares(&mut [&mut classic, &mut modern], 6, &[1, 1, 1, 1, 1, 1]);
    commits_go_on(&mut classic);
    commits_go_on(&mut modern);
    is_of_type("Consumer");
    // kill -9: nobody says goodbye.
    drop(classic);
    shares(&mut [&mut modern], 6, &[2, 2, 2]);

    let mut again = Driver::group_as(client, &at(3), "g", 3, 100, &CLASSIC_PROTOCOL);
    shares(&mut [&mut again, &mut modern], 6, &[1, 1, 1, 1, 1, 1]);
    drop(modern);
    shares(&mut [&mut again], 6, &[2, 2, 2]);
    commits_go_on(&mut again);
    is_of_type("Classic");
    let told = again.finish();
    assert!(told.set_back.is_empty(), "GROUP-1: {:?}", told.set_back);
    producer.finish();
}

#[test]
fn librdkafkas_group_goes_from_one_protocol_to_the_other_and_back() {
    migrates(Client::NewRdkafka);
}

#[test]
fn the_group_of_kafkas_client_goes_from_one_protocol_to_the_other_and_back() {
    migrates(Client::Java);
}

/// With shipped defaults: sessions of 45 s, heartbeats each five.
#[test]
fn a_killed_member_is_replaced_long_before_its_session_is_over() {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let cluster = Cluster::start_in(directory.path(), 3, "num.partitions=6");
    let bootstrap = cluster.bootstrap();
    let create = ["--create", "--topic", TOPIC, "--partitions", "6", "--replication-factor", "3"];
    cluster.tool(&[&["kafka-topics", "--bootstrap-server", &bootstrap][..], &create].concat());
    let places = ["first", "second"].map(|name| directory.path().join(name));
    places.iter().for_each(|place| std::fs::create_dir_all(place).expect("the directory is ours"));
    let at = |number: usize| Place { bootstrap: &bootstrap, topic: TOPIC, directory: &places[number] };

    let mut first = Driver::group_as(Client::NewRdkafka, &at(0), "g", 1, 100, &NEW_PROTOCOL);
    let mut second = Driver::group_as(Client::NewRdkafka, &at(1), "g", 1, 100, &NEW_PROTOCOL);
    shares(&mut [&mut first, &mut second], 6, &[3, 3]);
    // kill -9: nobody says goodbye.
    drop(second);

    // Seven quarters of a gap, and the next heartbeat of the other.
    shares_within(Duration::from_secs(25), &mut [&mut first], 6, &[6]);
    first.finish();
}
