//! The failovers of the past: what the metadata log says of them, and why, where a journal says it.

use super::layout::Layout;
use super::{past, watcher};
use crate::observer;
use anyhow::Result;
use ottla_client::quorum::MetadataBytes;
use ottla_client::{ClientError, MetadataTail, Quorum};
use ottla_metadata::{MetadataDelta, MetadataImage, Unreadable, replay};
use ottla_protocol::ErrorCode;
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_records::{BatchView, batches};
use ottla_server::quorum::JournalEntry;
use ottla_types::{LeaderEpoch, NodeId, Offset, OffsetAndEpoch, Timestamp, Uuid};
use std::time::Duration;

/// Something that made leaders move, or let them return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// When the controller wrote it, by its clock.
    pub(crate) time: Timestamp,
    /// The offset of the record in the metadata log.
    pub(crate) offset: Offset,
    /// The broker.
    pub(crate) broker: NodeId,
    /// Its incarnation.
    pub(crate) broker_epoch: i64,
    /// What happened to it.
    pub(crate) what: What,
    /// Who leads then what it led; `None` of what is [`What::Condemned`].
    pub(crate) moved: Option<Vec<Moved>>,
}

/// What happened to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The controller fenced it, for a reason that a journal tells.
    Fenced(Option<JournalEntry>),
    /// A controller decided to fence it, and wrote down why; whether that was committed, the metadata log no longer
    /// tells.
    Condemned(JournalEntry),
    /// It asked to be stopped in order, and handed over what it led.
    Stops,
    /// It was fenced when it had handed over what it led, and no journal has another reason: as a rule, it was let go.
    Stopped,
    /// Another process took its place before it was fenced.
    Replaced,
    /// It serves.
    Serves,
}

/// A partition whose leader changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Who leads it, if anybody does.
    pub(crate) leader: Option<NodeId>,
    /// Since this epoch.
    pub(crate) epoch: LeaderEpoch,
}

/// Tells what the metadata log says happened, joined with what the journals say, in order; and what happens then.
pub(crate) struct Follower {
    layout: Layout,
    quorum: Quorum,
    tail: MetadataTail,
    history: History,
}

impl Follower {
    /// Reads the whole metadata log of a cluster, and tells what it says.
    ///
    /// # Errors
    /// When no controller answers, or the log or a journal cannot be read.
    pub(crate) async fn start(layout: &Layout) -> Result<(Follower, Vec<Event>)> {
        let mut quorum = watcher::quorum(layout);
        let mut history = History::new(past::journals(layout)?);
        quorum.read_metadata(|piece| history.apply(piece)).await?;
        let tail = MetadataTail::after(history.image.end);
        let mut events = std::mem::take(&mut history.events);
        let mut follower = Follower { layout: layout.clone(), quorum, tail, history };
        // What happened just now may not have been in the journals when they were read.
        let since = Timestamp(ottla_net::clock::wall().0 - RECENT_MS);
        let recent = events.partition_point(|event| event.time < since);
        follower.explain(&mut events[recent..]).await?;
        Ok((follower, events))
    }

    /// Waits for more, two seconds at most, and tells it; none is no error.
    ///
    /// # Errors
    /// When no controller answers; whoever goes on all the same had better wait a moment.
    pub(crate) async fn next(&mut self) -> Result<Vec<Event>> {
        self.quorum.follow_metadata(&mut self.tail, |piece| self.history.apply(piece)).await?;
        let mut events = std::mem::take(&mut self.history.events);
        self.explain(&mut events).await?;
        Ok(events)
    }

    /// Looks for the reasons. A journal is written a moment after the decision.
    async fn explain(&mut self, events: &mut [Event]) -> Result<()> {
        for _ in 0..JOURNAL_LOOKS {
            if self.look_for_reasons(events)? {
                break;
            }
            tokio::time::sleep(JOURNAL_PAUSE).await;
        }
        Ok(())
    }

