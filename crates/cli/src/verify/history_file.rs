//! What was sent, and what was said about it, as lines of JSON.
//!
//! The first line says whose records these are. Then, in the order of events: `{"upto":[PARTITION,NUMBER]}` before any
//! record below that number is sent; `{"acknowledged":[PARTITION,NUMBER,OFFSET]}` (offset -1: not told) and
//! `{"refused":[PARTITION,NUMBER]}`. Of a record of which nothing more is said nobody knows whether it is there. So the file
//! is true at every moment, wherever it ends: an acknowledgement that was not written down yet is one that is not counted.

use anyhow::{Context, Result, bail, ensure};
use ottla_types::Offset;
use ottla_verify::{Guarantee, History, Outcome, Stamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

/// How many records of a partition are announced at a time.
const ANNOUNCED: u64 = 1000;

/// Whose records a history is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// Tells the records of this run from all others.
    pub(super) run: u64,
    /// Where they are.
    pub(super) topic: String,
    /// What was promised.
    pub(super) guarantee: Guarantee,
}

/// A history that is being written.
pub(super) struct Writer {
    file: BufWriter<File>,
    run: u64,
    /// By partition: the next number, and up to which they are announced.
    numbers: BTreeMap<i32, (u64, u64)>,
}

impl Writer {
    /// Begins a file, which must not exist.
    pub(super) fn create(path: &Path, subject: &Subject) -> Result<Writer> {
        let file = File::create_new(path)
            .with_context(|| format!("{}: name a file that is not there yet", path.display()))?;
        let mut writer = Writer { file: BufWriter::new(file), run: subject.run, numbers: BTreeMap::new() };
        let Guarantee { durable, idempotent } = subject.guarantee;
        writer.line(&json!({
            "run": format!("{:016x}", subject.run),
            "topic": subject.topic,
            "durable": durable,
            "idempotent": idempotent,
        }))?;
        writer.flush()?;
        Ok(writer)
    }

    /// The next record to a partition. It may be sent once this has returned.
    pub(super) fn next(&mut self, partition: i32) -> Result<Stamp> {
        let (next, announced) = self.numbers.entry(partition).or_default();
        let number = *next;
        *next += 1;
        if number == *announced {
            *announced += ANNOUNCED;
            let upto = *announced;
            self.line(&json!({ "upto": [partition, upto] }))?;
            self.flush()?;
        }
        Ok(Stamp { run: self.run, producer: 0, partition, number })
    }

    pub(super) fn acknowledged(&mut self, stamp: Stamp, offset: Offset) -> Result<()> {
        self.line(&json!({ "acknowledged": [stamp.partition, stamp.number, offset.0] }))
    }

    pub(super) fn refused(&mut self, stamp: Stamp) -> Result<()> {
        self.line(&json!({ "refused": [stamp.partition, stamp.number] }))
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.file.flush().context("the history cannot be written")
    }

    fn line(&mut self, value: &Value) -> Result<()> {
        writeln!(self.file, "{value}").context("the history cannot be written")
    }
}

/// Reads a history. A last line without an end, of a process that was killed, is left out.
pub(super) fn read(path: &Path) -> Result<(Subject, History)> {
    let shown = path.display();
    let mut file = BufReader::new(File::open(path).with_context(|| shown.to_string())?);
    let mut line = String::new();
    file.read_line(&mut line).with_context(|| shown.to_string())?;
    let subject =
        subject(&line).with_context(|| format!("{shown}: not a history of `ottla verify produce`"))?;
    let mut history = History::new(subject.run);
    let producer = history.add_producer(subject.guarantee);
    let mut number = 1;
    loop {
        line.clear();
        number += 1;
        if file.read_line(&mut line).with_context(|| shown.to_string())? == 0 || !line.ends_with('\n') {
            return Ok((subject, history));
        }
        replay(&mut history, producer, &line).with_context(|| format!("{shown}: line {number}"))?;
    }
}

fn subject(line: &str) -> Option<Subject> {
    let value: Value = serde_json::from_str(line).ok()?;
    Some(Subject {
        run: u64::from_str_radix(value["run"].as_str()?, 16).ok()?,
        topic: value["topic"].as_str()?.to_owned(),
        guarantee: Guarantee {
            durable: value["durable"].as_bool()?,
            idempotent: value["idempotent"].as_bool()?,
        },
    })
}

fn replay(history: &mut History, producer: u32, line: &str) -> Result<()> {
    let value: Value = serde_json::from_str(line).context("not JSON")?;
    let numbers =
        |name: &str| -> Option<Vec<i64>> { value[name].as_array()?.iter().map(Value::as_i64).collect() };
    let stamp = |partition: i64, number: i64| -> Result<Stamp> {
        let (partition, number) = (i32::try_from(partition)?, u64::try_from(number)?);
        Ok(Stamp { run: history.run(), producer, partition, number })
    };
    if let Some([partition, upto]) = numbers("upto").as_deref() {
        let last = stamp(*partition, *upto - 1)?;
        while history.outcome(&last).is_none() {
            history.send(producer, last.partition);
        }
        return Ok(());
    }
    let (stamp, outcome) = match (numbers("acknowledged").as_deref(), numbers("refused").as_deref()) {
        (Some([partition, number, offset]), None) => {
            (stamp(*partition, *number)?, Outcome::Acknowledged(Offset(*offset)))
        }
        (None, Some([partition, number])) => (stamp(*partition, *number)?, Outcome::Refused),
        _ => bail!("neither upto, acknowledged nor refused"),
    };
    ensure!(history.outcome(&stamp).is_some(), "a record that was never announced");
    history.told(stamp, outcome);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject { run: 0xabc, topic: "t".to_owned(), guarantee: Guarantee::FULL }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history");
        let mut writer = Writer::create(&path, &subject()).unwrap();
        let (first, second, third) =
            (writer.next(0).unwrap(), writer.next(1).unwrap(), writer.next(0).unwrap());
        writer.acknowledged(first, Offset(17)).unwrap();
        writer.refused(second).unwrap();
        writer.flush().unwrap();

        let (read_subject, history) = read(&path).unwrap();

        assert_eq!(read_subject, subject());
        assert_eq!(history.outcome(&first), Some(Outcome::Acknowledged(Offset(17))));
        assert_eq!(history.outcome(&second), Some(Outcome::Refused));
        assert_eq!(history.outcome(&third), Some(Outcome::Unknown));
        assert_eq!(history.acknowledged(), 1);
        assert!(Writer::create(&path, &subject()).is_err(), "a history is not written over");
    }

    #[test]
    fn a_torn_end_is_left_out_and_other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history");
        let begun = "{\"run\":\"0000000000000abc\",\"topic\":\"t\",\"durable\":true,\"idempotent\":true}\n";
        let check = |rest: &str| {
            std::fs::write(&path, format!("{begun}{rest}")).unwrap();
            read(&path).map(|(_, history)| history.acknowledged())
        };

        assert_eq!(check("{\"upto\":[0,3]}\n{\"acknowledged\":[0,1,5]}\n{\"acknowledg").unwrap(), 1);
        for wrong in ["what\n", "{\"acknowledged\":[0,1,5]}\n", "{\"upto\":[0]}\n", "{\"upto\":[0,-3]}\n"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        std::fs::write(&path, "hello\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("not a history"));
    }
}
