//! `cargo xtask docs`: the documents that are made from the code.
//!
//! `docs/api-support.md` comes from the handlers' headers, `docs/configuration.md` from the tables that the
//! server obeys. `--check` fails when a committed one is stale.

use crate::layers::rust_files;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

const HANDLERS: &str = "crates/server/src/handlers";
const API_SUPPORT: &str = "docs/api-support.md";
const CONFIGURATION: &str = "docs/configuration.md";

/// Writes both.
pub(crate) fn write() -> Result<()> {
    fs::write(API_SUPPORT, api_support()?)?;
    fs::write(CONFIGURATION, configuration()?)?;
    Ok(())
}

/// Fails when one is not what would be written.
pub(crate) fn check() -> Result<()> {
    for (path, fresh) in [(API_SUPPORT, api_support()?), (CONFIGURATION, configuration()?)] {
        if fs::read_to_string(path).unwrap_or_default() != fresh {
            bail!("{path} is stale: run `cargo xtask docs`");
        }
    }
    Ok(())
}

/// One API, as the header of its handler's file describes it.
#[derive(Debug, PartialEq, Eq)]
struct Api {
    name: String,
    key: u32,
    versions: String,
    listeners: String,
}

/// The header of one file: which APIs it serves, and what is to be said of them.
struct Header {
    apis: Vec<Api>,
    notes: String,
}

fn api_support() -> Result<String> {
    let mut table = Vec::new();
    let mut families = String::new();
    for file in rust_files(Path::new(HANDLERS))? {
        let text = fs::read_to_string(&file)?;
        let Some(header) = parse(&text).with_context(|| file.display().to_string())? else { continue };
        let names: Vec<&str> = header.apis.iter().map(|api| api.name.as_str()).collect();
        let path = file.display();
        families.push_str(&format!("\n## {}\n\n[{path}](../{path})\n\n{}\n", names.join(", "), header.notes));
        for api in header.apis {
            table.push((api.key, api));
        }
    }
    if table.is_empty() {
        bail!("no handler in {HANDLERS} has a header");
    }
    table.sort_by(|(a, left), (b, right)| (a, &left.listeners).cmp(&(b, &right.listeners)));
    let rows: String = table
        .iter()
        .map(|(key, api)| format!("| {key} | {} | {} | {} |\n", api.name, api.versions, api.listeners))
        .collect();
    Ok(format!(
        "# Which APIs are served\n\n\
         Made by `cargo xtask docs` from the headers of the handlers; edit there, never here. What a node\n\
         advertises is in `crates/server/src/request/router.rs` and `crates/server/src/request/controller_router.rs`;\n\
         the APIs that only controllers serve to brokers (BrokerRegistration, BrokerHeartbeat, AlterPartition and\n\
         others) are decided in `crates/controller` and have no handler of their own.\n\n\
         | key | API | versions | listener |\n|---|---|---|---|\n{rows}{families}"
    ))
}

/// Reads a header such as `//! Vote (key 52, versions 0–2), Fetch (1, 4–18), controller listener.`; `None` for a
/// file that serves no API.
fn parse(text: &str) -> Result<Option<Header>> {
    let lines: Vec<&str> =
        text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim_end).collect();
    let paragraph: Vec<&str> =
        lines.iter().map(|line| line.trim()).take_while(|line| !line.is_empty()).collect();
    let first = paragraph.join(" ");
    if !first.contains("(key ") {
        return Ok(None);
    }
    let notes: Vec<&str> =
        lines[paragraph.len()..].iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    // What follows the listener is about something else than the list.
    let end = first.find("listener").context("the header does not end with the listener")?;
    let listeners = first[..end].rsplit(',').next().unwrap_or_default().trim().to_owned();
    let mut apis = Vec::new();
    let mut rest = &first[..end];
    while let Some(open) = rest.find('(') {
        let close = rest[open..].find(')').context("a bracket is not closed")? + open;
        let name = rest[..open].trim_start_matches([',', ' ']).trim_start_matches("and ").trim();
        let inside = &rest[open + 1..close];
        rest = &rest[close + 1..];
        if name.is_empty() || name.contains(' ') {
            // A remark within the list: "versions 3–13 (advertised from 0)".
            continue;
        }
        let (key, versions) = match inside.split_once(',') {
            Some((key, versions)) => (key, versions),
            // "Name (key 0), versions 3–13": the versions stand behind the bracket.
            None => (inside, rest.trim_start_matches(',')),
        };
        let key = key.trim().trim_start_matches("key ").parse().with_context(|| format!("{name}: no key"))?;
        let versions = versions.trim().trim_start_matches("versions ").trim_start_matches("version ");
        let versions = versions.split(',').next().unwrap_or_default().trim().to_owned();
        if !versions.starts_with(|first: char| first.is_ascii_digit()) {
            bail!("{name}: no versions");
        }
        apis.push(Api { name: name.to_owned(), key, versions, listeners: listeners.clone() });
    }
    Ok(Some(Header { apis, notes: notes.join("\n").trim().to_owned() }))
}

fn configuration() -> Result<String> {
    let mut print = Command::new("cargo");
    print.args(["run", "--quiet", "--release", "--package", "ottla-server", "--example", "configuration"]);
    let output = print.stderr(std::process::Stdio::inherit()).output().context("cargo run")?;
    if !output.status.success() {
        bail!("the example `configuration`: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: &[(&str, u32, &str, &str)]) {
        let parsed = parse(header).unwrap().map_or(Vec::new(), |header| header.apis);
        let expected: Vec<Api> = expected
            .iter()
            .map(|&(name, key, versions, listeners)| Api {
                name: name.to_owned(),
                key,
                versions: versions.to_owned(),
                listeners: listeners.to_owned(),
            })
            .collect();
        assert_eq!(parsed, expected, "{header}");
    }

    #[test]
    fn headers_are_read_in_every_form_they_have() {
        check("//! Topics are changed.\n", &[]);
        check("//! Fetch (key 1), versions 4–18, broker listener.", &[("Fetch", 1, "4–18", "broker")]);
        check(
            "//! Produce (key 0), versions 3–13 (advertised from 0), broker listener.",
            &[("Produce", 0, "3–13 (advertised from 0)", "broker")],
        );
        check(
            "//! Vote (key 52, versions 0–2), Begin (53,\n//! 0–1),\n//! controller listener.\n//!\n//! More (of it).",
            &[("Vote", 52, "0–2", "controller"), ("Begin", 53, "0–1", "controller")],
        );
        check(
            "//! A (key 5, versions 0–2) and B (60, 0), controller listener; and what (else) there is.",
            &[("A", 5, "0–2", "controller"), ("B", 60, "0", "controller")],
        );
        check(
            "//! ApiVersions (key 18), versions 0–5, broker and controller listeners.",
            &[("ApiVersions", 18, "0–5", "broker and controller")],
        );
    }

    #[test]
    fn a_header_without_versions_or_listener_is_refused() {
        assert!(parse("//! Fetch (key 1), broker listener.").is_err());
        assert!(parse("//! Fetch (key 1), versions 4–18.").is_err());
        assert!(parse("//! Fetch (key one), versions 4–18, broker listener.").is_err());
    }
}
