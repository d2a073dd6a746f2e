//! `kafka-groups`: groups of all kinds (`GroupsCommand`).

use super::options::{Parsed, Tool, exclude, flag, value};
use super::{Failure, connect};
use crate::output;
use ottla_protocol::messages::list_groups_response::ListedGroup;
use std::fmt::Write as _;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-groups",
    purpose: "This tool helps to list groups of all types.",
    short_purpose: Some(NO_SERVER),
    commands: &[],
    options: &[
        value(
            "bootstrap-server",
            "server to connect to",
            "REQUIRED: the brokers to begin with, as host:port,...",
        ),
        value("command-config", "command config property file", "A client's properties."),
        flag(
            "consumer",
            "Lists groups of consumers: of type consumer, or classic ones of that protocol or none.",
        ),
        value("group-type", "type", "Lists groups of this type: classic, consumer, share or streams."),
        flag("list", "Lists groups."),
        value("protocol", "protocol", "Lists groups of this protocol."),
        flag("share", "Lists share groups."),
        flag("streams", "Lists streams groups."),
    ],
};

/// The library that reads Kafka's options says so.
const NO_SERVER: &str = "Missing required option(s) [bootstrap-server]";

/// The types of groups, as the tool shows them.
const TYPES: &[&str] = &["Classic", "Consumer", "Share", "Streams"];

/// A column is at least so wide.
const WIDTH_MIN: usize = 20;

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    if !parsed.has("bootstrap-server") {
        return Err(Failure::Usage(NO_SERVER.to_owned()));
    }
    if !parsed.has("list") {
        return Err(Failure::Usage("Command must include exactly one action: --list.".to_owned()));
    }
    let kind = parsed.value("group-type").map(type_name);
    let kind = kind.transpose().map_err(Failure::Refused)?;
    exclude(parsed, "consumer", &["group-type", "protocol", "share", "streams"])?;
    exclude(parsed, "share", &["consumer", "group-type", "protocol", "streams"])?;
    exclude(parsed, "streams", &["consumer", "group-type", "protocol", "share"])?;
    let groups = connect::block_on(async {
        let admin = connect::admin(parsed, TOOL.name)?;
        admin.list_groups(&[], &[]).await.map_err(connect::failed("groups"))
    })?;
    let wanted = |group: &&ListedGroup| is_wanted(parsed, kind, group);
    output::text(&table(groups.iter().filter(wanted)));
    Ok(())
}

/// The type that a text means, as the tool shows it.
fn type_name(text: &str) -> Result<&'static str, String> {
    let found = TYPES.iter().find(|known| known.eq_ignore_ascii_case(text));
    found.copied().ok_or_else(|| "--group-type must be a valid group type.".to_owned())
}

fn is_wanted(parsed: &Parsed, kind: Option<&str>, group: &ListedGroup) -> bool {
    let is = |kind: &str| group.group_type.eq_ignore_ascii_case(kind);
    let protocol = parsed.value("protocol");
    if kind.is_some() || protocol.is_some() {
        return kind.is_none_or(is) && protocol.is_none_or(|protocol| group.protocol_type == protocol);
    }
    if parsed.has("consumer") {
        return is("consumer") || matches!(group.protocol_type.as_str(), "consumer" | "");
    }
    (!parsed.has("share") || is("share")) && (!parsed.has("streams") || is("streams"))
}

/// Columns of one width, with a space after each cell of a group.
fn table<'a>(groups: impl Iterator<Item = &'a ListedGroup>) -> String {
    let shown = |text: &str| {
        TYPES
            .iter()
            .find(|known| known.eq_ignore_ascii_case(text))
            .map_or(text.to_owned(), |name| (*name).to_owned())
    };
    let rows: Vec<[String; 3]> = groups
        .map(|group| [group.group_id.clone(), shown(&group.group_type), group.protocol_type.clone()])
        .collect();
    let width =
        rows.iter().flatten().map(|cell| cell.encode_utf16().count()).max().unwrap_or(0).max(WIDTH_MIN);
    let mut text = format!("{:<width$} {:<width$} {:<width$}\n", "GROUP", "TYPE", "PROTOCOL");
    for [group, kind, protocol] in &rows {
        writeln!(text, "{group:<width$} {kind:<width$} {protocol:<width$} ")
            .expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options;

    #[test]
    fn groups_are_chosen_by_type_and_protocol() {
        let group = |id: &str, kind: &str, protocol: &str| ListedGroup {
            group_id: id.to_owned(),
            group_type: kind.to_owned(),
            protocol_type: protocol.to_owned(),
            ..Default::default()
        };
        let all = [
            group("a", "classic", "consumer"),
            group("b", "classic", "connect"),
            group("c", "consumer", "consumer"),
            group("d", "classic", ""),
            group("e", "share", "share"),
        ];
        let chosen = |line: &str| -> String {
            let parsed = options::parse_line(&TOOL, line).unwrap();
            let kind = parsed.value("group-type").map(|kind| type_name(kind).unwrap());
            all.iter()
                .filter(|group| is_wanted(&parsed, kind, group))
                .map(|group| group.group_id.as_str())
                .collect()
        };

        assert_eq!(chosen("--list"), "abcde");
        assert_eq!(chosen("--list --consumer"), "acd");
        assert_eq!(chosen("--list --share"), "e");
        assert_eq!(chosen("--list --streams"), "");
        assert_eq!(chosen("--list --group-type CLASSIC"), "abd");
        assert_eq!(chosen("--list --group-type classic --protocol consumer"), "a");
        assert_eq!(chosen("--list --protocol consumer"), "ac");
        assert!(type_name("unknown").is_err());
    }
}
