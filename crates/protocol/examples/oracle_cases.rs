//! Prints messages for `tests/oracle/Oracle.java`: name, version, `random` or
//! `default`, bytes in hexadecimal, JSON at the version, and JSON at the last version, with tabs between. Arguments: how many of each message version, and a seed.

use ottla_protocol::registry::{Entry, MESSAGES};
use ottla_types::Random;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds: u64 = arguments.next().ok_or("how many?")?.parse()?;
    let mut random = Random::new(arguments.next().ok_or("which seed?")?.parse()?);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for entry in MESSAGES {
        for version in entry.versions.clone() {
            if let Ok(bytes) = entry.default_bytes(version) {
                print(&mut out, entry, version, "default", bytes)?;
            }
            for _ in 0..rounds {
                print(&mut out, entry, version, "random", entry.arbitrary(&mut random, version)?)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn print(
    out: &mut impl Write,
    entry: &Entry,
    version: i16,
    values: &str,
    bytes: Vec<u8>,
) -> Result<(), Box<dyn Error>> {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in &bytes {
        write!(hex, "{byte:02x}")?;
    }
    let recoded = entry.recode(bytes, version)?;
    let (json, latest) = (recoded.json, recoded.json_latest);
    writeln!(out, "{}\t{version}\t{values}\t{hex}\t{json}\t{latest}", entry.name)?;
    Ok(())
}
