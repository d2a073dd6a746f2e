//! Records as text: by a format for people, as JSON for programs.

use ottla_client::consumer::ConsumerRecord;
use ottla_records::TimestampType;
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// How a record is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordFormat {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
}

impl FromStr for RecordFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<RecordFormat, String> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let part = match letter {
                '%' => match letters.next() {
                    Some('t') => Part::Topic,
                    Some('p') => Part::Partition,
                    Some('o') => Part::Offset,
                    Some('T') => Part::Timestamp,
                    Some('k') => Part::Key,
                    // kcat's letter for it, and that of its name.
                    Some('s' | 'v') => Part::Value,
                    Some('h') => Part::Headers,
                    Some('%') => Part::Text(vec![b'%']),
                    Some(other) => return Err(format!("there is no %{other}: %t %p %o %T %k %v %h %% are")),
                    None => return Err("it ends with %".to_owned()),
                },
                '\\' => match letters.next() {
                    Some('n') => Part::Text(vec![b'\n']),
                    Some('t') => Part::Text(vec![b'\t']),
                    Some('\\') => Part::Text(vec![b'\\']),
                    Some(other) => return Err(format!("there is no \\{other}: \\n \\t \\\\ are")),
                    None => return Err("it ends with \\".to_owned()),
                },
                other => Part::Text(other.to_string().into_bytes()),
            };
            match part {
                Part::Text(mut bytes) => plain.append(&mut bytes),
                part => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(part);
                }
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(RecordFormat { parts })
    }
}

impl RecordFormat {
    /// Appends a record. Keys and values are the bytes that they are; one that is not there is nothing.
    pub(super) fn write(&self, out: &mut Vec<u8>, record: &ConsumerRecord) {
        for part in &self.parts {
            match part {
                Part::Text(bytes) => out.extend_from_slice(bytes),
                Part::Topic => out.extend_from_slice(record.partition.topic.as_bytes()),
                Part::Partition => out.extend_from_slice(record.partition.partition.to_string().as_bytes()),
                Part::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Part::Timestamp => out.extend_from_slice(record.timestamp.0.to_string().as_bytes()),
                Part::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
                Part::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
                Part::Headers => {
                    for (at, (name, value)) in record.headers.iter().enumerate() {
                        if at > 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(name);
                        out.push(b'=');
                        out.extend_from_slice(value.as_deref().unwrap_or_default());
                    }
                }
            }
        }
    }
}

/// A record as one object. What is not UTF-8 is written in base64, under a name that says so.
pub(super) fn json_of(record: &ConsumerRecord) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(record.partition.topic));
    object.insert("partition".to_owned(), json!(record.partition.partition));
    object.insert("offset".to_owned(), json!(record.offset.0));
    object.insert("timestamp_ms".to_owned(), json!(Some(record.timestamp.0).filter(|&time| time >= 0)));
    let whose = match record.timestamp_type {
        TimestampType::Create => "create",
        TimestampType::LogAppend => "log_append",
    };
    object.insert("timestamp_type".to_owned(), json!(whose));
    insert_bytes(&mut object, "key", record.key.as_deref());
    insert_bytes(&mut object, "value", record.value.as_deref());
    let header = |(name, value): &(bytes::Bytes, Option<bytes::Bytes>)| {
        let mut header = Map::new();
        header.insert("name".to_owned(), json!(String::from_utf8_lossy(name)));
        insert_bytes(&mut header, "value", value.as_deref());
        Value::Object(header)
    };
    object.insert("headers".to_owned(), record.headers.iter().map(header).collect());
    Value::Object(object)
}

fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => object.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => object.insert(name.to_owned(), json!(text)),
        Some((bytes, Err(_))) => object.insert(format!("{name}_base64"), json!(base64(bytes))),
    };
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let is_padding = digit > three.len();
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if is_padding { '=' } else { DIGITS[index].into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition};

    fn record() -> ConsumerRecord {
        ConsumerRecord {
            partition: TopicPartition::new("t", 3),
            offset: Offset(17),
            leader_epoch: LeaderEpoch(0),
            timestamp: Timestamp(1000),
            timestamp_type: TimestampType::Create,
            key: None,
            value: Some("v".into()),
            headers: vec![("a".into(), Some("1".into())), ("b".into(), None)],
        }
    }

    #[test]
    fn a_format_names_the_parts_of_a_record() {
        let written = |format: &str| {
            let mut out = Vec::new();
            format.parse::<RecordFormat>().unwrap().write(&mut out, &record());
            String::from_utf8(out).unwrap()
        };

        assert_eq!(written(r"%t[%p]@%o %T\t%k|%v|%h %%\n"), "t[3]@17 1000\t|v|a=1,b= %\n");
        assert_eq!(written(r"%s\\"), r"v\");
        for text in ["%", "%x", "\\", "\\q"] {
            assert!(text.parse::<RecordFormat>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_text_is_base64() {
        let mut odd = record();
        (odd.key, odd.value) = (Some(vec![0xff, 0xfe].into()), None);

        assert_eq!(
            json_of(&odd).to_string(),
            r#"{"headers":[{"name":"a","value":"1"},{"name":"b","value":null}],"key_base64":"//4=","offset":17,"partition":3,"timestamp_ms":1000,"timestamp_type":"create","topic":"t","value":null}"#
        );
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (text, expected) in cases {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
