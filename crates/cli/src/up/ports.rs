//! Whether a port is free, and who has it if not.

use anyhow::{Result, bail};
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;

/// Checks that a port can be listened on.
///
/// # Errors
/// Names the port's holder, and what to do.
pub(crate) fn check(port: u16) -> Result<()> {
    for host in ["127.0.0.1", "::1"] {
        if let Err(error) = TcpListener::bind((host, port))
            && error.kind() == ErrorKind::AddrInUse
        {
            let holder = holder(port).map_or_else(String::new, |holder| format!(" by {holder}"));
            bail!("port {port} is taken{holder}; stop it, or choose other ports with --base-port");
        }
    }
    Ok(())
}

/// The process that listens on a port, where the system tells.
fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| table.lines().filter_map(|line| listening_inode(line, port)).collect::<Vec<_>>())
        .collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        for file in files.flatten() {
            let Ok(target) = fs::read_link(file.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            if inodes.iter().any(|inode| target == format!("socket:[{inode}]")) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some(format!("process {pid} ({})", name.trim()));
            }
        }
    }
    None
}

/// The inode of a line of `/proc/net/tcp` that listens on `port`.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(local_port, 16).ok()? == port;
    listens.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();

        let error = check(port).unwrap_err().to_string();

        assert!(error.starts_with(&format!("port {port} is taken")), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("by process {}", std::process::id())), "{error}");
        }
        drop(listener);
        check(port).unwrap();
    }
}
