//! The levels of a process's log lines, which may change while it runs (KIP-412).

use std::collections::BTreeMap;
use std::fmt;

/// The logger above all others.
pub const ROOT: &str = "root";

/// A level, by Kafka's names; the first says most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What a developer follows step by step.
    Trace,
    /// What a developer asks for.
    Debug,
    /// Changes of state.
    Info,
    /// The unexpected that was coped with.
    Warn,
    /// What somebody must look at.
    Error,
    /// Nothing: no line of Ottla's is as grave.
    Fatal,
}

/// All levels, in the order of their names: as messages list them.
const BY_NAME: [(&str, Level); 6] = [
    ("DEBUG", Level::Debug),
    ("ERROR", Level::Error),
    ("FATAL", Level::Fatal),
    ("INFO", Level::Info),
    ("TRACE", Level::Trace),
    ("WARN", Level::Warn),
];

impl Level {
    /// The level of this name, written as Kafka does: in capitals.
    pub fn from_name(name: &str) -> Option<Level> {
        BY_NAME.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }

    /// The names of all levels.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BY_NAME.iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = BY_NAME.iter().find(|(_, level)| level == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// Who writes the log lines of a process. A logger is named by its target, `::` being between a module and those within;
/// [`ROOT`] is above all.
pub trait LogLevels: Send + Sync {
    /// Every logger that there is, with the level in force.
    fn all(&self) -> BTreeMap<String, Level>;

    /// Sets the level of a logger, and of those beneath it that have none of their own.
    fn set(&self, logger: &str, level: Level);

    /// Has a logger follow the one above it. The root has none above it, and stays as it is.
    fn unset(&self, logger: &str);
}

/// The levels of a process that does not let its nodes change them: it has several.
#[derive(Clone, Copy, Debug)]
pub struct FixedLevels;

impl LogLevels for FixedLevels {
    fn all(&self) -> BTreeMap<String, Level> {
        BTreeMap::new()
    }

    fn set(&self, _: &str, _: Level) {}

    fn unset(&self, _: &str) {}
}
