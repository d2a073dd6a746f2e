//! `kafka-features`: the feature levels that a cluster has agreed on (`FeatureCommand`).

use super::options::{Opt, Parsed, Tool, flag, value};
use super::{Failure, connect};
use crate::output;
use ottla_client::admin::features::{FeatureDescription, UpgradeType, update_features_request};
use ottla_client::{Admin, ClientError, Quorum};
use ottla_metadata::{METADATA_VERSION, MetadataVersion};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const OPTIONS: &[Opt] = &[
    value("bootstrap-controller", "server", "The controllers to begin with, as host:port,..."),
    value("bootstrap-server", "server", "The brokers to begin with, as host:port,..."),
    value("command-config", "file", "A client's properties."),
    flag("dry-run", "Only asks whether it could be done."),
    value("feature", "feature=level", "The feature, and its level; of disable, the feature alone."),
    value("metadata", "version", "The metadata.version to go to. Deprecated."),
    value("release-version", "version", "The release whose levels are meant."),
    flag("unsafe", "Whatever may be lost by that."),
];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-features",
    purpose: "This tool manages feature flags in Kafka.",
    short_purpose: Some("Command line error: too few arguments. Type --help for help."),
    commands: &["describe", "upgrade", "downgrade", "disable", "version-mapping", "feature-dependencies"],
    options: OPTIONS,
};

/// Kafka's features besides metadata.version, in its order: of each the levels from 1 on, by the metadata.version from
/// which on a release has it.
const FEATURES: &[(&str, &[i16])] = &[
    ("kraft.version", &[21]),
    ("transaction.version", &[24, 24]),
    ("group.version", &[22]),
    ("eligible.leader.replicas.version", &[26]),
    ("share.version", &[28, 31]),
    ("streams.version", &[29]),
];

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let Some(command) = parsed.command else {
        return Err(command_line("too few arguments"));
    };
    check_options(parsed, command)?;
    match command {
        "version-mapping" => return version_mapping(parsed),
        "feature-dependencies" => return feature_dependencies(parsed),
        _ => {}
    }
    match (parsed.has("bootstrap-server"), parsed.has("bootstrap-controller")) {
        (true, true) => {
            let message = "argument --bootstrap-controller: not allowed with argument --bootstrap-server";
            return Err(command_line(message));
        }
        (false, false) => {
            let message = "You must specify either --bootstrap-controller or --bootstrap-server.";
            return Err(command_line(message));
        }
        _ => {}
    }
    match command {
        "describe" => connect::block_on(async {
            let features = Cluster::connect(parsed)?.describe().await.map_err(refused)?;
            output::text(&describe(&features));
            Ok(())
        }),
        _ => update(parsed, command),
    }
}

fn command_line(message: &str) -> Failure {
    Failure::Refused(format!("Command line error: {message}. Type --help for help."))
}

fn refused(error: ClientError) -> Failure {
    Failure::Refused(error.to_string())
}

/// Options of one command mean nothing to another.
fn check_options(parsed: &Parsed, command: &str) -> Result<(), Failure> {
    let allowed: &[(&str, &[&str])] = &[
        ("metadata", &["upgrade", "downgrade"]),
        ("release-version", &["upgrade", "downgrade", "version-mapping"]),
        ("feature", &["upgrade", "downgrade", "disable", "feature-dependencies"]),
        ("unsafe", &["downgrade", "disable"]),
        ("dry-run", &["upgrade", "downgrade", "disable"]),
    ];
    match allowed.iter().find(|(name, commands)| parsed.has(name) && !commands.contains(&command)) {
        Some((name, _)) => Err(command_line(&format!("unrecognized arguments: '--{name}'"))),
        None => Ok(()),
    }
}

/// Whom to ask.
enum Cluster {
    Brokers(Admin),
    Controllers(Box<Quorum>),
}

impl Cluster {
    fn connect(parsed: &Parsed) -> Result<Cluster, Failure> {
        if let Some(addresses) = parsed.value("bootstrap-controller") {
            let config = connect::config(addresses, parsed.value("command-config"), TOOL.name)?;
            return Ok(Cluster::Controllers(Box::new(Quorum::new(config))));
        }
        Ok(Cluster::Brokers(connect::admin(parsed, TOOL.name)?))
    }

    async fn describe(&mut self) -> Result<FeatureDescription, ClientError> {
        match self {
            Cluster::Brokers(admin) => admin.describe_features().await,
            Cluster::Controllers(quorum) => quorum.describe_features().await,
        }
    }
}

