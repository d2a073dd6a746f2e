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
