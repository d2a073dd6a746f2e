//! Kafka's own programs, from Maven Central: what the tools read and say decides, and the server stands beside Ottla.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

/// What one program consists of.
struct Jars {
    /// Where they are kept, below `target/clients`.
    directory: &'static str,
    /// What names them, and where their checksums are: no others are run.
    source: &'static str,
}

/// Kafka's tools, 4.3.1.
const TOOLS: Jars = Jars { directory: "kafka-tools", source: "jars" };

/// Kafka's server, 4.4.0.
const SERVER: Jars = Jars { directory: "kafka-server", source: "jars/server" };

/// Held while jars are fetched: tests run side by side.
static FETCHING: Mutex<()> = Mutex::new(());

/// Runs the tool with this class, of Apache Kafka 4.3.1.
///
/// # Panics
/// When `java` or `mvn` is not installed, or the jars are not those that are expected.
pub fn run(class: &str, arguments: &[&str]) -> Output {
    command(class).args(arguments).output().expect("java is installed by `cargo xtask test`")
}

/// The command that runs the tool with this class.
///
/// # Panics
/// As [`run`].
pub fn command(class: &str) -> Command {
    java(&format!("org.apache.kafka.tools.{class}"))
}

/// The command that runs the metadata shell, of Apache Kafka 4.3.1.
///
/// # Panics
/// As [`run`].
pub fn metadata_shell() -> Command {
    java("org.apache.kafka.shell.MetadataShell")
}

fn java(class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
        .arg(TOOLS.class_path())
        .arg(class);
    command
}

/// What a tool has said and done.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

/// A JVM that runs one tool after the other. It ends with its owner.
pub struct Tools {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The classes of the tools.
const CLASSES: &[(&str, &str)] = &[
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("kafka-features", "org.apache.kafka.tools.FeatureCommand"),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-transactions", "org.apache.kafka.tools.TransactionsCommand"),
    ("kafka-metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("kafka-client-metrics", "org.apache.kafka.tools.ClientMetricsCommand"),
    ("kafka-configs", "kafka.admin.ConfigCommand"),
    ("kafka-leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("kafka-streams-application-reset", "org.apache.kafka.tools.StreamsResetter"),
    ("kafka-replica-verification", "org.apache.kafka.tools.ReplicaVerificationTool"),
];

impl Tools {
    /// Starts it, in this directory.
    ///
    /// # Panics
    /// As [`run`].
    pub fn start(directory: &Path) -> Tools {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/KafkaTools.java");
        // What is logged is for developers of Kafka: it is not what the tool says.
        let flags = [
            "-Xmx256m",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
            // Kafka's configuration tool names a second logger, which complains that nobody listens to it.
            "-Dlog4j2.statusLoggerLevel=OFF",
        ];
        let mut child = Command::new("java")
            .args(flags)
            .args(["-Duser.language=en", "-cp"])
            .arg(TOOLS.class_path())
            .arg(driver)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("java is installed by `cargo xtask test`");
        let commands = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Tools { child, commands, answers }
    }

    /// Runs the tool with the name that is the first word.
    ///
    /// # Panics
    /// When there is no such tool, or the JVM has ended.
    pub fn run(&mut self, words: &[String]) -> Said {
        let (name, arguments) = words.split_first().expect("a tool has a name");
        let (_, class) = CLASSES.iter().find(|(tool, _)| tool == name).expect("a tool of Kafka's");
        let mut line = (*class).to_owned();
        arguments.iter().for_each(|argument| line += &format!("\t{argument}"));
        writeln!(self.commands, "{line}").expect("the JVM reads");
        let mut head = String::new();
        self.answers.read_line(&mut head).expect("the JVM answers");
        let numbers: Vec<i32> = head.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let &[status, out, err] = numbers.as_slice() else { panic!("the JVM says {head:?}") };
        let mut text = |length: i32| {
            let mut bytes = vec![0; usize::try_from(length).expect("a length")];
            self.answers.read_exact(&mut bytes).expect("the JVM answers");
            String::from_utf8(bytes).expect("tools print text")
        };
        Said { status, out: text(out), err: text(err) }
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The class path of Apache Kafka's server, 4.4.0.
///
/// # Panics
/// As [`run`].
pub fn server_class_path() -> String {
    SERVER.class_path()
}

impl Jars {
    /// They are fetched once, and checked whenever they are used.
    fn class_path(&self) -> String {
        // A test that failed meanwhile has left whole files or none that pass the check.
        let _alone = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
        let binary = crate::cluster::binary();
        let target = binary.ancestors().nth(2).expect("it lies in target/<profile>");
        let directory = target.join("clients").join(self.directory);
        if !self.is_whole(&directory) {
            self.fetch(&directory);
            assert!(
                self.is_whole(&directory),
                "{}: not the jars of crates/e2e/{}/jars.sha256",
                directory.display(),
                self.source
            );
        }
        format!("{}/*", directory.display())
    }

    fn fetch(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("a directory in target");
        let sums = fs::read_to_string(self.file("jars.sha256")).expect("a list of the jars");
        let names = sums.lines().filter_map(|line| Some(artifact(line.split_whitespace().nth(1)?)));
        let status = Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies", "-f"])
            .arg(self.file("pom.xml"))
            .arg(format!("-DoutputDirectory={}", directory.display()))
            .arg(format!("-DincludeArtifactIds={}", names.collect::<Vec<_>>().join(",")))
            .status()
            .expect("mvn is installed by `cargo xtask test`");
        assert!(status.success(), "mvn: {status}");
    }

    /// Returns whether every jar is there, and is what it should be.
    fn is_whole(&self, directory: &Path) -> bool {
        let checked = Command::new("sha256sum")
            .args(["--quiet", "--strict", "-c"])
            .arg(self.file("jars.sha256"))
            .current_dir(directory)
            .output();
        checked.is_ok_and(|output| output.status.success())
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.source).join(name)
    }
}

/// The name of a jar without its version, which begins with a digit.
fn artifact(jar: &str) -> &str {
    let is_version = |(at, _): &(usize, &str)| jar.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit);
    jar.match_indices('-').find(is_version).map_or(jar, |(at, _)| &jar[..at])
}
