//! A network of machines on this one: a namespace for each node and one for the clients, cabled to a switch that can be
//! told which packets to lose.
//!
//! What is lost is lost without a word, as behind a router that has failed: nobody is refused and no connection closes.

use crate::Machine;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

/// The host from which clients come; nodes have their ids.
pub const CLIENTS: usize = 0;

/// Hosts on one network. It ends with its owner; what runs on its hosts must have ended before.
pub struct Network {
    switch: Machine,
    /// The clients' first.
    hosts: Vec<Machine>,
}

/// Where a node runs: its name for others, and the words that bring a command there.
#[derive(Clone, Debug)]
pub struct Site {
    /// The host's name or address.
    pub host: String,
    /// A command that runs what follows it there; none for this machine.
    pub enter: Vec<String>,
}

impl Site {
    /// This machine, as it is.
    pub fn here() -> Site {
        Site { host: "localhost".to_owned(), enter: Vec::new() }
    }

    /// A command that will run there.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match self.enter.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}

impl Network {
    /// A network of so many nodes' hosts and one of clients; `None` for who may not make networks.
    ///
    /// # Panics
    /// When a part of it cannot be made though others could.
    pub fn new(nodes: usize) -> Option<Network> {
        let switch = Machine::isolated()?;
        let hosts = (0..=nodes).map(|_| Machine::isolated()).collect::<Option<Vec<Machine>>>()?;
        let network = Network { switch, hosts };
        network.on_switch("ip link add br0 type bridge && ip link set br0 up");
        for (number, host) in network.hosts.iter().enumerate() {
            let pid = host.pid().expect("an isolated machine has a process");
            let (port, address) = (port(number), address(number));
            network.on_switch(&format!(
                "ip link add {port} type veth peer name eth0 netns {pid} && ip link set {port} master br0 up"
            ));
            run(host, &format!("ip address add {address}/24 dev eth0 && ip link set eth0 up"), "");
        }
        network.filter("table bridge faults { chain forward { type filter hook forward priority 0; }; }");
        Some(network)
    }

    /// Where a node of this id runs.
    pub fn site(&self, node: usize) -> Site {
        Site { host: address(node), enter: self.hosts[node].entrance() }
    }

    /// Moves this thread to the clients' host: whatever it connects to and whatever it starts from now on, too.
    ///
    /// # Panics
    /// When the system does not let it.
    pub fn enter(&self) {
        let pid = self.hosts[CLIENTS].pid().expect("an isolated machine has a process");
        let namespace = File::open(format!("/proc/{pid}/ns/net")).expect("its process lives");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("who may make a network may enter it");
    }

    /// Loses all packets from one host to another, and none on the way back.
    pub fn lose_from(&self, from: usize, to: usize) {
        self.filter(&rule(&format!("iifname \"{}\" oifname \"{}\"", port(from), port(to))));
    }

    /// Loses all packets between two hosts.
    pub fn cut(&self, one: usize, other: usize) {
        self.lose_from(one, other);
        self.lose_from(other, one);
    }

    /// Loses all packets from and to a host.
    pub fn isolate(&self, host: usize) {
        let port = port(host);
        let rules = [format!("iifname \"{port}\""), format!("oifname \"{port}\"")];
        // At the same moment.
        self.filter(&rules.map(|what| rule(&what)).join("\n"));
    }

    /// Loses so many of a hundred packets, by chance.
    pub fn lose_by_chance(&self, percent: u32) {
        self.filter(&rule(&format!("numgen random mod 100 < {percent}")));
    }

    /// Loses nothing any more.
    pub fn heal(&self) {
        self.filter("flush chain bridge faults forward");
    }

    fn filter(&self, rules: &str) {
        run(&self.switch, "nft -f -", rules);
    }

    fn on_switch(&self, script: &str) {
        run(&self.switch, script, "");
    }
}

/// What is not IP passes: a host whose neighbours vanish would be told so by its own kernel.
fn rule(what: &str) -> String {
    format!("add rule bridge faults forward {what} ether type ip drop")
}

fn port(host: usize) -> String {
    format!("host{host}")
}

fn address(host: usize) -> String {
    format!("10.77.0.{}", host + 1)
}

fn run(machine: &Machine, script: &str, input: &str) {
    let mut child = machine
        .command("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh is everywhere");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that reads nothing may have ended.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the child is ours");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}\n{input}\n{errors}", output.status);
}
