//! Reads a `server.properties` with its overrides.

use anyhow::{Context, Result, bail};
use ottla_server::{NodeConfig, Properties};
use std::path::Path;

/// The configuration in `path`, with `name=value` overrides applied.
pub(crate) fn read(path: &Path, overrides: &[String]) -> Result<NodeConfig> {
    let shown = path.display().to_string();
    let text = std::fs::read(path).with_context(|| shown.clone())?;
    let mut properties = Properties::parse(&shown, &text)?;
    for text in overrides {
        let Some((name, value)) = text.split_once('=') else {
            bail!("--override {text}: must have the form name=value")
        };
        properties.set(name.trim(), value.trim());
    }
    NodeConfig::new(properties).with_context(|| shown)
}
