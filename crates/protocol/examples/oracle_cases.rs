//! Prints random messages for `tests/oracle/Oracle.java`: name, version, bytes in hexadecimal and JSON, with
//! tabs between. Arguments: how many of each message version, and a seed.

use ottla_protocol::registry::MESSAGES;
use ottla_types::Random;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds: u64 = arguments.next().ok_or("how many?")?.parse()?;
    let mut random = Random::new(arguments.next().ok_or("which seed?")?.parse()?);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for entry in MESSAGES {
        for version in entry.versions.clone() {
            for _ in 0..rounds {
                let bytes = entry.arbitrary(&mut random, version)?;
                let mut hex = String::with_capacity(bytes.len() * 2);
                for byte in &bytes {
                    write!(hex, "{byte:02x}")?;
                }
                let json = entry.recode(bytes, version)?.json;
                writeln!(out, "{}\t{version}\t{hex}\t{json}", entry.name)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}
