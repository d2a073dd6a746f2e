//! `cargo xtask failover`: the measurement itself is `crates/e2e/src/failover`; this makes ready what it needs.

use crate::clients;
use crate::steps::{Install, run};
use anyhow::Result;

/// Builds everything, and measures as `options` say.
pub(crate) fn measure(options: &[&str]) -> Result<()> {
    clients::prepare(Install::IfRoot)?;
    run("cargo", &["build", "--release", "--quiet", "-p", "ottla-cli", "-p", "ottla-e2e", "--bins"])?;
    run("target/release/ottla-failover", options)
}