    /// Looks into the journals for the reasons that are not known; returns whether all are.
    fn look_for_reasons(&mut self, events: &mut [Event]) -> Result<bool> {
        let is_unexplained = |event: &Event| matches!(event.what, What::Fenced(None) | What::Stopped);
        if !events.iter().any(is_unexplained) {
            return Ok(true);
        }
        self.history.journals = past::journals(&self.layout)?;
        for event in events.iter_mut().filter(|event| is_unexplained(event)) {
            let entry = self.history.journaled(event.offset, event.broker, event.broker_epoch);
            if let Some(entry) = entry {
                event.what = What::Fenced(Some(entry));
            }
        }
        Ok(!events.iter().any(is_unexplained))
    }
}

/// How often a journal is looked at for a reason, and how far apart: not every fencing has one.
const JOURNAL_LOOKS: usize = 5;
const JOURNAL_PAUSE: Duration = Duration::from_millis(50);

/// Of what is older, the journals hold whatever they ever will.
const RECENT_MS: i64 = 5000;

/// What was read so far.
struct History {
    journals: Vec<JournalEntry>,
    image: MetadataImage,
    /// What was not told yet.
    events: Vec<Event>,
}

impl History {
    fn new(journals: Vec<JournalEntry>) -> History {
        History { journals, image: MetadataImage::default(), events: Vec::new() }
    }

    /// Takes in a piece of the log; returns where the image ends then.
    fn apply(&mut self, piece: MetadataBytes) -> Result<OffsetAndEpoch, ClientError> {
        let unreadable =
            |error: Unreadable| ClientError::refused(ErrorCode::InvalidRecord, Some(error.to_string()));
        match piece {
            MetadataBytes::Log(bytes) => self.replay(&bytes).map_err(unreadable)?,
            snapshot @ MetadataBytes::Snapshot { .. } => {
                let known_to = self.image.end.offset;
                observer::apply(&mut self.image, snapshot, &mut MetadataDelta::default())?;
                self.skip(known_to, self.image.end.offset);
            }
        }
        Ok(self.image.end)
    }

    /// A snapshot stands in place of the log between these offsets. Of that, only the journals know what was decided.
    fn skip(&mut self, from: Offset, start: Offset) {
        let mut known: Vec<&JournalEntry> =
            self.journals.iter().filter(|entry| (from.0..start.0).contains(&entry.offset)).collect();
        known.sort_by_key(|entry| entry.offset);
        self.events.extend(known.into_iter().map(|entry| Event {
            time: Timestamp(entry.time_ms),
            offset: Offset(entry.offset),
            broker: NodeId(entry.broker),
            broker_epoch: entry.broker_epoch,
            what: What::Condemned(entry.clone()),
            moved: None,
        }));
    }

    fn replay(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        for batch in batches(bytes) {
            let batch = batch
                .map_err(|error| Unreadable { offset: self.image.end.offset, reason: error.to_string() })?;
            if batch.header().next_offset() > self.image.end.offset {
                self.replay_batch(&batch)?;
            }
        }
        Ok(())
    }

    /// A batch is one decision of the controller: who leaves, and who takes over, stand in one.
    fn replay_batch(&mut self, batch: &BatchView<'_>) -> Result<(), Unreadable> {
        let records = replay::records_of(batch)?;
        let happened =
            records.iter().find_map(|(offset, record)| Some((*offset, self.happened(*offset, record)?)));
        let before: Vec<(Uuid, i32, Option<NodeId>)> =
            records.iter().filter_map(|(_, record)| self.leader_before(record)).collect();
        self.image.replay_batches(batch.bytes(), Offset::MAX, &mut MetadataDelta::default())?;
        let Some((offset, (broker, broker_epoch, what))) = happened else { return Ok(()) };
        let moved: Vec<Moved> = before.into_iter().filter_map(|at| self.moved(at)).collect();
        // Whoever leads is not let go: it ended before it had handed over.
        let what = if what == What::Stopped && !moved.is_empty() { What::Fenced(None) } else { what };
        let time = batch.header().max_timestamp;
        self.events.push(Event { time, offset, broker, broker_epoch, what, moved: Some(moved) });
        Ok(())
    }

