//! Connect: two workers copy a file into a topic, and the topic into a file, while workers are killed.

use super::jvm;
use super::program::Stage;
use super::{rest, tally};
use crate::clients::driver::Driver;
use crate::cluster::free_ports;
use crate::eventually;
use crate::patience::Pace;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is copied into, and out of.
const TOPIC: &str = "lines";

/// The connectors.
const SOURCE: &str = "file-to-topic";
const SINK: &str = "topic-to-file";

/// How many lines are written between one thing that happens and the next.
const LINES: usize = 300;

/// How far apart they are.
const APART: Duration = Duration::from_millis(2);

/// Until a worker has started, or what a killed one had has moved: its session of ten seconds, and a rebalance.
const WORKER_PATIENCE: Duration = Duration::from_secs(120);

/// Shows it.
pub fn show(stage: &mut Stage<'_>, say: impl Fn(String)) {
    stage.create_topic(TOPIC, 1, &[]);
    let mut work = Work::new(stage);
    let mut workers = [Worker::start(stage, "first"), Worker::start(stage, "second")];
    workers.iter_mut().for_each(Worker::wait_until_serving);
    for (name, config) in work.connectors() {
        let given = || rest::post(workers[0].port, "/connectors", &json!({"name": name, "config": config}));
        // A worker that has just joined refuses while the group shares anew.
        eventually("a connector is accepted", WORKER_PATIENCE, || {
            matches!(given(), Ok((201, _))).then_some(())
        });
    }
    work.write();
    wait_until_shared(&workers);
    work.wait_until_copied(stage);
    say("two workers copy a file into a topic, and the topic into a file".to_owned());
    for number in 1..=stage.effort.kills {
        let connector = if number % 2 == 1 { SOURCE } else { SINK };
        let killed = workers.iter().position(|worker| worker.runs(connector)).expect("it is shared");
        work.write();
        workers[killed].kill();
        work.write();
        workers[1 - killed].wait_until_it_runs_everything();
        work.write();
        work.wait_until_copied(stage);
        say(format!("the worker with {connector} was killed, its tasks moved, and all is copied"));
        if number < stage.effort.kills {
            workers[killed].start_again();
            workers[killed].wait_until_serving();
            wait_until_shared(&workers);
        }
    }
    workers.into_iter().for_each(Worker::finish);
    assert_eq!(
        tally::values(&stage.cluster.bootstrap(), TOPIC),
        work.written,
        "each line is in the topic once, in order"
    );
    let (count, repeated) = work.judge_copy();
    say(format!("{count} lines are in the topic, each once, and in the file, {repeated} of them again"));
}

/// The lines, and where they go.
struct Work {
    from: PathBuf,
    to: PathBuf,
    written: Vec<String>,
    pace: Pace,
}

impl Work {
    fn new(stage: &Stage<'_>) -> Work {
        let [from, to] = ["from.txt", "to.txt"].map(|name| stage.directory.join(name));
        File::create(&from).expect("a file to copy from");
        Work { from, to, written: Vec::new(), pace: Pace::new(APART) }
    }

