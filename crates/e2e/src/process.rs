//! Children that end with their owner, and signals to a child.

use crate::cluster::PATIENCE;
use crate::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::Child;

/// A child that is killed when it is let go.
#[derive(Debug)]
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal.
///
/// # Panics
/// When it was waited for already.
pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the child is ours");
}

/// Stops it from running, as a machine that hangs does: its connections stay open. All its threads stand still when this
/// returns; the signal alone lets them go on for a moment.
///
/// # Panics
/// When it was waited for already.
pub fn freeze(child: &Child) {
    signal(child, Signal::STOP);
    let id = child.id();
    eventually("every thread stands still", PATIENCE, || {
        let threads = fs::read_dir(format!("/proc/{id}/task")).ok()?;
        let stat = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("stat")).ok();
        let is_still = |stat: &String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
        threads.flatten().filter_map(stat).all(|stat| is_still(&stat)).then_some(())
    });
}

/// Lets one that was stopped go on.
///
/// # Panics
/// When it was waited for already.
pub fn thaw(child: &Child) {
    signal(child, Signal::CONT);
}
