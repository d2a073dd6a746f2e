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
