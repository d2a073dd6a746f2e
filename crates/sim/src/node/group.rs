//! Members of a group that read and commit, crash, leave and come back. In one run of two they speak the classic protocol, in the
//! other that of KIP-848. Not both in one run: a group without members that changes its protocol counts its generations anew,
//! and owners are told apart by these.

use super::workload::{TOPIC, Workload};
use anyhow::{Context as _, Result};
use ottla_client::consumer::group::{GroupConfig, GroupProtocol, Membership};
use ottla_client::consumer::{ConsumerConfig, OffsetReset, StartAt};
use ottla_client::{Client, Consumer};
use ottla_types::{Offset, Random, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The group.
pub const GROUP: &str = "readers";

/// Its members.
pub const MEMBERS: u32 = 3;

/// How long a member is waited for that has crashed, and one that is asked to join again.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// How long one process of a member lives.
const LIFETIME: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(20));

/// What takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the members of a run speak.
fn protocol(seed: u64) -> GroupProtocol {
    if Random::new(seed).chance(500) { GroupProtocol::Consumer } else { GroupProtocol::Classic }
}

impl Workload {
    /// Takes part, process after process, until all is calm.
    pub async fn take_part(self, member: u32, seed: u64) {
        let mut random = Random::new(seed);
        let mut calm = self.calm.clone();
        while !*self.calm.borrow() {
            let client = self.client(&format!("member-{member}"), random.next_u64());
            let config = GroupConfig {
                protocol: protocol(self.seed),
                session_timeout: SESSION_TIMEOUT,
                rebalance_timeout: SESSION_TIMEOUT,
                heartbeat_interval: Duration::from_millis(500),
                ..GroupConfig::new(GROUP)
            };
            let mut membership = Membership::new(client.clone(), config, vec![TOPIC.to_owned()]);
            let lifetime = random.duration(LIFETIME.0, LIFETIME.1);
            tokio::select! {
                biased;
                _ = calm.wait_for(|calm| *calm) => {}
                () = tokio::time::sleep(lifetime) => tracing::debug!(member, "the member ends"),
                error = self.read_and_commit(&client, &mut membership, member) => {
                    tracing::debug!(member, %error, "the member starts anew");
                }
            }
            // Some leave, and some crash.
            if random.chance(500) {
                let _ = timeout(PATIENCE, membership.leave()).await;
            }
        }
    }

    /// Joins, reads its share and commits, again and again, until something cannot be done.
    async fn read_and_commit(
        &self,
        client: &Client,
        membership: &mut Membership,
        member: u32,
    ) -> anyhow::Error {
        loop {
            if let Err(error) = self.read_share(client, membership, member).await {
                return error;
            }
        }
    }

    /// One generation, from joining to the next rebalance, or to the first commit of which it is not known whether it was
    /// carried out.
    async fn read_share(&self, client: &Client, membership: &mut Membership, member: u32) -> Result<()> {
        let share = timeout(PATIENCE, membership.join()).await.context("not joined in time")??;
        let generation = membership.generation();
        for at in &share {
            self.commits.lock().owns(GROUP, at.partition, generation, member);
        }
        let committed =
            timeout(PATIENCE, membership.committed(&share)).await.context("not told in time")??;
        let mut positions = Vec::new();
        for at in &share {
            let told = committed.get(at).copied();
            tracing::debug!(member, generation, %at, ?told, "told what is committed");
            self.commits.lock().told(GROUP, at.partition, generation, told);
            positions.push((at.clone(), told.map_or(StartAt::Earliest, StartAt::Offset)));
        }
        let config = ConsumerConfig { reset: OffsetReset::Earliest, ..ConsumerConfig::default() };
        let mut consumer = Consumer::new(client.clone(), config);
        consumer.assign(positions);
        while membership.is_stable() {
            let mut read: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
            for record in consumer.poll(Duration::from_millis(200), 100).await? {
                read.insert(record.partition, record.offset + 1);
            }
            if !read.is_empty() {
                self.commit(membership, member, &read).await?;
            }
        }
        Ok(())
    }

    async fn commit(
        &self,
        membership: &mut Membership,
        member: u32,
        read: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<()> {
        let generation = membership.generation();
        for (at, &offset) in read {
            self.commits.lock().tries(GROUP, at.partition, generation, offset);
        }
        let begun = Instant::now();
        let told = membership.commit(read).await;
        tracing::debug!(member, generation, ?read, ok = told.is_ok(), took = ?begun.elapsed(), "commit");
        told?;
        for (at, &offset) in read {
            self.commits.lock().acknowledged(GROUP, at.partition, generation, offset);
        }
        Ok(())
    }
}
