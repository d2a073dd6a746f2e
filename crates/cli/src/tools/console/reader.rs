//! Lines as records (`LineMessageReader`).

use super::{check_known, separator};
use crate::tools::Failure;
use bytes::Bytes;
use ottla_client::producer::ProducerRecord;
use std::collections::BTreeMap;

/// Reads a record from a line as its properties say.
#[derive(Debug)]
pub(crate) struct Reader {
    topic: String,
    key: Option<String>,
    headers: Option<String>,
    headers_separator: String,
    headers_key_separator: String,
    null: Option<String>,
    ignore_error: bool,
}

const KNOWN: &[&str] = &[
    "parse.key",
    "key.separator",
    "parse.headers",
    "headers.delimiter",
    "headers.separator",
    "headers.key.separator",
    "null.marker",
    "ignore.error",
];

impl Reader {
    /// The reader that these properties mean.
    pub(crate) fn new(topic: &str, properties: &BTreeMap<String, String>) -> Result<Reader, Failure> {
        check_known(properties, KNOWN)?;
        let is =
            |name: &str| properties.get(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        Ok(Reader {
            topic: topic.to_owned(),
            key: is("parse.key").then(|| separator(properties, "key.separator", "\t")),
            headers: is("parse.headers").then(|| separator(properties, "headers.delimiter", "\t")),
            headers_separator: separator(properties, "headers.separator", ","),
            headers_key_separator: separator(properties, "headers.key.separator", ":"),
            null: properties.get("null.marker").cloned(),
            ignore_error: is("ignore.error"),
        })
    }

    /// The record in the line with this number, from 1. The line may be any bytes.
    pub(crate) fn record(&self, line: &Bytes, number: usize) -> Result<ProducerRecord, String> {
        let mut rest = line.clone();
        let mut record = ProducerRecord { topic: self.topic.clone(), ..ProducerRecord::default() };
        if let Some(delimiter) = &self.headers
            && let Some(headers) = self.take(&mut rest, delimiter, "headers", number)?
        {
            record.headers = self.parse_headers(&headers, number)?;
        }
        if let Some(separator) = &self.key {
            record.key =
                self.take(&mut rest, separator, "key", number)?.and_then(|key| self.unless_null(key));
        }
        record.value = self.unless_null(rest);
        Ok(record)
    }

    /// What stands before the separator; the rest is what stands after it.
    fn take(
        &self,
        rest: &mut Bytes,
        separator: &str,
        what: &str,
        number: usize,
    ) -> Result<Option<Bytes>, String> {
        match find(rest, separator.as_bytes()) {
            Some(at) => {
                let before = rest.split_to(at);
                let _ = rest.split_to(separator.len());
                Ok(Some(before))
            }
            None if self.ignore_error => Ok(None),
            None => Err(format!(
                "No {what} {} found on line number {number}: '{}'",
                if what == "key" { "separator" } else { "delimiter" },
                String::from_utf8_lossy(rest)
            )),
        }
    }

    fn parse_headers(&self, text: &Bytes, number: usize) -> Result<Vec<(Bytes, Option<Bytes>)>, String> {
        let mut headers = Vec::new();
        let mut rest = text.clone();
        loop {
            let (mut header, last) = match find(&rest, self.headers_separator.as_bytes()) {
                Some(at) => {
                    let header = rest.split_to(at);
                    let _ = rest.split_to(self.headers_separator.len());
                    (header, false)
                }
                None => (rest.clone(), true),
            };
            match find(&header, self.headers_key_separator.as_bytes()) {
                Some(at) => {
                    let key = header.split_to(at);
                    let _ = header.split_to(self.headers_key_separator.len());
                    headers.push((key, self.unless_null(header)));
                }
                None if self.ignore_error => headers.push((header, None)),
                None => {
                    return Err(format!(
                        "No header key separator found in pair '{}' on line number {number}",
                        String::from_utf8_lossy(&header)
                    ));
                }
            }
            if last {
                return Ok(headers);
            }
        }
    }

    fn unless_null(&self, bytes: Bytes) -> Option<Bytes> {
        Some(bytes).filter(|bytes| self.null.as_ref().is_none_or(|null| bytes != null.as_bytes()))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(properties: &[(&str, &str)]) -> Reader {
        let properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Reader::new("t", &properties).unwrap()
    }

    #[test]
    fn a_line_is_a_value() {
        let record = reader(&[]).record(&"a\tb".into(), 1).unwrap();

        assert_eq!((record.key, record.value), (None, Some("a\tb".into())));
    }

    #[test]
    fn keys_and_headers_come_first() {
        let reader = reader(&[("parse.key", "true"), ("parse.headers", "true"), ("null.marker", "NULL")]);

        let record = reader.record(&"h:1,i:NULL\tk\tNULL".into(), 1).unwrap();

        assert_eq!(record.headers, [("h".into(), Some("1".into())), ("i".into(), None)]);
        assert_eq!((record.key, record.value), (Some("k".into()), None));
    }

    #[test]
    fn a_line_without_its_separator_is_an_error_unless_that_is_ignored() {
        let strict = reader(&[("parse.key", "true")]);
        let lenient = reader(&[("parse.key", "true"), ("ignore.error", "true")]);

        assert_eq!(
            strict.record(&"value".into(), 3).unwrap_err(),
            "No key separator found on line number 3: 'value'"
        );
        assert_eq!(lenient.record(&"value".into(), 3).unwrap().value, Some("value".into()));
    }
}
