//! `ottla perf rebalance`: a group of the consumer protocol (KIP-848) that one more member joins.
//!
//! The members read nothing: they send heartbeats as often as they are told to, give up what they are asked to at once, and say
//! so. So what is measured is the protocol: how long until everybody has what is theirs.

use super::cluster::Target;
use super::processes::Brokers;
use super::report::Report;
use anyhow::{Result, bail};
use ottla_client::Client;
use ottla_client::consumer::group::find_coordinator;
use ottla_net::{Clock, Task, task};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_types::{NodeId, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    brokers: Brokers,
    /// Members before one more joins.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    members: u16,
    /// How often one more joins, and leaves again.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    times: u16,
}

/// How long members may take to have all partitions.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often it is looked whether they have.
const LOOK_PERIOD: Duration = Duration::from_millis(5);

/// How soon a member comes again whose heartbeat was refused for the moment.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What a member may be told before it gives partitions up, in milliseconds.
const REBALANCE_TIMEOUT_MS: i32 = 60_000;

/// Who owns what, as members believe.
type Owned = Arc<Mutex<BTreeMap<String, BTreeSet<TopicIdPartition>>>>;

pub(crate) async fn run(arguments: &Arguments) -> Result<Report> {
    let processes = arguments.brokers.find().await?;
    let led = arguments.target.leaders().await?;
    let partitions: usize = led.iter().map(|led| led.partitions.len()).sum();
    let members = usize::from(arguments.members);
    let group_id = format!("{}-{:016x}", super::cluster::CLIENT_ID, crate::format::seed());
    let group = Group { arguments, group_id, owned: Owned::default(), clock: Clock::new() };

    let began = group.clock.monotonic();
    let mut all: Vec<Task<Result<()>>> = Vec::new();
    for number in 0..members {
        all.push(group.join(&format!("m{number}")).await?);
    }
    group.wait_until_shared(&mut all, members, partitions).await?;
    let formed = group.clock.monotonic() - began;

    let mut took = Vec::new();
    let mut cpu = 0.0;
    for time in 0..arguments.times {
        let (began, cpu_before) = (group.clock.monotonic(), processes.cpu_seconds()?);
        let name = format!("more{time}");
        all.push(group.join(&name).await?);
        group.wait_until_shared(&mut all, members + 1, partitions).await?;
        took.push((group.clock.monotonic() - began).as_micros() as u64);
        cpu += processes.cpu_since(cpu_before)?;
        drop(all.pop());
        group.leave(&name).await?;
        group.wait_until_shared(&mut all, members, partitions).await?;
    }
    drop(all);
    for number in 0..members {
        group.leave(&format!("m{number}")).await?;
    }
    let mut report = Report::default();
    report.add("partitions", "partitions", partitions as f64, "");
    report.add("formed_ms", "until the group had all", formed.as_secs_f64() * 1e3, "ms");
    report.add("cpu_ms_per_rebalance", "brokers' CPU per rebalance", cpu * 1e3 / took.len() as f64, "ms");
    report.add_latencies(["p50_ms", "p99_ms", "max_ms"], took);
    Ok(report)
}

struct Group<'a> {
    arguments: &'a Arguments,
    group_id: String,
    owned: Owned,
    clock: Clock,
}

impl Group<'_> {
    /// Lets a member join, with a connection of its own.
    async fn join(&self, member_id: &str) -> Result<Task<Result<()>>> {
        let client = self.arguments.target.client()?;
        let coordinator = find_coordinator(&client, &self.group_id).await?;
        let member = Member {
            client,
            coordinator,
            group_id: self.group_id.clone(),
            member_id: member_id.to_owned(),
            topic: self.arguments.target.topic.clone(),
            owned: self.owned.clone(),
        };
        Ok(task::spawn("member", member.run()))
    }

    /// Says goodbye for a member whose task has ended.
    async fn leave(&self, member_id: &str) -> Result<()> {
        let client = self.arguments.target.client()?;
        let coordinator = find_coordinator(&client, &self.group_id).await?;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group_id.clone(),
            member_id: member_id.to_owned(),
            member_epoch: -1,
            ..Default::default()
        };
        client.call(coordinator, &request).await?;
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).remove(member_id);
        Ok(())
    }

    /// Waits until so many members own all partitions between them, as evenly as can be.
    async fn wait_until_shared(
        &self,
        members: &mut [Task<Result<()>>],
        count: usize,
        partitions: usize,
    ) -> Result<()> {
        let until = self.clock.monotonic() + PATIENCE;
        while !self.is_shared(count, partitions) {
            if let Some(ended) = members.iter_mut().find(|member| member.is_finished()) {
                let outcome = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *ended).poll_task(cx)).await;
                return outcome.unwrap_or_else(|| bail!("a member's task panicked"));
            }
            if self.clock.monotonic() > until {
                bail!("{count} members do not have {partitions} partitions after {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
        Ok(())
    }

    fn is_shared(&self, count: usize, partitions: usize) -> bool {
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        let all: BTreeSet<&TopicIdPartition> = owned.values().flatten().collect();
        let least = partitions / count;
        owned.len() == count
            && all.len() == partitions
            && owned.values().map(BTreeSet::len).sum::<usize>() == partitions
            && owned.values().all(|own| own.len() >= least)
    }
}

struct Member {
    client: Client,
    coordinator: NodeId,
    group_id: String,
    member_id: String,
    topic: String,
    owned: Owned,
}

impl Member {
    async fn run(mut self) -> Result<()> {
        let mut epoch = 0;
        let mut own = BTreeSet::new();
        let mut reported: Option<BTreeSet<TopicIdPartition>> = None;
        loop {
            let says_all = epoch == 0;
            let request = ConsumerGroupHeartbeatRequest {
                group_id: self.group_id.clone(),
                member_id: self.member_id.clone(),
                member_epoch: epoch,
                rebalance_timeout_ms: if says_all { REBALANCE_TIMEOUT_MS } else { -1 },
                subscribed_topic_names: says_all.then(|| vec![self.topic.clone()]),
                topic_partitions: (reported.as_ref() != Some(&own)).then(|| by_topic(&own)),
                ..Default::default()
            };
            reported = Some(own.clone());
            let answer = self.client.call(self.coordinator, &request).await?;
            match ErrorCode::from(answer.error_code) {
                ErrorCode::None => {}
                ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator => {
                    reported = None;
                    tokio::time::sleep(RETRY_PAUSE).await;
                    // The topic of the offsets is made with its first group, and then its leaders may not know it yet.
                    self.coordinator = find_coordinator(&self.client, &self.group_id).await?;
                    continue;
                }
                error => bail!("{}: {}", self.member_id, error.name()),
            }
            epoch = answer.member_epoch;
            let mut gave_up = false;
            if let Some(assignment) = answer.assignment {
                let given: BTreeSet<TopicIdPartition> = assignment
                    .topic_partitions
                    .iter()
                    .flat_map(|topic| {
                        topic.partitions.iter().map(|p| TopicIdPartition::new(topic.topic_id, *p))
                    })
                    .collect();
                gave_up = !own.is_subset(&given);
                own = given;
                let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
                owned.insert(self.member_id.clone(), own.clone());
            }
            if !gave_up {
                let interval = u64::try_from(answer.heartbeat_interval_ms).unwrap_or_default();
                tokio::time::sleep(Duration::from_millis(interval)).await;
            }
        }
    }
}

fn by_topic(partitions: &BTreeSet<TopicIdPartition>) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for at in partitions {
        topics.entry(at.topic_id).or_default().push(at.partition);
    }
    topics.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
}
