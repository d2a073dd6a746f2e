//! What Kafka's tools say, as a story in a file: command lines, and under each what it wrote.
//!
//! ```text
//! # A remark.
//! @ produce t 0 10
//! $ kafka-topics --bootstrap-server $BOOTSTRAP --list
//! > t
//! ```
//!
//! A line beginning with `$` is a command line, with `@` something that happens beside ([`Act`]); `>` is what the tool
//! wrote to standard output, `!` to standard error, and `=` its exit status when that is not 0. Ids, addresses and
//! what depends on chance stand in the file as [`same_by_nature`] writes them.

use crate::client::Client;
use crate::jars::{self, Said};
use crate::kcat;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use regex::{Captures, Regex};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Who plays.
pub enum Tools {
    /// Kafka's own tools.
    Kafka(jars::Tools),
    /// Ours.
    Ottla,
}

impl Tools {
    /// Runs a tool, by its script's name, in this directory.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn run(&mut self, directory: &Path, words: &[String]) -> Said {
        match self {
            Tools::Kafka(tools) => tools.run(words),
            Tools::Ottla => {
                let mut command = Command::new(crate::cluster::binary());
                let output = command.args(words).current_dir(directory).output().expect("it is built");
                Said {
                    status: output.status.code().expect("nobody kills it"),
                    out: String::from_utf8(output.stdout).expect("tools print text"),
                    err: String::from_utf8(output.stderr).expect("tools print text"),
                }
            }
        }
    }
}

/// What happens beside the tools.
enum Act {
    /// `produce TOPIC PARTITION COUNT`: so many records are written.
    Produce { topic: String, partition: String, count: usize },
    /// `join GROUP TOPIC [ARGUMENTS]`: a member joins a group that has none, and has its share.
    Join { group: String, topic: String, arguments: Vec<String> },
    /// `leave`: it has gone.
    Leave,
    /// `moved`: no replica is on its way any more.
    Moved,
    /// `write FILE LINE…`: a file has these lines.
    Write { file: String, lines: Vec<String> },
}

impl Act {
    fn parse(text: &str) -> Act {
        let mut words = text.split_whitespace().map(str::to_owned);
        let act = words.next().unwrap_or_default();
        let mut word = || words.next().unwrap_or_else(|| panic!("`@ {text}` lacks a word"));
        match act.as_str() {
            "produce" => Act::Produce {
                topic: word(),
                partition: word(),
                count: word().parse().unwrap_or_else(|_| panic!("`@ {text}` needs a number")),
            },
            "join" => Act::Join { group: word(), topic: word(), arguments: words.collect() },
            "leave" => Act::Leave,
            "moved" => Act::Moved,
            "write" => Act::Write { file: word(), lines: words.collect() },
            other => panic!("there is no act {other}"),
        }
    }
}

/// Plays the story again: its command lines, with what these tools say of the cluster now.
///
/// # Panics
/// When a line has no meaning, or a tool cannot be run.
pub fn play(story: &str, bootstrap: &str, tools: &mut Tools, directory: &Path) -> String {
    let mut told = String::new();
    let mut member = None;
    for line in story.lines() {
        let is_answer = matches!(line.get(..1), Some(">" | "!" | "="));
        if !is_answer {
            writeln!(told, "{line}").expect("a String takes everything");
        }
        if let Some(text) = line.strip_prefix("$ ") {
            let line = text.replace("$BOOTSTRAP", bootstrap);
            let mut said = tools.run(directory, &words(&line));
            if text.starts_with("kafka-consumer-groups") && text.contains("--list") {
                said.out = sorted(&said.out);
            }
            let deletes = text.starts_with("kafka-streams-application-reset") && !text.contains("--dry-run");
            let changes =
                text.starts_with("kafka-topics") && CHANGES.iter().any(|change| text.contains(change));
            if changes || (deletes && said.status == 0) {
                settle(bootstrap);
            }
            let configures = text.starts_with("kafka-configs") || text.starts_with("kafka-client-metrics");
            if configures && said.status == 0 && CHANGES.iter().any(|change| text.contains(change)) {
                settle_configs(bootstrap, &words(&line));
            }
            write_said(&mut told, &said);
        } else if let Some(text) = line.strip_prefix("@ ") {
            match Act::parse(text) {
                Act::Produce { topic, partition, count } => {
                    let lines: String = (0..count).map(|n| format!("record {n}\n")).collect();
                    kcat::at(bootstrap, &["-P", "-t", &topic, "-p", &partition, "-X", "acks=all"], &lines);
                }
                Act::Join { group, topic, arguments } => {
                    let mut all = vec!["-X", "enable.auto.commit=false", "-X", "broker.address.family=v4"];
                    all.extend(arguments.iter().map(String::as_str));
                    let joined = kcat::Member::start_at(bootstrap, &group, &topic, &all);
                    crate::eventually("it has its share", crate::cluster::PATIENCE, || {
                        (!joined.assigned().is_empty()).then_some(())
                    });
                    member = Some(joined);
                }
                Act::Leave => drop(member.take().expect("somebody has joined").interrupt()),
                Act::Moved => {
                    crate::reassignment::wait_until_over(bootstrap);
                    settle(bootstrap);
                }
                Act::Write { file, lines } => {
                    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                    fs::write(directory.join(file), text).expect("the directory is ours");
                }
            }
        }
    }
    told
}

