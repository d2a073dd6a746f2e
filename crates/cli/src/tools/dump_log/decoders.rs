//! What keys and values are taken for.

use crate::tools::Failure;
use crate::tools::options::Parsed;
use bytes::Bytes;
use ottla_protocol::records::frame::read_frame_header;
use ottla_protocol::records::group::GroupRecord;
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::records::share::ShareRecord;
use ottla_protocol::records::transaction::TransactionRecord;
use ottla_protocol::registry::Entry;
use ottla_protocol::{DecodeError, DecodeErrorKind, Decoder as Input};
use ottla_records::Record;

/// Kafka's package of decoders of single values.
const PACKAGE: &str = "org.apache.kafka.tools.api.";

/// How records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// A key and a value of their own kinds.
    Plain(Plain, Plain),
    /// `__consumer_offsets`.
    Groups,
    /// `__transaction_state`.
    Transactions,
    /// `__share_group_state`.
    ShareGroups,
    /// `__cluster_metadata`.
    Metadata,
}

/// A value by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// UTF-8; what is not is shown as the replacement character.
    Text,
    /// Eight bytes.
    Long,
    /// Four bytes.
    Integer,
}

/// What a record holds, as text. A part that it has not is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
}

impl Decoder {
    /// The decoder that the command line asks for, if it asks for contents at all.
    pub(super) fn of(parsed: &Parsed) -> Result<Option<Decoder>, Failure> {
        let plain = |option| {
            match parsed.value(option) {
            None => Ok(Plain::Text),
            Some(class) => Plain::of(class).ok_or_else(|| {
                Failure::Refused(format!(
                    "--{option} {class} is not supported by Ottla: use {PACKAGE}StringDecoder, LongDecoder or \
                     IntegerDecoder"
                ))
            }),
        }
        };
        let (key, value) = (plain("key-decoder-class")?, plain("value-decoder-class")?);
        let special = [
            ("offsets-decoder", Decoder::Groups),
            ("transaction-log-decoder", Decoder::Transactions),
            ("share-group-state-decoder", Decoder::ShareGroups),
            ("cluster-metadata-decoder", Decoder::Metadata),
        ];
        let special = special.into_iter().find(|(option, _)| parsed.has(option)).map(|(_, decoder)| decoder);
        let plainly = ["print-data-log", "key-decoder-class", "value-decoder-class"];
        let plainly = plainly.iter().any(|option| parsed.has(option));
        Ok(special.or(plainly.then_some(Decoder::Plain(key, value))))
    }

    /// Reads a record; `Err` says why the tool cannot go on.
    pub(super) fn read(self, record: &Record<'_>) -> Result<Contents, String> {
        let offset = record.offset;
        match self {
            Decoder::Plain(key, value) => Ok(Contents {
                key: record.key.map(|bytes| key.read(bytes, offset.0)).transpose()?,
                value: record.value.map(|bytes| value.read(bytes, offset.0)).transpose()?,
            }),
            Decoder::Metadata => {
                let value = metadata(record.value.unwrap_or_default())
                    .unwrap_or_else(|error| format!("Error at {offset}, skipping. {error}"));
                Ok(Contents { key: None, value: Some(value) })
            }
            Decoder::Groups | Decoder::Transactions | Decoder::ShareGroups => {
                let Some(key) = record.key else {
                    return Err(format!(
                        "Failed to decode message at offset {offset} using the specified decoder (message had a \
                         missing key)"
                    ));
                };
                let read = self.coordinator_record(key, record.value);
                Ok(read.unwrap_or_else(|error| {
                    let key = match error.kind {
                        DecodeErrorKind::UnknownRecord { id, .. } => {
                            format!("Unknown record type {} at offset {offset}, skipping.", id as u16 as i16)
                        }
                        _ => format!("Error at offset {offset}, skipping. {error}"),
                    };
                    Contents { key: Some(key), value: None }
                }))
            }
        }
    }

    /// A record of a coordinator's: its type comes before its key, its version before its value.
    fn coordinator_record(self, key: &[u8], value: Option<&[u8]>) -> Result<Contents, DecodeError> {
        let key = Bytes::copy_from_slice(key);
        let value = value.map(Bytes::copy_from_slice);
        let mut in_words = None;
        let (name, id) = match self {
            Decoder::Transactions => {
                let record = TransactionRecord::decode(key.clone(), value.clone())?;
                (record.name(), record.id())
            }
            Decoder::ShareGroups => {
                let record = ShareRecord::decode(key.clone(), value.clone())?;
                (record.name(), record.id())
            }
            Decoder::Groups | Decoder::Plain(..) | Decoder::Metadata => {
                let record = GroupRecord::decode(key.clone(), value.clone())?;
                let named = (record.name(), record.id());
                in_words = Some(record);
                named
            }
        };
        let key = json_of(&format!("{name}Key"), key.slice(2..), 0)?;
        let value = match value {
            None => "<DELETE>".to_owned(),
            Some(value) => {
                let (version, mut data) = prefixed(&format!("{name}Value"), &value)?;
                if let Some(GroupRecord::GroupMetadata(_, Some(group))) = in_words
                    && group.protocol_type == "consumer"
                {
                    let members = group.members.iter();
                    data = with_protocol(&data, members.map(|one| (&one.subscription, &one.assignment)));
                }
                format!("{{\"version\":\"{version}\",\"data\":{data}}}")
            }
        };
        Ok(Contents { key: Some(format!("{{\"type\":\"{id}\",\"data\":{key}}}")), value: Some(value) })
    }
}

