//! `cargo xtask codegen`: Kafka's messages, from `crates/protocol/schemas/` to Rust.
//!
//! Reading order: [`schema`] (what a file says), [`parse`], [`structs`] (one struct to Rust), [`files`]
//! (which file holds what), then here.

mod files;
pub(crate) mod parse;
pub(crate) mod schema;
mod structs;

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const SCHEMAS: &str = "crates/protocol/schemas";
const GENERATED: &str = "crates/protocol/src/generated";
/// Where `--check` puts what should be in [`GENERATED`].
const FRESH: &str = "target/codegen";

/// Writes the Rust of all schemas.
pub(crate) fn write() -> Result<()> {
    generate(Path::new(GENERATED))
}

/// Fails when the committed Rust is not what the schemas say.
pub(crate) fn check() -> Result<()> {
    generate(Path::new(FRESH))?;
    let (fresh, committed) = (read_tree(Path::new(FRESH))?, read_tree(Path::new(GENERATED))?);
    let stale: Vec<String> = fresh
        .keys()
        .chain(committed.keys())
        .filter(|file| fresh.get(*file) != committed.get(*file))
        .map(|file| file.display().to_string())
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    bail!("{GENERATED} is stale, run `cargo xtask codegen`:\n  {}", stale.join("\n  "))
}

fn generate(directory: &Path) -> Result<()> {
    let mut schemas = BTreeMap::new();
    for entry in fs::read_dir(SCHEMAS).context(SCHEMAS)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "schema") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file =
                parse::parse(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?;
            schemas.insert(name, file);
        }
    }
    let sources = files::sources(&schemas)?;
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    for (path, text) in &sources {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        fs::write(path, text)?;
    }
    rustfmt(&directory.join("mod.rs"))
}

/// Formats a file and the modules it declares.
fn rustfmt(file: &Path) -> Result<()> {
    let status = Command::new("rustfmt").args(["--edition", "2024", "--config-path", "."]).arg(file).status();
    if !status.context("rustfmt")?.success() {
        bail!("rustfmt cannot format what was generated");
    }
    Ok(())
}

/// All files below a directory and their texts, by path from the directory.
fn read_tree(directory: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut texts = BTreeMap::new();
    for file in crate::layers::rust_files(directory)? {
        texts.insert(file.strip_prefix(directory)?.to_owned(), fs::read_to_string(&file)?);
    }
    Ok(texts)
}
