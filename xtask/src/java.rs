//! Programs in Java, and the jars that they run with: fetched by Maven, checked and compiled.
//!
//! Each has a directory with a `pom.xml`, which pins versions, and a `jars.sha256`, which pins every jar.

use crate::clients::{SOURCE, TARGET, is_newer, remove};
use crate::steps::run;
use anyhow::{Context, Result};
use std::fs;

/// Makes the program ready in `target/clients/<name>`: the jars that `crates/e2e/drivers/<name>` pins, and the classes of a
/// source beside them.
pub(crate) fn build(name: &str, source: &str) -> Result<()> {
    let (pins, target) = (format!("{SOURCE}/{name}"), format!("{TARGET}/{name}"));
    let [pom, sums] = ["pom.xml", "jars.sha256"].map(|file| format!("{pins}/{file}"));
    let (jars, classes) = (format!("{target}/jars"), format!("{target}/classes"));
    // What the compiler has made says that everything before it is there.
    if is_newer(&classes, &[source, &pom, &sums]) {
        return Ok(());
    }
    remove(&target)?;
    let here = std::env::current_dir()?;
    let output = format!("-DoutputDirectory={}", here.join(&jars).display());
    let pinned = fs::read_to_string(&sums).context(sums.clone())?;
    let artifacts: Vec<&str> =
        pinned.lines().filter_map(|line| Some(artifact(line.split_whitespace().nth(1)?))).collect();
    // What is not pinned is not run.
    let wanted = format!("-DincludeArtifactIds={}", artifacts.join(","));
    run("mvn", &["-q", "-B", "-f", &pom, "dependency:copy-dependencies", &output, &wanted])?;
    let sums = here.join(sums);
    run("sh", &["-c", &format!("cd {jars} && sha256sum --quiet --strict -c {}", sums.display())])?;
    run("javac", &["-cp", &format!("{jars}/*"), "-d", &classes, source])
}

/// The name of a jar without its version, which begins with a digit.
fn artifact(jar: &str) -> &str {
    let is_version = |at: &usize| jar.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit);
    jar.match_indices('-').map(|(at, _)| at).find(is_version).map_or(jar, |at| &jar[..at])
}

#[cfg(test)]
mod tests {
    use super::artifact;

    #[test]
    fn a_jar_is_named_for_its_artifact() {
        assert_eq!(artifact("kafka-clients-2.8.2.jar"), "kafka-clients");
        assert_eq!(
            artifact("jackson-module-jakarta-xmlbind-annotations-2.21.2.jar"),
            "jackson-module-jakarta-xmlbind-annotations"
        );
        assert_eq!(artifact("lz4-java-1.10.2.jar"), "lz4-java");
    }
}
