//! The network fails, not the nodes: a leader is cut from its peers, from its clients, in one direction; everybody hears only
//! the next one; packets are lost; all takes a tenth of a second. Each node has a host of its own, in a network namespace.
//!
//! Making networks takes root, and what needs them is skipped without: `cargo xtask failover --kind cut` measures what the cuts here cost.

use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::fault::{self, Kind};
use ottla_e2e::failover::load::Load;
use ottla_e2e::failover::run::{TOPIC, pause};
use ottla_e2e::failover::{Micros, now, topology};
use ottla_e2e::network::CLIENTS;
use ottla_e2e::{Cluster, Network};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// A cut lasts so long at least.
const CUT: Duration = Duration::from_secs(6);

/// How soon whoever can be reached by clients and by a majority serves everything again, on a busy machine too: the rules
/// take a second, and clients that were connected their time-out of one second more.
const TAKEN_OVER_MAX: Micros = 20_000_000;

/// Three nodes on hosts of their own, at work for clients on a fourth.
struct Scene<'a> {
    network: &'a Network,
    cluster: Cluster,
    load: Load,
}

/// Plays something on a network; then all is whole, goes on, and nothing is lost.
fn play(name: &str, client: Client, act: impl FnOnce(&mut Scene<'_>)) {
    let Some(network) = Network::new(3) else {
        // Past the test harness, which shows what a test prints only when it fails.
        let _ = writeln!(std::io::stderr(), "{name}: skipped, only root may make networks");
        return;
    };
    network.enter();
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let mut scene = Scene::new(&network, client, directory.path());

    act(&mut scene);

    network.heal();
    scene.load.goes_on();
    scene.load.judge(&scene.cluster);
}

impl<'a> Scene<'a> {
    fn new(network: &'a Network, client: Client, directory: &Path) -> Scene<'a> {
        let cluster = Cluster::start_on(network, directory, "");
        let load = Load::start_with(&cluster, client, directory, &[client.impatient()]);
        // Who has said little yet is given longer to be silent.
        pause(Duration::from_secs(3));
        Scene { network, cluster, load }
    }

    /// A node that leads something, and is not the active controller.
    fn leader(&self) -> usize {
        fault::choose(&self.cluster, TOPIC, "", Kind::Leader).expect("every node leads something").node
    }

    /// While the cut holds the others take over everything.
    fn is_taken_over(&mut self) {
        let begun = now();
        let took = self.load.goes_on();
        assert!(took < TAKEN_OVER_MAX, "{took} us");
        pause(CUT.saturating_sub(Duration::from_micros(u64::try_from(now() - begun).unwrap_or(0))));
    }
}

#[test]
fn a_leader_that_is_cut_from_its_peers_is_replaced() {
    play("a_leader_that_is_cut_from_its_peers_is_replaced", Client::SystemRdkafka, |scene| {
        let leader = scene.leader();
        (1..=3).filter(|&peer| peer != leader).for_each(|peer| scene.network.cut(leader, peer));
        scene.is_taken_over();
    });
}

/// Its peers have nothing to say against it, and it stays; who can reach it again goes on.
#[test]
fn a_leader_that_only_clients_cannot_reach_stays_leader() {
    play("a_leader_that_only_clients_cannot_reach_stays_leader", Client::NewRdkafka, |scene| {
        let (leader, before) = (scene.leader(), topology::leaders(&scene.cluster, TOPIC));
        let asked = scene.cluster.bootstrap_without(leader);
        scene.network.cut(leader, CLIENTS);
        pause(CUT);
        assert_eq!(topology::leaders_by(&scene.cluster, &asked, TOPIC), before);
        assert_eq!(topology::fenced(&scene.cluster), Vec::<String>::new());
    });
}

/// It speaks and hears nothing.
#[test]
fn a_leader_that_hears_nobody_is_replaced() {
    play("a_leader_that_hears_nobody_is_replaced", Client::SystemRdkafka, |scene| {
        let leader = scene.leader();
        (1..=3).filter(|&peer| peer != leader).for_each(|peer| scene.network.lose_from(peer, leader));
        scene.is_taken_over();
    });
}

/// It hears everything and nobody hears it.
#[test]
fn a_leader_that_nobody_hears_is_replaced() {
    play("a_leader_that_nobody_hears_is_replaced", Client::Java, |scene| {
        let leader = scene.leader();
        (1..=3).filter(|&peer| peer != leader).for_each(|peer| scene.network.lose_from(leader, peer));
        scene.is_taken_over();
    });
}

/// Each hears one of the others and is heard by the other one: no two can talk.
#[test]
fn a_ring_in_which_each_hears_only_the_one_before_loses_nothing() {
    play("a_ring_in_which_each_hears_only_the_one_before_loses_nothing", Client::SystemRdkafka, |scene| {
        let ring = [(1, 3), (2, 1), (3, 2)];
        ring.iter().for_each(|&(from, to)| scene.network.lose_from(from, to));
        let cut = now();
        pause(CUT);
        // What was sent after that has nowhere to be but with its leader alone.
        assert_eq!(scene.load.acknowledging_since(cut + 1_000_000), Vec::<i32>::new());
    });
}

/// The controller cannot be reached by one of the brokers, which everybody else can reach.
#[test]
fn a_broker_that_lost_the_way_to_the_controller_alone_is_replaced() {
    play("a_broker_that_lost_the_way_to_the_controller_alone_is_replaced", Client::NewRdkafka, |scene| {
        let controller = topology::controller(&scene.cluster);
        let leader = scene.leader();
        scene.network.cut(leader, controller);
        scene.is_taken_over();
    });
}

/// One packet in ten, of all that hosts say to each other.
#[test]
fn with_one_packet_in_ten_lost_nobody_is_fenced() {
    play("with_one_packet_in_ten_lost_nobody_is_fenced", Client::SystemRdkafka, |scene| {
        scene.network.lose_by_chance(10);
        pause(Duration::from_secs(20));
        assert_eq!(topology::fenced(&scene.cluster), Vec::<String>::new());
    });
}

/// A tenth of a second from everywhere to everywhere, by proxies: it takes no root.
#[test]
fn a_tenth_of_a_second_between_all_is_taken_for_no_silence_and_a_kill_for_one() {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let mut cluster = Cluster::start_far_apart(directory.path(), Duration::from_millis(100));
    let mut load = Load::start(&cluster, Client::SystemRdkafka, directory.path());
    pause(Duration::from_secs(5));
    assert_eq!(topology::fenced(&cluster), Vec::<String>::new());

    let leader = fault::choose(&cluster, TOPIC, "", Kind::Leader).expect("every node leads something").node;
    cluster.node(leader).kill();
    load.goes_on();
    cluster.node(leader).start();
    load.goes_on();

    load.judge(&cluster);
}