    fn connectors(&self) -> [(&'static str, Value); 2] {
        let class = |name: &str| format!("org.apache.kafka.connect.file.FileStream{name}Connector");
        let source = json!({
            "connector.class": class("Source"), "tasks.max": "1", "file": text(&self.from), "topic": TOPIC,
            "exactly.once.support": "required", "transaction.boundary": "interval",
            "transaction.boundary.interval.ms": "200",
        });
        let sink = json!({
            "connector.class": class("Sink"), "tasks.max": "1", "file": text(&self.to), "topics": TOPIC,
            "consumer.override.isolation.level": "read_committed",
            // Who was killed is thrown out earlier than by default: nobody should wait for long.
            "consumer.override.session.timeout.ms": "10000",
        });
        [(SOURCE, source), (SINK, sink)]
    }

    /// Writes some more lines.
    fn write(&mut self) {
        let mut file = File::options().append(true).open(&self.from).expect("it is there");
        for _ in 0..LINES {
            let line = format!("line {}", self.written.len());
            self.pace.wait();
            writeln!(file, "{line}").expect("a disk with room");
            self.written.push(line);
        }
    }

    /// Waits until all that is written has come out.
    fn wait_until_copied(&self, stage: &Stage<'_>) {
        let bootstrap = stage.cluster.bootstrap();
        let tell = || {
            let in_topic = tally::values(&bootstrap, TOPIC).len();
            format!(
                "of {} lines {in_topic} are in the topic, {} in the file",
                self.written.len(),
                self.copied().len()
            )
        };
        eventually(tell, WORKER_PATIENCE, || (self.copied().last() == self.written.last()).then_some(()));
    }

    fn copied(&self) -> Vec<String> {
        fs::read_to_string(&self.to).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// No line is left out, and whoever goes on where another was killed writes again what that one had not committed: in order.
    /// Returns how many lines there are, and how many are there again.
    fn judge_copy(&self) -> (usize, usize) {
        let copied = self.copied();
        let mut next = 0;
        for line in &copied {
            let number: usize =
                line.strip_prefix("line ").and_then(|number| number.parse().ok()).expect("a line of ours");
            assert!(number <= next, "line {next} is left out: {line} comes before it");
            next = number + 1;
        }
        let different: BTreeSet<&String> = copied.iter().collect();
        assert_eq!(different, self.written.iter().collect(), "what came out is not what went in");
        (self.written.len(), copied.len() - self.written.len())
    }
}

/// One worker's process.
struct Worker {
    name: &'static str,
    port: u16,
    properties: PathBuf,
    directory: PathBuf,
    driver: Option<Driver>,
    lives: usize,
}

impl Worker {
    fn start(stage: &Stage<'_>, name: &'static str) -> Worker {
        let port = free_ports(1)[0];
        let directory = stage.directory.join(name);
        fs::create_dir_all(&directory).expect("a directory for the worker");
        let properties = directory.join("worker.properties");
        let bootstrap = stage.cluster.bootstrap();
        let converter = "org.apache.kafka.connect.storage.StringConverter";
        let text = format!(
            "bootstrap.servers={bootstrap}\ngroup.id=workers\nlisteners=http://localhost:{port}\n\
             config.storage.topic=connect-configs\noffset.storage.topic=connect-offsets\n\
             status.storage.topic=connect-status\nexactly.once.source.support=enabled\n\
             key.converter={converter}\nvalue.converter={converter}\noffset.flush.interval.ms=1000\n\
             plugin.discovery=service_load\nscheduled.rebalance.max.delay.ms=1000\n"
        );
        fs::write(&properties, text).expect("a file for the worker");
        let mut worker = Worker { name, port, properties, directory, driver: None, lives: 0 };
        worker.start_again();
        worker
    }

    fn start_again(&mut self) {
        self.lives += 1;
        let name = format!("{}-{}", self.name, self.lives);
        let class = "org.apache.kafka.connect.cli.ConnectDistributed";
        self.driver = Some(jvm::start(class, &[&text(&self.properties)], &name, &self.directory));
    }

    fn wait_until_serving(&mut self) {
        let port = self.port;
        let driver = self.driver.as_mut().expect("it was started");
        driver.wait_long_for("it serves", WORKER_PATIENCE, |_| {
            matches!(rest::get(port, "/connectors"), Ok((200, _))).then_some(())
        });
    }

    fn kill(&mut self) {
        self.driver.take().expect("it was started").kill();
    }

    /// Ends it in order, if it runs.
    fn finish(self) {
        self.driver.into_iter().for_each(Driver::terminate);
    }

    /// Which worker each connector's task runs on, as this one tells.
    fn places(&self) -> Option<[u16; 2]> {
        let place = |connector: &str| {
            let (_, said) = rest::get(self.port, &format!("/connectors/{connector}/status")).ok()?;
            let task = said.get("tasks")?.get(0)?;
            let runs = task.get("state")? == "RUNNING" && said.get("connector")?.get("state")? == "RUNNING";
            let port = task.get("worker_id")?.as_str()?.rsplit(':').next()?.parse().ok()?;
            runs.then_some(port)
        };
        Some([place(SOURCE)?, place(SINK)?])
    }

    fn runs(&self, connector: &str) -> bool {
        let [source, sink] = self.places().expect("they run");
        self.port == if connector == SOURCE { source } else { sink }
    }

    fn wait_until_it_runs_everything(&self) {
        eventually("the tasks have moved", WORKER_PATIENCE, || {
            (self.places()? == [self.port; 2]).then_some(())
        });
    }
}

/// Waits until each of two workers runs a task.
fn wait_until_shared(workers: &[Worker; 2]) {
    eventually("two workers have a task each", WORKER_PATIENCE, || {
        let [source, sink] = workers[0].places()?;
        (source != sink).then_some(())
    });
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of ours is text").to_owned()
}
