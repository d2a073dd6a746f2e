//! Whatever is skipped stands in `docs/clients.md`, with its reason.

use super::library::Library;

/// What [`Library::cannot`] says and the document does not, as the lines that are missing in it.
pub fn missing(document: &str) -> Vec<String> {
    let rows: Vec<String> = Library::ALL
        .into_iter()
        .flat_map(|library| library.cannot().iter().map(move |what| format!("| {library} | {what} | ")))
        .collect();
    rows.into_iter().filter(|row| !document.lines().any(|line| line.starts_with(row.as_str()))).collect()
}
