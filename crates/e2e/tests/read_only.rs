//! A disk turns read-only under load, as a file system does that has found itself damaged: its node ends, the others go on,
//! and when the disk is mounted anew the node counts as one that may have lost something.
//!
//! Mounting takes root, and is skipped without.

use ottla_e2e::Cluster;
use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::load::Load;
use ottla_e2e::failover::topology;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in a file, on a loop device.
struct Device {
    image: PathBuf,
    mounted_at: PathBuf,
}

impl Device {
    /// One of 512 MB, mounted; `None` for who may not.
    fn new(directory: &Path) -> Option<Device> {
        let device = Device { image: directory.join("image"), mounted_at: directory.join("disk") };
        fs::create_dir(&device.mounted_at).expect("a directory for the test");
        fs::File::create(&device.image)
            .and_then(|file| file.set_len(512 << 20))
            .expect("room for a sparse file");
        let made = Command::new("mkfs.ext4").arg("-q").arg(&device.image).status();
        (made.is_ok_and(|status| status.success()) && device.mount()).then_some(device)
    }

    fn mount(&self) -> bool {
        let mount = Command::new("mount")
            .args(["-o", "loop,errors=remount-ro"])
            .arg(&self.image)
            .arg(&self.mounted_at)
            .output();
        mount.is_ok_and(|output| output.status.success())
    }

    /// What the kernel does when it finds the file system damaged.
    fn turns_read_only(&self) {
        let output = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(&self.mounted_at).output();
        let source = String::from_utf8(output.expect("util-linux has it").stdout).expect("a path");
        let name = source.trim().trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "on purpose")
            .expect("ext4 offers it to root");
        let refused = fs::write(self.mounted_at.join("probe"), "").expect_err("nothing can be written");
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }

    /// What was not on the device yet is gone; the rest is made whole.
    fn is_mounted_anew(&self) {
        self.unmount();
        // It says by its status what it has mended.
        let _ = Command::new("e2fsck").args(["-p", "-f"]).arg(&self.image).output();
        assert!(self.mount(), "it can be mounted again");
    }

    fn unmount(&self) {
        let _ = Command::new("umount").arg(&self.mounted_at).output();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Whoever still writes there is being ended.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted_at).output();
    }
}

/// Plays something on a cluster at work whose node 3 has a disk of its own.
fn play(name: &str, act: impl FnOnce(&mut Cluster, &mut Load, &Device)) {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let Some(device) = Device::new(directory.path()) else {
        // Past the test harness, which shows what a test prints only when it fails.
        let _ = writeln!(std::io::stderr(), "{name}: skipped, only root may mount a file system");
        return;
    };
    let disk = device.mounted_at.join("data");
    let mut cluster = Cluster::start_each(3, |id| match id {
        3 => format!("log.dirs={}", disk.display()),
        _ => String::new(),
    });
    cluster.node(3).set_data(disk);
    let mut load = Load::start(&cluster, Client::SystemRdkafka, directory.path());

    act(&mut cluster, &mut load, &device);

    load.goes_on();
    load.judge(&cluster);
}

#[test]
fn a_node_whose_disk_turns_read_only_ends_and_the_others_go_on() {
    play("a_node_whose_disk_turns_read_only_ends_and_the_others_go_on", |cluster, load, device| {
        device.turns_read_only();
        cluster.node(3).wait_until_failed();
        load.goes_on();

        device.is_mounted_anew();
        cluster.node(3).start();
        topology::wait_until_in_sync(cluster);
    });
}

/// It has what its disk had, not what it had: of the two that acknowledged last only the other has that. A process that was
/// killed on a machine that runs has lost nothing; this one has, and could not even note it down.
#[test]
fn a_node_whose_disk_was_mounted_anew_does_not_lead_with_what_is_left() {
    play("a_node_whose_disk_was_mounted_anew_does_not_lead_with_what_is_left", |cluster, load, device| {
        cluster.node(2).kill();
        load.goes_on();

        device.turns_read_only();
        cluster.node(3).wait_until_failed();
        cluster.node(1).kill();
        device.is_mounted_anew();

        // Whoever is asked first says what it has: node 2 has been away, and node 3 has lost what was not synced.
        cluster.node(3).spawn();
        cluster.node(2).spawn();
        ottla_e2e::failover::run::pause(std::time::Duration::from_secs(3));
        cluster.node(1).spawn();
    });
}
