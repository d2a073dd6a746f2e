//! Records as text (`DefaultMessageFormatter`).

use super::{check_known, separator};
use crate::tools::Failure;
use ottla_client::consumer::ConsumerRecord;
use ottla_records::TimestampType;
use std::collections::BTreeMap;

/// Writes records as its properties say.
#[derive(Debug)]
pub(crate) struct Formatter {
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null: String,
}

const KNOWN: &[&str] = &[
    "print.timestamp",
    "print.partition",
    "print.offset",
    "print.delivery",
    "print.epoch",
    "print.headers",
    "print.key",
    "print.value",
    "key.separator",
    "line.separator",
    "headers.separator",
    "null.literal",
];

impl Formatter {
    /// The formatter that these properties mean.
    pub(crate) fn new(properties: &BTreeMap<String, String>) -> Result<Formatter, Failure> {
        check_known(properties, KNOWN)?;
        let is = |name: &str, default: bool| {
            properties.get(name).map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
        };
        Ok(Formatter {
            timestamp: is("print.timestamp", false),
            partition: is("print.partition", false),
            offset: is("print.offset", false),
            delivery: is("print.delivery", false),
            epoch: is("print.epoch", false),
            headers: is("print.headers", false),
            key: is("print.key", false),
            value: is("print.value", true),
            key_separator: separator(properties, "key.separator", "\t"),
            line_separator: separator(properties, "line.separator", "\n"),
            headers_separator: separator(properties, "headers.separator", ","),
            null: separator(properties, "null.literal", "null"),
        })
    }

    /// Appends one record.
    pub(crate) fn write(&self, out: &mut Vec<u8>, record: &ConsumerRecord) {
        let mut fields: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            fields.push(match (record.timestamp.0, record.timestamp_type) {
                (-1, _) => b"NO_TIMESTAMP".to_vec(),
                (time, TimestampType::Create) => format!("CreateTime:{time}").into_bytes(),
                (time, TimestampType::LogAppend) => format!("LogAppendTime:{time}").into_bytes(),
            });
        }
        if self.partition {
            fields.push(format!("Partition:{}", record.partition.partition).into_bytes());
        }
        if self.offset {
            fields.push(format!("Offset:{}", record.offset).into_bytes());
        }
        if self.delivery {
            fields.push(b"Delivery:NOT_PRESENT".to_vec());
        }
        if self.epoch {
            // Kafka's tool does not hand the epoch on to its formatter.
            fields.push(b"Epoch:NOT_PRESENT".to_vec());
        }
        if self.headers {
            fields.push(self.headers(record));
        }
        let text = |bytes: &Option<bytes::Bytes>| bytes.as_deref().unwrap_or(self.null.as_bytes()).to_vec();
        if self.key {
            fields.push(text(&record.key));
        }
        if self.value {
            fields.push(text(&record.value));
        }
        out.extend(fields.join(self.key_separator.as_bytes()));
        out.extend(self.line_separator.as_bytes());
    }

    fn headers(&self, record: &ConsumerRecord) -> Vec<u8> {
        if record.headers.is_empty() {
            return b"NO_HEADERS".to_vec();
        }
        let header = |(key, value): &(bytes::Bytes, Option<bytes::Bytes>)| {
            let value = value.as_deref().unwrap_or(self.null.as_bytes());
            [key, b":".as_slice(), value].concat()
        };
        let headers: Vec<Vec<u8>> = record.headers.iter().map(header).collect();
        headers.join(self.headers_separator.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition};

    fn shown(properties: &[&str]) -> String {
        let properties = properties
            .iter()
            .map(|text| text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap())
            .collect();
        let record = ConsumerRecord {
            partition: TopicPartition::new("t", 3),
            offset: Offset(7),
            leader_epoch: LeaderEpoch(2),
            timestamp: Timestamp(1_700_000_000_000),
            timestamp_type: TimestampType::Create,
            key: None,
            value: Some("hello".into()),
            headers: vec![("a".into(), Some("b".into())), ("c".into(), None)],
        };
        let mut out = Vec::new();
        Formatter::new(&properties).unwrap().write(&mut out, &record);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_come_in_kafkas_order() {
        assert_eq!(shown(&[]), "hello\n");
        assert_eq!(shown(&["print.key=true", "key.separator=:"]), "null:hello\n");
        let all = ["timestamp", "partition", "offset", "delivery", "epoch", "headers", "key"];
        let all: Vec<String> = all.iter().map(|name| format!("print.{name}=true")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(
            shown(&all),
            "CreateTime:1700000000000\tPartition:3\tOffset:7\tDelivery:NOT_PRESENT\tEpoch:NOT_PRESENT\ta:b,c:null\tnull\thello\n"
        );
    }

    #[test]
    fn a_property_that_is_not_obeyed_is_refused() {
        let properties = BTreeMap::from([("key.deserializer".to_owned(), "x".to_owned())]);

        assert!(Formatter::new(&properties).is_err());
    }
}
