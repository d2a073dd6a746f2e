//! Streams: an application of two instances counts, exactly once, while instances and leaders are killed.

use super::feed::Feed;
use super::jvm;
use super::program::Stage;
use super::tally;
use crate::clients::driver::Driver;
use crate::cluster::PATIENCE;
use crate::failover::topology;
use crate::{eventually, kcat};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Its topics (`crates/e2e/drivers/programs/Counting.java`).
const VISITS: &str = "visits";
const NAMES: &str = "names";
const COUNTS: &str = "counts";

/// The application, whose name is also its group's.
const APPLICATION: &str = "counting";

const PARTITIONS: i32 = 4;

/// How many visitors there are, and how many names they share.
const VISITORS: usize = 40;
const NAMES_COUNT: usize = 16;

/// How many counts come between one thing that happens and the next.
const PROGRESS: usize = 300;

/// Until a rebalance with what precedes it is over: who was killed has a session of ten seconds.
const REBALANCE_PATIENCE: Duration = Duration::from_secs(90);

/// Shows it.
pub fn show(stage: &mut Stage<'_>, say: impl Fn(String)) {
    stage.create_topic(VISITS, PARTITIONS, &[]);
    stage.create_topic(NAMES, PARTITIONS, &["--config", "cleanup.policy=compact"]);
    stage.create_topic(COUNTS, PARTITIONS, &[]);
    let mut names = String::new();
    for visitor in 0..VISITORS {
        writeln!(names, "{visitor}:{}", name(visitor)).expect("into a string");
    }
    // The table must lie where Streams looks for its keys: it asks Java's partitioner.
    kcat::run(stage.cluster, &["-P", "-t", NAMES, "-K:", "-X", "topic.partitioner=murmur2"], &names);

    let feed = Feed::start(stage.cluster, VISITS, |number| format!("{} {number}", visitor(number)));
    let mut first = Instance::start(stage, "first");
    let mut second = Instance::start(stage, "second");
    first.wait_until_running();
    second.wait_until_running();
    wait_until_shared(stage);
    wait_for_progress(stage);
    say("two instances count".to_owned());
    for number in 1..=stage.effort.kills {
        first.kill();
        // Every other time it comes back before anybody has noticed.
        if number % 2 == 1 {
            wait_until_alone(stage);
            wait_for_progress(stage);
            say("an instance was killed, and the other counts on alone".to_owned());
        }
        if number % 3 == 0 {
            kill_a_leader(stage);
            say("a leader was killed, and they count on".to_owned());
        }
        first.start_again();
        first.wait_until_running();
        wait_until_shared(stage);
        wait_for_progress(stage);
        say("it is back, and both count".to_owned());
        std::mem::swap(&mut first, &mut second);
    }
    kill_a_leader(stage);

    let expected = expected(&feed.finish());
    let count: usize = expected.values().map(Vec::len).sum();
    eventually("every visit is counted", REBALANCE_PATIENCE, || {
        (tally::count(&stage.cluster.bootstrap(), COUNTS, "read_committed") >= count).then_some(())
    });
    first.finish();
    second.finish();
    let found = tally::by_key(&stage.cluster.bootstrap(), COUNTS, "read_committed");
    assert_eq!(found, expected, "what was counted is not what came in");
    let aborted = tally::count(&stage.cluster.bootstrap(), COUNTS, "read_uncommitted") - count;
    // One that is killed once may have been between two transactions.
    assert!(
        aborted > 0 || stage.effort.kills < 2,
        "nobody was killed in the midst of a transaction: nothing was shown"
    );
    say(format!("{count} visits are counted, each once; {aborted} counts of killed instances do not count"));
}

/// Who visits. All come equally often, in an order that is not that of the names.
fn visitor(number: usize) -> usize {
    number * 7 % VISITORS
}

fn name(visitor: usize) -> String {
    format!("name-{}", visitor % NAMES_COUNT)
}

