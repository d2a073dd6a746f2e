//! `kafka-metadata-shell` says of a log of Apache Kafka's what Kafka's own tool says, byte for byte.
//!
//! The log in `tests/golden/metadata-shell` is that of a node of Apache Kafka 4.4.0 with access control, quotas and
//! credentials; the golden texts are what `org.apache.kafka.shell.MetadataShell` of 4.3.1, with the classes of 4.4.0 below it,
//! printed of it.

mod cases;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LOG: &str = "00000000000000000000.log";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metadata-shell")
}

fn shell(file: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["kafka-metadata-shell", "-s"]).arg(file).args(words);
    command.output().expect("it was built for this test")
}

#[test]
fn every_golden_text_is_said_again() {
    let cases = cases::read(&golden());
    for (name, words) in &cases {
        let output = shell(&golden().join(LOG), &words.iter().map(String::as_str).collect::<Vec<_>>());

        let expected = fs::read_to_string(golden().join(format!("{name}.out"))).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{name}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{name}");
        assert!(output.status.success() && !expected.is_empty(), "{name}");
    }
    assert_eq!(cases.len(), 17);
}

#[test]
fn what_cannot_be_shown_is_named() {
    let cases: &[(&[&str], &str)] = &[
        (&["ls"], "Missing required argument \"[snapshot]\""),
        (&["-s", "absent.log", "ls"], "absent.log: No such file"),
        (&["-s", "cases", "ls"], "cases: the batch at 0: magic 110 is not 2"),
        (&["-s", LOG, "ls", "-l"], "l is not a recognized option"),
    ];
    let shell = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.arg("kafka-metadata-shell").args(arguments).current_dir(golden()).output().unwrap()
    };
    cases::are_refused(shell, cases);
}

/// Files come from anywhere: whatever is cut or changed, the tool ends by itself.
#[test]
fn a_damaged_file_is_no_reason_to_panic() {
    cases::none_is_a_reason_to_panic(&golden().join(LOG), |file| shell(file, &["tree", "/"]));
}