fn describe(features: &FeatureDescription) -> String {
    let mut text = String::new();
    let epoch = features.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
    for (name, (min, max)) in &features.supported {
        let shown = |level: i16| match MetadataVersion(level) {
            _ if name != METADATA_VERSION => level.to_string(),
            version if (MetadataVersion::MIN..=MetadataVersion::LATEST).contains(&version) => {
                version.to_string()
            }
            _ => format!("UNKNOWN {level}"),
        };
        let finalized = shown(features.finalized.get(name).copied().unwrap_or(0));
        writeln!(
            text,
            "Feature: {name:<40}  SupportedMinVersion: {:<15}  SupportedMaxVersion: {:<15}  \
             FinalizedVersionLevel: {finalized:<15}  Epoch: {epoch}",
            shown(*min),
            shown(*max)
        )
        .expect("a String takes everything");
    }
    text
}

/// The levels to go to.
fn wanted(parsed: &Parsed, command: &str) -> Result<BTreeMap<String, i16>, Failure> {
    let mut updates = BTreeMap::new();
    let mut add = |name: &str, level: i16| match updates.insert(name.to_owned(), level) {
        None => Ok(()),
        Some(_) => Err(Failure::Refused(format!("Feature {name} was specified more than once."))),
    };
    if command == "disable" {
        for name in parsed.values("feature") {
            add(name, 0)?;
        }
    } else if let Some(release) = parsed.value("release-version") {
        if parsed.has("metadata") || parsed.has("feature") {
            let message = "Can not specify `release-version` with other feature flags.";
            return Err(Failure::Refused(message.to_owned()));
        }
        let version = version_of(release)?;
        add(METADATA_VERSION, version.0)?;
        for (name, level) in levels_at(version) {
            // Nobody upgrades to nothing.
            if command != "upgrade" || level > 0 {
                add(name, level)?;
            }
        }
    } else {
        if let Some(name) = parsed.value("metadata") {
            output::line(" `metadata` flag is deprecated and may be removed in a future release.");
            add(METADATA_VERSION, version_of(name)?.0)?;
        }
        for text in parsed.values("feature") {
            let (name, level) = name_and_level(text)?;
            add(name, level)?;
        }
    }
    if updates.is_empty() {
        return Err(Failure::Refused(format!("You must specify at least one feature to {command}")));
    }
    if updates.values().any(|level| *level < 0) {
        return Err(Failure::Refused("Cannot specify a negative version level.".to_owned()));
    }
    Ok(updates)
}

fn version_of(name: &str) -> Result<MetadataVersion, Failure> {
    MetadataVersion::from_name(name).ok_or_else(|| Failure::Refused(super::storage::unknown_version(name)))
}

fn name_and_level(text: &str) -> Result<(&str, i16), Failure> {
    let refuse = |why: String| Failure::Refused(format!("Can't parse feature=level string {text}: {why}"));
    let Some((name, level)) = text.split_once('=') else {
        return Err(refuse("equals sign not found.".to_owned()));
    };
    let level = level.trim();
    let number = level.parse().map_err(|_| refuse(format!("unable to parse {level} as a short.")))?;
    Ok((name.trim(), number))
}

/// The level of every feature that a release with this metadata.version begins with.
fn levels_at(version: MetadataVersion) -> impl Iterator<Item = (&'static str, i16)> {
    FEATURES.iter().map(move |(name, levels)| {
        let level = levels.iter().filter(|needs| **needs <= version.0).count();
        (*name, i16::try_from(level).expect("a feature has a few levels"))
    })
}

fn update(parsed: &Parsed, command: &str) -> Result<(), Failure> {
    let mut updates = wanted(parsed, command)?;
    let upgrade_type = match (command, parsed.has("unsafe")) {
        ("upgrade", _) => UpgradeType::Upgrade,
        (_, false) => UpgradeType::SafeDowngrade,
        (_, true) => UpgradeType::UnsafeDowngrade,
    };
    let dry_run = parsed.has("dry-run");
    let done = connect::block_on(async {
        let mut cluster = Cluster::connect(parsed)?;
        if parsed.has("release-version") {
            // A release's features that this cluster does not have need not be at its level. Kafka's tool asks for them
            // all the same, and is refused.
            let known = cluster.describe().await.map_err(refused)?.supported;
            updates.retain(|name, _| known.contains_key(name));
        }
        let request = update_features_request(&updates, upgrade_type, dry_run);
        Ok(match &mut cluster {
            Cluster::Brokers(admin) => admin.update_features(&request).await,
            Cluster::Controllers(quorum) => quorum.update_features(&request).await,
        })
    })?;
    let (text, failed) =
        outcome(command, &updates, dry_run, done.err().map(|error| error.to_string()).as_deref());
    output::text(&text);
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Refused(format!("{failed} out of {} operation(s) failed.", updates.len()))),
    }
}

