//! Which options go together (`ConsumerGroupCommandOptions.checkArgs`, in its order).

use crate::output;
use crate::tools::Failure;
use crate::tools::options::{Parsed, exclude, require};

/// The options that say where a group is to go on, in the order in which Kafka looks for what they exclude.
const SCENARIOS: &[&str] = &[
    "to-offset",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "to-current",
    "shift-by",
    "from-file",
];

/// What is asked for, if the options are those that it takes.
pub(super) fn action(parsed: &Parsed) -> Result<&'static str, Failure> {
    let has = |name| parsed.has(name);
    let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
    available(parsed)?;
    require(parsed, &["bootstrap-server"])?;
    let selects_groups = has("group") || has("all-groups");
    if has("describe") {
        if !selects_groups {
            return usage("Option [describe] takes one of these options: [all-groups], [group]");
        }
        if ["members", "offsets", "state"].iter().filter(|view| has(view)).count() > 1 {
            return usage(
                "Option [describe] takes at most one of these options: [members], [offsets], [state]",
            );
        }
        if parsed.value("state").is_some() {
            return usage("Option [describe] does not take a value for [state]");
        }
    }
    if has("delete") {
        if !selects_groups {
            return usage("Option [delete] takes one of these options: [all-groups], [group]");
        }
        if has("topic") {
            return usage(
                "The consumer does not support topic-specific offset deletion from a consumer group.",
            );
        }
    }
    if has("delete-offsets") && !(has("group") && has("topic")) {
        return usage("Option [delete-offsets] takes the following options: [topic], [group]");
    }
    if has("reset-offsets") {
        reset(parsed, selects_groups)?;
    }
    exclude(parsed, "group", &["all-groups", "list"])?;
    exclude(parsed, "topic", &["list", "describe"])?;
    let actions = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
    let mut given = actions.into_iter().filter(|action| has(action));
    match (given.next(), given.next()) {
        (Some(action), None) => Ok(action),
        _ => usage(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, \
             --delete-offsets, --validate-regex",
        ),
    }
}

/// Some options have a meaning beside others only.
fn available(parsed: &Parsed) -> Result<(), Failure> {
    let rules: &[(&str, &[&str])] = &[
        ("members", &["describe"]),
        ("verbose", &["describe"]),
        ("offsets", &["describe"]),
        ("state", &["describe", "list"]),
        ("type", &["list"]),
    ];
    match rules.iter().find(|(name, with)| parsed.has(name) && !with.iter().any(|with| parsed.has(with))) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::Refused(format!(
            "Option(s) [{name}] are unavailable given other options on the command line"
        ))),
    }
}

fn reset(parsed: &Parsed, selects_groups: bool) -> Result<(), Failure> {
    let has = |name| parsed.has(name);
    if has("dry-run") && has("execute") {
        let message = "Option [reset-offsets] only accepts one of [execute] and [dry-run]";
        return Err(Failure::Usage(message.to_owned()));
    }
    if !has("dry-run") && !has("execute") {
        output::error_line(
            "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command \
             will require either --dry-run or --execute to be specified. You should add the --dry-run option \
             explicitly if you are scripting this command and want to keep the current default behavior without \
             prompting.",
        );
    }
    if !selects_groups {
        let message = "Option [reset-offsets] takes one of these options: [all-groups], [group]";
        return Err(Failure::Usage(message.to_owned()));
    }
    for scenario in SCENARIOS {
        let others: Vec<&str> = SCENARIOS.iter().copied().filter(|other| other != scenario).collect();
        exclude(parsed, scenario, &others)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::groups::TOOL;
    use crate::tools::options;

    #[test]
    fn a_group_goes_on_at_one_place_only() {
        let read = |line: &str| {
            let line = format!("--bootstrap-server a:1 --reset-offsets --group g --dry-run {line}");
            action(&options::parse_line(&TOOL, &line).unwrap())
        };

        for scenario in SCENARIOS {
            let one = if scenario.starts_with("to-") && !matches!(*scenario, "to-offset" | "to-datetime") {
                format!("--{scenario}")
            } else {
                format!("--{scenario} 1")
            };
            assert_eq!(read(&one).unwrap(), "reset-offsets", "{one}");
            let other = if *scenario == "to-latest" { "--to-earliest" } else { "--to-latest" };
            assert!(read(&format!("{one} {other}")).is_err(), "{one}");
        }
    }
}
