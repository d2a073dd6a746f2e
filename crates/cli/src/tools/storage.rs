//! `kafka-storage`: log directories prepared and looked at (`StorageTool`).

use super::Failure;
use super::options::{Parsed, Tool, exclude, flag, refused, require, value};
use crate::{format, output, properties_file};
use ottla_metadata::MetadataVersion;
use ottla_net::Clock;
use ottla_server::NodeConfig;
use ottla_server::format::{
    self as server_format, Beginning, FirstVoters, FormatError, Formatted, InitialController,
};
use ottla_storage::{MetaProperties, RealDisk};
use ottla_types::{NodeId, Random};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-storage",
    purpose: "The Kafka storage tool.",
    short_purpose: None,
    commands: &["info", "format", "random-uuid"],
    options: &[
        refused("add-scram", "Ottla has no SCRAM credentials"),
        value("cluster-id", "id", "The cluster's id.").or('t'),
        value("config", "file", "The node's server.properties.").or('c'),
        value("feature", "feature=level", "The level of kraft.version to begin with.").or('f'),
        flag("ignore-formatted", "Leaves directories as they are that are formatted already.").or('g'),
        value("initial-controllers", "controllers", "The first voters, as id@host:port:directory-id,...")
            .or('I'),
        flag("no-initial-controllers", "Joins a quorum that there is.").or('N'),
        value("release-version", "version", "The metadata.version to begin with.").or('r'),
        flag("standalone", "Makes this controller the only first voter.").or('s'),
    ],
};

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    match parsed.command {
        Some("random-uuid") => {
            output::line(Random::new(format::seed()).uuid());
            Ok(())
        }
        Some("info") => info(&config(parsed)?),
        Some("format") => format_directories(parsed),
        _ => Err(Failure::Usage("one of info, format, random-uuid is required".to_owned())),
    }
}

fn config(parsed: &Parsed) -> Result<NodeConfig, Failure> {
    require(parsed, &["config"])?;
    let file = PathBuf::from(parsed.value("config").unwrap_or_default());
    properties_file::read(&file, &[]).map_err(|error| Failure::Refused(format!("{error:#}")))
}

fn format_directories(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["cluster-id"])?;
    let config = config(parsed)?;
    let level = match parsed.value("release-version") {
        None => MetadataVersion::LATEST,
        Some(name) => {
            MetadataVersion::from_name(name).ok_or_else(|| Failure::Refused(unknown_version(name)))?
        }
    };
    let formatted = if parsed.has("ignore-formatted") { Formatted::Ignore } else { Formatted::Refuse };
    let cluster_id = parsed.value("cluster-id").unwrap_or_default();
    let mut random = Random::new(format::seed());
    let beginning = Beginning { level, kraft_version: kraft_version(parsed)?, voters: first_voters(parsed)? };
    let (disk, now) = (Arc::new(RealDisk), Clock::new().now().wall);
    let lines = server_format::format(disk, &config, cluster_id, &beginning, formatted, now, &mut random)
        .map_err(|error: FormatError| Failure::Refused(error.to_string()))?;
    lines.iter().for_each(output::line);
    Ok(())
}

/// What `--feature` asks for. Of other features the metadata.version decides.
fn kraft_version(parsed: &Parsed) -> Result<Option<i16>, Failure> {
    let mut version = None;
    for feature in parsed.values("feature") {
        let refuse = |why: &str| Err(Failure::Refused(format!("--feature {feature}: {why}")));
        let Some((name, level)) = feature.split_once('=') else {
            return refuse("must have the form feature=level");
        };
        let Ok(level) = level.trim().parse() else { return refuse("the level is no number") };
        if name.trim() != "kraft.version" {
            return refuse("only kraft.version is supported by Ottla; --release-version says all else");
        }
        version = Some(level);
    }
    Ok(version)
}

/// What the three flags for the first voters ask for.
fn first_voters(parsed: &Parsed) -> Result<FirstVoters, Failure> {
    let flags = ["standalone", "initial-controllers", "no-initial-controllers"];
    for (i, flag) in flags.iter().enumerate() {
        exclude(parsed, flag, &flags[i + 1..])?;
    }
    if parsed.has("standalone") {
        return Ok(FirstVoters::Standalone);
    }
    if parsed.has("no-initial-controllers") {
        return Ok(FirstVoters::Unknown);
    }
    match parsed.value("initial-controllers") {
        None => Ok(FirstVoters::Configured),
        Some(text) => {
            let controllers = text.split(',').map(|text| {
                initial_controller(text.trim()).ok_or_else(|| {
                    Failure::Refused(format!(
                        "--initial-controllers {text}: each must have the form id@host:port:directory-id"
                    ))
                })
            });
            Ok(FirstVoters::Listed(controllers.collect::<Result<_, _>>()?))
        }
    }
}

fn initial_controller(text: &str) -> Option<InitialController> {
    let (id, rest) = text.split_once('@')?;
    let (address, directory_id) = rest.rsplit_once(':')?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let controller = InitialController {
        id: NodeId(id.parse().ok()?),
        host,
        port: port.parse().ok()?,
        directory_id: directory_id.parse().ok()?,
    };
    let is_sound = controller.id.is_some()
        && !controller.host.is_empty()
        && !controller.directory_id.is_zero()
        && !controller.directory_id.is_reserved();
    is_sound.then_some(controller)
}

