//! A machine of one's own as far as ports go: a network namespace in which nothing runs but the test.
//!
//! A tutorial names ports (9092, 2181), and several of its plays run at once. Where the system allows no
//! namespaces, they run one after the other on the ports of the machine itself.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by who uses the real machine's ports.
static REAL_PORTS: Mutex<()> = Mutex::new(());

/// Where the programs of one test run.
pub struct Machine(Kind);

enum Kind {
    /// A namespace, which exists as long as this process does, and the words that bring a command into it.
    Namespace { holder: Child, enter: Vec<String> },
    /// This machine as it is.
    Real { _alone: MutexGuard<'static, ()> },
}

impl Machine {
    /// A machine on which every port is free; without namespaces, this one, when nobody else uses it.
    pub fn new() -> Machine {
        // Root needs no namespace of users; anybody else is root in one.
        let kind = namespace(&[]).or_else(|| namespace(&["--user", "--map-root-user"]));
        Machine(kind.unwrap_or_else(|| Kind::Real {
            // A test that failed has left nothing behind that would matter here.
            _alone: REAL_PORTS.lock().unwrap_or_else(PoisonError::into_inner),
        }))
    }

    /// A machine that shares no port and no network with this one; `None` for who is not root.
    pub fn isolated() -> Option<Machine> {
        namespace(&[]).map(Machine)
    }

    /// The process that holds it; `None` where it is this machine as it is.
    pub fn pid(&self) -> Option<u32> {
        match &self.0 {
            Kind::Namespace { holder, .. } => Some(holder.id()),
            Kind::Real { .. } => None,
        }
    }

    /// The words that bring a command to this machine: none, where it is this one as it is.
    pub fn entrance(&self) -> Vec<String> {
        match &self.0 {
            Kind::Namespace { enter, .. } => {
                ["nsenter".to_owned()].into_iter().chain(enter.iter().cloned()).collect()
            }
            Kind::Real { .. } => Vec::new(),
        }
    }

    /// A command that will run on this machine.
    pub fn command(&self, program: &str) -> Command {
        match &self.0 {
            Kind::Namespace { enter, .. } => {
                let mut command = Command::new("nsenter");
                command.args(enter).arg(program);
                command
            }
            Kind::Real { .. } => Command::new(program),
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Machine::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Kind::Namespace { holder, .. } = &mut self.0 {
            // It may have ended by itself.
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// Makes a namespace with a loopback interface; `None` where that is not allowed.
fn namespace(with_users: &[&str]) -> Option<Kind> {
    let mut holder = Command::new("unshare")
        .args(with_users)
        .args(["--net", "sh", "-c", "ip link set lo up && echo up && exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut said = String::new();
    BufReader::new(holder.stdout.take()?).read_line(&mut said).ok()?;
    if said != "up\n" {
        // It ended, or is about to.
        let _ = holder.wait();
        return None;
    }
    let place = |kind: &str| format!("--{kind}=/proc/{}/ns/{kind}", holder.id());
    let mut enter = vec![place("net")];
    if !with_users.is_empty() {
        enter.extend([place("user"), "--preserve-credentials".to_owned()]);
    }
    enter.push("--".to_owned());
    Some(Kind::Namespace { holder, enter })
}