impl Plain {
    fn of(class: &str) -> Option<Plain> {
        match class.strip_prefix(PACKAGE)? {
            "StringDecoder" => Some(Plain::Text),
            "LongDecoder" => Some(Plain::Long),
            "IntegerDecoder" => Some(Plain::Integer),
            _ => None,
        }
    }

    fn read(self, bytes: &[u8], offset: i64) -> Result<String, String> {
        let number = match self {
            Plain::Text => return Ok(String::from_utf8_lossy(bytes).into_owned()),
            Plain::Long => bytes.first_chunk().map(|number| i64::from_be_bytes(*number)),
            Plain::Integer => bytes.first_chunk().map(|number| i32::from_be_bytes(*number).into()),
        };
        number
            .map(|number| number.to_string())
            .ok_or_else(|| format!("at offset {offset}: {} bytes are too short for {self:?}", bytes.len()))
    }
}

/// A record of the metadata log.
fn metadata(value: &[u8]) -> Result<String, DecodeError> {
    let value = Bytes::copy_from_slice(value);
    let mut input = Input::new(value.clone());
    let (_, version) = read_frame_header(&mut input)?;
    let header = value.len() - input.remaining();
    let name = MetadataRecord::decode_frame(value.clone())?.name();
    let data = json_of(name, value.slice(header..), version)?;
    Ok(format!("{{\"type\":\"{}\",\"version\":{version},\"data\":{data}}}", upper_snake(name)))
}

/// The name of a constant: `TopicRecord` is `TOPIC_RECORD`.
fn upper_snake(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.chars().enumerate() {
        if index > 0 && letter.is_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// The JSON of a message that is known to exist.
fn json_of(name: &str, bytes: Bytes, version: i16) -> Result<String, DecodeError> {
    Entry::find(name).expect("records are called like their messages").json(bytes, version)
}

/// The version before a message, and the message's JSON.
fn prefixed(name: &str, bytes: &Bytes) -> Result<(i16, String), DecodeError> {
    let version = Input::new(bytes.clone()).i16()?;
    Ok((version, json_of(name, bytes.slice(2..), version)?))
}

/// The JSON of a group of consumers, with what its members said and were given in words: there they are bytes.
fn with_protocol<'a>(data: &str, members: impl Iterator<Item = (&'a Bytes, &'a Bytes)>) -> String {
    let (mut text, mut rest) = (String::new(), data);
    for (subscription, assignment) in members {
        let parts = [
            ("subscription", "ConsumerProtocolSubscription", subscription),
            ("assignment", "ConsumerProtocolAssignment", assignment),
        ];
        for (field, message, bytes) in parts {
            // Bytes are base64 between quotes, which hold no quote.
            let start = format!("\"{field}\":\"");
            let Some((before, from_value)) = rest.split_once(&start) else { continue };
            let Some((encoded, after)) = from_value.split_once('"') else { continue };
            text += before;
            text += &match protocol(message, bytes) {
                Some(json) => format!("\"{field}\":{json}"),
                None => format!("{start}{encoded}\""),
            };
            rest = after;
        }
    }
    text + rest
}

/// A message of the consumers' protocol: a later version than we know is read as the last that we do.
fn protocol(message: &str, bytes: &Bytes) -> Option<String> {
    let version = i16::from_be_bytes(*bytes.first_chunk()?);
    let last = *Entry::find(message)?.versions.end();
    json_of(message, bytes.slice(2..), version.min(last)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_named_as_kafkas() {
        for (name, expected) in [
            ("TopicRecord", "TOPIC_RECORD"),
            ("NoOpRecord", "NO_OP_RECORD"),
            ("ZkMigrationStateRecord", "ZK_MIGRATION_STATE_RECORD"),
        ] {
            assert_eq!(upper_snake(name), expected);
        }
    }

    #[test]
    fn numbers_are_read_and_short_ones_refused() {
        assert_eq!(Plain::Long.read(&7i64.to_be_bytes(), 0).as_deref(), Ok("7"));
        assert_eq!(Plain::Integer.read(&(-7i32).to_be_bytes(), 0).as_deref(), Ok("-7"));
        assert!(Plain::Long.read(&[0; 7], 0).is_err());
        assert_eq!(Plain::of("org.apache.kafka.tools.api.DefaultDecoder"), None);
    }

    #[test]
    fn every_coordinator_record_is_called_like_its_messages() {
        let families = [
            (Decoder::Groups, (0..24).filter(|id| ![9, 18].contains(id)).collect::<Vec<i16>>()),
            (Decoder::Transactions, vec![0]),
            (Decoder::ShareGroups, vec![0, 1]),
        ];
        for (decoder, ids) in families {
            for id in ids {
                // Some key of zeros is whole: then its name was looked up.
                let key = |zeros| [id.to_be_bytes().as_slice(), &vec![0; zeros]].concat();
                let read = (0..64).filter_map(|zeros| decoder.coordinator_record(&key(zeros), None).ok());
                assert!(read.count() > 0, "{decoder:?} {id}");
            }
        }
    }
}
