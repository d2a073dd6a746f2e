//! What `Dockerfile` and `compose.yaml` run, run here without containers: the same commands, with the same files, in
//! which only the names of machines and the directories are others.

use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::{Machine, eventually};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

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

/// Nodes that are killed when the test ends.
struct Nodes(Vec<Child>);

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.0 {
            // It may have ended by itself.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

#[test]
fn the_images_commands_make_the_tutorials_cluster() {
    let machine = Machine::new();
    let directory = tempfile::tempdir().expect("a directory for the test");
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).expect("a directory for programs");
    symlink(binary(), bin.join("ottla")).expect("a link to the binary");
    fs::copy(repository().join("docker/start"), bin.join("start")).expect("the image's start");
    fs::set_permissions(bin.join("start"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:/usr/bin:/bin", bin.display());

    // What the image's last stage runs, but for installing packages.
    let dockerfile = fs::read_to_string(repository().join("Dockerfile")).expect("a Dockerfile");
    let stage = dockerfile.rsplit("\nFROM ").next().expect("a stage");
    let runs =
        stage.lines().filter_map(|line| line.strip_prefix("RUN ")).filter(|run| !run.contains("apt-get"));
    for run in runs {
        let run = run.replace(BIN, &bin.display().to_string());
        let done = Command::new("sh").args(["-c", &run]).env("PATH", &path).output().expect("a shell");
        assert!(done.status.success(), "{run}: {}", String::from_utf8_lossy(&done.stderr));
    }
    for tool in ["kafka-topics", "kafka-topics.sh", "kafka-dump-log", "kafkacat"] {
        assert!(bin.join(tool).exists(), "{tool}");
    }

    let compose = fs::read_to_string(repository().join("compose.yaml")).expect("compose.yaml");
    assert!(values(&compose, "container_name").contains(&"streamingplatform_broker-1_1".to_owned()));
    let cluster_id = values(&compose, "OTTLA_CLUSTER_ID").remove(0);
    let services = values(&compose, "command");
    assert_eq!(services, ["zookeeper", "broker-1", "broker-2", "broker-3"]);
    let nodes = services.iter().map(|service| {
        let home = directory.path().join(service);
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
            .envs([("PATH", path.as_str()), ("OTTLA_CLUSTER_ID", &cluster_id)])
            .env("OTTLA_ETC", &home)
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("bash is installed")
    });
    let _nodes = Nodes(nodes.collect());
    // The controller serves when a broker has registered with it.
    for service in &services[1..] {
        let log = directory.path().join(service).join("log");
        let said = || fs::read_to_string(&log).unwrap_or_default();
        let what = || format!("{service} serves:\n{}", said());
        eventually(what, PATIENCE, || said().contains("Kafka Server started").then_some(()));
    }

    let tool = |line: &str| {
        let output = machine.command("bash").args(["-c", line]).env("PATH", &path).output().expect("bash");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
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
