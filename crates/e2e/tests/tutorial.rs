//! The tutorial *Understanding Kafka Failover*, typed into terminals with the commands that it gives, as it gives
//! them: `docker exec`, `kafka-topics --zookeeper zookeeper:2181`, `kafkacat -b localhost`.
//!
//! What the tutorial leaves to its reader is typed as README.md has it: `ottla up`, `ottla kill`, `ottla start`.
//! `docker` is a stand-in that opens the container's shell here, where Kafka's tools are on the `PATH` too.

use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::{Machine, Terminal, eventually};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

const PARTITIONS: usize = 8;

const CREATE: &str = "kafka-topics --create \\
    --zookeeper zookeeper:2181 \\
    --replication-factor 3 \\
    --partitions 8 \\
    --topic failsafe-test-topic";
const DESCRIBE: &str = "kafka-topics --describe \\
    --topic failsafe-test-topic \\
    --zookeeper zookeeper:2181";
const CONSUME: &str = "kafkacat -b localhost -t failsafe-test-topic -o end";
const PRODUCE: &str = "kafkacat -P -b localhost -t failsafe-test-topic";
const SHARE: &str = "kafkacat -b localhost -t failsafe-test-topic -G test-group failsafe-test-topic ";

/// Stands in for an engine that runs containers: `docker exec -ti CONTAINER bash` is a shell here.
const DOCKER: &str = "#!/bin/sh\n\
     [ \"$*\" = 'exec -ti streamingplatform_broker-1_1 bash' ] || { echo \"docker: $*\" >&2; exit 1; }\n\
     exec bash --norc --noprofile --noediting\n";

/// A desk to type the tutorial at.
struct Desk {
    machine: Machine,
    directory: TempDir,
}

impl Desk {
    fn new() -> Desk {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).expect("a directory for programs");
        symlink(binary(), bin.join("ottla")).expect("a link to the binary");
        fs::write(bin.join("docker"), DOCKER).expect("a file for the stand-in");
        fs::set_permissions(bin.join("docker"), fs::Permissions::from_mode(0o755)).expect("it is ours");
        Desk { machine: Machine::new(), directory }
    }

    fn terminal(&self) -> Terminal {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.directory.path().join("bin").display());
        Terminal::open(&self.machine, self.directory.path(), &path)
    }

    /// A terminal in which the cluster's names are known.
    fn terminal_of_the_cluster(&self) -> Terminal {
        let mut terminal = self.terminal();
        assert_eq!(terminal.runs("eval \"$(ottla env)\""), "");
        terminal
    }
}

