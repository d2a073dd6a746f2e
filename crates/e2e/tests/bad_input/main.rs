//! What is malformed is refused by closing its connection; the node goes on serving everybody else.

use ottla_e2e::{Cluster, cluster, kcat};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

/// Sends bytes and returns what comes back until the node closes the connection or has nothing to say.
fn send(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the node listens");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket has a time-out");
    // The node may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn nothing_that_arrives_takes_a_node_down() {
    let cluster = Cluster::start(1, "");
    kcat::produce(&cluster, "t", "kept\n");
    let port = cluster.nodes()[0].port;
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cases: &[(&str, &[u8])] = &[
        ("half a length", b"\0\0"),
        ("half a request", b"\0\0\0\x20\0\x03\0\x09"),
        ("a length of 2 GB", b"\x7f\xff\xff\xff\0\x03\0\x09\0\0\0\x01"),
        ("a negative length", b"\xff\xff\xff\xff\0\x03\0\x09\0\0\0\x01"),
        ("an empty request", b"\0\0\0\0"),
        ("an unknown API", b"\0\0\0\x0a\x7f\x00\0\0\0\0\0\x01\xff\xff"),
        ("an unknown version of Metadata", b"\0\0\0\x0b\0\x03\0\x63\0\0\0\x01\xff\xff\0"),
        (
            "an array of two thousand million topics",
            b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff",
        ),
        ("noise", &noise),
        ("a web browser", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ];
    for (what, bytes) in cases {
        assert_eq!(send(port, bytes), b"", "{what}");
    }

    assert_eq!(kcat::consume_all(&cluster, "t"), ["kept"]);
}

#[test]
fn an_unknown_version_of_api_versions_is_told_the_known_ones() {
    let cluster = Cluster::start(1, "");
    let port = cluster.nodes()[0].port;

    let answer = send(port, b"\0\0\0\x0b\0\x12\0\x63\0\0\0\x2a\xff\xff\0");

    // Length, correlation id 42, UNSUPPORTED_VERSION, one API: 18, versions 0 to 5.
    assert_eq!(answer, b"\0\0\0\x10\0\0\0\x2a\0\x23\0\0\0\x01\0\x12\0\0\0\x05");
}

#[test]
fn a_mistake_in_the_configuration_is_named() {
    let cases = [
        ("num.partition=3", "there is no setting num.partition; did you mean num.partitions?"),
        ("num.partitions=many", "num.partitions=many: must be a whole number"),
        ("listeners=PLAINTEXT://localhost:99999", "the port must be a number from 0 to 65535"),
        ("log.dirs=/proc/no/such/place", "/proc/no/such/place"),
        ("ssl.keystore.location=/k", "ssl.keystore.location=/k is not supported"),
    ];
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("server.properties");
    for (line, expected) in cases {
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://localhost:19,CONTROLLER://localhost:20\n\
             controller.quorum.voters=1@localhost:20\nlog.dirs={}\n{line}\n",
            directory.path().join("data").display()
        );
        fs::write(&file, text).expect("a file for the test");
        let output = Command::new(cluster::binary()).arg("server").arg(&file).output().expect("it is built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{line}");
        assert!(said.contains(expected), "{line}: {said}");
    }
}

#[test]
fn a_node_that_is_not_formatted_says_how_to_format_it() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("server.properties");
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://localhost:19,CONTROLLER://localhost:20\n\
         controller.quorum.voters=1@localhost:20\nlog.dirs={}\n",
        directory.path().join("data").display()
    );
    fs::write(&file, text).expect("a file for the test");

    let output = Command::new(cluster::binary()).arg("server").arg(&file).output().expect("it is built");

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not formatted; run: ottla format -t CLUSTER_ID -c FILE.properties"), "{said}");
}

/// A small file system, for as long as it is not dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// One of a few megabytes; `None` for who may not mount.
    fn mount(at: &std::path::Path) -> Option<SmallDisk> {
        fs::create_dir(at).expect("a directory for the test");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(at).output();
        mount.is_ok_and(|output| output.status.success()).then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still writes there is being ended.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_records_until_there_is_room() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let Some(disk) = SmallDisk::mount(&directory.path().join("disk")) else {
        println!("skipped: only root may mount a small file system");
        return;
    };
    // Something else takes room first, and gives it back later.
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![0; 4 << 20]).expect("there is room");
    // Of two settings with one name the later holds.
    let cluster = Cluster::start(1, &format!("log.dirs={}", disk.0.join("data").display()));
    kcat::produce(&cluster, "t", "kept\n");

    let large: String = (0..4000).map(|n| format!("{n:01000}\n")).collect();
    let arguments = ["-P", "-t", "t", "-X", "acks=all", "-X", "message.timeout.ms=2000"];
    let output = kcat::try_run(&cluster, &arguments, &large);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Delivery failed"), "{said}");
    let log = fs::read_to_string(cluster.directory().join("1/server.log")).expect("a log");
    assert!(log.contains("records are refused until there is room"), "{log}");

    fs::remove_file(ballast).expect("it is ours");
    kcat::produce(&cluster, "t", "once there was room\n");
    let records = kcat::consume_all(&cluster, "t");
    for expected in ["kept", "once there was room"] {
        assert_eq!(records.iter().filter(|record| *record == expected).count(), 1, "{expected}");
    }
}

#[test]
fn names_that_kafka_refuses_are_refused_in_its_words() {
    let cluster = Cluster::start(1, "");
    let bootstrap = cluster.bootstrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(cluster::binary());
        let output =
            command.args(arguments).args(["--bootstrap-server", &bootstrap]).output().expect("built");
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };

    for (topic, expected) in [
        ("a b", "contains one or more characters other than ASCII alphanumerics"),
        ("..", "Topic name is invalid: '.' or '..' is not allowed"),
    ] {
        let said = run(&["kafka-topics", "--create", "--topic", topic]);
        assert!(said.contains(expected), "{topic}: {said}");
    }
    let said = run(&["kafka-topics", "--create", "--topic", "t", "--replication-factor", "2"]);
    assert!(said.contains("Unable to replicate the partition 2 time(s)"), "{said}");
    assert!(said.contains("only 1 broker(s) are registered"), "{said}");
    kcat::produce(&cluster, "t", "served\n");
}

#[test]
fn a_second_node_with_the_same_directory_or_ports_is_told_so() {
    let cluster = Cluster::start(1, "");
    let file = cluster.directory().join("1/server.properties");

    let output = Command::new(cluster::binary()).arg("server").arg(&file).output().expect("it is built");

    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    let data = cluster.nodes()[0].data();
    assert!(said.contains(data.to_str().expect("text")), "names the directory: {said}");
    kcat::produce(&cluster, "t", "served\n");
}

#[test]
fn a_directory_of_another_node_is_not_taken() {
    let mut cluster = Cluster::start(1, "");
    kcat::produce(&cluster, "t", "kept\n");
    cluster.node(1).stop();
    let file = cluster.directory().join("1/server.properties");
    let text = fs::read_to_string(&file).expect("its file");
    fs::write(&file, text.replace("node.id=1\n", "node.id=2\n").replace("=1@", "=2@")).expect("its file");
    let output = Command::new(cluster::binary()).arg("server").arg(&file).output().expect("it is built");
    assert!(!output.status.success(), "another node's directory");
    assert!(String::from_utf8_lossy(&output.stderr).contains("node.id"), "{output:?}");
}