/// The options by which something is changed.
const CHANGES: &[&str] = &["--create", "--delete", "--alter"];

/// Waits until every broker knows of the same topics and replicas: the next command may ask any.
fn settle(bootstrap: &str) {
    crate::eventually("all brokers know the same topics", crate::cluster::PATIENCE, || {
        let topics = bootstrap.split(',').map(|broker| {
            let listed = kcat::at(broker, &["-L"], "");
            listed.split_once(" topics:").map(|(_, topics)| topics.to_owned())
        });
        let topics: BTreeSet<Option<String>> = topics.collect();
        (topics.len() == 1).then_some(())
    });
}

/// Waits until every broker knows the same settings of the topic, the group or the subscription to clients' metrics that a
/// command line names, and of all brokers; and the broker whose own settings it changes, these.
fn settle_configs(bootstrap: &str, words: &[String]) {
    let named = words.windows(2).filter_map(|pair| match pair[0].as_str() {
        "--topic" | "--entity-name" => Some(resource(2, &pair[1])),
        "--name" | "--client-metrics" => Some(resource(16, &pair[1])),
        "--group" => Some(resource(32, &pair[1])),
        _ => None,
    });
    let all: Vec<_> = named.chain([resource(4, "")]).collect();
    crate::eventually("all brokers know the same settings", crate::cluster::PATIENCE, || {
        let told = bootstrap.split(',').map(|broker| {
            let mut values: Vec<_> =
                configs(broker, &all)?.into_iter().map(|config| (config.name, config.value)).collect();
            values.sort_unstable();
            Some(values)
        });
        let told: BTreeSet<_> = told.collect();
        (told.len() == 1 && !told.contains(&None)).then_some(())
    });
    let following = |option: &str| {
        let at = words.iter().position(|word| word == option)?;
        words.get(at + 1).map(String::as_str)
    };
    let Some(changed) = following("--broker") else { return };
    let set = following("--add-config").and_then(|set| set.split_once('='));
    let unset = following("--delete-config");
    crate::eventually("the broker knows its own settings", crate::cluster::PATIENCE, || {
        // The others say nothing of them.
        let own = bootstrap.split(',').filter_map(|broker| configs(broker, &[resource(4, changed)]));
        own.flatten()
            .any(|config| match config.config_source {
                DYNAMIC_BROKER_CONFIG => {
                    set == Some((&config.name, config.value.as_deref().unwrap_or_default()))
                }
                _ => unset == Some(&config.name),
            })
            .then_some(())
    });
}

/// What `DescribeConfigs` calls the source of what is set for one broker.
const DYNAMIC_BROKER_CONFIG: i8 = 2;

fn resource(resource_type: i8, name: &str) -> DescribeConfigsResource {
    DescribeConfigsResource { resource_type, resource_name: name.to_owned(), configuration_keys: None }
}

