//! The programs' processes.

use crate::clients::driver::Driver;
use crate::failover::client::clients_directory;
use std::path::Path;
use std::process::Command;

/// Starts the program with this main class and these words. What it writes to standard error is kept in `directory`, under
/// `name`.
pub fn start(class: &str, words: &[&str], name: &str, directory: &Path) -> Driver {
    let built = clients_directory().join("programs");
    // Libraries are unpacked there, and left by who is killed.
    let temporary = directory.join("tmp");
    std::fs::create_dir_all(&temporary).expect("a directory for the program");
    let mut command = Command::new("java");
    command
        // Little memory, and little time for compiling: several run beside three nodes.
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .args([
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        ])
        .arg(format!("-Djava.io.tmpdir={}", temporary.display()))
        .arg("-cp")
        .arg(format!("{}:{}/*", built.join("classes").display(), built.join("jars").display()))
        .arg(class)
        .args(words)
        .current_dir(directory);
    Driver::run(&mut command, format!("{class} {name}"), directory.join(format!("{name}.log")))
}
