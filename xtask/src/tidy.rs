//! What no lint checks: files that grew past one concept, code left unfinished, documents that name what is
//! not there.

use crate::documents;
use crate::layers::rust_files;
use anyhow::{Result, bail};
use std::fs;
use std::path::Path;

/// More than this many lines is two files.
const LINES_MAX: usize = 1000;

const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];

/// Checks every hand-written source file, and the documents.
pub(crate) fn check() -> Result<()> {
    let mut wrong = Vec::new();
    for file in rust_files(Path::new("crates"))?.into_iter().chain(rust_files(Path::new("xtask"))?) {
        let text = fs::read_to_string(&file)?;
        if text.starts_with("// @generated") || file.ends_with("tidy.rs") {
            continue;
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines; more than {LINES_MAX} is two concepts", file.display()));
        }
        for (number, line) in text.lines().enumerate() {
            for word in UNFINISHED {
                if line.contains(word) {
                    wrong.push(format!("{}:{}: {word}", file.display(), number + 1));
                }
            }
        }
    }
    documents::check(&mut wrong)?;
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("tidy:\n  {}", wrong.join("\n  "))
}
