//! An administrator who makes, enlarges and deletes topics all the while.

use super::workload::Workload;
use anyhow::{Result, ensure};
use ottla_client::admin::topics::NewTopic;
use ottla_client::producer::{Acks, ProducerConfig, ProducerRecord};
use ottla_client::{Admin, ClientError, Producer};
use ottla_protocol::ErrorCode;
use ottla_types::{Random, Uuid};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// What takes longer is given up: it may have been carried out, or may be.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is there, with so many partitions.
    There(usize),
    /// It is there, with so many partitions or more.
    AtLeast(usize),
    /// It is deleted.
    Gone,
    /// Something was tried and not answered.
    Unknown,
}

/// What is known of all topics, by their ids: a request that was given up may be carried out late, and make another topic
/// of a name that was deleted meanwhile. One whose id was not told is not judged.
pub type Topics = BTreeMap<Uuid, (String, Known)>;

impl Workload {
    /// Makes topic after topic until all is calm; returns what must be there afterwards and what must not.
    pub async fn administrate(self, seed: u64) -> Topics {
        let mut random = Random::new(seed);
        let client = self.client("administrator", random.next_u64());
        let admin = Admin::new(client.clone());
        let config = ProducerConfig { acks: Acks::All, ..ProducerConfig::default() };
        let producer = Producer::new(client, config);
        let mut topics = Topics::new();
        for number in 0.. {
            let name = format!("scratch-{number}");
            let count = 1 + random.index(3);
            let id = create(&admin, &name, count).await;
            let mut known = if id.is_some() { Known::There(count) } else { Known::Unknown };
            // Some have records, and nobody looks for those.
            if random.chance(500) {
                let record =
                    ProducerRecord { partition: Some(0), ..ProducerRecord::of(&name, vec![b'v'; 100]) };
                let _ = timeout(PATIENCE, producer.send(record)).await;
            }
            self.pause(&mut random).await;
            if let (Known::There(count), true) = (known, random.chance(500)) {
                known = enlarge(&admin, &name, count, count + 1 + random.index(2)).await;
                self.pause(&mut random).await;
            }
            if random.chance(700) {
                known = delete(&admin, &name, known).await;
            }
            tracing::debug!(name, ?known, "a topic");
            topics.extend(id.map(|id| (id, (name, known))));
            if *self.calm.borrow() {
                break;
            }
        }
        topics
    }

    async fn pause(&self, random: &mut Random) {
        tokio::time::sleep(random.duration(Duration::from_millis(10), Duration::from_secs(2))).await;
    }
}

/// Checks that what is there is what was told.
///
/// # Errors
/// The first topic that should be there and is not, or the other way round.
pub fn check(topics: &Topics, found: &BTreeMap<Uuid, usize>) -> Result<()> {
    for (id, (name, known)) in topics {
        let count = found.get(id).copied();
        let may_be = match known {
            Known::There(partitions) => count == Some(*partitions),
            Known::AtLeast(partitions) => count >= Some(*partitions),
            Known::Gone => count.is_none(),
            Known::Unknown => true,
        };
        ensure!(may_be, "topic {name} was said to be {known:?}, and has {count:?} partitions");
    }
    Ok(())
}

/// What is asked for, unless it takes too long.
async fn asked<T>(what: impl Future<Output = Result<T, ClientError>>) -> Result<T, Option<ErrorCode>> {
    match timeout(PATIENCE, what).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.code()),
        Err(_) => Err(None),
    }
}

/// Returns the topic's id, if it was told.
async fn create(admin: &Admin, name: &str, count: usize) -> Option<Uuid> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: i32::try_from(count).ok(),
        replication_factor: Some(3),
        ..NewTopic::default()
    };
    // Fewer than three brokers may be there, or an earlier try of the same was carried out.
    asked(admin.create_topic(&topic)).await.ok()
}

async fn enlarge(admin: &Admin, name: &str, from: usize, to: usize) -> Known {
    match asked(admin.create_partitions(name, i32::try_from(to).unwrap_or(i32::MAX), None)).await {
        Ok(()) => Known::There(to),
        Err(_) => Known::AtLeast(from),
    }
}

async fn delete(admin: &Admin, name: &str, known: Known) -> Known {
    match asked(admin.delete_topic(name)).await {
        Ok(()) => Known::Gone,
        // An earlier try may be carried out later than this one, where it is not known to be there.
        Err(Some(ErrorCode::UnknownTopicOrPartition)) if known != Known::Unknown => Known::Gone,
        Err(_) => Known::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_be_there_or_should_not_is_noticed() {
        let holds = |known, found: &[usize]| {
            let topics = Topics::from([(Uuid::ZERO, ("t".to_owned(), known))]);
            check(&topics, &found.iter().map(|count| (Uuid::ZERO, *count)).collect()).is_ok()
        };

        assert!(
            holds(Known::There(2), &[2]) && !holds(Known::There(2), &[3]) && !holds(Known::There(2), &[])
        );
        assert!(holds(Known::AtLeast(2), &[3]) && !holds(Known::AtLeast(2), &[1]));
        assert!(!holds(Known::AtLeast(2), &[]) && !holds(Known::Gone, &[2]) && holds(Known::Gone, &[]));
        assert!(holds(Known::Unknown, &[]) && holds(Known::Unknown, &[1]));
    }
}
