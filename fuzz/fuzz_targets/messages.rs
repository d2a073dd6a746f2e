//! Every message: what is decoded can be encoded, and that means the same.
//!
//! The first two bytes choose the message, the third its version.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::bounded;
use ottla_protocol::registry::{MESSAGES, RecodeError};

fuzz_target!(|data: &[u8]| {
    let [a, b, version, body @ ..] = data else { return };
    let entry = &MESSAGES[usize::from(u16::from_be_bytes([*a, *b])) % MESSAGES.len()];
    let count = entry.versions.end() - entry.versions.start() + 1;
    let version = entry.versions.start() + i16::from(*version) % count;
    match bounded(data.len(), 0, || entry.recode(body.to_vec(), version)) {
        Err(RecodeError::Decode(_)) => {}
        Err(RecodeError::Encode(error)) => panic!("{} v{version}: {error}", entry.name),
        Ok(recoded) => {
            let again = entry.recode(recoded.bytes.clone(), version).expect("we wrote it");
            assert_eq!(again.bytes, recoded.bytes, "{} v{version}", entry.name);
        }
    }
});
