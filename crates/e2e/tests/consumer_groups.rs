//! Consumers that use the protocol of KIP-848: they share the work, take over from each other, and follow a topic that grows, while
//! their coordinator moves.

use ottla_e2e::Cluster;
use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::failover::client::{Client, Driver, Manner, Place};
use ottla_e2e::failover::topology;
use ottla_e2e::process::Killed;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
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
    let at = |directory| Place { bootstrap: &bootstrap, topic: TOPIC, settings: &[], directory };
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
    let at = |number: usize| Place {
        bootstrap: &bootstrap,
        topic: TOPIC,
        settings: &[],
        directory: &places[number],
    };
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
    let at = |number: usize| Place {
        bootstrap: &bootstrap,
        topic: TOPIC,
        settings: &[],
        directory: &places[number],
    };

    let mut first = Driver::group_as(Client::NewRdkafka, &at(0), "g", 1, 100, &NEW_PROTOCOL);
    let mut second = Driver::group_as(Client::NewRdkafka, &at(1), "g", 1, 100, &NEW_PROTOCOL);
    shares(&mut [&mut first, &mut second], 6, &[3, 3]);
    // kill -9: nobody says goodbye.
    drop(second);

    // Seven quarters of a gap, and the next heartbeat of the other.
    shares_within(Duration::from_secs(25), &mut [&mut first], 6, &[6]);
    first.finish();
}

/// One of our own consumers, which tells in a file what it is given and reads.
struct OwnConsumer {
    /// None when it was killed.
    child: Option<Killed>,
    told: PathBuf,
}

impl OwnConsumer {
    fn start(bootstrap: &str, told: PathBuf) -> OwnConsumer {
        let more = ["--topic", TOPIC, "--group-id", "g", "--group-protocol", "consumer", "--verbose"];
        let child = Command::new(binary())
            .args(["kafka-verifiable-consumer", "--bootstrap-server", bootstrap])
            .args(more)
            .stdout(File::create(&told).expect("the directory is ours"))
            .spawn()
            .expect("the binary is built");
        OwnConsumer { child: Some(Killed(child)), told }
    }

    /// What it has told, but for a line that it has not ended yet.
    fn events(&self) -> Vec<Value> {
        let told = std::fs::read_to_string(&self.told).expect("it was made");
        let whole = told.rfind('\n').map_or("", |end| &told[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn owned(&self) -> BTreeSet<i64> {
        let mut owned = BTreeSet::new();
        for event in self.events() {
            let named = event["partitions"].as_array().into_iter().flatten();
            let partitions: BTreeSet<i64> = named.filter_map(|at| at["partition"].as_i64()).collect();
            match event["name"].as_str() {
                Some("partitions_assigned") => owned.extend(partitions),
                Some("partitions_revoked") => owned.retain(|at| !partitions.contains(at)),
                _ => {}
            }
        }
        owned
    }

    fn read(&self) -> Vec<String> {
        let events = self.events().into_iter().filter(|event| event["name"] == "record_data");
        events.map(|event| event["value"].as_str().expect("a value").to_owned()).collect()
    }
}

#[test]
fn our_own_client_shares_partitions_by_the_new_protocol() {
    const RECORDS: usize = 3000;
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let mut cluster = Cluster::start_in(directory.path(), 3, SETTINGS);
    let bootstrap = cluster.bootstrap();
    let create = ["--create", "--topic", TOPIC, "--partitions", "6", "--replication-factor", "3"];
    cluster.tool(&[&["kafka-topics", "--bootstrap-server", &bootstrap][..], &create].concat());
    let owned_by = |members: &[&OwnConsumer], counts: &[usize]| {
        ottla_e2e::eventually("every partition has one owner", REBALANCE_PATIENCE, || {
            let owned: Vec<BTreeSet<i64>> = members.iter().map(|member| member.owned()).collect();
            let all: BTreeSet<i64> = owned.iter().flatten().copied().collect();
            let is_as_expected = owned.iter().map(BTreeSet::len).eq(counts.iter().copied());
            (all.len() == 6 && is_as_expected).then_some(())
        });
    };
    let produce = ["--topic", TOPIC, "--max-messages", "3000", "--throughput", "150"];
    let mut producing = Command::new(binary())
        .args(["kafka-verifiable-producer", "--bootstrap-server", &bootstrap])
        .args(produce)
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary is built");

    let first = OwnConsumer::start(&bootstrap, directory.path().join("first"));
    owned_by(&[&first], &[6]);
    let mut second = OwnConsumer::start(&bootstrap, directory.path().join("second"));
    owned_by(&[&first, &second], &[3, 3]);
    // The one keeps half of what it had, and is not told of that again.
    let assigned = first.events().into_iter().filter(|event| event["name"] == "partitions_assigned");
    let given: Vec<usize> =
        assigned.filter_map(|event| event["partitions"].as_array().map(Vec::len)).collect();
    assert_eq!(given, [6, 0]);
    let listed =
        cluster.tool(&["kafka-consumer-groups", "--bootstrap-server", &bootstrap, "--list", "--type"]);
    assert!(listed.lines().any(|line| line.split_whitespace().eq(["g", "Consumer"])), "{listed}");
    let coordinator = topology::coordinator(&cluster, "g");
    cluster.node(coordinator).kill();
    cluster.node(coordinator).start();
    second.child = None;
    owned_by(&[&first], &[6]);
    assert!(producing.wait().expect("the child is ours").success());

    ottla_e2e::eventually("all is read", PATIENCE, || {
        let read: BTreeSet<String> = first.read().into_iter().chain(second.read()).collect();
        (read.len() == RECORDS).then_some(())
    });
    let read = first.read();
    // What one of them has read, it does not read again, whoever comes and goes.
    assert_eq!(read.iter().collect::<BTreeSet<_>>().len(), read.len());
}
