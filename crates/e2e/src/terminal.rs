//! A terminal with a shell, and somebody who types.
//!
//! It is a real one, a pseudo-terminal: programs find out that they have a person before them, write their
//! lines at once, and Ctrl-C reaches the program in front. What is typed is echoed, as it is on any screen.

use crate::Machine;
use crate::cluster::PATIENCE;
use crate::patience::{Pace, eventually};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the shell says when it waits for a command.
pub const PROMPT: &str = "cas@cas ~> ";

/// How far apart lines are typed, at least. Nobody types faster; and librdkafka, which keeps records without a key
/// that come within 10 ms of each other on one partition, then chooses a partition for each.
const PACE: Duration = Duration::from_millis(50);

/// A shell in a pseudo-terminal. What runs in it is hung up on when this is dropped.
pub struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// Where on the screen the last command was typed.
    mark: usize,
    pace: Pace,
    shell: Child,
}

impl Terminal {
    /// Opens a terminal on a machine, with a shell in this directory and with this `PATH`.
    ///
    /// # Panics
    /// When the system has no pseudo-terminals, or no `bash`.
    pub fn open(machine: &Machine, directory: &Path, path: &str) -> Terminal {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&keyboard).expect("it is ours");
        unlockpt(&keyboard).expect("it is ours");
        let name = ptsname(&keyboard, Vec::new()).expect("it has a name");
        let name = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let line = || File::options().read(true).write(true).open(name).expect("it is unlocked");
        let shell = machine
            .command("setsid")
            // Without line editing the screen holds what was typed and what was answered, and no control codes.
            .args(["--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"])
            .current_dir(directory)
            .envs([("PATH", path), ("PS1", PROMPT), ("TERM", "dumb")])
            .stdin(Stdio::from(line()))
            .stdout(Stdio::from(line()))
            .stderr(Stdio::from(line()))
            .spawn()
            .expect("bash and util-linux are installed");
        let keyboard = File::from(keyboard);
        let screen = Arc::default();
        watch(keyboard.try_clone().expect("a second handle"), Arc::clone(&screen));
        let terminal = Terminal { keyboard, screen, mark: 0, pace: Pace::new(PACE), shell };
        terminal.sees("a prompt", |text| text.ends_with(PROMPT).then_some(()));
        terminal
    }

    /// Types a line.
    ///
    /// # Panics
    /// When the shell has gone.
    pub fn types(&mut self, line: &str) {
        self.press(format!("{line}\n").as_bytes());
    }

    /// Types a command, which may have several lines; what is seen from then on is what it says.
    pub fn starts(&mut self, command: &str) {
        self.mark = self.len();
        for line in command.lines() {
            self.types(line);
        }
        let last = command.lines().next_back().unwrap_or_default().to_owned();
        // The echo is not yet what the command says.
        let echoed = format!("{last}\r\n");
        let end = self.sees("its own typing", |text| text.find(&echoed).map(|at| at + echoed.len()));
        self.mark += end;
    }

    /// Types a command, waits until it has ended, and returns what it said.
    pub fn runs(&mut self, command: &str) -> String {
        self.starts(command);
        self.is_idle();
        let said = self.said();
        said.strip_suffix(PROMPT).unwrap_or(&said).replace("\r\n", "\n")
    }

    /// Presses Ctrl-C, and waits for the prompt.
    pub fn interrupts(&mut self) {
        self.press(b"\x03");
        self.is_idle();
    }

    /// Presses Ctrl-D.
    pub fn presses_control_d(&mut self) {
        self.press(b"\x04");
    }

    /// Waits until the shell waits for a command.
    pub fn is_idle(&self) {
        self.sees("a prompt", |text| text.ends_with(PROMPT).then_some(()));
    }

    /// Waits until `find` finds something in what was said since the last command was typed.
    ///
    /// # Panics
    /// When it has found nothing for too long, with what is on the screen.
    pub fn sees<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let screen = || format!("the terminal shows {what}; it shows:\n{}\n", self.said());
        eventually(screen, PATIENCE, || find(&self.said()))
    }

    /// What was said since the last command was typed.
    pub fn said(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen[self.mark..]).into_owned()
    }

    /// The lines of [`Terminal::said`] that are records: not remarks of kcat's, which begin with a per cent sign.
    pub fn records(&self) -> Vec<String> {
        let said = self.said();
        let lines = said.split("\r\n").filter(|line| {
            !line.is_empty() && !line.starts_with('%') && !line.starts_with(PROMPT) && !line.starts_with("^C")
        });
        lines.map(str::to_owned).collect()
    }

    fn press(&mut self, keys: &[u8]) {
        self.pace.wait();
        self.keyboard.write_all(keys).expect("the shell is there");
    }

    fn len(&self) -> usize {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself. What it ran in front is hung up on when the keyboard is closed.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Keeps everything that is shown.
fn watch(mut terminal: File, screen: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        // An error is how the end of the last program shows.
        while let Ok(count @ 1..) = terminal.read(&mut piece) {
            screen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..count]);
        }
    });
}