/// What is said of each feature, and of how many that it failed.
fn outcome(
    command: &str,
    updates: &BTreeMap<String, i16>,
    dry_run: bool,
    error: Option<&str>,
) -> (String, usize) {
    let mut text = String::new();
    for (name, level) in updates {
        let line = match (error, command) {
            (Some(why), "disable") => {
                let helper = if dry_run { "Can not" } else { "Could not" };
                format!("{helper} disable {name}. {why}")
            }
            (Some(why), _) => {
                let helper = if dry_run { "Can not" } else { "Could not" };
                format!("{helper} {command} {name} to {level}. {why}")
            }
            (None, _) => {
                let verb = if dry_run { "can be" } else { "was" };
                match command {
                    "disable" => format!("{name} {verb} disabled."),
                    _ => format!("{name} {verb} {command}d to {level}."),
                }
            }
        };
        text += &line;
        text.push('\n');
    }
    (text, error.map_or(0, |_| updates.len()))
}

/// The levels that a release's clusters begin with.
fn version_mapping(parsed: &Parsed) -> Result<(), Failure> {
    let (version, name) = match parsed.value("release-version") {
        Some(name) => (version_of(name)?, name.to_owned()),
        None => (MetadataVersion::LATEST, MetadataVersion::LATEST.to_string()),
    };
    output::line(format!("{METADATA_VERSION}={} ({name})", version.0));
    for (name, level) in levels_at(version) {
        output::line(format!("{name}={level}"));
    }
    Ok(())
}

/// What a level of a feature needs others to be at.
fn feature_dependencies(parsed: &Parsed) -> Result<(), Failure> {
    if !parsed.has("feature") {
        return Err(command_line("argument --feature is required"));
    }
    for text in parsed.values("feature") {
        let (name, level) = name_and_level(text)?;
        output::text(&dependencies(name, level)?);
    }
    Ok(())
}

fn dependencies(name: &str, level: i16) -> Result<String, Failure> {
    if name == METADATA_VERSION {
        let version = MetadataVersion(level);
        if !(MetadataVersion::MIN..=MetadataVersion::LATEST).contains(&version) {
            return Err(Failure::Refused(format!("Unknown metadata.version {level}")));
        }
        return Ok(format!("{name}={level} ({version}) has no dependencies.\n"));
    }
    let Some((_, levels)) = FEATURES.iter().find(|(known, _)| *known == name) else {
        return Err(Failure::Refused(format!("Unknown feature: {name}")));
    };
    if usize::try_from(level).is_ok_and(|level| level <= levels.len()) {
        let needed = MetadataVersion::ELIGIBLE_LEADER_REPLICAS_MIN;
        if name == ottla_metadata::ELIGIBLE_LEADER_REPLICAS && level > 0 {
            return Ok(format!("{name}={level} requires:\n    {METADATA_VERSION}={} ({needed})\n", needed.0));
        }
        return Ok(format!("{name}={level} has no dependencies.\n"));
    }
    Err(Failure::Refused(format!("No feature:{name} with feature level {level}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_kafkas() {
        let features = FeatureDescription {
            supported: [("kraft.version", (0, 1)), (METADATA_VERSION, (7, 34))]
                .map(|(name, range)| (name.to_owned(), range))
                .into(),
            finalized: [(METADATA_VERSION.to_owned(), 27)].into(),
            epoch: Some(72),
        };

        assert_eq!(
            describe(&features),
            "Feature: kraft.version                             SupportedMinVersion: 0                SupportedMaxVersion: 1                FinalizedVersionLevel: 0                Epoch: 72\n\
             Feature: metadata.version                          SupportedMinVersion: 3.3-IV3          SupportedMaxVersion: UNKNOWN 34       FinalizedVersionLevel: 4.1-IV1          Epoch: 72\n"
        );
    }

    #[test]
    fn releases_have_kafkas_levels() {
        let at = |level| levels_at(MetadataVersion(level)).map(|(_, level)| level).collect::<Vec<i16>>();

        assert_eq!(at(20), [0, 0, 0, 0, 0, 0]);
        assert_eq!(at(25), [1, 2, 1, 0, 0, 0]);
        assert_eq!(at(30), [1, 2, 1, 1, 1, 1]);
        assert_eq!(at(33), [1, 2, 1, 1, 2, 1]);
    }
}
