//! Administration: each command is answered as it should be, and does what it says.

use super::driver::Driver;
use super::library::Ability;
use super::records::Scene;
use crate::cluster::PATIENCE;
use crate::eventually;
use crate::failover::topology;

/// A topic that [`super::codecs`] has filled.
const FILLED: &str = "codec-none";

/// A group that [`super::group`] has left empty.
const GROUP: &str = "readers-classic";

/// A topic that is made and deleted.
const TOPIC: &str = "administered";

/// What drivers are asked, word by word, what they should say, and what they must be able to do beside it.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("create administered 3 3", "done", "create"),
    ("create administered 3 3", "refused", "create"),
    ("describe administered", "partitions 3 replicas 3", "create"),
    ("grow administered 5", "done", "create"),
    ("describe administered", "partitions 5 replicas 3", "grow"),
    ("config administered retention.ms", "value 604800000", "create"),
    ("set administered retention.ms 86400000", "done", "create"),
    ("config administered retention.ms", "value 86400000", "set"),
    ("config administered cleanup.policy", "value delete", "create"),
    ("group readers-classic", "state Empty members 0", "groups"),
    ("forget readers-classic", "done", "groups"),
    ("delete administered", "done", "create"),
];

/// Shows it; returns how many commands were given.
pub fn show(scene: &Scene<'_>) -> usize {
    let mut driver = scene.start("admin", &[]);
    let can = |command: &str| {
        let name = command.split(' ').next().expect("a word");
        scene.library.can(Ability::Admin(name))
    };
    let records = scene.records;

    if can("topics") {
        assert!(listed(&mut driver, "topics").contains(&FILLED.to_owned()));
    }
    if can("groups") {
        assert!(listed(&mut driver, "groups").contains(&GROUP.to_owned()));
    }
    if can("offsets") {
        let committed = topology::committed(scene.cluster, GROUP);
        let words: Vec<String> =
            committed.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
        assert_eq!(
            driver.ask(&format!("offsets {GROUP} group-classic")),
            format!("offsets {}", words.join(","))
        );
    }
    if can("truncate") {
        assert_eq!(driver.ask(&format!("truncate {FILLED} 0 {}", records / 2)), "done");
        let found = scene.read_by_another(FILLED);
        assert_eq!(found[&0].len(), records - records / 2);
        assert_eq!(found[&1].len(), records);
    }
    let mut given = 0;
    for (command, expected, _) in COMMANDS.iter().filter(|(command, _, beside)| can(command) && can(beside)) {
        settled(&mut driver, command, expected);
        given += 1;
    }
    if can("forget") {
        assert!(!listed(&mut driver, "groups").contains(&GROUP.to_owned()), "{GROUP} was deleted");
    }
    if can("delete") {
        scene.cluster.nodes().iter().for_each(|node| wait_until_deleted(scene, &node.address()));
    }
    driver.finish();
    given
}

/// Waits until a node has no topic of this name.
fn wait_until_deleted(scene: &Scene<'_>, node: &str) {
    eventually(&format!("{TOPIC} was deleted"), PATIENCE, || {
        let topics = scene.cluster.tool(&["kafka-topics", "--bootstrap-server", node, "--list"]);
        topics.lines().all(|topic| topic != TOPIC).then_some(())
    });
}

/// Gives a command until it is answered like this: another broker may hear of a change a moment later. What changes something is
/// given once.
fn settled(driver: &mut Driver, command: &str, expected: &str) {
    let is_question = ["describe ", "config ", "group "].iter().any(|word| command.starts_with(word));
    if !is_question {
        let said = driver.ask(command);
        assert!(said.starts_with(expected), "{command}: {said}");
        return;
    }
    let mut last = String::new();
    let mut ask = || {
        last = driver.ask(command);
        last.starts_with(expected).then_some(())
    };
    eventually(&format!("{command}: {expected}"), PATIENCE, &mut ask);
}

/// The names that a driver lists.
fn listed(driver: &mut Driver, what: &str) -> Vec<String> {
    let said = driver.ask(what);
    let names = said.strip_prefix(what).unwrap_or_else(|| panic!("{what}: {said}"));
    names.trim().split(',').map(str::to_owned).collect()
}
