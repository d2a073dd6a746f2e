//! The cluster under load: its topic, and which broker leads which partition.

use crate::format;
use anyhow::{Context, Result, bail};
use ottla_client::admin::topics::NewTopic;
use ottla_client::client::Topics;
use ottla_client::{Admin, Client, ClientConfig, HostPort};
use ottla_net::Clock;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where the load goes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Target {
    /// Brokers to begin with, as host:port,host:port.
    #[arg(long, value_name = "SERVERS", default_value = "localhost:9092")]
    pub(crate) bootstrap_server: String,
    /// The topic. It is made when it does not exist, with as many replicas as --replication-factor says.
    #[arg(long, default_value = "ottla-perf")]
    pub(crate) topic: String,
    /// How many partitions a topic that is made gets.
    #[arg(long, default_value_t = 16)]
    pub(crate) partitions: i32,
    /// How many replicas each of them gets.
    #[arg(long, default_value_t = 3)]
    pub(crate) replication_factor: i16,
    /// A setting that a topic which is made gets; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) topic_config: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').ok_or_else(|| format!("{text} is not NAME=VALUE"))?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

/// The partitions that one broker leads.
#[derive(Clone, Debug)]
pub(crate) struct Led {
    /// Where the broker is.
    pub(crate) address: HostPort,
    /// What it leads.
    pub(crate) partitions: Vec<i32>,
}

/// How long a new topic may take to have all its leaders.
const LEADERS_PATIENCE: Duration = Duration::from_secs(30);

impl Target {
    /// A client of the cluster.
    pub(crate) fn client(&self) -> Result<Client> {
        let addresses = HostPort::parse_list(&self.bootstrap_server).context("--bootstrap-server")?;
        Ok(Client::new(ClientConfig::new(addresses, CLIENT_ID, format::seed())))
    }

    /// Makes the topic if need be; returns its partitions by leader, once all have one and all replicas are in
    /// sync.
    pub(crate) async fn leaders(&self) -> Result<Vec<Led>> {
        let client = self.client()?;
        let names = [self.topic.clone()];
        let known = client.refresh(Topics::Named(&names)).await?;
        if !known.topics.contains_key(&self.topic) {
            let topic = NewTopic {
                name: self.topic.clone(),
                partitions: Some(self.partitions),
                replication_factor: Some(self.replication_factor),
                configs: self.topic_config.clone(),
                ..NewTopic::default()
            };
            Admin::new(client.clone()).create_topic(&topic).await.context(self.topic.clone())?;
        }
        let clock = Clock::new();
        loop {
            let known = client.refresh(Topics::Named(&names)).await?;
            let partitions = known.topics.get(&self.topic).map(|topic| &topic.partitions);
            let settled = partitions.is_some_and(|partitions| {
                !partitions.is_empty()
                    && partitions.values().all(|p| p.leader.is_some() && p.isr.len() == p.replicas.len())
            });
            if let (Some(partitions), true) = (partitions, settled) {
                let mut led: BTreeMap<_, Vec<i32>> = BTreeMap::new();
                for (&number, partition) in partitions {
                    led.entry(partition.leader).or_default().push(number);
                }
                let led = led.into_iter().filter_map(|(leader, partitions)| {
                    let address = known.brokers.get(&leader?)?.address.clone();
                    Some(Led { address, partitions })
                });
                return Ok(led.collect());
            }
            if Duration::from_micros(clock.monotonic().0) > LEADERS_PATIENCE {
                bail!("topic {}: not all partitions have a leader and all replicas in sync", self.topic);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What the load calls itself.
pub(crate) const CLIENT_ID: &str = "ottla-perf";

/// Deals `connections` out to the brokers, at least one to each, and each broker's partitions to its connections.
pub(crate) fn deal(led: &[Led], connections: usize) -> Vec<Led> {
    let mut dealt = Vec::new();
    for (index, broker) in led.iter().enumerate() {
        let count = connections.saturating_sub(index).div_ceil(led.len()).max(1);
        for own in 0..count {
            let partitions = broker.partitions.iter().copied().skip(own).step_by(count).collect::<Vec<_>>();
            // More connections than partitions: all of them to each.
            let partitions = if partitions.is_empty() { broker.partitions.clone() } else { partitions };
            dealt.push(Led { address: broker.address.clone(), partitions });
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_dealt_out_evenly_and_every_partition_has_one() {
        let led: Vec<Led> = [vec![0, 3, 6], vec![1, 4], vec![2]]
            .into_iter()
            .zip(1..)
            .map(|(partitions, port)| Led { address: HostPort::new("h", port), partitions })
            .collect();

        let shown = |connections| {
            deal(&led, connections).into_iter().map(|l| (l.address.port, l.partitions)).collect::<Vec<_>>()
        };

        assert_eq!(shown(1), [(1, vec![0, 3, 6]), (2, vec![1, 4]), (3, vec![2])]);
        assert_eq!(shown(5), [(1, vec![0, 6]), (1, vec![3]), (2, vec![1]), (2, vec![4]), (3, vec![2])]);
        assert_eq!(shown(6)[4..], [(3, vec![2]), (3, vec![2])]);
    }
}
