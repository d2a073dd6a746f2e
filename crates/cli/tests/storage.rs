//! `kafka-storage` says what Kafka's own tool says.
//!
//! `tests/golden/storage/story.txt` has command lines, each with what `kafka.tools.StorageTool` of Apache Kafka 4.4.0
//! said: `>` on standard output, `!` on standard error, `=` its exit status when that is not 0.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The configurations that the story names: the node's id, and its log directories.
const CONFIGURATIONS: &[(&str, u8, &[&str])] = &[
    ("one", 1, &["a"]),
    ("other", 2, &["a"]),
    ("two", 1, &["b", "c"]),
    ("d", 2, &["d"]),
    ("mixed", 1, &["a", "d"]),
];

const INTO_STRING: &str = "a String takes everything";

fn write_configurations(directory: &Path) {
    for (name, node, log_dirs) in CONFIGURATIONS {
        let log_dirs: Vec<String> =
            log_dirs.iter().map(|dir| directory.join(dir).display().to_string()).collect();
        let text = format!(
            "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={node}@localhost:9093\n\
             listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\n",
            log_dirs.join(",")
        );
        fs::write(directory.join(format!("{name}.properties")), text).expect("the directory is ours");
    }
}

/// What the tool says, as the story writes it.
fn said(directory: &Path, line: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.arg("kafka-storage").args(line.split_whitespace()).current_dir(directory);
    let output = command.output().expect("it was built for this test");
    let mut told = String::new();
    for (mark, bytes) in [('>', output.stdout), ('!', output.stderr)] {
        let text = String::from_utf8(bytes)
            .expect("it prints text")
            .replace(&directory.display().to_string(), "{DIR}");
        for line in text.lines() {
            let line = without_id(&format!("{mark} {line}"))
                // What is finalized here is a part of what Kafka finalizes.
                .replace(ELIGIBLE_LEADER_REPLICAS, "")
                .replace(GROUP_VERSION, "")
                .replace(TRANSACTION_VERSION, "")
                .replace(" at version 0)],", " at version 0){FEATURES}],");
            writeln!(told, "{}", line.trim_end()).expect(INTO_STRING);
        }
    }
    if let Some(code @ 1..) = output.status.code() {
        writeln!(told, "= {code}").expect(INTO_STRING);
    }
    told
}

const ELIGIBLE_LEADER_REPLICAS: &str = ", ApiMessageAndVersion(FeatureLevelRecord(\
    name='eligible.leader.replicas.version', featureLevel=1) at version 0)";

const GROUP_VERSION: &str =
    ", ApiMessageAndVersion(FeatureLevelRecord(name='group.version', featureLevel=1) at version 0)";

const TRANSACTION_VERSION: &str =
    ", ApiMessageAndVersion(FeatureLevelRecord(name='transaction.version', featureLevel=2) at version 0)";

fn without_id(line: &str) -> String {
    match line.split_once("directory.id=").map(|(before, rest)| (before, rest.split_once(','))) {
        Some((before, Some((_, after)))) => format!("{before}directory.id={{ID}},{after}"),
        _ => line.to_owned(),
    }
}

#[test]
fn the_story_is_told_again() {
    let directory = tempfile::tempdir().unwrap();
    let story = fs::read_to_string("tests/golden/storage/story.txt").unwrap();
    write_configurations(directory.path());
    let mut told = String::new();
    for line in story.lines().filter(|line| !line.starts_with(['>', '!', '='])) {
        writeln!(told, "{line}").unwrap();
        match line.split_once(' ') {
            Some(("$", command)) => told += &said(directory.path(), command),
            Some(("@", "remove c")) => fs::remove_dir_all(directory.path().join("c")).unwrap(),
            Some(("@", "create c")) => fs::create_dir(directory.path().join("c")).unwrap(),
            _ => {}
        }
    }

    assert!(told == story, "{told}");
}

#[test]
fn an_id_is_made_by_chance() {
    let ids = [(); 2].map(|()| said(Path::new("/"), "random-uuid"));

    assert_ne!(ids[0], ids[1]);
    assert!(ids.iter().all(|id| id.trim_end().len() == "> ".len() + 22), "{ids:?}");
}

/// What three flags and a feature lead to, with a controller and a broker that name no voters, and a controller
/// that does.
#[test]
fn first_voters_are_asked_for_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    write_configurations(directory.path());
    for (name, roles, listeners) in [
        ("dynamic", "controller", "CONTROLLER://localhost:9093"),
        ("broker", "broker", "PLAINTEXT://localhost:9092"),
    ] {
        let text = format!(
            "process.roles={roles}\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
             listeners={listeners}\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n",
            directory.path().join(name).display()
        );
        fs::write(directory.path().join(format!("{name}.properties")), text).unwrap();
    }
    let format = |name: &str, flags: &str| {
        let _ = fs::remove_dir_all(directory.path().join(name));
        let said =
            said(directory.path(), &format!("format -t AAAAAAAAAAAAAAAAAAAAZA -c {name}.properties {flags}"));
        said.lines().find(|line| !line.contains("Bootstrap metadata")).unwrap_or_default().to_owned()
    };
    let listed =
        "--initial-controllers 1@localhost:9093:AAAAAAAAAAAAAAAAAAAAZA,2@h:9093:AAAAAAAAAAAAAAAAAAAAZQ";
    let others = "--initial-controllers 2@h:9093:AAAAAAAAAAAAAAAAAAAAZQ";
    let cases = [
        ("dynamic", "--standalone", "> Formatting dynamic metadata voter directory"),
        ("dynamic", "-s --feature kraft.version=1", "> Formatting dynamic metadata voter directory"),
        ("dynamic", listed, "> Formatting dynamic metadata voter directory"),
        ("dynamic", others, "> Formatting dynamic metadata directory"),
        ("dynamic", "-N", "> Formatting dynamic metadata directory"),
        ("broker", "", "> Formatting dynamic metadata directory"),
        ("dynamic", "", "! Because controller.quorum.voters is not set on this controller"),
        ("dynamic", "-s --feature kraft.version=0", "! Cannot set kraft.version to 0 if KIP-853"),
        ("dynamic", "-s --feature kraft.version=2", "! No feature:kraft.version with feature level 2"),
        ("dynamic", "-s --feature group.version=1", "! --feature group.version=1: only kraft.version"),
        ("dynamic", "-s -r 3.8-IV0", "! kraft.version could not be set to 1 because it depends on"),
        ("dynamic", "--initial-controllers 1@localhost", "! --initial-controllers 1@localhost: each must"),
        ("broker", "--standalone", "! You can only use --standalone on a controller."),
        ("one", "--standalone", "! You cannot specify controller.quorum.voters and format"),
        ("one", "--feature kraft.version=1", "! Cannot set kraft.version to 1 unless KIP-853"),
    ];
    for (name, flags, expected) in cases {
        let said = format(name, flags);
        assert!(said.starts_with(expected), "{name} {flags}: {said}");
    }
    format("dynamic", listed);
    let properties = fs::read_to_string(directory.path().join("dynamic/meta.properties")).unwrap();
    assert!(properties.contains("directory.id=AAAAAAAAAAAAAAAAAAAAZA"), "{properties}");
    let both = said(directory.path(), "format -t AAAAAAAAAAAAAAAAAAAAZA -c dynamic.properties -s -N");
    assert!(both.contains("can't be used with"), "{both}");
}
