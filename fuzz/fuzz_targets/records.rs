//! Records of the internal topics: frames, keys and values, control records.
//!
//! The first byte is the length of the key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::bounded;
use ottla_protocol::records::ControlRecord;
use ottla_protocol::records::group::GroupRecord;
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::records::remote_log::RemoteLogRecord;
use ottla_protocol::records::share::ShareRecord;
use ottla_protocol::records::transaction::TransactionRecord;

fuzz_target!(|data: &[u8]| {
    let Some((key_len, rest)) = data.split_first() else { return };
    let (key, value) = rest.split_at(usize::from(*key_len).min(rest.len()));
    let (key, value) = (key.to_vec(), value.to_vec());
    bounded(data.len(), 0, || {
        let _ = MetadataRecord::decode_frame(value.clone());
        let _ = RemoteLogRecord::decode_frame(value.clone());
        let _ = GroupRecord::decode(key.clone(), Some(value.clone().into()));
        let _ = TransactionRecord::decode(key.clone(), Some(value.clone().into()));
        let _ = ShareRecord::decode(key.clone(), Some(value.clone().into()));
        let _ = ControlRecord::decode(key, value);
    });
});