/// The story, on a cluster of so many brokers, with each of `victims` in turn the node that is killed.
fn play(brokers: usize, victims: &[usize]) {
    // Two brokers have a third node, which keeps the quorum. Nothing is asked of brokers as long as there is no topic.
    let nodes = if brokers == 2 { 3 } else { brokers };
    let can_lose = (nodes - 1) / 2;
    let desk = Desk::new();
    let mut cluster = desk.terminal();
    cluster.starts(&format!("ottla up --brokers {brokers}"));
    tells(
        &cluster,
        &format!(" HEALTHY  {nodes}/{nodes} nodes, quorum {nodes}/{nodes}, can lose: {can_lose}"),
    );
    let mut shell = desk.terminal_of_the_cluster();

    create_the_topic(&mut shell, brokers);
    tells(&cluster, "topic failsafe-test-topic: 8 partitions x");
    let [first, second, third] =
        everyone_sees_everything([0; 3].map(|_| desk.terminal_of_the_cluster()), &desk);

    let mut producer = desk.terminal_of_the_cluster();
    let mut group = vec![first, second, third];
    group.iter_mut().for_each(|member| member.starts(SHARE));
    assert_eq!(shares(&group), [2, 3, 3]);
    tells(&cluster, "group test-group stable: 3 + 3 + 2 partitions");
    producer.starts(PRODUCE);
    let mut sent = messages("message new", 1..=5);
    produce_from_now_on(&mut producer, &sent);
    together(&group, "each message once across the group", || {
        let all = group.iter().flat_map(Terminal::records).collect();
        (sorted(all) == sorted(sent.clone())).then_some(())
    });

    // The third is ended; seven more messages.
    let mut third = group.pop().expect("there are three");
    third.interrupts();
    assert_eq!(shares(&group), [4, 4]);
    let before: Vec<Vec<String>> = group.iter().map(Terminal::records).collect();
    let seven = messages("message more", 1..=7);
    produce(&mut producer, &seven);
    let since = |group: &[Terminal]| {
        let records =
            group.iter().zip(&before).flat_map(|(member, before)| member.records().split_off(before.len()));
        sorted(records.collect())
    };
    together(&group, "each of the seven once", || (since(&group) == sorted(seven.clone())).then_some(()));
    sent.extend(seven);

    // One is killed: the others take over when its session is at its end. They go on where it has committed: so
    // there is first something to commit in every partition. In others kcat begins at the end, wherever that is then.
    let everywhere: String = (0..PARTITIONS).map(|partition| format!(" {partition}")).collect();
    shell.runs(&format!("for p in{everywhere}; do echo message to $p | {PRODUCE} -p $p; done"));
    all_are_received(&group, &messages("message to", 0..=PARTITIONS - 1));
    third.starts(&format!("sh -c 'echo process $$; exec {} -X session.timeout.ms=6000'", SHARE.trim_end()));
    let process = third.sees("its process id", |text| {
        let (number, _) = text.split_once("process ")?.1.split_once('\r')?;
        number.parse::<u32>().ok()
    });
    group.push(third);
    assert_eq!(shares(&group), [2, 3, 3]);
    assert_eq!(shell.runs(&format!("kill -9 {process}")), "");
    let third = group.pop().expect("there are three");
    third.is_idle();
    let orphaned = messages("message late", 1..=8);
    produce(&mut producer, &orphaned);
    assert_eq!(shares(&group), [4, 4]);
    all_are_received(&group, &orphaned);

    if brokers == 1 {
        the_only_broker_is_killed_and_brought_back(&mut shell, producer, &mut group, &sent);
        cluster.interrupts();
        return;
    }
    for &victim in victims {
        a_broker_is_killed_and_brought_back(&mut shell, &mut producer, &group, brokers, victim);
        tells(&cluster, &format!("LOST node {victim} (pid "));
        tells(&cluster, &format!("DEGRADED  {}/{nodes} nodes", nodes - 1));
        let said = shell.runs("ottla status");
        assert!(said.contains(&format!(" HEALTHY  {nodes}/{nodes} nodes")), "{said}");
    }

    // The messages that came while the group was as it was came once, whatever happened afterwards.
    for message in &sent {
        let times = group.iter().flat_map(Terminal::records).filter(|record| record == message).count();
        assert!(times <= 1, "{message} was received {times} times");
    }
    producer.presses_control_d();
    producer.is_idle();
    group.iter_mut().for_each(Terminal::interrupts);
    cluster.interrupts();
    assert!(cluster.said().contains("stopped; start again with: ottla up"), "{}", cluster.said());
}

/// Waits until the supervisor has told something.
fn tells(cluster: &Terminal, what: &str) {
    cluster.sees(what, |text| text.contains(what).then_some(()));
}

fn create_the_topic(shell: &mut Terminal, brokers: usize) {
    shell.runs("docker exec -ti streamingplatform_broker-1_1 bash");
    let mut said = shell.runs(CREATE);
    let mut factor = 3;
    if brokers < factor {
        let refused = format!(
            "Error while executing topic command : Unable to replicate the partition 3 time(s): The target \
             replication factor of 3 cannot be reached because only {brokers} broker(s) are registered"
        );
        assert!(said.contains(&refused), "{said}");
        factor = brokers;
        said = shell.runs(&CREATE.replace("factor 3", &format!("factor {factor}")));
    }
    assert!(said.ends_with("Created topic failsafe-test-topic.\n"), "{said}");
    let said = shell.runs(DESCRIBE);
    assert!(said.contains(&format!("PartitionCount: 8\tReplicationFactor: {factor}\t")), "{said}");
    let leaders = described(&said, "Leader: ");
    let distinct: BTreeSet<&String> = leaders.iter().collect();
    assert_eq!((leaders.len(), distinct.len()), (PARTITIONS, brokers), "every broker leads:\n{said}");
}