pub(super) fn unknown_version(name: &str) -> String {
    let known = MetadataVersion::names().join(", ");
    format!("Unknown metadata.version '{name}'. Supported metadata.version are: {known}")
}

fn info(config: &NodeConfig) -> Result<(), Failure> {
    let mut directories = config.directories();
    directories.sort();
    let found = directories.into_iter().map(|directory| {
        let properties = if directory.is_dir() {
            MetaProperties::read(&RealDisk, &directory)
                .map_err(|error| Unusable::Unreadable(error.to_string()))
        } else if directory.exists() {
            Err(Unusable::NoDirectory)
        } else {
            Err(Unusable::Absent)
        };
        (directory, properties)
    });
    let (text, has_problems) = describe(&found.collect::<Vec<_>>());
    output::text(&text);
    if has_problems { Err(Failure::Quiet) } else { Ok(()) }
}

/// A log directory, and what is in its `meta.properties`.
type Found = (PathBuf, Result<Option<MetaProperties>, Unusable>);

/// Why nothing is known of a log directory.
#[derive(Debug)]
enum Unusable {
    Absent,
    NoDirectory,
    Unreadable(String),
}

/// What `info` prints, and whether there are problems.
fn describe(found: &[Found]) -> (String, bool) {
    let mut problems = Vec::new();
    let (mut there, mut metadata): (Vec<&Path>, Vec<&MetaProperties>) = (Vec::new(), Vec::new());
    for (directory, properties) in found {
        let shown = directory.display();
        match properties {
            Err(Unusable::Absent) => problems.push(format!("{shown} does not exist")),
            Err(Unusable::NoDirectory) => problems.push(format!("{shown} is not a directory")),
            Err(Unusable::Unreadable(reason)) => {
                there.push(directory);
                problems.push(format!("Error loading {shown}/meta.properties: {reason}"));
            }
            Ok(None) => {
                there.push(directory);
                problems.push(format!("{shown} is not formatted."));
            }
            Ok(Some(properties)) => {
                there.push(directory);
                if let Some(first) = metadata.first() {
                    if first.cluster_id != properties.cluster_id {
                        problems.push("Mismatched cluster IDs between storage directories.".to_owned());
                    } else if first.node_id != properties.node_id {
                        problems.push("Mismatched node IDs between storage directories.".to_owned());
                    }
                }
                metadata.push(properties);
            }
        }
    }
    let mut text = String::new();
    if !there.is_empty() {
        text.push_str(if there.len() == 1 { "Found log directory:\n" } else { "Found log directories:\n" });
        for directory in there {
            writeln!(text, "  {}", directory.display()).expect("a String takes everything");
        }
        text.push('\n');
    }
    if let Some(first) = metadata.first() {
        writeln!(
            text,
            "Found metadata: {{cluster.id={}, directory.id={}, node.id={}, version=1}}\n",
            first.cluster_id, first.directory_id, first.node_id
        )
        .expect("a String takes everything");
    }
    if !problems.is_empty() {
        text.push_str(if problems.len() == 1 { "Found problem:\n" } else { "Found problems:\n" });
        for problem in &problems {
            writeln!(text, "  {problem}").expect("a String takes everything");
        }
        text.push('\n');
    }
    (text, !problems.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::Uuid;

    #[test]
    fn initial_controllers_are_read_as_kafka_writes_them() {
        let good = initial_controller("1@[::1]:9093:AAAAAAAAAAAAAAAAAAAAZA").unwrap();

        assert_eq!((good.id, good.host.as_str(), good.port), (NodeId(1), "::1", 9093));
        assert_eq!(good.directory_id, Uuid::from_u128(100));
        for bad in [
            "",
            "1",
            "1@h:9093",
            "x@h:9093:AAAAAAAAAAAAAAAAAAAAZA",
            "-1@h:9093:AAAAAAAAAAAAAAAAAAAAZA",
            "1@h:x:AAAAAAAAAAAAAAAAAAAAZA",
            "1@:9093:AAAAAAAAAAAAAAAAAAAAZA",
            "1@h:9093:AAAAAAAAAAAAAAAAAAAAAA",
            "1@h:9093:short",
        ] {
            assert_eq!(initial_controller(bad), None, "{bad}");
        }
    }

    #[test]
    fn directories_are_described_as_kafka_does() {
        let properties = MetaProperties {
            cluster_id: "AAAAAAAAAAAAAAAAAAAAZA".into(),
            node_id: NodeId(1),
            directory_id: Uuid::from_u128(101),
        };
        let (text, has_problems) = describe(&[
            ("/a".into(), Ok(Some(properties))),
            ("/b".into(), Ok(None)),
            ("/c".into(), Err(Unusable::Absent)),
        ]);

        assert!(has_problems);
        assert_eq!(
            text,
            "Found log directories:\n  /a\n  /b\n\n\
             Found metadata: {cluster.id=AAAAAAAAAAAAAAAAAAAAZA, directory.id=AAAAAAAAAAAAAAAAAAAAZQ, node.id=1, version=1}\n\n\
             Found problems:\n  /b is not formatted.\n  /c does not exist\n\n"
        );
    }
}
