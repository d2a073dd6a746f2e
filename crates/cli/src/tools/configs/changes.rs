//! What is changed: `--add-config`, `--add-config-file` and `--delete-config`.

use super::{Trouble, refuse};
use crate::tools::connect::NoClient;
use crate::tools::options::Parsed;
use ottla_client::admin::configs::ConfigChange;
use ottla_server::Properties;

/// The changes that a command line asks for: first what is removed, as Kafka's tool sends them.
pub(super) fn read(parsed: &Parsed) -> Result<Vec<ConfigChange>, Trouble> {
    let mut added = Vec::new();
    if let Some(path) = parsed.value("add-config-file") {
        let text = std::fs::read(path).map_err(|error| NoClient::File(path.to_owned(), error))?;
        let properties = Properties::parse(path, &text).map_err(|error| refuse(error.to_string()))?;
        added.extend(properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    if let Some(text) = parsed.value("add-config") {
        let pairs = pairs(text).ok_or_else(|| {
            refuse(
                "requirement failed: Invalid entity config: all configs to be added must be in the format \
                 \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas.",
            )
        })?;
        added.extend(pairs);
    }
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some((name, _)) = added.iter().find(|(name, _)| !name.chars().all(is_legal)) {
        return Err(refuse(format!("Invalid character found for config key: {name}")).into());
    }
    let removed = parsed.values("delete-config").flat_map(|names| names.split(','));
    let removed = removed.map(|name| ConfigChange::Delete(name.trim().to_owned()));
    Ok(removed.chain(added.into_iter().map(|(name, value)| ConfigChange::Set(name, value))).collect())
}

/// The setting that a change is of.
pub(super) fn name(change: &ConfigChange) -> &str {
    match change {
        ConfigChange::Set(name, _) | ConfigChange::Delete(name) => name,
    }
}

/// The settings of `k1=v1,k2=[v1,v2]`, the last of each name, without the brackets; `None` when something is none.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut parts = split_outside_brackets(text, ',');
    // As Java's `split`: what is empty at the end is left out.
    while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    for part in parts {
        let &[name, value] = split_outside_brackets(part, '=').as_slice() else { return None };
        let name = name.trim().to_owned();
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, value.replace(['[', ']'], "").trim().to_owned()));
    }
    Some(pairs)
}

/// The parts of a text between the separators after which no bracket is closed that was not opened after them.
fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (at, _) in text.match_indices(separator) {
        let rest = &text[at + 1..];
        let is_outside = match (rest.find('['), rest.find(']')) {
            (_, None) => true,
            (opened, Some(closed)) => opened.is_some_and(|opened| opened < closed),
        };
        if is_outside {
            parts.push(&text[begin..at]);
            begin = at + 1;
        }
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_keep_commas_and_equals_signs_together() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let pairs = pairs(text);
            let pairs: Option<Vec<(&str, &str)>> =
                pairs.as_ref().map(|pairs| pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect());
            assert_eq!(pairs.as_deref(), Some(expected), "{text}");
        };
        check("a=1", &[("a", "1")]);
        check("a=1,b=[x,y], c = z ", &[("a", "1"), ("b", "x,y"), ("c", "z")]);
        check("a=[x=1,y=2],b=", &[("a", "x=1,y=2"), ("b", "")]);
        check("a=1,a=2,,", &[("a", "2")]);
        for text in ["", "a", "a=b=c", "a=1,b", ",a=1"] {
            assert_eq!(pairs(text), None, "{text}");
        }
    }
}
