//! The foreign clients that the failover measurements drive: installed, fetched, checked and built.
//!
//! What is fetched has a pinned SHA-256, and stays below `target/clients` with what is built.

use crate::steps::{Install, install_missing, run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub(crate) const SOURCE: &str = "crates/e2e/drivers";
pub(crate) const TARGET: &str = "target/clients";

/// What building and judging the drivers takes: where it is, and the Debian package that holds it.
const NEEDED: &[(&str, &str)] = &[
    // Reads everything back.
    ("kcat", "kcat"),
    ("/usr/include/librdkafka/rdkafka.h", "librdkafka-dev"),
    ("javac", "default-jdk-headless"),
    ("mvn", "maven"),
    ("pip3", "python3-pip"),
];

/// Makes every driver ready to be run.
pub(crate) fn prepare(install: Install) -> Result<()> {
    install_missing(NEEDED, install)?;
    fs::create_dir_all(TARGET).context(TARGET)?;
    build_rdkafka()?;
    fetch_newest_librdkafka()?;
    build_java()
}

/// The C programs, linked with the system's librdkafka; the search path decides which one they run with.
fn build_rdkafka() -> Result<()> {
    for name in ["rdkafka", "copier"] {
        let (source, program) = (format!("{SOURCE}/{name}.c"), format!("{TARGET}/{name}"));
        if is_newer(&program, &[&source, &format!("{SOURCE}/client.h")]) {
            continue;
        }
        let flags =
            ["-O2", "-Wall", "-Wextra", "-std=gnu11", "-o", &program, &source, "-lrdkafka", "-lpthread"];
        run("cc", &flags)?;
    }
    Ok(())
}

/// A librdkafka newer than the system's, under the name that programs ask for.
fn fetch_newest_librdkafka() -> Result<()> {
    let (requirements, library) =
        (format!("{SOURCE}/requirements.txt"), format!("{TARGET}/librdkafka-2/librdkafka.so.1"));
    if is_newer(&library, &[&requirements]) {
        return Ok(());
    }
    let (wheels, unpacked) = (format!("{TARGET}/wheels"), format!("{TARGET}/librdkafka-2"));
    remove(&wheels)?;
    remove(&unpacked)?;
    // One wheel, whatever Python is here: its hash is pinned, and nothing of Python's in it is run.
    let wheel = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"];
    let mut download = vec!["download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"];
    download.extend(wheel);
    download.extend([
        "--platform",
        "manylinux_2_28_x86_64",
        "--dest",
        &wheels,
        "--requirement",
        &requirements,
    ]);
    run("pip3", &download)?;
    let wheel = only_file(&wheels, ".whl")?;
    run("python3", &["-m", "zipfile", "-e", &wheel.to_string_lossy(), &unpacked])?;
    let bundled = only_file(&format!("{unpacked}/confluent_kafka.libs"), ".so.1")?;
    symlink(fs::canonicalize(bundled)?, &library).context(library)
}

/// The Java program, and the jars that it runs with.
fn build_java() -> Result<()> {
    let (source, classes) = (format!("{SOURCE}/Driver.java"), format!("{TARGET}/java/classes"));
    let (pom, jars) = (format!("{SOURCE}/pom.xml"), format!("{TARGET}/java/jars"));
    if is_newer(&format!("{classes}/Driver.class"), &[&source, &pom]) {
        return Ok(());
    }
    remove(&jars)?;
    let output = format!("-DoutputDirectory={}", std::env::current_dir()?.join(&jars).display());
    // What compresses is left out: nothing is compressed here.
    let wanted = "-DincludeArtifactIds=kafka-clients,slf4j-api,slf4j-simple";
    run("mvn", &["-q", "-B", "-f", &pom, "dependency:copy-dependencies", &output, wanted])?;
    let sums = std::env::current_dir()?.join(SOURCE).join("jars.sha256");
    run("sh", &["-c", &format!("cd {jars} && sha256sum --quiet --strict -c {}", sums.display())])?;
    run("javac", &["-cp", &format!("{jars}/*"), "-d", &classes, &source])
}

/// Whether a file is there, and made after all that it is made of.
pub(crate) fn is_newer(made: &str, sources: &[&str]) -> bool {
    let changed = |path: &str| fs::metadata(path).and_then(|file| file.modified());
    let Ok(made) = changed(made) else { return false };
    sources.iter().all(|source| changed(source).is_ok_and(|changed| changed <= made))
}

pub(crate) fn remove(directory: &str) -> Result<()> {
    if Path::new(directory).exists() {
        fs::remove_dir_all(directory).with_context(|| directory.to_owned())?;
    }
    Ok(())
}

fn only_file(directory: &str, suffix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| directory.to_owned())?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(suffix));
    match found.as_slice() {
        [only] => Ok(only.clone()),
        _ => bail!("{directory} should hold one file that ends with {suffix}, not {}", found.len()),
    }
}