/// What comes out for these visits: each name's counts, one after the other.
fn expected(visits: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut counts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for number in 0..visits.len() {
        let of_name = counts.entry(name(visitor(number))).or_default();
        of_name.push((of_name.len() + 1).to_string());
    }
    counts
}

/// One process of the application. It keeps its directory when it is killed, as on a machine that restarts.
struct Instance {
    name: &'static str,
    words: [String; 3],
    driver: Option<Driver>,
    directory: std::path::PathBuf,
    lives: usize,
}

impl Instance {
    fn start(stage: &Stage<'_>, name: &'static str) -> Instance {
        let directory = stage.directory.join(name);
        std::fs::create_dir_all(&directory).expect("a directory for the instance");
        let words = [stage.cluster.bootstrap(), APPLICATION.to_owned(), text(&directory)];
        let mut instance = Instance { name, words, driver: None, directory, lives: 0 };
        instance.start_again();
        instance
    }

    fn start_again(&mut self) {
        self.lives += 1;
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let name = format!("{}-{}", self.name, self.lives);
        self.driver = Some(jvm::start("Counting", &words, &name, &self.directory));
    }

    fn wait_until_running(&mut self) {
        let driver = self.driver.as_mut().expect("it was started");
        driver.wait_long_for("it runs", REBALANCE_PATIENCE, |said| {
            assert!(said.iter().all(|line| line != "state ERROR"), "the instance has failed");
            said.last().is_some_and(|line| line == "state RUNNING").then_some(())
        });
    }

    fn kill(&mut self) {
        self.driver.take().expect("it was started").kill();
    }

    fn finish(mut self) {
        self.driver.take().expect("it was started").finish();
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of ours is text").to_owned()
}

/// The members of the application's group that have partitions.
fn members(stage: &Stage<'_>) -> Option<BTreeSet<String>> {
    let bootstrap = stage.cluster.bootstrap();
    let describe = ["kafka-consumer-groups", "--bootstrap-server", &bootstrap, "--describe", "--members"];
    let said = stage.cluster.tool(&[&describe[..], &["--group", APPLICATION]].concat());
    let of_line = |line: &str| {
        // GROUP CONSUMER-ID HOST CLIENT-ID #PARTITIONS
        let words: Vec<&str> = line.split_whitespace().collect();
        let partitions: usize = words.last()?.parse().ok()?;
        Some((words.get(1)?.to_string(), partitions))
    };
    let members: Vec<(String, usize)> = said.lines().filter_map(of_line).collect();
    members
        .iter()
        .all(|(_, partitions)| *partitions > 0)
        .then(|| members.into_iter().map(|(id, _)| id).collect())
}

fn wait_until_shared(stage: &Stage<'_>) {
    eventually("two instances have partitions", REBALANCE_PATIENCE, || {
        (members(stage)?.len() == 2).then_some(())
    });
}

fn wait_until_alone(stage: &Stage<'_>) {
    eventually("one instance has everything", REBALANCE_PATIENCE, || {
        (members(stage)?.len() == 1).then_some(())
    });
}

fn wait_for_progress(stage: &Stage<'_>) {
    let count = || tally::count(&stage.cluster.bootstrap(), COUNTS, "read_committed");
    let before = count();
    eventually("more is counted", REBALANCE_PATIENCE, || (count() >= before + PROGRESS).then_some(()));
}

/// Kills the node that leads a partition of what comes out, and starts it again.
fn kill_a_leader(stage: &mut Stage<'_>) {
    let leader = topology::leaders(stage.cluster, COUNTS)[&0];
    stage.cluster.node(leader).kill();
    wait_for_progress(stage);
    stage.cluster.node(leader).start();
    topology::wait_until_in_sync(stage.cluster);
    eventually("the leader leads again", PATIENCE, || {
        (topology::leaders(stage.cluster, COUNTS)[&0] == leader).then_some(())
    });
}
