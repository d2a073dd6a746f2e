//! A frame as a broker reads it: header, then the body that the header says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::bounded;
use ottla_protocol::registry::Entry;
use ottla_protocol::{Decoder, RequestHeader};

fuzz_target!(|data: &[u8]| {
    bounded(data.len(), 0, || {
        let mut input = Decoder::new(data.to_vec());
        let Ok(header) = RequestHeader::decode(&mut input) else { return };
        let name = format!("{}Request", header.api_key);
        let entry = Entry::find(&name).expect("every API has a request");
        let _ = entry.recode(input.rest(), header.api_version);
    });
});
