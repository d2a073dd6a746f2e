//! Reads messages that Ottla encoded (`oracle_cases`) with the crate `kafka-protocol`, writes them again with it, and
//! compares the bytes. It knows Kafka up to 4.1, and no records: what it lacks is counted, not compared.
//!
//! Standard input: a message's name, its version, what kind of values it has, its bytes in hexadecimal; the rest of
//! the line is for the other oracle.

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

/// Versions that the crate's table of APIs has, and its message has not: it decodes the response alone.
const GAPS: &[(&str, i16)] =
    &[("InitProducerIdRequest", 6), ("OffsetCommitRequest", 10), ("OffsetFetchRequest", 10)];

fn main() -> Result<()> {
    let apis: BTreeMap<String, ApiKey> =
        ApiKey::iter().map(|key| (format!("{key:?}").to_lowercase(), key)).collect();
    let (mut compared, mut cases, mut unknown) = (BTreeSet::new(), 0, BTreeSet::new());
    let mut different = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut fields = line.split('\t');
        let mut field = || fields.next().context("a line with too few fields");
        let (name, version, values, hex) = (field()?, field()?, field()?, field()?);
        if values != "random" && values != "default" {
            continue;
        }
        let version: i16 = version.parse()?;
        let (api, is_request) = match (name.strip_suffix("Request"), name.strip_suffix("Response")) {
            (Some(api), _) => (api, true),
            (_, Some(api)) => (api, false),
            _ => continue,
        };
        let known = apis.get(&api.to_lowercase()).filter(|key| {
            let versions = key.valid_versions();
            (versions.min..=versions.max).contains(&version) && !GAPS.contains(&(name, version))
        });
        let Some(&key) = known else {
            unknown.insert((name.to_owned(), version));
            continue;
        };
        let bytes = from_hex(hex)?;
        let again = recode(key, is_request, bytes.clone(), version);
        cases += 1;
        compared.insert((name.to_owned(), version));
        match again {
            Ok(again) if again == bytes => {}
            Ok(again) => different.push(format!("{name} v{version}: {hex} became {again:x}")),
            Err(error) => different.push(format!("{name} v{version}: {hex}: {error}")),
        }
    }
    println!(
        "kafka-protocol: {} message versions, {cases} cases compared, {} message versions it does not know; {} differ",
        compared.len(),
        unknown.len(),
        different.len()
    );
    if !different.is_empty() || compared.is_empty() {
        different.iter().take(20).for_each(|line| println!("{line}"));
        bail!("{} of {cases} cases differ", different.len());
    }
    Ok(())
}

fn recode(key: ApiKey, is_request: bool, mut bytes: Bytes, version: i16) -> Result<Bytes> {
    let mut again = BytesMut::new();
    if is_request {
        RequestKind::decode(key, &mut bytes, version)?.encode(&mut again, version)?;
    } else {
        ResponseKind::decode(key, &mut bytes, version)?.encode(&mut again, version)?;
    }
    if !bytes.is_empty() {
        bail!("{} bytes are left", bytes.len());
    }
    Ok(again.freeze())
}

fn from_hex(text: &str) -> Result<Bytes> {
    let digits = |at: usize| Ok(u8::from_str_radix(text.get(at..at + 2).context("half a byte")?, 16)?);
    (0..text.len()).step_by(2).map(digits).collect()
}
