//! Ottla beside Apache Kafka 4.4: in one cluster, in one quorum, and on one disk after the other.
//!
//! What was shown and what was not: `docs/beside-kafka.md`.

#![expect(clippy::print_stdout, reason = "who was killed, and who came after, is chance: it is told")]

use ottla_e2e::beside::{Cluster, Kind, Load, METADATA, Roles, Voters};
use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::copier::{Copier, Work};
use ottla_e2e::failover::client::Client;
use ottla_e2e::{eventually, kcat};
use std::collections::{BTreeMap, BTreeSet};

/// What the load writes to.
const TOPIC: &str = "beside";

/// What was there before.
const OLD: &str = "old";

/// A group that has read it.
const GROUP: &str = "readers";

/// What is copied by transactions meanwhile.
const WORK: Work<'static> = Work { from: "in", to: "out", id: "copier" };

/// How many records of it are in each of three partitions.
const COPIED: i64 = 6_000;

/// A snapshot of the metadata log every few records.
const SNAPSHOTS: &str = "metadata.log.max.record.bytes.between.snapshots=1000\n";

/// A broker of one kind among controllers of the other, beside a broker of theirs: it begins with their snapshot, joins in-sync sets,
/// leads, follows, is fenced and comes back.
fn is_a_member(guest: Kind, host: Kind) {
    let plan = [(Roles::Controller, host), (Roles::Broker, host), (Roles::Broker, guest)];
    let mut cluster = Cluster::format(&plan, Voters::Configured, SNAPSHOTS);
    let (host, guest) = (2, 3);
    cluster.node(1).spawn();
    cluster.node(host).start();
    cluster.wait_for_snapshot(1);
    cluster.node(guest).start();
    let begins_at = cluster.node(guest).offsets(METADATA, "log").map(|(first, _)| first);
    assert!(begins_at > Some(0), "it did not begin with a snapshot: {begins_at:?}");

    let (first, second) = ([guest, host], [host, guest]);
    cluster.create_topic(TOPIC, &[&first, &second, &first, &second, &first, &second]);
    let load = Load::start(&cluster, TOPIC);
    cluster.wait_until_in_sync(TOPIC);
    cluster.elect_preferred(TOPIC);

    for (gone, left) in [(guest, host), (host, guest)] {
        // Killed: fenced by those who miss it.
        cluster.node(gone).kill();
        cluster.wait_until_alone(TOPIC, left);
        load.goes_on();
        cluster.node(gone).start();
        cluster.wait_until_in_sync(TOPIC);
        cluster.elect_preferred(TOPIC);
        load.goes_on();
    }

    // Silent: fenced when its session is over, and back without being started.
    cluster.node(guest).freeze();
    cluster.wait_until_alone(TOPIC, host);
    load.goes_on();
    cluster.node(guest).thaw();
    cluster.wait_until_in_sync(TOPIC);
    cluster.elect_preferred(TOPIC);

    // Stopped in order: its leaderships move before it ends.
    cluster.node(guest).stop();
    cluster.wait_until_alone(TOPIC, host);
    load.goes_on();
    cluster.node(guest).start();
    cluster.wait_until_in_sync(TOPIC);
    cluster.elect_preferred(TOPIC);
    load.goes_on();

    load.judge(&cluster);
    for partition in 0..6 {
        cluster.wait_for_equal_logs(&format!("{TOPIC}-{partition}"), &[guest, host]);
    }
}

#[test]
fn an_ottla_broker_is_a_member_under_kafkas_controllers() {
    is_a_member(Kind::Ottla, Kind::Kafka);
}

#[test]
fn a_kafka_broker_is_a_member_under_ottlas_controllers() {
    is_a_member(Kind::Kafka, Kind::Ottla);
}

/// Three replicas of three partitions, each led by another node.
const EVERYWHERE: [&[usize]; 3] = [&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]];

/// Three nodes that are brokers and voters, with everything on all of them.
fn three(kinds: [Kind; 3], voters: Voters) -> Cluster {
    let cluster = Cluster::start(&kinds.map(|kind| (Roles::Combined, kind)), voters, "");
    cluster.create_topic(TOPIC, &EVERYWHERE);
    cluster
}

/// Kills the node that leads the quorum, and waits until another one does. Returns both.
fn kill_the_controller(cluster: &mut Cluster) -> (usize, usize) {
    let leader = eventually("there is a controller", PATIENCE, || cluster.controller());
    cluster.node(leader).kill();
    let next = || cluster.controller().filter(|&next| next != leader);
    (leader, eventually("there is another", PATIENCE, next))
}

