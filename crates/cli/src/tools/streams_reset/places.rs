//! The offsets at which a group goes on in the input topics.

use super::{refused, thrown};
use crate::output;
use crate::tools::Failure;
use crate::tools::groups::time;
use crate::tools::java_map::{partitions_in_hash_order, partitions_in_sized_hash_order};
use crate::tools::options::Parsed;
use ottla_client::Admin;
use ottla_client::admin::places::Places;
use ottla_client::consumer::offsets::{EARLIEST, LATEST};
use ottla_types::{Offset, Timestamp, TopicPartition};

/// Which group goes on where, and who asks.
#[derive(Clone, Copy)]
pub(super) struct Reset<'a> {
    pub(super) parsed: &'a Parsed,
    pub(super) admin: &'a Admin,
    pub(super) group: &'a str,
    /// As a Java set has them.
    pub(super) partitions: &'a [TopicPartition],
}

/// Offsets in the order in which they are looked at.
type Wanted = Vec<(TopicPartition, i64)>;

/// The offsets that the command line means; without a word about it, the first.
pub(super) async fn find(reset: Reset<'_>) -> Result<Places, Failure> {
    let parsed = reset.parsed;
    if let Some(offset) = number(parsed, "to-offset")? {
        let wanted = reset.partitions.iter().map(|at| (at.clone(), offset)).collect();
        return reset.within(partitions_in_sized_hash_order(wanted, |(at, _)| at)).await;
    }
    if let Some(by) = number(parsed, "shift-by")? {
        let wanted = reset.shifted(by).await?;
        return reset.within(partitions_in_sized_hash_order(wanted, |(at, _)| at)).await;
    }
    if let Some(text) = parsed.value("to-datetime") {
        return reset
            .since(time::date_time(text).map_err(|why| unreadable("java.text.ParseException", why))?)
            .await;
    }
    if let Some(text) = parsed.value("by-duration") {
        let length =
            time::duration_ms(text).map_err(|why| thrown("java.time.format.DateTimeParseException", why))?;
        return reset.since(Timestamp(ottla_net::clock::wall().0.saturating_sub(length))).await;
    }
    if let Some(path) = parsed.value("from-file") {
        return reset.within(reset.matched(read(path)?)?).await;
    }
    let time = if parsed.has("to-latest") { LATEST } else { EARLIEST };
    reset.admin.places_at(reset.partitions, time).await.map_err(refused)
}

fn number(parsed: &Parsed, name: &str) -> Result<Option<i64>, Failure> {
    parsed.number(name).map_err(|why| thrown("joptsimple.OptionArgumentConversionException", why.0))
}

/// What the tool says of a text that it could not read, having said that it failed.
fn unreadable(class: &str, why: impl std::fmt::Display) -> Failure {
    output::error_line("ERROR: Resetting offsets failed.");
    thrown(class, why)
}

impl Reset<'_> {
    /// The offsets, but within what the logs have; what is not is told.
    async fn within(self, wanted: Wanted) -> Result<Places, Failure> {
        let end = self.admin.places_at(self.partitions, LATEST).await.map_err(refused)?;
        let first = self.admin.places_at(self.partitions, EARLIEST).await.map_err(refused)?;
        let mut places = Places::new();
        for (at, offset) in wanted {
            let (Some(&first), Some(&end)) = (first.get(&at), end.get(&at)) else { continue };
            let place = clamp(Offset(offset), first, end);
            if let Some(complaint) = complaint(Offset(offset), first, end) {
                output::line(complaint);
            }
            places.insert(at, place);
        }
        Ok(places)
    }

    /// Where the group is, and so much farther; where it never was, the end counts.
    async fn shifted(self, by: i64) -> Result<Wanted, Failure> {
        let committed = self.admin.committed_offsets(self.group).await.map_err(refused)?;
        let is_committed = |at: &TopicPartition| committed.get(at).filter(|found| found.offset.0 >= 0);
        let new: Vec<TopicPartition> =
            self.partitions.iter().filter(|at| is_committed(at).is_none()).cloned().collect();
        let end = self.admin.places_at(&new, LATEST).await.map_err(refused)?;
        let shifted = |at: &TopicPartition| {
            let current = is_committed(at).map(|found| found.offset).or(end.get(at).copied())?;
            Some((at.clone(), current.0.saturating_add(by)))
        };
        Ok(self.partitions.iter().filter_map(shifted).collect())
    }

    /// The first records that are not older; where there is none the end, which is told.
    async fn since(self, time: Timestamp) -> Result<Places, Failure> {
        if time.0 < 0 {
            let first = partitions_in_sized_hash_order(self.partitions.to_vec(), |at| at).swap_remove(0);
            let message = format_args!(
                "The target time for partition {first} is {time}. The target time cannot be negative."
            );
            return Err(thrown("java.lang.IllegalArgumentException", message));
        }
        let (places, late) = self.admin.places_since(self.partitions, time).await.map_err(refused)?;
        for at in late {
            output::line(format_args!(
                "Partition {} from topic {} is empty, without a committed record. Falling back to latest known offset.",
                at.partition, at.topic
            ));
        }
        Ok(places)
    }

    /// The plan, if it is for these partitions and no others.
    fn matched(self, plan: Wanted) -> Result<Wanted, Failure> {
        let unfit = |message: String| Err(thrown("java.lang.IllegalArgumentException", message));
        if let Some((at, _)) = plan.iter().find(|(at, _)| !self.partitions.contains(at)) {
            return unfit(format!("the file has an offset for {at}, which is not in the input topics"));
        }
        if let Some(at) = self.partitions.iter().find(|at| plan.iter().all(|(planned, _)| planned != *at)) {
            return unfit(format!("the file has no offset for {at}"));
        }
        Ok(plan)
    }
}

