//! How long a cluster goes without a node that stands still, seen by a client that connects after that.

use anyhow::Result;
use ottla_client::admin::topics::{NewTopic, TopicDescription};
use ottla_client::client::Topics;
use ottla_client::{Admin, Client, ClientConfig, HostPort};
use ottla_sim::node::cluster::{CLIENT_PORT, Cluster};
use ottla_sim::node::network::SimNetwork;
use ottla_sim::node::quorum::Voting;
use ottla_sim::node::story::Story;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

const NODES: usize = 3;
const TOPIC: &str = "records";
const PATIENCE: Duration = Duration::from_secs(60);

/// How much longer than a broker may say nothing until every partition has a leader that lives.
const DECIDED_WITHIN: Duration = Duration::from_millis(400);

/// How long a broker may say nothing that has stood still so often within five minutes.
const ALLOWED: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(1), Duration::from_secs(2)];

/// A cluster, what its nodes logged, and a topic of which every node leads a part.
struct Bench {
    cluster: Cluster,
    story: Story,
    /// Names the clients.
    clients: u64,
}

/// What a client asks of the cluster.
type Asked<T> = std::pin::Pin<Box<dyn Future<Output = Result<T>> + Send>>;

impl Bench {
    /// Replicas are in sync, and everybody has heard of everybody for some seconds.
    fn new(seed: u64, story: &Story) -> Bench {
        let cluster = Cluster::start(NODES, seed, "", Voting::CONFIGURED).expect("nodes");
        let mut bench = Bench { cluster, story: story.clone(), clients: 0 };
        bench.ask(None, |admin| {
            Box::pin(async move {
                // Whoever is fenced yet is nobody's preferred leader.
                tokio::time::sleep(Duration::from_secs(1)).await;
                let topic = NewTopic {
                    name: TOPIC.to_owned(),
                    partitions: Some(6),
                    replication_factor: Some(3),
                    ..NewTopic::default()
                };
                while admin.create_topic(&topic).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(())
            })
        });
        bench.wait_until_whole();
        bench.pass(Duration::from_secs(5));
        bench
    }

    /// Runs a client that knows the nodes but one to its end; returns what it found, and how long it took.
    fn ask<T: Clone + Send + 'static>(
        &mut self,
        but: Option<usize>,
        ask: impl Fn(Admin) -> Asked<T> + Send + Sync + 'static,
    ) -> (T, Duration) {
        self.clients += 1;
        let (network, seed) = (self.cluster.clients_network(), self.clients);
        let nodes: Vec<String> = self.cluster.node_names();
        let nodes: Vec<String> =
            (0..NODES).filter(|&node| Some(node) != but).map(|node| nodes[node].clone()).collect();
        let found: Arc<Mutex<Option<T>>> = Arc::default();
        let (put, ask) = (found.clone(), Arc::new(ask));
        self.cluster.run_clients(Box::new(move || {
            let (put, asked) = (put.clone(), ask(admin(&network, &nodes, seed)));
            Box::pin(async move {
                let answer = asked.await?;
                *put.lock() = Some(answer);
                Ok(())
            })
        }));
        let begun = self.cluster.elapsed();
        while !self.cluster.step().expect("nobody ends by itself") {
            assert!(self.cluster.elapsed() - begun < PATIENCE, "no answer\n{}", self.story.text());
        }
        let answer = found.lock().clone().expect("a client that has ended has its answer");
        (answer, self.cluster.elapsed() - begun)
    }

    fn pass(&mut self, how_long: Duration) {
        let until = self.cluster.elapsed() + how_long;
        while self.cluster.elapsed() < until {
            self.cluster.step().expect("nobody ends by itself");
        }
    }

    fn controller(&mut self) -> usize {
        let leader = |admin: Admin| {
            Box::pin(async move { Ok(admin.describe_quorum().await?.partition.leader_id) }) as Asked<i32>
        };
        let (id, _) = self.ask(None, leader);
        usize::try_from(id).expect("a node's id") - 1
    }

    fn wait_until_whole(&mut self) {
        self.ask(None, |admin| {
            Box::pin(until(admin, |topic| {
                topic.partitions.values().all(|p| p.leader.is_some() && p.isr.len() == NODES)
            }))
        });
    }

    /// Waits until a node leads something.
    fn wait_until_leads(&mut self, node: usize) {
        self.ask(None, move |admin| {
            Box::pin(until(admin, move |topic| {
                topic.partitions.values().any(|p| p.leader.is_some_and(|leader| leader.0 == id(node)))
            }))
        });
    }

    /// Stops a node, and returns how long a client that does not know it waits for leaders that live.
    fn freeze(&mut self, node: usize) -> Duration {
        self.cluster.freeze(node);
        let (_, silence) = self.ask(Some(node), move |admin| {
            let lives = move |leader: i32| leader != id(node);
            Box::pin(until(admin, move |topic| {
                topic.partitions.values().all(|p| p.leader.is_some_and(|leader| lives(leader.0)))
            }))
        });
        silence
    }

    fn thaw(&mut self, node: usize) {
        self.cluster.thaw(node);
        self.wait_until_whole();
    }

    /// The brokers that were fenced, so far, by their ids.
    fn fenced(&self) -> Vec<i32> {
        let text = self.story.text();
        let verdicts = text.lines().filter(|line| line.contains(": fenced "));
        let broker = |line: &str| line.split_once("broker=")?.1.split(' ').next()?.parse().ok();
        verdicts.map(|line| broker(line).unwrap_or_else(|| panic!("whom? {line}"))).collect()
    }
}