/// Kills leaders of the quorum under load, until each kind has been killed so often.
fn leaders_of_either_kind_are_elected(kinds: [Kind; 3], times: usize) {
    let mut cluster = three(kinds, Voters::Configured);
    let load = Load::start(&cluster, TOPIC);
    let mut killed = BTreeMap::from([(Kind::Ottla, 0), (Kind::Kafka, 0)]);
    for round in 1.. {
        let (leader, next) = kill_the_controller(&mut cluster);
        let kind = cluster.node(leader).kind;
        *killed.entry(kind).or_default() += 1;
        println!("{round}: {leader} ({kind:?}) was killed, {next} ({:?}) leads", cluster.node(next).kind);
        load.goes_on();
        cluster.node(leader).start();
        cluster.wait_until_in_sync(TOPIC);

        if killed.values().all(|&count| count >= times) {
            break;
        }
        assert!(round < 10 * times, "only one kind is ever elected: {killed:?}");
    }

    load.judge(&cluster);
    for partition in 0..3 {
        cluster.wait_for_equal_logs(&format!("{TOPIC}-{partition}"), &[1, 2, 3]);
    }
    cluster.wait_for_equal_logs(METADATA, &[1, 2, 3]);
}

#[test]
fn a_quorum_of_both_elects_leaders_of_either_kind_and_all_hold_the_same_log() {
    leaders_of_either_kind_are_elected([Kind::Ottla, Kind::Kafka, Kind::Ottla], 1);
}

#[test]
#[ignore = "ten minutes; docs/beside-kafka.md says how to run it"]
fn a_quorum_of_both_survives_many_kills() {
    leaders_of_either_kind_are_elected([Kind::Ottla, Kind::Kafka, Kind::Kafka], 10);
}

/// A voter of each kind leaves a quorum whose log names them, and comes back.
#[test]
fn voters_of_either_kind_leave_a_quorum_and_come_back() {
    let mut cluster = three([Kind::Ottla, Kind::Kafka, Kind::Kafka], Voters::Logged);
    let load = Load::start(&cluster, TOPIC);
    let wait_for_voters = |cluster: &Cluster, expected: &[usize]| {
        let what = || format!("the voters are {expected:?}: {:?}", cluster.voters());
        let is_expected =
            |voters: Vec<usize>| BTreeSet::from_iter(voters) == BTreeSet::from_iter(expected.to_vec());
        eventually(what, PATIENCE, || is_expected(cluster.voters()?).then_some(()));
    };
    wait_for_voters(&cluster, &[1, 2, 3]);

    for (leaves, stay) in [(1, [2, 3]), (2, [1, 3])] {
        cluster.remove_voter(leaves);
        wait_for_voters(&cluster, &stay);
        load.goes_on();
        // It follows the log as a broker does, and is none of those that decide.
        cluster.node(leaves).kill();
        cluster.node(leaves).start();
        cluster.wait_until_in_sync(TOPIC);
        cluster.add_voter(leaves);
        wait_for_voters(&cluster, &[1, 2, 3]);
        let (leader, _) = kill_the_controller(&mut cluster);
        load.goes_on();
        cluster.node(leader).start();
        cluster.wait_until_in_sync(TOPIC);
    }

    load.judge(&cluster);
    cluster.wait_for_equal_logs(METADATA, &[1, 2, 3]);
}

/// What a consumer gets that begins at this offset of what was there before: the next record.
fn at(cluster: &Cluster, offset: usize) -> String {
    let offset = offset.to_string();
    kcat::at(&cluster.bootstrap(), &["-C", "-q", "-t", OLD, "-p", "0", "-o", &offset, "-c", "1"], "")
}

/// The records of a partition of what is copied.
fn copied(partition: i64) -> String {
    (0..COPIED).map(|number| format!("{partition}-{number:05}\n")).collect()
}

/// Begins to copy by transactions of twenty records, some of which are aborted.
fn start_copier(cluster: &Cluster) -> Copier {
    for topic in [WORK.from, WORK.to] {
        cluster.create_topic(topic, &EVERYWHERE);
    }
    let bootstrap = cluster.bootstrap();
    for partition in 0..3 {
        let number = partition.to_string();
        kcat::at(&bootstrap, &["-P", "-t", WORK.from, "-p", &number, "-X", "acks=all"], &copied(partition));
    }
    Copier::start_at(Client::SystemRdkafka, &bootstrap, WORK, cluster.directory())
}

