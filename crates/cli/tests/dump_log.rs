//! `kafka-dump-log` says what Kafka's own tool says, byte for byte.
//!
//! The golden texts are what `org.apache.kafka.tools.DumpLogSegments` of Apache Kafka 4.3.1 printed of the files in
//! `tests/golden/dump-log`, with these arguments: `.out` on standard output, `.err` on standard error, where `{DIR}`
//! stands for the directory.

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
    let cases = fs::read_to_string(golden().join("cases")).unwrap();
    let mut count = 0;
    for case in cases.lines().filter(|line| !line.starts_with('#')) {
        let mut words = case.split_whitespace();
        let name = words.next().unwrap();
        let output = dump(&words.collect::<Vec<_>>());
        let expected = |suffix: &str| fs::read(golden().join(format!("{name}.{suffix}"))).unwrap_or_default();
        let said = String::from_utf8(output.stderr).unwrap().replace(golden().to_str().unwrap(), "{DIR}");

        assert_eq!(said, String::from_utf8(expected("err")).unwrap(), "{name}, standard error");
        assert!(!expected("out").is_empty(), "{name} has a golden text");
        assert!(output.stdout == expected("out"), "{name}:\n{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{name}");
        count += 1;
    }
    assert_eq!(count, 21);
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
    for (arguments, expected) in cases {
        let output = dump(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

/// Files come from anywhere: whatever is cut or changed, the tool ends by itself.
#[test]
fn a_damaged_file_is_no_reason_to_panic() {
    let directory = tempfile::tempdir().unwrap();
    for name in
        ["00000000000000000000.log", "00000000000000000000.timeindex", "00000000000000000012.snapshot"]
    {
        let whole = fs::read(golden().join("topic1-0").join(name)).unwrap();
        let file = directory.path().join(name);
        for at in (0..whole.len()).step_by(whole.len() / 12 + 1) {
            let mut changed = whole.clone();
            changed[at] ^= 0x5a;
            changed.truncate(whole.len() - at / 3);
            fs::write(&file, changed).unwrap();
            let output = dump(&["--print-data-log", "--files", file.to_str().unwrap()]);
            assert!(matches!(output.status.code(), Some(0 | 1)), "{name} changed at {at}: {output:?}");
        }
    }
}