fn clamp(offset: Offset, first: Offset, end: Offset) -> Offset {
    if offset >= end { end } else { offset.max(first) }
}

/// What is said of an offset that is not within the log. The first offset and the end count as beyond it.
fn complaint(offset: Offset, first: Offset, end: Offset) -> Option<String> {
    if offset >= end {
        return Some(format!(
            "New offset ({offset}) is higher than latest offset. Value will be set to {end}"
        ));
    }
    let message =
        || format!("New offset ({offset}) is lower than earliest offset. Value will be set to {first}");
    (offset <= first).then(message)
}

/// Reads a file with a `topic,partition,offset` on each line.
fn read(path: &str) -> Result<Wanted, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|_| unreadable("java.io.IOException", format_args!("Unable to read file {path}")))?;
    let plan = parse(&text).map_err(|why| match why {
        Unreadable::Plan(why) => unreadable("java.text.ParseException", why),
        Unreadable::Number(text) => {
            thrown("java.lang.NumberFormatException", format_args!("For input string: \"{text}\""))
        }
    })?;
    Ok(partitions_in_hash_order(plan, |(at, _)| at))
}

/// Why a file is no plan.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable<'a> {
    Plan(&'static str),
    Number(&'a str),
}

/// What the lines plan. Of two for the same partition the later counts.
fn parse(text: &str) -> Result<Wanted, Unreadable<'_>> {
    if text.is_empty() {
        return Err(Unreadable::Plan("Error parsing reset plan CSV file. It is empty,"));
    }
    let mut plan = Wanted::new();
    for line in text.trim_end_matches('\n').split('\n') {
        let [topic, partition, offset] = line.trim_end_matches(',').split(',').collect::<Vec<_>>()[..] else {
            return Err(Unreadable::Plan(
                "Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`.",
            ));
        };
        let at = TopicPartition::new(topic, partition.parse().map_err(|_| Unreadable::Number(partition))?);
        let offset = offset.parse().map_err(|_| Unreadable::Number(offset))?;
        match plan.iter_mut().find(|(planned, _)| *planned == at) {
            Some((_, planned)) => *planned = offset,
            None => plan.push((at, offset)),
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_kept_within_the_log_and_told_if_it_is_not() {
        let lower = "New offset (2) is lower than earliest offset. Value will be set to 2";
        let higher = "New offset (9) is higher than latest offset. Value will be set to 9";
        for (offset, place, said) in [(2, 2, Some(lower)), (3, 3, None), (8, 8, None), (9, 9, Some(higher))] {
            let (offset, first, end) = (Offset(offset), Offset(2), Offset(9));

            assert_eq!(clamp(offset, first, end), Offset(place));
            assert_eq!(complaint(offset, first, end).as_deref(), said);
        }
        assert_eq!(clamp(Offset(-4), Offset(2), Offset(9)), Offset(2));
        assert_eq!(clamp(Offset(0), Offset(0), Offset(0)), Offset(0));
    }

    #[test]
    fn a_file_has_a_partition_and_an_offset_on_each_line() {
        let at = |partition| TopicPartition::new("t", partition);
        let format = "Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`.";

        assert_eq!(parse("t,0,5\nt,1,7\nt,0,6\n\n"), Ok(vec![(at(0), 6), (at(1), 7)]));
        for text in ["t,0", "t,0,1,2", "t,0,1\n\nt,1,1", "\n"] {
            assert_eq!(parse(text), Err(Unreadable::Plan(format)), "{text}");
        }
        assert_eq!(parse("t,x,1"), Err(Unreadable::Number("x")));
        assert_eq!(parse("t,0,1 "), Err(Unreadable::Number("1 ")));
        assert_eq!(parse(""), Err(Unreadable::Plan("Error parsing reset plan CSV file. It is empty,")));
    }
}