/// Consumers that are each alone receive everything. Returns their terminals, ready for something else.
fn everyone_sees_everything(mut consumers: [Terminal; 3], desk: &Desk) -> [Terminal; 3] {
    let mut producer = desk.terminal_of_the_cluster();
    producer.starts(PRODUCE);
    starts_at_the_end(&mut consumers[0]);

    let greetings = ["Hello World!", "Hello Events!", "Hello Kafka!"].map(str::to_owned);
    produce_from_now_on(&mut producer, &greetings);
    consumers[0].sees("the greetings", |_| {
        (sorted(consumers[0].records()) == sorted(greetings.to_vec())).then_some(())
    });
    consumers[1..].iter_mut().for_each(starts_at_the_end);
    let new = messages("message new", 1..=3);
    produce(&mut producer, &new);
    for consumer in &consumers {
        consumer.sees("the new messages", |_| {
            new.iter().all(|message| consumer.records().contains(message)).then_some(())
        });
    }
    assert_eq!(consumers.each_ref().map(|consumer| consumer.records().len()), [6, 3, 3]);

    producer.presses_control_d();
    producer.is_idle();
    consumers.iter_mut().for_each(Terminal::interrupts);
    consumers
}

fn starts_at_the_end(consumer: &mut Terminal) {
    consumer.starts(CONSUME);
    consumer.sees("where every partition ends", |text| (ended(text).len() == PARTITIONS).then_some(()));
}

fn a_broker_is_killed_and_brought_back(
    shell: &mut Terminal,
    producer: &mut Terminal,
    group: &[Terminal],
    brokers: usize,
    victim: usize,
) {
    let load = messages(&format!("while {victim} dies"), 1..=40);
    produce(producer, &load[..10]);
    let said = shell.runs(&format!("ottla kill {victim}"));
    assert!(said.contains(&format!("node {victim}: SIGKILL")), "{said}");
    produce(producer, &load[10..30]);
    if brokers > 1 {
        let leaders = described(&shell.runs(DESCRIBE), "Leader: ");
        assert_eq!(leaders.len(), PARTITIONS);
        assert!(
            leaders.iter().all(|leader| *leader != victim.to_string() && leader != "none"),
            "{leaders:?}"
        );
    }
    let said = shell.runs(&format!("ottla start {victim}"));
    assert!(said.contains(&format!("node {victim} runs")), "{said}");
    produce(producer, &load[30..]);
    all_are_received(group, &load);
    let factor = brokers.min(3);
    loop {
        let in_sync = described(&shell.runs(DESCRIBE), "Isr: ");
        if in_sync.len() == PARTITIONS && in_sync.iter().all(|isr| isr.split(',').count() == factor) {
            return;
        }
    }
}

/// kcat gives up when every broker it knows is down: with one broker nothing goes on, but nothing is lost.
fn the_only_broker_is_killed_and_brought_back(
    shell: &mut Terminal,
    mut producer: Terminal,
    group: &mut [Terminal],
    sent: &[String],
) {
    let load = messages("before 1 dies", 1..=10);
    produce(&mut producer, &load);
    all_are_received(group, &load);
    assert!(shell.runs("ottla kill 1").contains("node 1: SIGKILL"));
    group.iter().for_each(Terminal::is_idle);
    assert!(shell.runs("ottla start 1").contains("node 1 runs"));

    let kept = shell.runs(&CONSUME.replace("-o end", "-o beginning -e"));
    let produced = [messages("message new", 1..=3), sent.to_vec(), load].concat();
    for message in &produced {
        let times = |all: &mut dyn Iterator<Item = &str>| all.filter(|record| record == message).count();
        let (found, expected) = (times(&mut kept.lines()), times(&mut produced.iter().map(String::as_str)));
        assert_eq!(found, expected, "{message}");
    }
    let [consumer, ..] = group else { panic!("there are two") };
    starts_at_the_end(consumer);
    assert_eq!(shell.runs(&format!("echo it goes on | {PRODUCE}")), "");
    consumer.sees("what comes now", |_| (consumer.records() == ["it goes on"]).then_some(()));
    consumer.interrupts();
}

