//! `ottla format`, as `kafka-storage format` does.

use crate::{output, properties_file};
use anyhow::{Context, Result};
use ottla_metadata::MetadataVersion;
use ottla_net::Clock;
use ottla_server::format::{self, Beginning, Formatted};
use ottla_storage::RealDisk;
use ottla_types::Random;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The cluster's id: the same for all its nodes. Make one with: ottla kafka-storage random-uuid
    #[arg(short = 't', long = "cluster-id")]
    cluster_id: String,
    /// The node's server.properties.
    #[arg(short = 'c', long = "config")]
    config: PathBuf,
    /// Leave directories as they are that are formatted already.
    #[arg(short = 'g', long)]
    ignore_formatted: bool,
    /// The metadata.version to begin with, such as 4.4-IV2.
    #[arg(short = 'r', long)]
    release_version: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let config = properties_file::read(&arguments.config, &[])?;
    let level = match &arguments.release_version {
        Some(name) => MetadataVersion::from_name(name)
            .with_context(|| format!("--release-version {name}: there is no such metadata.version"))?,
        None => MetadataVersion::LATEST,
    };
    let formatted = if arguments.ignore_formatted { Formatted::Ignore } else { Formatted::Refuse };
    let mut random = Random::new(seed());
    let (beginning, now) = (Beginning::at(level), Clock::new().now().wall);
    let disk = Arc::new(RealDisk);
    let lines =
        format::format(disk, &config, &arguments.cluster_id, &beginning, formatted, now, &mut random)?;
    lines.iter().for_each(output::line);
    Ok(())
}

/// A number that no other process has.
pub(crate) fn seed() -> u64 {
    // Hashing with the standard library's random keys is its one way to ask the system for randomness.
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
