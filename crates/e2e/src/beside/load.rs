//! A producer at work on a cluster of both kinds, and the judgement of what it was told.

use super::cluster::{Cluster, PATIENCE};
use crate::cluster::binary;
use crate::{eventually, process};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// `ottla verify produce`: idempotent, `acks=all`, a thousand records a second.
pub struct Load {
    child: Child,
    history: PathBuf,
    said: PathBuf,
}

impl Load {
    /// Begins to produce to a topic that exists, and returns when something is acknowledged.
    pub fn start(cluster: &Cluster, topic: &str) -> Load {
        let history = cluster.directory().join(format!("{topic}.history"));
        let said = cluster.directory().join(format!("{topic}.said"));
        let output = File::create(&said).expect("a file for what is said");
        let child = Command::new(binary())
            .args(["verify", "produce", "--bootstrap-server", &cluster.bootstrap(), "--topic", topic])
            .args(["--rate", "1000", "--records", "100000000", "--history"])
            .arg(&history)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the binary is built");
        let load = Load { child, history, said };
        load.goes_on();
        load
    }

    /// Waits until something is acknowledged that was not when this was called.
    pub fn goes_on(&self) {
        let begin = fs::metadata(&self.history).map_or(0, |metadata| metadata.len());
        let what =
            || format!("records are acknowledged: {}", fs::read_to_string(&self.said).unwrap_or_default());
        eventually(what, PATIENCE, || {
            let mut file = File::open(&self.history).ok()?;
            file.seek(SeekFrom::Start(begin)).ok()?;
            let mut new = String::new();
            file.read_to_string(&mut new).ok()?;
            // Written a buffer at a time, which may hold what was acknowledged before: the second is from afterwards.
            (new.len() > 16_384 && new.contains("acknowledged")).then_some(())
        });
    }

    /// Ends the producer in order, reads everything back and judges. Returns how many records were acknowledged.
    ///
    /// # Panics
    /// When one of them is lost, or there twice, in another order or changed, or none was acknowledged.
    pub fn judge(mut self, cluster: &Cluster) -> u64 {
        process::signal(&self.child, Signal::INT);
        eventually("the producer ends", PATIENCE, || self.child.try_wait().expect("the child is ours"));
        let output = Command::new(binary())
            .args(["verify", "check", "--bootstrap-server", &cluster.bootstrap(), "--history"])
            .arg(&self.history)
            .output()
            .expect("the binary is built");
        let said = String::from_utf8_lossy(&output.stdout);
        let produced = fs::read_to_string(&self.said).unwrap_or_default();
        assert!(output.status.success(), "{said}{}{produced}", String::from_utf8_lossy(&output.stderr));
        let acknowledged = said.split_whitespace().nth(1).and_then(|count| count.parse().ok());
        acknowledged.filter(|&count| count > 0).unwrap_or_else(|| panic!("nothing was acknowledged: {said}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