fn id(node: usize) -> i32 {
    i32::try_from(node).expect("a few") + 1
}

fn admin(network: &SimNetwork, nodes: &[String], seed: u64) -> Admin {
    let bootstrap = nodes.iter().map(|host| HostPort { host: host.clone(), port: CLIENT_PORT });
    Admin::new(Client::new(ClientConfig {
        network: Arc::new(network.clone()),
        // Whoever has just connected to a node that lives needs no time-out.
        request_timeout: PATIENCE,
        ..ClientConfig::new(bootstrap.collect(), "client", seed)
    }))
}

/// Asks until the topic is as wanted.
async fn until(admin: Admin, is_wanted: impl Fn(&TopicDescription) -> bool + Send) -> Result<()> {
    loop {
        let described = admin.describe_topics(&[TOPIC.to_owned()]).await;
        if described.is_ok_and(|topics| topics.first().is_some_and(&is_wanted)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Without optimisation a run takes ten times as long.
const fn runs(count: u64) -> u64 {
    if cfg!(debug_assertions) { count / 5 } else { count }
}

/// Freezes a leader as often as there are times, each being how long it may say nothing then.
fn check(is_controller: bool, allowed: &[Duration]) {
    for seed in 0..runs(10) {
        let story = Story::default();
        let _told = tracing::subscriber::set_default(story.subscriber("info"));
        let mut bench = Bench::new(seed, &story);
        for (freeze, &allowed) in allowed.iter().enumerate() {
            let controller = bench.controller();
            let node = if is_controller { controller } else { (controller + 1) % NODES };
            bench.wait_until_leads(node);
            let before = bench.fenced();
            let silence = bench.freeze(node);
            let new: Vec<i32> = bench.fenced()[before.len()..].to_vec();
            assert_eq!(new, [id(node)], "seed {seed}, freeze {freeze}: nobody else\n{}", story.text());
            bench.pass(Duration::from_secs(2));
            bench.thaw(node);
            bench.pass(Duration::from_secs(3));
            assert!(
                silence <= allowed + DECIDED_WITHIN,
                "seed {seed}, freeze {freeze}: {silence:?}\n{}",
                story.text()
            );
        }
    }
}

#[test]
fn a_frozen_leader_is_noticed() {
    check(false, &ALLOWED[..1]);
}

#[test]
fn a_frozen_leader_that_is_the_active_controller_is_noticed_as_soon() {
    check(true, &ALLOWED[..1]);
}

#[test]
fn a_node_that_freezes_again_and_again_is_noticed_each_time() {
    check(false, &ALLOWED);
}

/// What any broker can answer clients ask one of those that they were told of: the silent one would keep them waiting.
#[test]
fn whoever_connects_then_does_not_hear_of_the_silent_node_until_it_is_back() {
    for seed in 0..runs(10) {
        let story = Story::default();
        let _told = tracing::subscriber::set_default(story.subscriber("info"));
        let mut bench = Bench::new(seed, &story);
        let controller = bench.controller();
        let node = if seed % 2 == 0 { controller } else { (controller + 1) % NODES };
        bench.wait_until_leads(node);
        let listed = |bench: &mut Bench, but| -> Vec<i32> {
            let brokers = |admin: Admin| {
                Box::pin(async move {
                    let metadata = admin.client().refresh(Topics::Named(&[TOPIC.to_owned()])).await?;
                    Ok(metadata.brokers.keys().map(|id| id.0).collect())
                }) as Asked<Vec<i32>>
            };
            bench.ask(but, brokers).0
        };
        let all: Vec<i32> = (0..NODES).map(id).collect();
        let others: Vec<i32> = all.iter().copied().filter(|&other| other != id(node)).collect();
        assert_eq!(listed(&mut bench, Some(node)), all);

        bench.cluster.freeze(node);

        // Before it is fenced, when that has just been done, and later.
        for _ in 0..3 {
            assert_eq!(listed(&mut bench, Some(node)), others, "seed {seed}\n{}", story.text());
            bench.pass(Duration::from_secs(1));
        }
        bench.thaw(node);
        bench.pass(Duration::from_secs(1));
        assert_eq!(listed(&mut bench, None), all, "seed {seed}\n{}", story.text());
    }
}
