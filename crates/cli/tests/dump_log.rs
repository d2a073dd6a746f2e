//! `kafka-dump-log` says what Kafka's own tool says, byte for byte.
//!
//! The golden texts are what `org.apache.kafka.tools.DumpLogSegments` of Apache Kafka 4.3.1 printed of the files in
//! `tests/golden/dump-log`, with these arguments: `.out` on standard output, `.err` on standard error, where `{DIR}`
//! stands for the directory.

mod cases;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dump-log")
}

fn dump(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.arg("kafka-dump-log").args(arguments).current_dir(golden());
    command.output().expect("it was built for this test")
}

#[test]
fn every_golden_text_is_said_again() {
    let cases = cases::read(&golden());
    for (name, words) in &cases {
        let output = dump(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let expected = |suffix: &str| fs::read(golden().join(format!("{name}.{suffix}"))).unwrap_or_default();
        let said = String::from_utf8(output.stderr).unwrap().replace(golden().to_str().unwrap(), "{DIR}");

        assert_eq!(said, String::from_utf8(expected("err")).unwrap(), "{name}, standard error");
        assert!(!expected("out").is_empty(), "{name} has a golden text");
        assert!(output.stdout == expected("out"), "{name}:\n{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{name}");
    }
    assert_eq!(cases.len(), 21);
}

#[test]
fn what_cannot_be_shown_is_named() {
    let cases: &[(&[&str], &str)] = &[
        (&["--files", "absent.log"], "absent.log is not named by an offset"),
        (&["--files", "00000000000000000007.log"], "00000000000000000007.log: No such file"),
        (&["--deep-iteration"], "Missing required argument \"[files]\""),
        (
            &["--remote-log-metadata-decoder", "--files", "cases"],
            "--remote-log-metadata-decoder is not supported",
        ),
        (
            &["--value-decoder-class", "my.Own", "--files", "cases"],
            "--value-decoder-class my.Own is not supported",
        ),
        (
            &["--offsets-decoder", "--files", "made/00000000000000000100.log"],
            "at offset 102 using the specified",
        ),
        (&["--files", "broken/4/00000000000000000000.index"], "has no batch at 635, where the index says"),
        (&["--max-bytes", "much", "--files", "cases"], "Cannot parse argument 'much' of option max-bytes"),
    ];
    cases::are_refused(dump, cases);
}

/// Files come from anywhere: whatever is cut or changed, the tool ends by itself.
#[test]
fn a_damaged_file_is_no_reason_to_panic() {
    for name in
        ["00000000000000000000.log", "00000000000000000000.timeindex", "00000000000000000012.snapshot"]
    {
        cases::none_is_a_reason_to_panic(&golden().join("topic1-0").join(name), |file| {
            dump(&["--print-data-log", "--files", file.to_str().unwrap()])
        });
    }
}