/// What follows `name` in each line of a description.
fn described(said: &str, name: &str) -> Vec<String> {
    let value = |line: &str| Some(line.split_once(name)?.1.split('\t').next()?.trim().to_owned());
    said.lines().filter(|line| line.contains("Partition: ")).filter_map(value).collect()
}

fn messages(what: &str, numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(|number| format!("{what} {number}")).collect()
}

fn produce(producer: &mut Terminal, messages: &[String]) {
    messages.iter().for_each(|message| producer.types(message));
}

/// Types the first messages to a producer that was just started.
///
/// kcat 1.7.1 reads 128 bytes at a time, even from a terminal. From the first Ctrl-D on it takes each line as it
/// comes; the second one, at the beginning of a line, ends it.
fn produce_from_now_on(producer: &mut Terminal, messages: &[String]) {
    let (first, others) = messages.split_first().expect("some messages");
    producer.types(first);
    producer.presses_control_d();
    produce(producer, others);
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items
}

/// How many partitions each member has, once every partition has one owner, who has found where it ends.
fn shares(group: &[Terminal]) -> Vec<usize> {
    together(group, "every partition with one owner", || {
        let owned: Vec<BTreeSet<String>> = group.iter().map(|member| owned(&member.said())).collect();
        let distinct: BTreeSet<&String> = owned.iter().flatten().collect();
        let counts = sorted(owned.iter().map(BTreeSet::len).collect());
        let whole = distinct.len() == PARTITIONS && counts.iter().sum::<usize>() == PARTITIONS;
        (whole && counts[0] > 0).then_some(counts)
    })
}

/// The partitions that a member of a group was given last, as far as it has found where they end.
fn owned(said: &str) -> BTreeSet<String> {
    let Some(last) = said.rfind("% Group test-group rebalanced") else { return BTreeSet::new() };
    let (first, after) = said[last..].split_once("\r\n").unwrap_or_default();
    let Some((_, list)) = first.split_once(" assigned: ") else { return BTreeSet::new() };
    let found = ended(after);
    list.split(", ").filter(|partition| found.contains(partition)).map(str::to_owned).collect()
}

/// The partitions of which a consumer says that it has found where they end.
fn ended(said: &str) -> BTreeSet<&str> {
    let partition = |line| Some(str::strip_prefix(line, "% Reached end of topic ")?.split_once(" at ")?.0);
    said.lines().filter_map(partition).collect()
}

fn all_are_received(group: &[Terminal], messages: &[String]) {
    let missing = || {
        let all: BTreeSet<String> = group.iter().flat_map(Terminal::records).collect();
        messages.iter().filter(|message| !all.contains(*message)).cloned().collect::<Vec<_>>()
    };
    let what =
        || format!("the group shows every message; without {:?} it shows:\n{}\n", missing(), screens(group));
    eventually(what, PATIENCE, || missing().is_empty().then_some(()));
}

/// Waits until `find` finds something on the group's screens; shows all of them if it does not.
fn together<T>(group: &[Terminal], what: &str, find: impl FnMut() -> Option<T>) -> T {
    eventually(|| format!("the group shows {what}; it shows:\n{}\n", screens(group)), PATIENCE, find)
}

/// How many lines a screen has.
const LINES: usize = 50;

/// What is to be seen on the screens of a group.
fn screens(group: &[Terminal]) -> String {
    let screen = |member: &Terminal| {
        let said = member.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    };
    group.iter().map(screen).collect::<Vec<_>>().join("\n--\n")
}

#[test]
fn three_brokers_and_the_first_is_killed() {
    play(3, &[1]);
}

#[test]
fn three_brokers_and_the_second_is_killed() {
    play(3, &[2]);
}

#[test]
fn three_brokers_and_the_third_is_killed() {
    play(3, &[3]);
}

#[test]
fn five_brokers_and_each_is_killed() {
    play(5, &[1, 2, 3, 4, 5]);
}

/// The third node is a controller only: it keeps the quorum when a broker dies, and may die itself.
#[test]
fn two_brokers_and_the_controller_and_the_first_are_killed() {
    play(2, &[3, 1]);
}

// A play of its own: kcat gives up when its last broker goes before it has dialled the other one again.
#[test]
fn two_brokers_and_the_second_is_killed() {
    play(2, &[2]);
}

#[test]
fn one_broker_is_killed() {
    play(1, &[1]);
}
