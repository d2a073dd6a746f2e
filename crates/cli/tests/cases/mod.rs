//! What the tests of tools that read files have in common.

use std::fs;
use std::path::Path;
use std::process::Output;

/// The command lines in the file `cases` of a directory with golden texts, each with the name of its text.
pub(crate) fn read(golden: &Path) -> Vec<(String, Vec<String>)> {
    let cases = fs::read_to_string(golden.join("cases")).expect("a file of cases");
    let lines = cases.lines().filter(|line| !line.starts_with('#'));
    let case = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().expect("a name"), words.collect())
    };
    lines.map(case).collect()
}

/// Runs the tool with each command line, which must be refused with what is said there.
pub(crate) fn are_refused(tool: impl Fn(&[&str]) -> Output, cases: &[(&[&str], &str)]) {
    for (arguments, expected) in cases {
        let output = tool(arguments);
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

/// Cuts and changes a file in many ways: the tool, run on each, ends by itself.
pub(crate) fn none_is_a_reason_to_panic(original: &Path, tool: impl Fn(&Path) -> Output) {
    let directory = tempfile::tempdir().expect("a directory");
    let whole = fs::read(original).expect("a file");
    let file = directory.path().join(original.file_name().expect("it has a name"));
    for at in (0..whole.len()).step_by(whole.len() / 12 + 1) {
        let mut changed = whole.clone();
        changed[at] ^= 0x5a;
        changed.truncate(whole.len() - at / 3);
        fs::write(&file, changed).expect("the directory is ours");
        let output = tool(&file);
        let shown = original.display();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{shown} changed at {at}: {output:?}");
    }
}
