//! Which partition is the farthest from being compared.

use ottla_types::{Offset, TopicPartition};

/// The partition that lags most.
#[derive(Debug)]
pub(super) struct Lag {
    max: i64,
    /// It, and where it is. Kept while none lags.
    partition: Option<(TopicPartition, Offset)>,
}

impl Default for Lag {
    fn default() -> Lag {
        Lag { max: NONE, partition: None }
    }
}

/// What is told when nobody knows of anything to be compared.
const NONE: i64 = -1;

impl Lag {
    /// Looks at all partitions anew.
    pub(super) fn begin(&mut self) {
        self.max = NONE;
    }

    /// Looks at one that is compared up to `place`. Of those that lag as far, the first counts.
    pub(super) fn look(&mut self, at: &TopicPartition, high_watermark: Offset, place: Offset) {
        let lag = high_watermark.0.saturating_sub(place.0);
        if lag > self.max {
            self.max = lag;
            self.partition = Some((at.clone(), place));
        }
    }

    pub(super) fn shown(&self, partitions: usize) -> String {
        let (partition, offset) = match &self.partition {
            Some((at, offset)) => (at.to_string(), *offset),
            None => ("null".to_owned(), Offset(NONE)),
        };
        let max = self.max;
        format!("max lag is {max} for partition {partition} at offset {offset} among {partitions} partitions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_those_that_lag_most_is_told() {
        let mut lag = Lag::default();
        assert_eq!(lag.shown(2), "max lag is -1 for partition null at offset -1 among 2 partitions");

        for (partition, high_watermark, place) in [(0, 5, 5), (1, 7, 5), (2, 3, 1), (3, -1, 9)] {
            lag.look(&TopicPartition::new("t", partition), Offset(high_watermark), Offset(place));
        }
        assert_eq!(lag.shown(4), "max lag is 2 for partition t-1 at offset 5 among 4 partitions");

        lag.begin();
        lag.look(&TopicPartition::new("t", 0), Offset(-1), Offset(4));
        assert_eq!(lag.shown(4), "max lag is -1 for partition t-1 at offset 5 among 4 partitions");
    }
}
