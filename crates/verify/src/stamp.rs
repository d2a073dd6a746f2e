//! What a record says about itself.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Names one record of one run: it is the record's value, with a checksum, as a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The run: records of others are not this one's business.
    pub run: u64,
    /// The producer within the run.
    pub producer: u32,
    /// The partition that it was sent to.
    pub partition: i32,
    /// Counts the records of this producer to this partition, from 0, in the order of sending.
    pub number: u64,
}

/// Why a value is no stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Spoilt {
    /// It does not look like one: somebody else's record.
    #[error("not a record of ours")]
    Foreign,
    /// It looks like one, and its checksum is another.
    #[error("changed: its checksum does not match")]
    Checksum,
}

/// What every stamp begins with: the format's version.
const MAGIC: &str = "ottla1";

/// Fills a value up to the size that is asked for.
const FILLER: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

impl Stamp {
    /// The value of a record of `bytes` bytes, or longer if the stamp needs more.
    pub fn value(&self, bytes: usize) -> Vec<u8> {
        let mut value = format!("{self} {:08x}", checksum(self.to_string().as_bytes())).into_bytes();
        if value.len() < bytes {
            value.push(b' ');
            let missing = bytes - value.len();
            value.extend(FILLER.iter().cycle().skip(self.number as usize % FILLER.len()).take(missing));
        }
        value
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// When it is none of ours, or not as it was written.
    pub fn read(value: &[u8]) -> Result<Stamp, Spoilt> {
        let text = std::str::from_utf8(value).map_err(|_| Spoilt::Foreign)?;
        if !text.starts_with(MAGIC) {
            return Err(Spoilt::Foreign);
        }
        let stamp = text
            .splitn(7, ' ')
            .take(6)
            .collect::<Vec<_>>()
            .join(" ")
            .rsplit_once(' ')
            .and_then(|(stamp, sum)| {
                let matches = u32::from_str_radix(sum, 16) == Ok(checksum(stamp.as_bytes()));
                matches.then(|| stamp.parse::<Stamp>().ok()).flatten()
            })
            .ok_or(Spoilt::Checksum)?;
        // The filler has no checksum of its own: it is known.
        if value == stamp.value(value.len()) { Ok(stamp) } else { Err(Spoilt::Checksum) }
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp { run, producer, partition, number } = self;
        write!(f, "{MAGIC} {run:016x} {producer} {partition} {number}")
    }
}

impl FromStr for Stamp {
    type Err = Spoilt;

    fn from_str(text: &str) -> Result<Stamp, Spoilt> {
        let fields: Vec<&str> = text.split(' ').collect();
        let [MAGIC, run, producer, partition, number] = fields[..] else { return Err(Spoilt::Foreign) };
        let read = || {
            Some(Stamp {
                run: u64::from_str_radix(run, 16).ok()?,
                producer: producer.parse().ok()?,
                partition: partition.parse().ok()?,
                number: number.parse().ok()?,
            })
        };
        read().ok_or(Spoilt::Foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_is_read_back_and_any_change_is_noticed(
            run: u64, producer: u32, partition: i32, number: u64, bytes in 0_usize..300,
            at: prop::sample::Index, bit in 0_u8..8,
        ) {
            let stamp = Stamp { run, producer, partition, number };
            let mut value = stamp.value(bytes);
            prop_assert!(value.len() >= bytes);
            prop_assert_eq!(Stamp::read(&value), Ok(stamp));

            let at = at.index(value.len());
            value[at] ^= 1 << bit;

            prop_assert!(Stamp::read(&value).is_err());
        }

        #[test]
        fn whatever_is_read_does_no_harm(value: Vec<u8>) {
            let _ = Stamp::read(&value);
        }
    }

    #[test]
    fn others_records_are_told_from_spoilt_ones() {
        assert_eq!(Stamp::read(b"hello"), Err(Spoilt::Foreign));
        assert_eq!(Stamp::read(b"ottla1 and nothing else"), Err(Spoilt::Checksum));
    }
}
