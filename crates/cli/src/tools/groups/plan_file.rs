//! Offsets as comma-separated values: what `--export` writes and `--from-file` reads.
//!
//! A line is `topic,partition,offset` where one group is meant, else `group,topic,partition,offset`. Values may stand
//! in quotes. Unlike Kafka's tool, which takes 0 for a column that is missing, ours refuses such a line.

use super::Trouble;
use ottla_types::TopicPartition;
use std::collections::BTreeMap;

/// The offsets of a group's partitions.
pub(super) type Plan = BTreeMap<TopicPartition, i64>;

/// From how many characters on a value is written in quotes, whatever it contains (Jackson's `CsvEncoder`).
const QUOTED_FROM: usize = 25;

/// Reads a file: what it plans for each group. Lines without a group are for `only_group`.
pub(super) fn read(path: &str, only_group: Option<&str>) -> Result<BTreeMap<String, Plan>, Trouble> {
    let text = std::fs::read_to_string(path)
        .map_err(|_| Trouble::Exception(format!("java.io.IOException: Unable to read file {path}")))?;
    parse(&text, only_group).map_err(|(line, why)| match why {
        NEGATIVE => Trouble::Usage(why.to_owned()),
        _ => Trouble::Exception(format!("{path}, line {line}: {why}")),
    })
}

const NEGATIVE: &str = "Invalid negative offset";

/// What the lines plan; or the number of one that cannot be understood, and why.
fn parse(text: &str, only_group: Option<&str>) -> Result<BTreeMap<String, Plan>, (usize, &'static str)> {
    let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let fail = |why| (number + 1, why);
        let mut values = split(line).ok_or(fail("a quote is not closed"))?;
        let group = match (values.len(), only_group) {
            (3, Some(group)) => group.to_owned(),
            (4, _) => values.remove(0),
            (_, Some(_)) => return Err(fail("expected topic,partition,offset")),
            (_, None) => return Err(fail("expected group,topic,partition,offset")),
        };
        let [topic, partition, offset] = values.as_slice() else {
            return Err(fail("expected topic,partition,offset"));
        };
        let partition = partition.trim().parse().map_err(|_| fail("the partition is not a number"))?;
        let offset: i64 = offset.trim().parse().map_err(|_| fail("the offset is not a number"))?;
        if offset < 0 {
            return Err(fail(NEGATIVE));
        }
        plans.entry(group).or_default().insert(TopicPartition::new(topic.clone(), partition), offset);
    }
    Ok(plans)
}

/// The values of a line; `None` when a quote is not closed.
fn split(line: &str) -> Option<Vec<String>> {
    let mut values = vec![String::new()];
    let mut characters = line.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        let value = values.last_mut()?;
        match character {
            // Two quotes within quotes are one.
            '"' if quoted && characters.next_if_eq(&'"').is_some() => value.push('"'),
            '"' if quoted || value.is_empty() => quoted = !quoted,
            ',' if !quoted => values.push(String::new()),
            other => value.push(other),
        }
    }
    (!quoted).then_some(values)
}

/// A line for each partition, in the order given; with the group, if `group` names one.
pub(super) fn write<'a>(
    group: Option<&str>,
    offsets: impl Iterator<Item = (&'a TopicPartition, i64)>,
) -> String {
    let group = group.map(|group| format!("{},", value(group))).unwrap_or_default();
    offsets.map(|(at, offset)| format!("{group}{},{},{offset}\n", value(&at.topic), at.partition)).collect()
}

fn value(text: &str) -> String {
    if text.chars().count() >= QUOTED_FROM || text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let offsets = Plan::from([(TopicPartition::new("t", 0), 5), (TopicPartition::new("t", 1), 7)]);
        for group in ["g", "a,b", "with \"quotes\"", "a-group-with-rather-a-long-name"] {
            let text = write(Some(group), offsets.iter().map(|(at, &offset)| (at, offset)));
            let expected = BTreeMap::from([(group.to_owned(), offsets.clone())]);

            assert_eq!(parse(&text, None), Ok(expected), "{text}");
        }
        let text = write(None, offsets.iter().map(|(at, &offset)| (at, offset)));
        assert_eq!(text, "t,0,5\nt,1,7\n");
        assert_eq!(parse(&text, Some("g")), Ok(BTreeMap::from([("g".to_owned(), offsets)])));
    }

    #[test]
    fn a_line_that_says_too_little_is_no_offset_of_zero() {
        let cases = [
            ("t,0", "expected topic,partition,offset"),
            ("t,0,1\n\n", "expected topic,partition,offset"),
            ("g,t,0,1,2", "expected topic,partition,offset"),
            ("t,zero,1", "the partition is not a number"),
            ("t,0,one", "the offset is not a number"),
            ("t,0,-1", NEGATIVE),
            ("\"t,0,1", "a quote is not closed"),
        ];
        for (text, why) in cases {
            assert_eq!(parse(text, Some("g")).unwrap_err().1, why, "{text}");
        }
        assert_eq!(parse("t,0,1", None).unwrap_err(), (1, "expected group,topic,partition,offset"));
    }
}
