//! Which libraries there are, how their programs are called, and what they can do.

use crate::failover::client::clients_directory;
use ottla_verify::Guarantee;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A client library that is not ours, in the version that `crates/e2e/drivers` pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Library {
    /// Go, without cgo.
    #[value(name = "franz-go")]
    FranzGo,
    /// Python, without C.
    #[value(name = "kafka-python")]
    KafkaPython,
    /// JavaScript.
    #[value(name = "kafkajs")]
    KafkaJs,
    /// Go, without cgo.
    #[value(name = "sarama")]
    Sarama,
    /// Python over librdkafka.
    #[value(name = "confluent-kafka")]
    ConfluentKafka,
    /// Python's asyncio, with parts in C.
    #[value(name = "aiokafka")]
    Aiokafka,
    /// Apache Kafka's Java client, as applications have had it for years.
    #[value(name = "java-2.8")]
    Java28,
    /// The oldest Java client that Kafka 4 serves (KIP-896).
    #[value(name = "java-2.1")]
    Java21,
    /// Rust, without C.
    #[value(name = "rskafka")]
    Rskafka,
    /// Rust over librdkafka.
    #[value(name = "rdkafka")]
    Rdkafka,
    /// JavaScript over librdkafka.
    #[value(name = "confluent-kafka-javascript")]
    ConfluentKafkaJavascript,
}

/// What is shown of a library beside producing and consuming, which all of them can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability<'a> {
    /// Producing with `enable.idempotence`.
    Idempotence,
    /// Transactions.
    Transactions,
    /// A group's offsets committed in a transaction.
    TransactionalOffsets,
    /// Groups.
    Groups,
    /// Groups whose protocol is the new one (KIP-848).
    NewGroups,
    /// A codec.
    Codec(&'a str),
    /// A command of administration, by the name that drivers have for it.
    Admin(&'a str),
}

/// Kafka's codecs.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

impl Library {
    /// All of them.
    pub const ALL: [Library; 11] = [
        Library::FranzGo,
        Library::KafkaPython,
        Library::KafkaJs,
        Library::Sarama,
        Library::ConfluentKafka,
        Library::Aiokafka,
        Library::Java28,
        Library::Java21,
        Library::Rskafka,
        Library::Rdkafka,
        Library::ConfluentKafkaJavascript,
    ];

    /// What it cannot do. `docs/clients.md` gives the reason.
    pub fn cannot(self) -> &'static [Ability<'static>] {
        match self {
            Library::FranzGo => &[Ability::TransactionalOffsets],
            Library::KafkaPython => &[Ability::NewGroups],
            Library::KafkaJs => &[Ability::NewGroups],
            Library::Sarama => &[Ability::NewGroups],
            Library::ConfluentKafka => &[],
            Library::Aiokafka => &[Ability::NewGroups, Ability::Admin("forget")],
            Library::Java28 | Library::Java21 => &[Ability::NewGroups],
            Library::Rskafka => &[
                Ability::Idempotence,
                Ability::Transactions,
                Ability::TransactionalOffsets,
                Ability::Groups,
                Ability::NewGroups,
                Ability::Admin("describe"),
                Ability::Admin("grow"),
                Ability::Admin("config"),
                Ability::Admin("set"),
                Ability::Admin("groups"),
                Ability::Admin("group"),
                Ability::Admin("offsets"),
                Ability::Admin("forget"),
            ],
            Library::Rdkafka => &[],
            Library::ConfluentKafkaJavascript => {
                &[Ability::Admin("grow"), Ability::Admin("config"), Ability::Admin("set")]
            }
        }
    }

    /// Returns whether it can do this.
    pub fn can(self, what: Ability<'_>) -> bool {
        self.cannot().iter().all(|one| *one != what)
    }

    /// What its producer promises.
    pub fn guarantee(self) -> Guarantee {
        if self.can(Ability::Idempotence) { Guarantee::FULL } else { Guarantee::AT_LEAST_ONCE }
    }

    /// Its program.
    pub(super) fn command(self) -> Command {
        let built = clients_directory();
        let script = |interpreter: &str, script: &str| {
            let mut command = Command::new(interpreter);
            command.arg(drivers().join(script));
            command
        };
        let python = |name: &str| {
            let mut command = script("python3", name);
            // Nothing is written beside the sources.
            command.env("PYTHONPATH", built.join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
            command
        };
        let node = |project: &str, name: &str| {
            let mut command = script("node", &format!("{project}/{name}"));
            command.env("NODE_PATH", built.join(project).join("node_modules"));
            command
        };
        let java = |version: &str| {
            let (classes, jars) = (built.join(version).join("classes"), built.join(version).join("jars"));
            let mut command = Command::new("java");
            command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"]);
            command.arg(format!("{}:{}/*", classes.display(), jars.display())).arg("OldDriver");
            command
        };
        match self {
            Library::FranzGo => Command::new(built.join("go-drivers/franz")),
            Library::Sarama => Command::new(built.join("go-drivers/sarama")),
            Library::KafkaPython => python("python/kafka_python.py"),
            Library::ConfluentKafka => python("python/confluent.py"),
            Library::Aiokafka => python("python/aio.py"),
            Library::KafkaJs => node("node", "kafkajs.js"),
            Library::ConfluentKafkaJavascript => node("confluent-node", "confluent.js"),
            Library::Java28 => java("java-2.8"),
            Library::Java21 => java("java-2.1"),
            Library::Rskafka => Command::new(built.join("rust/release/rskafka")),
            Library::Rdkafka => Command::new(built.join("rust/release/rdkafka")),
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Library::FranzGo => "franz-go",
            Library::KafkaPython => "kafka-python",
            Library::KafkaJs => "kafkajs",
            Library::Sarama => "sarama",
            Library::ConfluentKafka => "confluent-kafka",
            Library::Aiokafka => "aiokafka",
            Library::Java28 => "java-2.8",
            Library::Java21 => "java-2.1",
            Library::Rskafka => "rskafka",
            Library::Rdkafka => "rdkafka",
            Library::ConfluentKafkaJavascript => "confluent-kafka-javascript",
        })
    }
}

impl fmt::Display for Ability<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ability::Idempotence => f.pad("idempotence"),
            Ability::Transactions => f.pad("transactions"),
            Ability::TransactionalOffsets => f.pad("offsets in transactions"),
            Ability::Groups => f.pad("groups"),
            Ability::NewGroups => f.pad("groups of KIP-848"),
            Ability::Codec(name) | Ability::Admin(name) => f.pad(name),
        }
    }
}

/// Where the programs' sources are.
pub(super) fn drivers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers")
}
