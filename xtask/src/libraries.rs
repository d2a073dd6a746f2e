//! The client libraries and programs that others wrote, for `cargo xtask clients` and the tests: installed, fetched, checked and
//! built.
//!
//! `go.sum`, `package-lock.json`, `requirements.txt`, `Cargo.lock` and `jars.sha256` pin all of it by hashes; it stays below
//! `target/clients`.

use crate::clients::{SOURCE, TARGET, is_newer, remove};
use crate::java;
use crate::steps::{Install, install_missing, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the languages take: a program, and the Debian package that holds it. Go is another matter.
const NEEDED: &[(&str, &str)] = &[
    // Reads everything back.
    ("kcat", "kcat"),
    ("pip3", "python3-pip"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("javac", "default-jdk-headless"),
    ("mvn", "maven"),
];

/// What building librdkafka once more takes beside it, for Rust and for JavaScript.
const NEEDED_TO_BUILD: &[(&str, &str)] =
    &[("make", "make"), ("c++", "g++"), ("/usr/include/node/node.h", "libnode-dev")];

/// The Go that `go.mod` asks for; Debian 12's is older.
const GO: (u32, u32) = (1, 26);

/// Shows what the libraries can do, as `options` say.
pub(crate) fn show(options: &[&str]) -> Result<()> {
    if !options.contains(&"--help") {
        prepare(Install::IfRoot)?;
        prepare_slow(Install::IfRoot)?;
    }
    run("cargo", &["build", "--release", "--quiet", "--workspace", "--bins"])?;
    run("target/release/ottla-clients", options)
}

/// Makes every library's program ready to be run.
pub(crate) fn prepare(install: Install) -> Result<()> {
    install_missing(NEEDED, install)?;
    fs::create_dir_all(TARGET).context(TARGET)?;
    build_go()?;
    fetch_python()?;
    fetch_node("node")?;
    for version in ["java-2.8", "java-2.1"] {
        java::build(version, &format!("{SOURCE}/OldDriver.java"))?;
    }
    java::build("programs", &format!("{SOURCE}/programs/Counting.java"))?;
    build_rust(&["--bin", "rskafka"])
}

/// The same with those that build librdkafka, which takes minutes: the tests drive it as wheels and Debian have it.
fn prepare_slow(install: Install) -> Result<()> {
    install_missing(NEEDED_TO_BUILD, install)?;
    build_rust(&["--features", "librdkafka"])?;
    build_node_addon()
}

/// Programs in Rust. Cargo knows what is built already.
fn build_rust(which: &[&str]) -> Result<()> {
    let (manifest, target) = (format!("{SOURCE}/rust/Cargo.toml"), format!("{TARGET}/rust"));
    let build =
        ["build", "--quiet", "--release", "--locked", "--manifest-path", &manifest, "--target-dir", &target];
    run("cargo", &[&build[..], which].concat())
}

/// confluent-kafka-javascript, which has its own librdkafka as source. Its own installer would look for a binary elsewhere.
fn build_node_addon() -> Result<()> {
    const PROJECT: &str = "confluent-node";
    fetch_node(PROJECT)?;
    let modules = format!("{TARGET}/{PROJECT}/node_modules");
    let package = format!("{modules}/@confluentinc/kafka-javascript");
    let addon = format!("{package}/build/Release/confluent-kafka-javascript.node");
    if is_newer(&addon, &[&format!("{SOURCE}/{PROJECT}/package-lock.json")]) {
        return Ok(());
    }
    // Linked dynamically, librdkafka takes the system's libraries; otherwise it fetches their sources.
    let build =
        format!("CKJS_LINKING=dynamic {modules}/.bin/node-gyp rebuild --silent --nodedir=/usr -C {package}");
    run("sh", &["-c", &build])
}

fn build_go() -> Result<()> {
    let (source, programs) = (format!("{SOURCE}/go"), format!("{TARGET}/go-drivers"));
    let sources = ["go.mod", "go.sum", "lines/lines.go", "franz/main.go", "sarama/main.go"];
    let sources: Vec<String> = sources.iter().map(|file| format!("{source}/{file}")).collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    if ["franz", "sarama"].iter().all(|program| is_newer(&format!("{programs}/{program}"), &sources)) {
        return Ok(());
    }
    let go = if is_go_new_enough() { "go".to_owned() } else { fetch_go(&source)? };
    let here = std::env::current_dir()?;
    let programs = here.join(programs).display().to_string();
    fs::create_dir_all(&programs).context(programs.clone())?;
    run(
        &go,
        &["build", "-C", &source, "-trimpath", "-buildvcs=false", "-o", &programs, "./franz", "./sarama"],
    )
}

fn is_go_new_enough() -> bool {
    let Ok(output) = Command::new("go").arg("version").output() else { return false };
    // go version go1.26.8 linux/amd64
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.split(' ').find_map(|word| word.strip_prefix("go1."));
    let minor = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    minor.is_some_and(|minor| (1, minor) >= GO)
}

/// A Go from a wheel, pinned as everything else; returns its program.
fn fetch_go(source: &str) -> Result<String> {
    let directory = format!("{TARGET}/go");
    let requirements = format!("{source}/toolchain.txt");
    let stamp = format!("{directory}/toolchain.txt");
    if !is_newer(&stamp, &[&requirements]) {
        install_wheels(&requirements, &directory)?;
    }
    let program = std::env::current_dir()?.join(directory).join("go/bin/go");
    Ok(program.display().to_string())
}

fn fetch_python() -> Result<()> {
    let (requirements, directory) = (format!("{SOURCE}/python/requirements.txt"), format!("{TARGET}/python"));
    if is_newer(&format!("{directory}/requirements.txt"), &[&requirements]) {
        return Ok(());
    }
    install_wheels(&requirements, &directory)
}

/// Installs what a file of requirements pins into a directory, and leaves the file there to say so.
fn install_wheels(requirements: &str, directory: &str) -> Result<()> {
    remove(directory)?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    let only = ["--require-hashes", "--only-binary", ":all:", "--target", directory, "-r", requirements];
    run("python3", &[&install[..], &only[..]].concat())?;
    let name = Path::new(requirements).file_name().context("a file has a name")?;
    copy(Path::new(requirements), &Path::new(directory).join(name))
}

/// What a project in JavaScript asks for. Nothing of it is run.
fn fetch_node(project: &str) -> Result<()> {
    let (source, directory) = (format!("{SOURCE}/{project}"), format!("{TARGET}/{project}"));
    let (lock, installed) =
        (format!("{source}/package-lock.json"), format!("{directory}/node_modules/.package-lock.json"));
    if is_newer(&installed, &[&lock]) {
        return Ok(());
    }
    fs::create_dir_all(&directory).context(directory.clone())?;
    for file in ["package.json", "package-lock.json"] {
        copy(&Path::new(&source).join(file), &Path::new(&directory).join(file))?;
    }
    run("npm", &["ci", "--prefix", &directory, "--ignore-scripts", "--no-audit", "--no-fund"])
}

/// Copies a file; the copy is made now, whenever the original was.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| from.display().to_string())?;
    fs::write(to, bytes).with_context(|| to.display().to_string())
}
