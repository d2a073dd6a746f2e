//! An administrator who deletes records (DeleteRecords) while everything else goes on.

use super::workload::{PARTITIONS, TOPIC, Workload};
use ottla_client::Admin;
use ottla_client::consumer::Isolation;
use ottla_client::consumer::offsets::{EARLIEST, LATEST, list_offsets};
use ottla_types::{Random, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Apart from all other chance.
const APART: u64 = 0x6465_6c65_7465;

/// The longest pause between two deletions.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// What takes longer is given up: it may have been carried out, or may be.
const PATIENCE: Duration = Duration::from_secs(10);

/// Old segments are looked for often, and it is written down often where logs begin; but not so often that no kill comes between.
/// Who looks for old segments forgets old producers too, and these are old by a clock that is wrong by more than a day.
pub const SETTINGS: &str = "log.retention.check.interval.ms=1000\n\
     log.flush.start.offset.checkpoint.interval.ms=3000\n\
     producer.id.expiration.ms=2147483647\n";

/// Returns whether records are deleted in the run of this seed: in one of three.
pub fn are_wanted(seed: u64) -> bool {
    Random::new(seed ^ APART).chance(333)
}

/// Deletes records of the workload's topic until all is calm: some of a partition's, or all that there are.
pub async fn run(workload: Workload) {
    let mut random = Random::new(workload.seed ^ APART);
    let client = workload.client("deleter", random.next_u64());
    let admin = Admin::new(client.clone());
    while !*workload.calm.borrow() {
        sleep(random.duration(Duration::ZERO, PAUSE_MAX)).await;
        let at = TopicPartition::new(TOPIC, random.index(PARTITIONS as usize) as i32);
        let mut bounds = Vec::new();
        for bound in [EARLIEST, LATEST] {
            let asked = BTreeMap::from([(at.clone(), bound)]);
            let found = timeout(PATIENCE, list_offsets(&client, &asked, Isolation::ReadUncommitted)).await;
            bounds.extend(found.ok().and_then(Result::ok).map(|found| found[&at].offset));
        }
        let [first, end] = bounds[..] else { continue };
        let count = u64::try_from(end - first).unwrap_or(0);
        let before = if random.chance(200) { end } else { first + random.below(count + 1) as i64 };
        workload.history.lock().deletes(at.partition, before);
        let asked = BTreeMap::from([(at.clone(), before)]);
        let told = timeout(PATIENCE, admin.delete_records(&asked)).await;
        tracing::info!(%at, %first, %before, ?told, "records are deleted");
    }
}
