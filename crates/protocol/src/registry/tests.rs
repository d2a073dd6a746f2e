//! What holds for every message at every version.

use super::*;
use crate::codec::DecodeErrorKind;
use ottla_types::Random;
use std::collections::BTreeSet;

/// Random messages of each message and version.
const ROUNDS: u64 = 30;

/// Calls `check` with random bytes of every message at every version. Its seed does not depend on the other
/// messages, so that a failure can be repeated alone.
fn for_every_message(rounds: u64, mut check: impl FnMut(&Entry, i16, &[u8], &mut Random)) {
    for entry in MESSAGES {
        for version in entry.versions.clone() {
            for round in 0..rounds {
                let seed = entry.name.bytes().fold(round, |seed, b| seed * 31 % 1_000_003 + u64::from(b));
                let mut random = Random::new(seed);
                let bytes = entry.arbitrary(&mut random, version).unwrap();
                check(entry, version, &bytes, &mut random);
            }
        }
    }
}

#[test]
fn every_message_survives_a_round_trip_at_every_version() {
    for_every_message(ROUNDS, |entry, version, bytes, _| {
        let recoded = entry.recode(bytes.to_vec(), version).unwrap();

        assert_eq!(recoded.bytes, bytes, "{} v{version}: {}", entry.name, recoded.debug);
        assert_eq!(recoded.remaining, 0, "{} v{version}", entry.name);
    });
}

#[test]
fn every_message_cut_short_is_refused() {
    for_every_message(3, |entry, version, bytes, _| {
        for len in 0..bytes.len() {
            let cut = entry.recode(bytes[..len].to_vec(), version);

            assert!(cut.is_err(), "{} v{version}: {len} of {} bytes: {cut:?}", entry.name, bytes.len());
        }
    });
}

#[test]
fn what_follows_a_message_is_left() {
    for_every_message(3, |entry, version, bytes, _| {
        let recoded = entry.recode([bytes, b"more"].concat(), version).unwrap();

        assert_eq!((recoded.bytes.as_slice(), recoded.remaining), (bytes, 4), "{} v{version}", entry.name);
    });
}

#[test]
fn damaged_messages_are_refused_or_mean_something_that_can_be_written() {
    for_every_message(ROUNDS, |entry, version, bytes, random| {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + random.index(4) {
            if !bytes.is_empty() {
                let at = random.index(bytes.len());
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, random.next_u64() as u8][random.index(6)];
            }
        }

        match entry.recode(bytes, version) {
            Err(RecodeError::Encode(error)) => panic!("{} v{version}: {error}", entry.name),
            Err(RecodeError::Decode(_)) => {}
            Ok(recoded) => {
                let again = entry.recode(recoded.bytes.clone(), version).unwrap();
                assert_eq!(again.bytes, recoded.bytes, "{} v{version}", entry.name);
            }
        }
    });
}

#[test]
fn noise_is_refused_or_means_something_that_can_be_written() {
    for_every_message(ROUNDS, |entry, version, _, random| {
        let noise: Vec<u8> =
            (0..random.index(200)).map(|_| (random.next_u64() >> random.below(8)) as u8).collect();

        let result = entry.recode(noise, version);

        assert!(!matches!(result, Err(RecodeError::Encode(_))), "{} v{version}: {result:?}", entry.name);
    });
}

#[test]
fn versions_that_do_not_exist_are_refused() {
    for entry in MESSAGES {
        for version in [entry.versions.start() - 1, entry.versions.end() + 1, i16::MIN, i16::MAX] {
            let kind = DecodeErrorKind::UnsupportedVersion { name: entry.name, version };
            let expected = Err(RecodeError::Decode(DecodeError { kind, position: 0 }));

            assert_eq!(entry.recode(vec![0; 64], version), expected);
            assert!(entry.arbitrary(&mut Random::new(0), version).is_err());
        }
    }
}

#[test]
fn no_two_messages_share_a_name() {
    let names: BTreeSet<&str> = MESSAGES.iter().map(|entry| entry.name).collect();

    assert_eq!(names.len(), MESSAGES.len());
    // 91 APIs twice, 27 metadata and 4 remote log records, 25 coordinators' keys and values, 6 control records
    // and 3 blobs: one that got lost shows here.
    assert_eq!(MESSAGES.len(), 91 * 2 + 27 + 4 + 25 * 2 + 6 + 3);
}
