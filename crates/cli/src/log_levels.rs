//! Which log lines are written, by target; administrators change it while the node runs (`kafka-configs --broker-logger`).
//!
//! `RUST_LOG` says with what it begins: levels by targets, as `info,ottla_server::quorum=debug`. A target follows the most
//! specific that is set among itself, the modules around it and [`ROOT`].

use ottla_server::log_levels::{Level, LogLevels, ROOT};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};

/// The crates that write log lines in a node: they are there before they have had anything to say.
const CRATES: [&str; 3] = ["ottla", "ottla_net", "ottla_server"];

/// The levels; clones share them.
#[derive(Clone)]
pub(crate) struct Levels(Arc<Shared>);

struct Shared {
    /// What is set, by logger. There is always one for the root.
    set: RwLock<BTreeMap<String, LevelFilter>>,
    /// The targets that have had something to say. They are as many as the program has modules.
    seen: Mutex<BTreeSet<&'static str>>,
}

impl Levels {
    /// The levels that this text asks for, in the form of `RUST_LOG`; without one, or with one that cannot be read, `info`.
    pub(crate) fn begin(text: Option<&str>) -> Levels {
        let targets = text.and_then(|text| text.parse::<Targets>().ok());
        let targets = targets.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
        let root = targets.default_level().unwrap_or(LevelFilter::OFF);
        let mut set: BTreeMap<String, LevelFilter> =
            targets.iter().map(|(target, level)| (target.to_owned(), level)).collect();
        set.insert(ROOT.to_owned(), root);
        Levels(Arc::new(Shared { set: RwLock::new(set), seen: Mutex::default() }))
    }

    fn of(&self, logger: &str) -> LevelFilter {
        in_force(&self.0.set.read(), logger)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, LevelFilter>)) {
        change(&mut self.0.set.write());
        // Each line of code that logs remembers whether it is wanted.
        tracing::callsite::rebuild_interest_cache();
    }
}

/// The level that a logger follows.
fn in_force(set: &BTreeMap<String, LevelFilter>, logger: &str) -> LevelFilter {
    let mut at = Some(logger);
    while let Some(name) = at {
        if let Some(level) = set.get(name) {
            return *level;
        }
        at = name.rsplit_once("::").map(|(around, _)| around);
    }
    set.get(ROOT).copied().unwrap_or(LevelFilter::OFF)
}

impl LogLevels for Levels {
    fn all(&self) -> BTreeMap<String, Level> {
        let set = self.0.set.read();
        let mut loggers: BTreeSet<&str> = CRATES.into_iter().chain(set.keys().map(String::as_str)).collect();
        for target in self.0.seen.lock().iter() {
            let mut at = Some(*target);
            while let Some(name) = at {
                loggers.insert(name);
                at = name.rsplit_once("::").map(|(around, _)| around);
            }
        }
        loggers.into_iter().map(|logger| (logger.to_owned(), level(in_force(&set, logger)))).collect()
    }

    fn set(&self, logger: &str, level: Level) {
        self.change(|set| {
            set.insert(logger.to_owned(), filter(level));
        });
    }

    fn unset(&self, logger: &str) {
        self.change(|set| {
            if logger != ROOT {
                set.remove(logger);
            }
        });
    }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
        Level::Fatal => LevelFilter::OFF,
    }
}

fn level(filter: LevelFilter) -> Level {
    match filter.into_level() {
        None => Level::Fatal,
        Some(tracing::Level::ERROR) => Level::Error,
        Some(tracing::Level::WARN) => Level::Warn,
        Some(tracing::Level::INFO) => Level::Info,
        Some(tracing::Level::DEBUG) => Level::Debug,
        Some(tracing::Level::TRACE) => Level::Trace,
    }
}

impl<S: Subscriber> Layer<S> for Levels {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.0.seen.lock().insert(metadata.target());
        match self.of(metadata.target()) >= *metadata.level() {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.of(metadata.target()) >= *metadata.level()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.set.read().values().max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn a_logger_follows_the_most_specific_that_is_set() {
        let levels = Levels::begin(Some("warn,ottla_server::quorum=debug"));
        let of = |logger: &str| level(levels.of(logger));

        assert_eq!(of(ROOT), Level::Warn);
        assert_eq!(of("ottla_server"), Level::Warn);
        assert_eq!(of("ottla_server::quorum::actor"), Level::Debug);
        assert_eq!(of("ottla_server::quorums"), Level::Warn);

        levels.set("ottla_server", Level::Error);
        levels.set(ROOT, Level::Info);
        assert_eq!(of("ottla_net::listener"), Level::Info);
        assert_eq!(of("ottla_server::broker"), Level::Error);
        assert_eq!(of("ottla_server::quorum"), Level::Debug);

        levels.unset("ottla_server::quorum");
        levels.unset(ROOT);
        assert_eq!(of("ottla_server::quorum"), Level::Error);
        levels.unset("ottla_server");
        assert_eq!(of("ottla_server::quorum"), Level::Info);
    }

    #[test]
    fn it_begins_as_the_environment_says_and_else_with_info() {
        let root = |text| level(Levels::begin(text).of(ROOT));

        assert_eq!(
            [None, Some("debug"), Some("ottla=loud")].map(root),
            [Level::Info, Level::Debug, Level::Info]
        );
        assert_eq!(root(Some("ottla_net=trace")), Level::Fatal);
        let all = Levels::begin(None).all();
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["ottla", "ottla_net", "ottla_server", ROOT]);
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_set_decides_what_is_written_from_then_on_and_who_has_spoken_is_a_logger() {
        let levels = Levels::begin(None);
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(lines).with(levels.clone());

        tracing::subscriber::with_default(subscriber, || {
            for step in 0..4 {
                match step {
                    1 => levels.set("a::b", Level::Debug),
                    2 => levels.set(ROOT, Level::Fatal),
                    3 => levels.unset("a::b"),
                    _ => {}
                }
                tracing::debug!(target: "a::b::c", "debug {step}");
                tracing::error!(target: "elsewhere", "error {step}");
            }
        });

        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        let told: Vec<&str> =
            text.lines().filter_map(|line| line.split_once(": ").map(|(_, said)| said)).collect();
        assert_eq!(told, ["error 0", "debug 1", "error 1", "debug 2"]);
        let all = levels.all();
        assert!(
            ["a", "a::b", "a::b::c", "elsewhere"].iter().all(|logger| all.contains_key(*logger)),
            "{all:?}"
        );
    }
}
