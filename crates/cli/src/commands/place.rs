//! A place in partitions, as a user writes it.

use crate::up::since::Since;
use ottla_client::admin::places::Places;
use ottla_client::consumer::offsets::{EARLIEST, LATEST};
use ottla_client::{Admin, ClientError};
use ottla_types::{Offset, TopicPartition};
use std::str::FromStr;

/// A place in partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Earliest,
    Latest,
    Offset(Offset),
    Since(Since),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        match (text, text.parse::<i64>()) {
            ("earliest", _) => Ok(Place::Earliest),
            ("latest", _) => Ok(Place::Latest),
            (_, Ok(offset)) if offset >= 0 => Ok(Place::Offset(Offset(offset))),
            _ => text.parse().map(Place::Since).map_err(|_| {
                format!("`{text}` is neither earliest, latest, an offset, a time such as 2h nor a moment such as 2026-11-29 20:15:02")
            }),
        }
    }
}

impl Place {
    /// The offset of each partition that is there; one that lies outside what a partition has becomes the nearest that it has.
    pub(super) async fn find(
        self,
        admin: &Admin,
        partitions: &[TopicPartition],
    ) -> Result<Places, ClientError> {
        match self {
            Place::Earliest => admin.places_at(partitions, EARLIEST).await,
            Place::Latest => admin.places_at(partitions, LATEST).await,
            Place::Offset(offset) => {
                admin.places_within(partitions.iter().map(|at| (at.clone(), offset)).collect()).await
            }
            Place::Since(since) => {
                let moment = since.moment(ottla_net::clock::wall());
                admin.places_since(partitions, moment).await.map(|(places, _)| places)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_name_an_offset_or_a_time() {
        assert_eq!("earliest".parse(), Ok(Place::Earliest));
        assert_eq!("12".parse(), Ok(Place::Offset(Offset(12))));
        assert_eq!("2h".parse(), Ok(Place::Since(Since::Ago(7_200_000))));
        assert!("2026-11-29 20:15".parse::<Place>().is_ok());
        for text in ["", "-1", "first", "2x"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