    /// What a record that comes next does to a broker.
    fn happened(&self, offset: Offset, record: &MetadataRecord) -> Option<(NodeId, i64, What)> {
        match record {
            MetadataRecord::BrokerRegistrationChange(change) => {
                let broker = NodeId(change.broker_id);
                let before = self.image.cluster.broker(broker)?;
                let what = match (change.fenced, change.in_controlled_shutdown) {
                    (1, _) if before.fenced => return None,
                    (1, _) => match self.journaled(offset, broker, change.broker_epoch) {
                        None if before.in_controlled_shutdown => What::Stopped,
                        reason => What::Fenced(reason),
                    },
                    (-1, _) if before.fenced => What::Serves,
                    (_, 1) if !before.in_controlled_shutdown => What::Stops,
                    _ => return None,
                };
                Some((broker, change.broker_epoch, what))
            }
            MetadataRecord::RegisterBroker(new) => {
                let broker = NodeId(new.broker_id);
                let before = self.image.cluster.broker(broker)?;
                (!before.fenced).then_some((broker, before.epoch.0, What::Replaced))
            }
            _ => None,
        }
    }

    /// What the controller wrote down that decided on the record at this offset.
    fn journaled(&self, offset: Offset, broker: NodeId, epoch: i64) -> Option<JournalEntry> {
        let fits = |entry: &&JournalEntry| {
            (entry.offset, entry.broker, entry.broker_epoch) == (offset.0, broker.0, epoch)
        };
        self.journals.iter().find(fits).cloned()
    }

    fn leader_before(&self, record: &MetadataRecord) -> Option<(Uuid, i32, Option<NodeId>)> {
        let MetadataRecord::PartitionChange(change) = record else { return None };
        let topic = self.image.topics.by_id(change.topic_id)?;
        let partition = topic.partitions.get(&change.partition_id)?;
        Some((change.topic_id, change.partition_id, partition.leader))
    }

