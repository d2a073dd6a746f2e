//! What documents say of the code: the files they name exist, and invariants have the ids the code quotes.

use anyhow::Result;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Defines every invariant, each as the first cell of a row of a table.
const INVARIANTS: &str = "docs/invariants.md";

/// A path in a document is checked when it begins so.
const ROOTS: &[&str] = &["crates/", "xtask/", "docs/", "fuzz/", ".ci/", ".cargo/"];

/// Adds what is wrong to `wrong`.
pub(crate) fn check(wrong: &mut Vec<String>) -> Result<()> {
    for document in documents()? {
        let text = fs::read_to_string(&document)?;
        let directory = document.parent().unwrap_or(Path::new(""));
        for path in named_paths(&text) {
            if !Path::new(path).exists() {
                wrong.push(format!("{}: there is no {path}", document.display()));
            }
        }
        for link in links(&text) {
            if !directory.join(link).exists() {
                wrong.push(format!("{}: the link to {link} leads nowhere", document.display()));
            }
        }
    }
    check_invariants(wrong)
}

/// Hand-written Markdown of the project. An ADR is a record of its day: what it names may have moved since.
fn documents() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for directory in [".", "docs"] {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What stands in backquotes and looks like a path of the repository.
fn named_paths(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).filter(|quoted| {
        let is_plain = !quoted.contains([' ', '*', '<', '{', '…']);
        is_plain && ROOTS.iter().any(|root| quoted.starts_with(root))
    })
}

/// The targets of links to other files, without their anchors.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        let is_file = !target.is_empty() && !target.contains("://") && !target.contains(' ');
        is_file.then_some(target)
    })
}

fn check_invariants(wrong: &mut Vec<String>) -> Result<()> {
    let defined: BTreeSet<String> =
        fs::read_to_string(INVARIANTS)?.lines().filter_map(defined_id).map(str::to_owned).collect();
    let families: BTreeSet<&str> = defined.iter().filter_map(|id| Some(id.split_once('-')?.0)).collect();
    let mut quoted = BTreeSet::new();
    for file in all_rust_files(Path::new("crates"))? {
        let text = fs::read_to_string(file)?;
        quoted.extend(ids(&text).filter(|id| families.iter().any(|f| is_of(id, f))).map(str::to_owned));
    }
    for id in defined.difference(&quoted) {
        wrong.push(format!("{INVARIANTS}: {id} is quoted nowhere in crates/"));
    }
    for id in quoted.difference(&defined) {
        wrong.push(format!("crates/ quotes {id}, which {INVARIANTS} does not define"));
    }
    Ok(())
}

/// The id that a row of the table defines.
fn defined_id(line: &str) -> Option<&str> {
    let cell = line.strip_prefix("| ")?.split(' ').next()?;
    ids(cell).next().filter(|id| *id == cell)
}

fn is_of(id: &str, family: &str) -> bool {
    id.strip_prefix(family).is_some_and(|rest| rest.starts_with('-'))
}

/// Words such as `LOG-1` and `RAFT-VOTE`.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).filter(|word| {
        let Some((family, name)) = word.split_once('-') else { return false };
        let upper = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase());
        let number = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        upper(family) && (upper(name) || number)
    })
}

/// Every hand-written `.rs` file below `directory`, the tests' own included: checkers quote invariants too.
fn all_rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("generated") {
            files.extend(all_rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_links_are_found_and_prose_is_not() {
        let text = "See `crates/a.rs`, `a b`, `crates/*/b`, [x](docs/y.md#z), [web](https://z) and\n\
                    ```\n`crates/not.rs`\n```\n`docs/c.md`";
        assert_eq!(named_paths(text).collect::<Vec<_>>(), ["crates/a.rs", "docs/c.md"]);
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/y.md"]);
    }

    #[test]
    fn ids_are_told_from_other_words() {
        let found: Vec<&str> = ids("LOG-1: RAFT-VOTE, well-known A_B CRC-32C x-1 \"HW-2\"").collect();
        assert_eq!(found, ["LOG-1", "RAFT-VOTE", "HW-2"]);
        assert_eq!(defined_id("| LOG-1 | offsets increase |"), Some("LOG-1"));
        assert_eq!(defined_id("| id | what |"), None);
        assert_eq!(defined_id("LOG-1 is one"), None);
    }
}