/// Waits until all is copied; it must be there once and in order.
fn judge_copy(cluster: &Cluster, copier: Copier) {
    let all = BTreeMap::from([(0, COPIED), (1, COPIED), (2, COPIED)]);
    let mut before = BTreeMap::new();
    while before != all {
        // A transaction takes a tenth of a second here: as long as there are more it may go on.
        let what = || format!("more is copied than {before:?}");
        let committed = || Some(cluster.committed(WORK.id, WORK.from)).filter(|now| *now != before);
        before = eventually(what, PATIENCE, committed);
    }
    copier.finish();
    for partition in 0..3 {
        let number = partition.to_string();
        let read = ["-C", "-q", "-e", "-t", WORK.to, "-p", &number, "-o", "beginning"];
        let found = |isolation| kcat::at(&cluster.bootstrap(), &[&read[..], &["-X", isolation]].concat(), "");
        assert!(found("isolation.level=read_committed") == copied(partition), "partition {partition}");
        let written = found("isolation.level=read_uncommitted").lines().count();
        println!("partition {partition}: {COPIED} committed of {written}");
    }
}

/// What is at work besides the load while nodes change their kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Besides {
    Nothing,
    /// A group has committed, and records are copied by transactions.
    Groups,
}

/// How nodes end that are to go on as the other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    InOrder,
    Killed,
}

/// Nodes end as one kind and start as the other on the same directory, under load: nodes 1 and 2, in turns.
fn nodes_change_their_kind(kinds: [Kind; 3], ends: &[End], besides: Besides) {
    let mut cluster = three(kinds, Voters::Logged);
    // Several segments, so that their indexes are read that the other kind has written.
    let config = "segment.bytes=1048576";
    let assignment = ["--create", "--topic", OLD, "--replica-assignment", "1:2:3", "--config", config];
    cluster.tool("kafka-topics", &assignment);
    let lines: Vec<String> = (0..30_000).map(|number| format!("{number:0>100}")).collect();
    let bootstrap = cluster.bootstrap();
    kcat::at(&bootstrap, &["-P", "-t", OLD, "-X", "acks=all"], &(lines.join("\n") + "\n"));
    let end = BTreeMap::from([(0, 30_000_i64)]);
    let copier = (besides == Besides::Groups).then(|| {
        let member = kcat::Member::start_at(&bootstrap, GROUP, OLD, &[]);
        let committed = || cluster.committed(GROUP, OLD);
        eventually("the group has read it", PATIENCE, || (committed() == end).then_some(()));
        member.interrupt();
        start_copier(&cluster)
    });
    let load = Load::start(&cluster, TOPIC);

    for (change, how) in ends.iter().enumerate() {
        let node = cluster.node(change % 2 + 1);
        match how {
            End::InOrder => node.stop(),
            End::Killed => node.kill(),
        }
        node.kind = match node.kind {
            Kind::Ottla => Kind::Kafka,
            Kind::Kafka => Kind::Ottla,
        };
        println!("{how:?}: {} goes on as {:?}", node.id, node.kind);
        node.start();
        cluster.wait_until_in_sync(TOPIC);
        cluster.wait_until_in_sync(OLD);
        for topic in [TOPIC, OLD] {
            cluster.elect_preferred(topic);
        }
        load.goes_on();
        for offset in [0, 9_999, 29_999] {
            assert_eq!(at(&cluster, offset), format!("{offset:0>100}\n"));
        }
        if besides == Besides::Groups {
            let committed = || cluster.committed(GROUP, OLD);
            eventually("the group's offset is what it was", PATIENCE, || (committed() == end).then_some(()));
        }
    }

    load.judge(&cluster);
    if let Some(copier) = copier {
        judge_copy(&cluster, copier);
        for partition in 0..3 {
            cluster.wait_for_equal_logs(&format!("{}-{partition}", WORK.to), &[1, 2, 3]);
        }
    }
    for partition in ["0", "1", "2"] {
        cluster.wait_for_equal_logs(&format!("{TOPIC}-{partition}"), &[1, 2, 3]);
    }
    cluster.wait_for_equal_logs(&format!("{OLD}-0"), &[1, 2, 3]);
    cluster.wait_for_equal_logs(METADATA, &[1, 2, 3]);
}

#[test]
fn nodes_that_stop_in_order_or_are_killed_go_on_as_the_other_kind_and_back() {
    let ends = [End::InOrder, End::InOrder, End::Killed, End::Killed];
    nodes_change_their_kind([Kind::Ottla, Kind::Kafka, Kind::Ottla], &ends, Besides::Nothing);
}

#[test]
#[ignore = "ten minutes; docs/beside-kafka.md says how to run it"]
fn nodes_change_their_kind_many_times_with_groups_and_transactions_beside() {
    let ends = [End::InOrder, End::InOrder, End::Killed, End::Killed].repeat(5);
    nodes_change_their_kind([Kind::Kafka, Kind::Ottla, Kind::Kafka], &ends, Besides::Groups);
}
