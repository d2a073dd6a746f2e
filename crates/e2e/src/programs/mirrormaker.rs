//! MirrorMaker: a topic is mirrored into another cluster, with what a group has committed, while MirrorMaker is killed.

use super::feed::Feed;
use super::jvm;
use super::program::Stage;
use super::tally;
use crate::clients::driver::Driver;
use crate::failover::topology;
use crate::kcat::{self, Member};
use crate::{Cluster, eventually};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// What is mirrored, and what it is called over there.
const TOPIC: &str = "orders";
const MIRRORED: &str = "near.orders";

/// Whose offsets are.
const GROUP: &str = "readers";

const PARTITIONS: i32 = 4;

/// How often a reader of the group is interrupted.
const READERS_INTERRUPTED: usize = 2;

/// How many records are mirrored between one thing that happens and the next.
const PROGRESS: usize = 500;

/// Until it has started and found out what there is, or has noticed that its own predecessor is gone.
const PATIENCE: Duration = Duration::from_secs(120);

/// Shows it.
pub fn show(stage: &mut Stage<'_>, say: impl Fn(String)) {
    let quick = "group.initial.rebalance.delay.ms=100";
    let far = Cluster::start_in(&stage.directory.join("far"), 1, quick);
    stage.create_topic(TOPIC, PARTITIONS, &[]);
    let mut mirror = Mirror::start(stage, &far);
    let feed = Feed::start(stage.cluster, TOPIC, |number| format!("order {number}"));
    wait_until_created(&far);
    wait_for_progress(&far.bootstrap(), MIRRORED);
    say("a topic is mirrored".to_owned());
    let (mut read_here, first) = read_until_told(stage, &far, &BTreeMap::new());
    say("what a group has committed is there".to_owned());
    for _ in 0..stage.effort.kills {
        mirror.kill();
        wait_for_progress(&stage.cluster.bootstrap(), TOPIC);
        mirror.start_again();
        wait_for_progress(&far.bootstrap(), MIRRORED);
        say("it was killed, and mirrors on".to_owned());
    }
    let (read, _) = read_until_told(stage, &far, &first);
    read_here.extend(read);
    say("what it has committed since is there".to_owned());
    wait_for_progress(&stage.cluster.bootstrap(), TOPIC);

    let sent: BTreeSet<String> = feed.finish().into_iter().collect();
    eventually("everything is mirrored", PATIENCE, || {
        (tally::count(&far.bootstrap(), MIRRORED, "read_committed") >= sent.len()).then_some(())
    });
    let (here, there) = (
        tally::by_partition(&stage.cluster.bootstrap(), TOPIC),
        tally::by_partition(&far.bootstrap(), MIRRORED),
    );
    assert_eq!(here.values().map(Vec::len).sum::<usize>(), sent.len());
    assert!(here == there, "what is there is not what is here: each record once, in order, in its partition");
    say(format!("{} records are there, each once, in order", sent.len()));

    mirror.finish();
    let committed = topology::committed(&far, GROUP);
    let skipped: usize =
        (0..PARTITIONS).map(|partition| skipped(&far, partition, committed[&partition])).sum();
    let wanted = sent.len() - skipped;
    let reader = Member::start(&far, GROUP, MIRRORED, &[]);
    eventually("the group reads on over there", PATIENCE, || {
        (reader.records().len() >= wanted).then_some(())
    });
    let read_there: BTreeSet<String> = reader.records().into_iter().collect();
    let left_out: Vec<&String> =
        sent.iter().filter(|order| !read_here.contains(*order) && !read_there.contains(*order)).collect();
    // kcat may commit the record that it was about to print when it was interrupted.
    assert!(left_out.len() <= READERS_INTERRUPTED, "neither read here nor there: {left_out:?}");
    let again = read_here.intersection(&read_there).count();
    assert!(again < read_here.len(), "it began anew");
    say(format!("a group that read {} here reads on there; {again} again", read_here.len()));
}

