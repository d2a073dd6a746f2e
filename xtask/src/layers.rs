//! Which crate may depend on which: the order of the crates is the order of the layers.
//!
//! A new arrow is an edit to [`EDGES`], with its reason in the commit.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A crate of `crates/`, and the crates of ours that it may name.
const EDGES: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("records", &["types"]),
    ("protocol", &["types"]),
    ("storage", &["records", "types"]),
    ("raft", &["records", "protocol", "types"]),
    ("metadata", &["records", "protocol", "types"]),
    ("controller", &["metadata", "protocol", "types"]),
    ("coordinator", &["metadata", "protocol", "types"]),
    ("replication", &["storage", "records", "types"]),
    ("verify", &["types"]),
    ("net", &["protocol", "types"]),
    ("client", &["net", "protocol", "records", "types"]),
    (
        "server",
        &[
            "net",
            "types",
            "records",
            "protocol",
            "storage",
            "raft",
            "metadata",
            "controller",
            "replication",
            "coordinator",
        ],
    ),
    (
        "cli",
        &[
            "server",
            "client",
            "net",
            "verify",
            // Plans of replicas are made as the controller places them.
            "controller",
            "metadata",
            "storage",
            "records",
            "protocol",
            "types",
        ],
    ),
    (
        "sim",
        &[
            "server",
            "client",
            "net",
            "types",
            "records",
            "protocol",
            "storage",
            "raft",
            "metadata",
            "controller",
            "replication",
            "coordinator",
            "verify",
        ],
    ),
    ("e2e", &["client", "verify", "protocol", "records", "types"]),
];

/// Crates of layers 0 and 1: no runtime, no socket, no clock, no randomness of their own.
const PURE: &[&str] = &[
    "types",
    "records",
    "protocol",
    "storage",
    "raft",
    "metadata",
    "controller",
    "coordinator",
    "replication",
    "verify",
];

const IMPURE: &[&str] = &["tokio", "std::net", "Instant::now", "SystemTime::now", "rand::", "getrandom"];

/// The one place that touches files.
const FILES: &str = "crates/storage/src/disk.rs";

/// Checks the arrows between crates and what the pure crates name.
pub(crate) fn check() -> Result<()> {
    let edges: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for entry in fs::read_dir("crates").context("crates/")? {
        let directory = entry?.path();
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match edges.get(name.as_str()) {
            None => wrong.push(format!("crates/{name} is not in the table of xtask/src/layers.rs")),
            Some(allowed) => check_manifest(&directory, &name, allowed, &mut wrong)?,
        }
        if PURE.contains(&name.as_str()) {
            check_purity(&directory.join("src"), &mut wrong)?;
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("layers:\n  {}", wrong.join("\n  "))
}

fn check_manifest(directory: &Path, name: &str, allowed: &[&str], wrong: &mut Vec<String>) -> Result<()> {
    let manifest = fs::read_to_string(directory.join("Cargo.toml"))?;
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    for line in dependencies.lines() {
        let Some(rest) = line.strip_prefix("ottla-") else { continue };
        let target = rest.split(['.', ' ', '=']).next().unwrap_or_default();
        if !allowed.contains(&target) {
            wrong.push(format!("{name} may not depend on {target}"));
        }
    }
    Ok(())
}

fn check_purity(source: &Path, wrong: &mut Vec<String>) -> Result<()> {
    for file in rust_files(source)? {
        let text = fs::read_to_string(&file)?;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or_default();
            for banned in IMPURE {
                if line.contains(banned) {
                    wrong.push(format!("{}:{}: names {banned}", file.display(), number + 1));
                }
            }
            if line.contains("std::fs") && file != Path::new(FILES) {
                wrong.push(format!("{}:{}: touches files outside {FILES}", file.display(), number + 1));
            }
        }
    }
    Ok(())
}

/// All `.rs` files below `directory`, but for tests' own files.
pub(crate) fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
