//! Settings that are wrong: what the node says names the setting and the value, and it does not start.

use ottla_e2e::cluster;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A configuration that is right but for these lines.
fn properties(data: &Path, lines: &str) -> String {
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://localhost:19,CONTROLLER://localhost:20\n\
         controller.quorum.voters=1@localhost:20\nlog.dirs={}\n{lines}\n",
        data.display()
    )
}

/// What `ottla COMMAND` says, which must fail.
fn refusal(command: &[&str], file: &Path) -> String {
    let output = Command::new(cluster::binary()).args(command).arg(file).output().expect("it is built");
    assert!(!output.status.success(), "{command:?} {}", file.display());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_mistake_in_the_configuration_is_named() {
    let cases = [
        ("num.partition=3", "there is no setting num.partition; did you mean num.partitions?"),
        ("num.partitions=many", "num.partitions=many: must be a whole number"),
        ("num.partitions=0", "num.partitions=0: "),
        ("listeners=PLAINTEXT://localhost:99999", "the port must be a number from 0 to 65535"),
        ("listeners=PLAINTEXT://localhost:kafka", "the port must be a number from 0 to 65535"),
        ("listeners=localhost:9092", "listeners=localhost:9092: "),
        ("process.roles=boss", "process.roles=boss: "),
        ("node.id=-3", "node.id=-3: "),
        ("node.id=one", "node.id=one: must be a whole number"),
        ("controller.quorum.voters=1@localhost", "controller.quorum.voters=1@localhost: "),
        ("log.dirs=/proc/no/such/place", "/proc/no/such/place"),
        ("log.dirs=", "log.dirs=: it must not be empty; name the directory where the logs are kept"),
        ("log.dirs=/tmp/a,/tmp/b,/tmp/a", "log.dirs=/tmp/a,/tmp/b,/tmp/a: /tmp/a is named twice"),
        ("unclean.leader.election.enable=perhaps", "unclean.leader.election.enable=perhaps: "),
        ("ssl.keystore.location=/k", "ssl.keystore.location=/k is not supported"),
    ];
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("server.properties");
    for (line, expected) in cases {
        fs::write(&file, properties(&directory.path().join("data"), line)).expect("a file for the test");

        let said = refusal(&["server"], &file);

        assert!(said.contains(expected), "{line}: {said}");
    }
}

#[test]
fn an_override_is_checked_like_a_line() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("server.properties");
    fs::write(&file, properties(&directory.path().join("data"), "")).expect("a file for the test");

    let said = refusal(&["server", "--override", "num.io.thread=3"], &file);

    assert!(said.contains("there is no setting num.io.thread; did you mean num.io.threads?"), "{said}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("server.properties");

    for command in [&["server"][..], &["format", "-t", cluster::CLUSTER_ID, "-c"]] {
        let said = refusal(command, &file);

        assert!(said.contains(file.to_str().expect("text")), "{said}");
    }
}

#[test]
fn a_node_that_is_not_formatted_says_how_to_format_it() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let (file, data) = (directory.path().join("server.properties"), directory.path().join("data"));
    fs::write(&file, properties(&data, "")).expect("a file for the test");

    for missing in [true, false] {
        let said = refusal(&["server"], &file);

        let expected = format!(
            "{} is not formatted; run: ottla format -t CLUSTER_ID -c FILE.properties",
            data.display()
        );
        assert!(said.contains(&expected), "{said}");
        if missing {
            assert!(!data.exists(), "nothing is made of a directory that may be mistyped");
            fs::create_dir(&data).expect("a directory for the test");
        }
    }
}
