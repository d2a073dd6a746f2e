//! Prints messages for `tests/oracle/Oracle.java`: name, version, `random`, `default`
//! or `damaged`, bytes in hexadecimal, JSON at the version, and JSON at the last version, with tabs between. Before them, what we
//! say of error codes and APIs. Arguments: how many of each message version, and a seed.

use ottla_protocol::header::{request_header_version, response_header_version};
use ottla_protocol::registry::{Entry, MESSAGES, RecodeError};
use ottla_protocol::{ApiKey, ErrorCode};
use ottla_types::Random;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds: u64 = arguments.next().ok_or("how many?")?.parse()?;
    let mut random = Random::new(arguments.next().ok_or("which seed?")?.parse()?);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    print_tables(&mut out)?;
    for entry in MESSAGES {
        for version in entry.versions.clone() {
            if let Ok(bytes) = entry.default_bytes(version) {
                print(&mut out, entry, version, "default", bytes)?;
            }
            for _ in 0..rounds {
                let bytes = entry.arbitrary(&mut random, version)?;
                print_damaged(&mut out, entry, version, damaged(&bytes, &mut random))?;
                print(&mut out, entry, version, "random", bytes)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// What we say of error codes, and of each version of each API.
fn print_tables(out: &mut impl Write) -> std::io::Result<()> {
    for &error in ErrorCode::ALL {
        let (code, name) = (i16::from(error), error.name());
        let (retriable, refreshing) = (error.is_retriable(), error.is_refreshing());
        writeln!(out, "ErrorCode\t{code}\terror\t{name} {retriable} {refreshing}\t-\t-")?;
    }
    for &key in ApiKey::ALL {
        let (versions, stable) = (key.valid_versions(), key.stable_version_max());
        for version in versions.clone() {
            let request = request_header_version(key, version);
            let response = response_header_version(key, version);
            let facts =
                format!("{key} {}-{} {stable} {request} {response}", versions.start(), versions.end());
            let listeners = format!("{} {}", key.is_on_brokers(), key.is_on_controllers());
            writeln!(out, "{}\t{version}\tapi\t{facts} {listeners}\t-\t-", key as i16)?;
        }
    }
    Ok(())
}

/// Changes up to three bytes.
fn damaged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.index(3) {
        let at = random.index(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = [0, 1, 2, 0x7f, 0x80, 0xff, random.next_u64() as u8][random.index(7)];
        }
    }
    bytes
}

/// Has `!` and the error instead of JSON where we refuse the bytes.
fn print_damaged(
    out: &mut impl Write,
    entry: &Entry,
    version: i16,
    bytes: Vec<u8>,
) -> Result<(), Box<dyn Error>> {
    let verdict = match entry.recode(bytes.clone(), version) {
        Ok(recoded) => recoded.json,
        Err(RecodeError::Decode(error)) => format!("!{:?}", error.kind),
        Err(RecodeError::Encode(error)) => return Err(error.into()),
    };
    writeln!(out, "{}\t{version}\tdamaged\t{}\t{verdict}\t-", entry.name, hex(&bytes)?)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> Result<String, std::fmt::Error> {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(hex, "{byte:02x}")?;
    }
    Ok(hex)
}

fn print(
    out: &mut impl Write,
    entry: &Entry,
    version: i16,
    values: &str,
    bytes: Vec<u8>,
) -> Result<(), Box<dyn Error>> {
    let hex = hex(&bytes)?;
    let recoded = entry.recode(bytes, version)?;
    let (json, latest) = (recoded.json, recoded.json_latest);
    writeln!(out, "{}\t{version}\t{values}\t{hex}\t{json}\t{latest}", entry.name)?;
    Ok(())
}
