//! What `--self-test` does to a cluster that is well, so that the judge has something to find.

use super::report::Report;
use super::workload::Shared;
use crate::verify::check::Counts;
use anyhow::{Context, Result};
use ottla_client::Client;
use ottla_client::producer::{Producer, ProducerConfig, ProducerRecord};
use ottla_types::Offset;
use ottla_verify::{Outcome, Stamp};

/// A violation that is made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Plant {
    /// A record counts as acknowledged that was never written.
    Loss,
    /// A record is written a second time.
    Duplicate,
    /// Two records are written in the other order than they were sent in.
    Reordering,
}

impl Plant {
    /// All of them.
    pub(super) const ALL: [Plant; 3] = [Plant::Loss, Plant::Duplicate, Plant::Reordering];

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Plant::Loss => "loss",
            Plant::Duplicate => "duplicate",
            Plant::Reordering => "reordering",
        }
    }

    /// Whether a drill has found it, and nothing else.
    pub(super) fn is_found_in(self, report: &Report) -> bool {
        let expected = match self {
            Plant::Loss => Counts { lost: 1, ..Counts::default() },
            Plant::Duplicate => Counts { doubled: 1, ..Counts::default() },
            Plant::Reordering => Counts { reordered: 1, ..Counts::default() },
        };
        report.counts == expected && report.commit_violations.is_empty() && report.failures.is_empty()
    }

    /// Does it, in the first partition.
    ///
    /// # Errors
    /// When the cluster does not take it.
    pub(super) async fn carry_out(self, shared: &Shared, client: &Client) -> Result<()> {
        let partition = *shared.partitions.first().context("a topic has partitions")?;
        // Another producer: to the leader these are new records.
        let producer = Producer::new(client.clone(), ProducerConfig::default());
        let next = || shared.history.lock().send(shared.producer, partition);
        match self {
            Plant::Loss => {
                let end = write(shared, &producer, next()).await? + 1;
                let never_written = next();
                shared.history.lock().told(never_written, Outcome::Acknowledged(end));
            }
            Plant::Duplicate => {
                let stamp = next();
                write(shared, &producer, stamp).await?;
                write(shared, &producer, stamp).await?;
            }
            Plant::Reordering => {
                let (first, second) = (next(), next());
                write(shared, &producer, second).await?;
                write(shared, &producer, first).await?;
            }
        }
        Ok(())
    }
}

/// Writes a record, and notes where it is.
async fn write(shared: &Shared, producer: &Producer, stamp: Stamp) -> Result<Offset> {
    let record = ProducerRecord {
        partition: Some(stamp.partition),
        ..ProducerRecord::of(&shared.topic, stamp.value(super::load::RECORD_BYTES))
    };
    let written = producer.send(record).await?.await?;
    shared.history.lock().told(stamp, Outcome::Acknowledged(written.offset));
    Ok(written.offset)
}
