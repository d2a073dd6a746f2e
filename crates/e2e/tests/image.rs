//! What `Dockerfile` and `compose.yaml` run, run here without containers: the same commands, with the same files, in
//! which only the names of machines and the directories are others.

use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::process::Killed;
use ottla_e2e::{Machine, eventually};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where the image keeps programs and files, and a node its data.
const BIN: &str = "/usr/local/bin";
const DATA: &str = "/var/lib/ottla";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/e2e lies two below").to_owned()
}

/// The values of `name:` in the services of `compose.yaml`, in order.
fn values(compose: &str, name: &str) -> Vec<String> {
    let prefix = format!("{name}: ");
    compose.lines().filter_map(|line| line.trim().strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// What the image consists of, in a directory of its own.
struct Image {
    directory: TempDir,
    path: String,
}

impl Image {
    /// What its last stage copies and runs, but for installing packages.
    fn build() -> Image {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).expect("a directory for programs");
        symlink(binary(), bin.join("ottla")).expect("a link to the binary");
        fs::copy(repository().join("docker/start"), bin.join("start")).expect("the image's start");
        fs::set_permissions(bin.join("start"), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let dockerfile = fs::read_to_string(repository().join("Dockerfile")).expect("a Dockerfile");
        let stage = dockerfile.rsplit("\nFROM ").next().expect("a stage");
        let runs =
            stage.lines().filter_map(|line| line.strip_prefix("RUN ")).filter(|run| !run.contains("apt-get"));
        for run in runs {
            let here = directory.path().display().to_string();
            let run = run.replace(BIN, &bin.display().to_string());
            let run = run.replace("/etc/kafka", &format!("{here}/etc/kafka"));
            let run = run.replace("/opt/kafka", &format!("{here}/opt/kafka"));
            let done = Command::new("sh").args(["-c", &run]).env("PATH", &path).output().expect("a shell");
            assert!(done.status.success(), "{run}: {}", String::from_utf8_lossy(&done.stderr));
        }
        Image { directory, path }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a node as a container's command does. What it says is in the file `log`.
    fn start(&self, machine: &Machine, command: &str, environment: &[(&str, &str)]) -> Killed {
        let log = File::create(self.file("log")).expect("a log");
        let mut command = machine.command(command);
        command
            .envs(environment.iter().copied())
            .env("PATH", &self.path)
            .env("OTTLA_ETC", self.directory.path())
            .stdout(log.try_clone().expect("one file"))
            .stderr(log);
        Killed(command.spawn().expect("bash is installed"))
    }

    /// Runs a line of a shell in a container, and returns what it said.
    fn shell(&self, machine: &Machine, line: &str) -> String {
        let mut bash = machine.command("bash");
        let output = bash.args(["-c", line]).env("PATH", &self.path).output().expect("bash");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

/// Waits until a node has said this in its log.
fn wait_until_said(log: &Path, what: &str) {
    let said = || fs::read_to_string(log).unwrap_or_default();
    eventually(|| format!("{what}:\n{}", said()), PATIENCE, || said().contains(what).then_some(()));
}

#[test]
fn the_images_commands_make_the_tutorials_cluster() {
    let machine = Machine::new();
    let image = Image::build();
    for tool in ["kafka-topics", "kafka-topics.sh", "kafka-dump-log", "kafkacat"] {
        assert!(image.file("bin").join(tool).exists(), "{tool}");
    }

    let compose = fs::read_to_string(repository().join("compose.yaml")).expect("compose.yaml");
    assert!(values(&compose, "container_name").contains(&"streamingplatform_broker-1_1".to_owned()));
    let cluster_id = values(&compose, "OTTLA_CLUSTER_ID").remove(0);
    let services = values(&compose, "command");
    assert_eq!(services, ["zookeeper", "broker-1", "broker-2", "broker-3"]);
    let nodes = services.iter().map(|service| {
        let home = image.file(service);
        fs::create_dir(&home).expect("a directory for the node");
        let mut text = fs::read_to_string(repository().join(format!("docker/{service}.properties")))
            .expect("a file for each service");
        for name in &services {
            text = text.replace(&format!("{name}:"), "localhost:");
        }
        let text = text.replace(DATA, &home.display().to_string());
        fs::write(home.join(format!("{service}.properties")), text).expect("a file for the node");
        let log = || File::options().create(true).append(true).open(home.join("log")).expect("a log");
        machine
            .command("start")
            .arg(service)
            .envs([("PATH", &image.path), ("OTTLA_CLUSTER_ID", &cluster_id)])
            .env("OTTLA_ETC", &home)
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("bash is installed")
    });
    let _nodes: Vec<Killed> = nodes.map(Killed).collect();
    // The controller serves when a broker has registered with it.
    for service in &services[1..] {
        wait_until_said(&image.file(service).join("log"), "Kafka Server started");
    }

    let tool = |line: &str| image.shell(&machine, line);
    let said = tool(
        "kafka-topics --create --zookeeper zookeeper:2181 --replication-factor 3 --partitions 8 \
         --topic failsafe-test-topic",
    );
    assert!(said.contains("Created topic failsafe-test-topic."), "{said}");
    let said = tool("echo hello | kafkacat -P -b localhost -t failsafe-test-topic -X acks=all");
    assert_eq!(said, "");
    let said = tool("kafkacat -q -e -C -b localhost -t failsafe-test-topic -o beginning");
    assert_eq!(said, "hello\n");
    let said = tool("kafka-topics --describe --topic failsafe-test-topic --zookeeper zookeeper:2181");
    assert!(said.contains("PartitionCount: 8\tReplicationFactor: 3"), "{said}");
}

/// What Testcontainers' `KafkaContainer` tells a node of the image of Apache Kafka, and waits for.
#[test]
fn a_node_is_what_the_environment_tells() {
    let (machine, image) = (Machine::new(), Image::build());
    let data = image.file("data");
    let (logs, none) = (data.display().to_string(), image.file("none").display().to_string());
    let environment = [
        ("KAFKA_LISTENERS", "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094"),
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:9092,BROKER://localhost:9093"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKER"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "7@localhost:9094"),
        ("KAFKA_NODE_ID", "7"),
        ("KAFKA_BROKER_ID", "7"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
        ("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES", "9223372036854775807"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_HEAP_OPTS", "-Xmx512m"),
        ("KAFKA_LOG_DIRS", &logs),
        ("OTTLA_MOUNTED_CONFIG", &none),
    ];
    let run = image.file("etc/kafka/docker/run").display().to_string();
    let _node = image.start(&machine, &run, &environment);

    wait_until_said(&image.file("log"), "Transitioning from RECOVERY to RUNNING");

    let identity = fs::read_to_string(data.join("meta.properties")).expect("it is formatted");
    assert!(
        identity.contains("node.id=7\n") && identity.contains("cluster.id=5L6g3nShT-eMCtK--X86sw"),
        "{identity}"
    );
    let tools = image.file("opt/kafka/bin").display().to_string();
    let said = image.shell(
        &machine,
        &format!("{tools}/kafka-topics.sh --bootstrap-server localhost:9092 --create --topic t"),
    );
    assert_eq!(said, "Created topic t.\n");
    let said = image.shell(
        &machine,
        "echo hello | kcat -P -b localhost:9092 -t t && kcat -q -e -C -b localhost:9092 -t t",
    );
    assert_eq!(said, "hello\n");
}

#[test]
fn a_node_that_is_told_nothing_is_one_to_try_things_with() {
    let (machine, image) = (Machine::new(), Image::build());
    let text = fs::read_to_string(repository().join("docker/default.properties")).expect("a file");
    let text = text.replace(DATA, &image.directory.path().display().to_string());
    fs::write(image.file("default.properties"), text).expect("a file for the node");
    let mounted = image.file("mounted");
    fs::create_dir(&mounted).expect("a directory");
    let mounted = mounted.display().to_string();
    let _node = image.start(&machine, "start", &[("OTTLA_MOUNTED_CONFIG", &mounted)]);

    wait_until_said(&image.file("log"), "Kafka Server started");

    let said =
        image.shell(&machine, "echo hello | kcat -P -b localhost -t t && kcat -q -e -C -b localhost -t t");
    assert_eq!(said, "hello\n");
}
