//! Bytes that are no request, or none that is known.

use crate::{one_node, one_node_with, still_serves};
use ottla_e2e::{Client, eventually};
use ottla_protocol::messages::ApiVersionsRequest;
use ottla_types::Random;
use std::fs;
use std::time::Duration;

/// Sends bytes, and nothing after them; returns what comes back until the node closes the connection.
fn send(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(port);
    client.send(bytes);
    client.finish();
    client.rest()
}

#[test]
fn nothing_that_arrives_takes_a_node_down() {
    let cluster = one_node();
    let node = &cluster.nodes()[0];
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cases: &[(&str, &[u8])] = &[
        ("half a length", b"\0\0"),
        ("half a request", b"\0\0\0\x20\0\x03\0\x09"),
        ("a length of 2 GB", b"\x7f\xff\xff\xff\0\x03\0\x09\0\0\0\x01"),
        ("a negative length", b"\xff\xff\xff\xff\0\x03\0\x09\0\0\0\x01"),
        ("an empty request", b"\0\0\0\0"),
        ("an unknown API", b"\0\0\0\x0a\x7f\x00\0\0\0\0\0\x01\xff\xff"),
        ("a negative API", b"\0\0\0\x0a\xff\xff\0\0\0\0\0\x01\xff\xff"),
        ("an API of controllers, without a body", b"\0\0\0\x0a\0\x3e\0\0\0\0\0\x01\xff\xff"),
        ("an unknown version of Metadata", b"\0\0\0\x0b\0\x03\0\x63\0\0\0\x01\xff\xff\0"),
        ("a version of Fetch that is no more", b"\0\0\0\x0b\0\x01\0\x03\0\0\0\x01\xff\xff\0"),
        ("a negative version of Metadata", b"\0\0\0\x0b\0\x03\xff\xff\0\0\0\x01\xff\xff\0"),
        (
            "an array of two thousand million topics",
            b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff",
        ),
        ("noise", &noise),
        ("a web browser", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ];
    for port in [node.port, node.controller_port] {
        for (what, bytes) in cases {
            assert_eq!(send(port, bytes), b"", "{what}");
        }
    }

    still_serves(&cluster);
}

#[test]
fn an_unknown_version_of_api_versions_is_told_the_known_ones() {
    let cluster = one_node();
    let port = cluster.nodes()[0].port;

    for version in [b"\0\x63", b"\xff\xff"] {
        let answer = send(port, &[b"\0\0\0\x0b\0\x12", &version[..], b"\0\0\0\x2a\xff\xff\0"].concat());

        // Length, correlation id 42, UNSUPPORTED_VERSION, one API: 18, versions 0 to 5.
        assert_eq!(answer, b"\0\0\0\x10\0\0\0\x2a\0\x23\0\0\0\x01\0\x12\0\0\0\x05", "{version:?}");
    }
}

/// How long one that was closed may count.
const FREED_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn connections_beyond_max_connections_are_closed_and_those_before_them_served() {
    let cluster = one_node_with("max.connections=4");
    let port = cluster.nodes()[0].port;
    let is_served = |client: &mut Client| client.call(0, &ApiVersionsRequest::default()).is_some();
    let connect = || {
        eventually("another one is let in", FREED_WITHIN, || {
            let mut client = Client::connect(port);
            is_served(&mut client).then_some(client)
        })
    };
    let mut open: Vec<Client> = (0..4).map(|_| connect()).collect();

    assert!(!is_served(&mut Client::connect(port)), "one too many");

    assert!(open.iter_mut().all(is_served));
    drop(open);
    // All four are free again, as many as kcat needs.
    drop((0..4).map(|_| connect()).collect::<Vec<Client>>());
    still_serves(&cluster);
}

/// How many frames of noise each listener gets.
const FRAMES: usize = 600;

/// The largest of them, in bytes. Its header leaves the rest to a body.
const FRAME_BYTES_MAX: u64 = 2048;

/// What a node may have taken more than before, in KiB: its buffers, and whatever its allocator keeps.
const GROWTH_KIB_MAX: u64 = 64 << 10;

/// A frame of a correct length: sometimes with a header that is fine, of an API and version that may exist.
fn frame(random: &mut Random) -> Vec<u8> {
    let size = random.below(FRAME_BYTES_MAX) as usize;
    let mut body: Vec<u8> = (0..size).map(|_| random.next_u64() as u8).collect();
    if random.below(4) > 0 {
        let (key, version) = (random.below(93) as u16, random.below(14) as u16);
        // No client id; and where the header is flexible, no tags.
        let header = [key.to_be_bytes(), version.to_be_bytes(), [0, 0], [0, 7], [255, 255]].concat();
        body.splice(..0, header.into_iter().chain([0]));
        // Small numbers and empty arrays get further than large ones.
        for byte in body.iter_mut().skip(11) {
            if random.below(3) > 0 {
                *byte = random.below(4) as u8;
            }
        }
    }
    let length = u32::try_from(body.len()).expect("frames are small");
    [&length.to_be_bytes()[..], &body].concat()
}

/// What a process has in memory, in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the node runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn noise_in_frames_of_the_right_length_costs_connections_and_no_memory() {
    let cluster = one_node();
    let node = &cluster.nodes()[0];
    let before = resident_kib(node.pid());
    let mut random = Random::new(20_261_122);

    for port in [node.port, node.controller_port] {
        let mut client = Client::connect(port);
        let mut closed = 0;
        for number in 0..FRAMES {
            client.send(&frame(&mut random));
            // Some connections get one frame, others get several at once.
            if number % 4 == 3 {
                client.finish();
                client.rest();
                client = Client::connect(port);
                closed += 1;
            }
        }
        assert_eq!(closed, FRAMES / 4);
    }

    let grown = resident_kib(node.pid()).saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB more than before");
    assert!(!node.log().contains("panicked"), "{}", node.log());
    still_serves(&cluster);
}
