//! Offsets at which a group could go on.

use super::Admin;
use crate::consumer::Isolation;
use crate::consumer::offsets::{EARLIEST, LATEST, list_offsets};
use crate::error::ClientError;
use ottla_types::{Offset, Timestamp, TopicPartition};
use std::collections::BTreeMap;

/// A place in each of some partitions.
pub type Places = BTreeMap<TopicPartition, Offset>;

impl Admin {
    /// The offsets that partitions have for [`EARLIEST`], [`LATEST`] or a time; [`Offset::UNKNOWN`] where no record is
    /// that late.
    ///
    /// # Errors
    /// When a leader refuses, or does not answer in time.
    pub async fn places_at(
        &self,
        partitions: &[TopicPartition],
        time: Timestamp,
    ) -> Result<Places, ClientError> {
        let asked = partitions.iter().map(|at| (at.clone(), time)).collect();
        let found = list_offsets(&self.client, &asked, Isolation::ReadUncommitted).await?;
        Ok(found.into_iter().map(|(at, found)| (at, found.offset)).collect())
    }

    /// The first records that are not older than a time; where there is none the end. Tells where that was so.
    ///
    /// # Errors
    /// As [`Admin::places_at`].
    pub async fn places_since(
        &self,
        partitions: &[TopicPartition],
        time: Timestamp,
    ) -> Result<(Places, Vec<TopicPartition>), ClientError> {
        // Numbers below zero have meanings of their own.
        let mut places = self.places_at(partitions, time.max(Timestamp(0))).await?;
        let is_late = |at: &&TopicPartition| places.get(*at).is_some_and(|offset| offset.0 < 0);
        let late: Vec<TopicPartition> = partitions.iter().filter(is_late).cloned().collect();
        places.append(&mut self.places_at(&late, LATEST).await?);
        Ok((places, late))
    }

    /// The offsets, but within what the logs have.
    ///
    /// # Errors
    /// As [`Admin::places_at`].
    pub async fn places_within(&self, wanted: Places) -> Result<Places, ClientError> {
        let partitions: Vec<TopicPartition> = wanted.keys().cloned().collect();
        let first = self.places_at(&partitions, EARLIEST).await?;
        let end = self.places_at(&partitions, LATEST).await?;
        let within = |(at, offset): (TopicPartition, Offset)| {
            let (first, end) = (*first.get(&at)?, *end.get(&at)?);
            // Between the two questions the log may have begun later than it ended.
            Some((at, offset.min(end).max(first)))
        };
        Ok(wanted.into_iter().filter_map(within).collect())
    }
}