/// A group reads and commits what comes in, until its offsets over there are greater than these in all partitions; then it goes.
/// Returns what it was given, and the offsets. MirrorMaker knows the place there of none that it copied before it began to look
/// after the group: one that has read on is needed each time that it has started.
fn read_until_told(
    stage: &Stage<'_>,
    far: &Cluster,
    before: &BTreeMap<i32, i64>,
) -> (BTreeSet<String>, BTreeMap<i32, i64>) {
    let reader = Member::start(stage.cluster, GROUP, TOPIC, &["-X", "auto.commit.interval.ms=500"]);
    let told = eventually("what a group has committed is there", PATIENCE, || {
        let committed = topology::committed(far, GROUP);
        let is_greater = |partition: &i32| committed.get(partition) > before.get(partition).or(Some(&0));
        (0..PARTITIONS).all(|partition| is_greater(&partition)).then_some(committed)
    });
    (reader.interrupt().into_iter().collect(), told)
}

/// How many records of a partition over there are before an offset.
fn skipped(far: &Cluster, partition: i32, offset: i64) -> usize {
    let (partition, from) = (partition.to_string(), offset.to_string());
    let read = |from: &str| {
        let words = ["-C", "-t", MIRRORED, "-p", &partition, "-o", from, "-e", "-q"];
        kcat::run(far, &[&words[..], &["-X", "isolation.level=read_committed"]].concat(), "").lines().count()
    };
    read("beginning") - read(&from)
}

/// Waits until MirrorMaker has created the topic over there.
fn wait_until_created(far: &Cluster) {
    let bootstrap = far.bootstrap();
    eventually(&format!("{MIRRORED} is there"), PATIENCE, || {
        let topics = far.tool(&["kafka-topics", "--bootstrap-server", &bootstrap, "--list"]);
        topics.lines().any(|topic| topic == MIRRORED).then_some(())
    });
}

fn wait_for_progress(bootstrap: &str, topic: &str) {
    let count = || tally::count(bootstrap, topic, "read_committed");
    let before = count();
    eventually("there are more records", PATIENCE, || (count() >= before + PROGRESS).then_some(()));
}

/// MirrorMaker's process.
struct Mirror {
    properties: PathBuf,
    directory: PathBuf,
    driver: Option<Driver>,
    lives: usize,
}

impl Mirror {
    fn start(stage: &Stage<'_>, far: &Cluster) -> Mirror {
        let directory = stage.directory.join("mirror");
        fs::create_dir_all(&directory).expect("a directory for MirrorMaker");
        let properties = directory.join("mirror.properties");
        // The other cluster has one node. Nobody should wait for long.
        let text = format!(
            "clusters=near,far\nnear.bootstrap.servers={}\nfar.bootstrap.servers={}\n\
             near->far.enabled=true\nnear->far.topics={TOPIC}\nnear->far.groups={GROUP}\n\
             far->near.enabled=false\nreplication.factor=1\noffset-syncs.topic.replication.factor=3\n\
             checkpoints.topic.replication.factor=1\nheartbeats.topic.replication.factor=1\n\
             far.config.storage.replication.factor=1\nfar.offset.storage.replication.factor=1\n\
             far.status.storage.replication.factor=1\nfar.exactly.once.source.support=enabled\n\
             dedicated.mode.enable.internal.rest=true\nlisteners=http://localhost:0\n\
             sync.group.offsets.enabled=true\nsync.group.offsets.interval.seconds=1\n\
             emit.checkpoints.interval.seconds=1\nrefresh.topics.interval.seconds=2\n\
             refresh.groups.interval.seconds=2\noffset.lag.max=0\nauto.offset.reset=earliest\n\
             plugin.discovery=service_load\nfar.offset.flush.interval.ms=1000\nfar.scheduled.rebalance.max.delay.ms=1000\n",
            stage.cluster.bootstrap(),
            far.bootstrap(),
        );
        fs::write(&properties, text).expect("a file for MirrorMaker");
        let mut mirror = Mirror { properties, directory, driver: None, lives: 0 };
        mirror.start_again();
        mirror
    }

    fn start_again(&mut self) {
        self.lives += 1;
        let properties = self.properties.to_str().expect("a path of ours is text");
        let name = format!("mirror-{}", self.lives);
        self.driver = Some(jvm::start(
            "org.apache.kafka.connect.mirror.MirrorMaker",
            &[properties],
            &name,
            &self.directory,
        ));
    }

    fn kill(&mut self) {
        self.driver.take().expect("it was started").kill();
    }

    fn finish(mut self) {
        self.driver.take().expect("it was started").terminate();
    }
}