    fn moved(&self, (topic_id, number, before): (Uuid, i32, Option<NodeId>)) -> Option<Moved> {
        let topic = self.image.topics.by_id(topic_id)?;
        let partition = topic.partitions.get(&number)?;
        (partition.leader != before).then(|| Moved {
            topic: topic.name.clone(),
            partition: number,
            leader: partition.leader,
            epoch: partition.leader_epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::records::{leads, partition, registration_change as change, topic};
    use ottla_metadata::{MetadataVersion, frames};
    use ottla_protocol::records::metadata::RegisterBrokerRecord;
    use ottla_records::BatchBuilder;

    /// A log in which every decision is a batch.
    #[derive(Default)]
    struct Log {
        bytes: Vec<u8>,
        end: i64,
    }

    impl Log {
        fn decide(&mut self, records: &[MetadataRecord]) -> i64 {
            let at = self.end;
            let mut builder = BatchBuilder::new().base_offset(Offset(at)).leader_epoch(LeaderEpoch(1));
            for value in frames::encode(records, MetadataVersion::LATEST).unwrap() {
                builder.push(Timestamp(1000 + at), None, Some(&value), &[]);
            }
            self.bytes.extend(builder.build());
            self.end += records.len() as i64;
            at
        }
    }

    fn register(epoch: i64) -> MetadataRecord {
        let record = RegisterBrokerRecord {
            broker_id: 2,
            broker_epoch: epoch,
            incarnation_id: Uuid::from_u128(epoch as u128),
            fenced: true,
            ..Default::default()
        };
        MetadataRecord::RegisterBroker(record)
    }

    /// A broker that leads partition 1 of `t`, but not 0.
    fn log() -> Log {
        let mut log = Log::default();
        log.decide(&[register(41), topic(), partition(0, 3, 5), partition(1, 2, 5)]);
        log.decide(&[change(41, -1, 0)]);
        log
    }

    fn entry(offset: i64, broker_epoch: i64) -> JournalEntry {
        JournalEntry {
            time_ms: 5,
            controller: 1,
            broker: 2,
            broker_epoch,
            offset,
            rule: "gone".to_owned(),
            cause: "gone: nobody is there".to_owned(),
            absent_us: 6900,
            evidence: Vec::new(),
        }
    }

    fn told(log: &Log, journals: Vec<JournalEntry>) -> Vec<Event> {
        let mut history = History::new(journals);
        history.replay(&log.bytes).unwrap();
        history.events
    }

    #[test]
    fn a_fencing_is_joined_with_its_reason_and_with_who_took_over() {
        let mut log = log();
        let at = log.decide(&[change(41, 1, 0), leads(0, 3), leads(1, 3)]);

        let events = told(&log, vec![entry(at - 1, 41), entry(at, 40), entry(at, 41)]);

        assert_eq!(events.iter().map(|event| &event.what).next(), Some(&What::Serves));
        let moved =
            Moved { topic: "t".to_owned(), partition: 1, leader: Some(NodeId(3)), epoch: LeaderEpoch(6) };
        let expected = Event {
            time: Timestamp(1000 + at),
            offset: Offset(at),
            broker: NodeId(2),
            broker_epoch: 41,
            what: What::Fenced(Some(entry(at, 41))),
            moved: Some(vec![moved]),
        };
        assert_eq!(events[1..], [expected]);
    }

    #[test]
    fn a_fencing_that_no_journal_explains_has_no_reason() {
        let mut log = log();
        let at = log.decide(&[change(41, 1, 0), leads(1, 3)]);

        for journals in [vec![], vec![entry(at + 1, 41)], vec![entry(at, 42)]] {
            assert_eq!(told(&log, journals)[1].what, What::Fenced(None));
        }
    }

    #[test]
    fn who_stops_or_returns_in_order_needs_no_reason() {
        let mut log = log();
        log.decide(&[change(41, 0, 1), leads(1, 1)]);
        log.decide(&[change(41, 1, 0)]);
        log.decide(&[change(41, 1, 0)]);
        log.decide(&[register(50)]);
        log.decide(&[change(50, -1, 0)]);
        log.decide(&[register(60)]);

        let events = told(&log, vec![]);

        let whats: Vec<(What, i64)> =
            events.iter().map(|event| (event.what.clone(), event.broker_epoch)).collect();
        assert_eq!(
            whats,
            [
                (What::Serves, 41),
                (What::Stops, 41),
                (What::Stopped, 41),
                (What::Serves, 50),
                (What::Replaced, 50)
            ]
        );
        assert_eq!(events[1].moved.as_ref().map(Vec::len), Some(1));
    }

    #[test]
    fn who_ends_while_it_stops_has_not_stopped_in_order() {
        let ends = |fencing: &[MetadataRecord], is_journaled: bool| {
            let mut log = log();
            log.decide(&[change(41, 0, 1)]);
            let at = log.decide(fencing);
            let journals = if is_journaled { vec![entry(at, 41)] } else { Vec::new() };
            told(&log, journals).pop().unwrap().what
        };

        assert!(matches!(ends(&[change(41, 1, 0)], true), What::Fenced(Some(_))));
        assert_eq!(ends(&[change(41, 1, 0), leads(1, 3)], false), What::Fenced(None), "it led a partition");
        assert_eq!(
            ends(&[change(41, 1, 0), leads(0, 3)], false),
            What::Stopped,
            "another led it before, too"
        );
    }

    #[test]
    fn what_the_log_no_longer_holds_is_told_by_the_journals() {
        let mut history = History::new(vec![entry(90, 41), entry(12, 40), entry(100, 50)]);

        history.skip(Offset(0), Offset(100));

        let told: Vec<(i64, What)> =
            history.events.iter().map(|event| (event.offset.0, event.what.clone())).collect();
        // Neither need have been committed.
        assert_eq!(told, [(12, What::Condemned(entry(12, 40))), (90, What::Condemned(entry(90, 41)))]);
        assert!(history.events.iter().all(|event| event.moved.is_none()));

        // Who has followed the log up to there was told of what was before.
        let mut history = History::new(vec![entry(90, 41), entry(12, 40)]);
        history.skip(Offset(50), Offset(100));
        assert_eq!(history.events.iter().map(|event| event.offset.0).collect::<Vec<_>>(), [90]);
    }
}
