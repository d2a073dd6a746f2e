//! A disk that is full.

use ottla_e2e::{Cluster, kcat};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system, for as long as it is not dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// One of a few megabytes; `None` for who may not mount.
    fn mount(at: &Path) -> Option<SmallDisk> {
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
        // Past the test harness, which shows what a test prints only when it fails.
        let why = "a_full_disk_refuses_records_until_there_is_room: skipped, only root may mount a small file system";
        let _ = writeln!(std::io::stderr(), "{why}");
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