/// What a broker says of the settings of these.
fn configs(broker: &str, of: &[DescribeConfigsResource]) -> Option<Vec<DescribeConfigsResourceResult>> {
    let request = DescribeConfigsRequest { resources: of.to_vec(), ..Default::default() };
    let answer = Client::reach(broker)?.call(4, &request)?;
    Some(answer.results.into_iter().flat_map(|result| result.configs).collect())
}

/// The lines in order: which group comes first depends on where chance has put it.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

/// The words of a command line; quotes keep them together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn write_said(told: &mut String, said: &Said) {
    let mut section = |mark: char, text: &str| {
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some("") => writeln!(told, "{mark}"),
                Some(line) => writeln!(told, "{mark} {line}"),
                None => writeln!(told, "{mark} {line}\n{mark}(no end of line)"),
            }
            .expect("a String takes everything");
        }
    };
    section('>', &same_by_nature(&said.out));
    // Stack traces end with an empty line, or with none.
    let err = same_by_nature(&said.err);
    if !err.is_empty() {
        section('!', &format!("{}\n", err.trim_end_matches('\n')));
    }
    if said.status != 0 {
        writeln!(told, "= {}", said.status).expect("a String takes everything");
    }
}

/// The text without what differs by nature: ids, where nodes and their logs are and which of them chance chose; in which order Java
/// lists a set, which differs from one JVM to the next; the stack traces of
/// Java; what our client warns of, where Kafka's keeps a log; the table of options, whose words are Kafka's own.
pub fn same_by_nature(text: &str) -> String {
    let rules = [
        (r"(?m)^Option(?: \(\* = required\))? +Description *\n(?s:.*)", ""),
        (r#"(?m)^Exception in thread "main" [\w.$]+: "#, ""),
        // The exception is all that this tool says of why.
        (
            r"(?m)^(Error while executing config command .*\n)(?:java\.util\.concurrent\.ExecutionException: )?([\w.]+: .*)$",
            "${1}~ ${2}",
        ),
        (
            r"(?m)^(\tat | at \[Source|\t\.\.\. |Caused by: |\tSuppressed: |(java|org|joptsimple|com)\.[\w.$]+(Exception|Error)\b).*\n",
            "",
        ),
        (r"(?m)^ WARN .*\n", ""),
        (r"((?:TopicId|Cluster ID): )\S{22}", "${1}AAAAAAAAAAAAAAAAAAAAAA"),
        (r"(?m)^(\d+ +)(?:localhost|127\.0\.0\.1) \d{5} ", "${1}localhost 00000 "),
        (r"Local controller \d", "Local controller 1"),
        (r"request sent to broker \d failed", "request sent to broker 1 failed"),
        // Who coordinates a transactional id.
        (r"(?m)^(mine +\t)\d ", "${1}1 "),
        (r"(?m)^\d( +\tmine )", "1${1}"),
        (
            r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
            "00000000-0000-0000-0000-000000000000",
        ),
        (r#""/[^"]*/data""#, "\"/data\""),
        // As long as it was: it stands in a column.
        (r"\b(localhost|127\.0\.0\.1):\d{5}  \(\d\)", "localhost:00000  (0)"),
        (r"(localhost|127\.0\.0\.1)(/127\.0\.0\.1)?:\d{5}", "localhost:00000"),
    ];
    let expression = |pattern| Regex::new(pattern).expect("it is tried by every test");
    let text = rules.iter().fold(text.to_owned(), |text, (pattern, replacement)| {
        expression(pattern).replace_all(&text, *replacement).into_owned()
    });
    let set = expression(r#"(?:(?:options|scenarios|are): |combination ")[^"\n]*"#);
    let in_order = |found: &Captures<'_>| {
        let (head, names) = found[0].split_at(found[0].find([':', '"']).map_or(0, |at| at + 1));
        let name = expression(r"[\w-]+");
        let mut sorted: Vec<&str> = name.find_iter(names).map(|name| name.as_str()).collect();
        sorted.sort_unstable();
        let mut sorted = sorted.into_iter();
        let names = name.replace_all(names, |_: &Captures<'_>| sorted.next().unwrap_or_default().to_owned());
        format!("{head}{names}")
    };
    set.replace_all(&text, in_order).into_owned()
}
