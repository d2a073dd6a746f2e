//! `kafka-verifiable-consumer`: a member of a group that tells what it is given, reads and commits (`VerifiableConsumer`).

use super::{json, list, object, say};
use crate::tools::options::{Parsed, Tool, flag, value};
use crate::tools::perf_test::{consumer, properties};
use crate::tools::{Failure, connect, membership};
use crate::{output, signals};
use bytes::Bytes;
use ottla_client::consumer::group::{GroupConfig, GroupProtocol};
use ottla_client::consumer::{ConsumerConfig, ConsumerRecord, OffsetReset};
use ottla_client::{Client, ClientError, Consumer};
use ottla_types::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const TOOL: Tool = Tool {
    name: "kafka-verifiable-consumer",
    purpose: "This tool consumes messages from a specific topic and emits consumer events (e.g. group rebalances, received \
              messages, and offsets committed) as JSON objects to STDOUT.",
    short_purpose: None,
    commands: &[],
    options: &[
        value("assignment-strategy", "ASSIGNMENT-STRATEGY", "RangeAssignor, which is what there is."),
        value("bootstrap-server", "HOST1:PORT1[,HOST2:PORT2[...]]", "REQUIRED: the brokers to begin with."),
        value("command-config", "CONFIG-FILE", "A consumer's properties."),
        value("consumer.config", "CONFIG-FILE", "As --command-config. Deprecated."),
        flag(
            "enable-autocommit",
            "Commits every 5 seconds, and does not tell of it; else after each time that records came.",
        ),
        value("group-id", "ID", "REQUIRED: the group."),
        value("group-instance-id", "INSTANCE-ID", "A name of the member's own."),
        value("group-protocol", "PROTOCOL", "classic or consumer; classic if not given."),
        value(
            "group-remote-assignor",
            "ASSIGNOR",
            "By which assignor the coordinator makes the shares, by the protocol consumer.",
        ),
        value(
            "max-messages",
            "MAX-MESSAGES",
            "Ends after so many records; -1, or not given: when it is ended.",
        ),
        value("reset-policy", "RESET-POLICY", "earliest, latest or none; earliest if not given."),
        value(
            "session-timeout",
            "TIMEOUT-MS",
            "After how long without a sign of it the member counts as gone.",
        ),
        value("topic", "TOPIC", "REQUIRED: the topic."),
        flag("verbose", "Tells of each record."),
    ],
};

/// Records taken at once, as Kafka's consumer does (`max.poll.records`).
const RECORDS_MAX: usize = 500;

/// How long to wait for records before looking at the time.
const POLL: Duration = Duration::from_millis(100);

/// `auto.commit.interval.ms`.
const AUTO_COMMIT: Duration = Duration::from_secs(5);

/// What is to be read.
#[derive(Debug)]
struct Plan {
    topic: String,
    group: GroupConfig,
    reset: OffsetReset,
    /// None: until it is ended.
    records: Option<usize>,
    is_verbose: bool,
}

impl Plan {
    fn read(parsed: &Parsed) -> Result<Plan, Failure> {
        super::require(parsed, &["topic", "group-id", "bootstrap-server"])?;
        let refuse = |message: String| Err(Failure::Refused(message));
        let protocol = match parsed.value("group-protocol") {
            None => GroupProtocol::Classic,
            Some(name) => match membership::protocol(name) {
                Some(protocol) => protocol,
                None => {
                    return refuse(format!(
                        "--group-protocol: Invalid value {name}: must be one of CLASSIC, CONSUMER"
                    ));
                }
            },
        };
        let remote_assignor = parsed.value("group-remote-assignor").map(str::to_owned);
        if remote_assignor.is_some() && protocol == GroupProtocol::Classic {
            return refuse("--group-remote-assignor takes --group-protocol consumer".to_owned());
        }
        if let Some(strategy) = parsed.value("assignment-strategy")
            && !["RangeAssignor", "org.apache.kafka.clients.consumer.RangeAssignor", "range"]
                .contains(&strategy)
        {
            return refuse(format!(
                "--assignment-strategy {strategy} is not supported by Ottla: use RangeAssignor"
            ));
        }
        let reset = match parsed.value("reset-policy") {
            None | Some("earliest") => OffsetReset::Earliest,
            Some("latest") => OffsetReset::Latest,
            Some("none") => OffsetReset::None,
            Some(other) => {
                return refuse(format!(
                    "--reset-policy: Invalid value `{other}`: must be either 'earliest', 'latest' or 'none'"
                ));
            }
        };
        let mut group = GroupConfig::new(parsed.value("group-id").unwrap_or_default());
        (group.protocol, group.remote_assignor) = (protocol, remote_assignor);
        group.instance_id = parsed.value("group-instance-id").map(str::to_owned);
        group.auto_commit = parsed.has("enable-autocommit");
        if let Some(millis) = parsed.number("session-timeout")? {
            group.session_timeout = Duration::from_millis(millis);
            // As Kafka has it by default: a third, or less.
            group.heartbeat_interval = group.heartbeat_interval.min(group.session_timeout / 3);
        }
        let records: i64 = parsed.number("max-messages")?.unwrap_or(-1);
        Ok(Plan {
            topic: parsed.value("topic").unwrap_or_default().to_owned(),
            group,
            reset,
            records: usize::try_from(records).ok(),
            is_verbose: parsed.has("verbose"),
        })
    }
}

pub(crate) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let plan = Plan::read(parsed)?;
    let file = super::properties_file(parsed, "consumer.config")?;
    let properties = properties(parsed, file, &[])?;
    let config = ConsumerConfig { reset: plan.reset, ..consumer::config(&properties)? };
    let id = properties.get("client.id").map_or("verifiable-consumer", String::as_str);
    let client = connect::config(parsed.value("bootstrap-server").unwrap_or_default(), file, id)?;
    connect::block_on(async { follow(&plan, Consumer::new(Client::new(client), config)).await })
}

/// Reads until it has read enough, or is ended; then leaves.
async fn follow(plan: &Plan, mut consumer: Consumer) -> Result<(), Failure> {
    let asked_to_end = signals::asked_to_end().map_err(|error| Failure::Refused(error.to_string()))?;
    say("startup_complete", &[]);
    consumer.subscribe(vec![plan.topic.clone()], plan.group.clone());
    let mut share = Share::default();
    let outcome = tokio::select! {
        biased;
        () = asked_to_end => Ok(()),
        outcome = read(plan, &mut consumer, &mut share) => outcome,
    };
    say("shutdown_requested", &[]);
    share.revoke();
    let closed = consumer.close().await;
    say("shutdown_complete", &[]);
    outcome.and(closed).map_err(|error| Failure::Refused(error.to_string()))
}

async fn read(plan: &Plan, consumer: &mut Consumer, share: &mut Share) -> Result<(), ClientError> {
    let mut count = 0;
    let mut commit_due = Instant::now() + AUTO_COMMIT;
    while plan.records.is_none_or(|records| count < records) {
        let left = plan.records.map_or(RECORDS_MAX, |records| RECORDS_MAX.min(records - count));
        let records = consumer.poll(POLL, left).await?;
        share.look_at(consumer, plan.group.protocol);
        if !records.is_empty() {
            count += records.len();
            tell(&records, plan.is_verbose);
        }
        if !plan.group.auto_commit {
            if !records.is_empty() {
                let outcome = consumer.commit().await;
                tell_committed(&records, outcome);
            }
        } else if Instant::now() >= commit_due {
            commit_due = Instant::now() + AUTO_COMMIT;
            if let Err(error) = consumer.commit().await {
                output::error_line(format_args!("WARN offsets not committed: {error}"));
            }
        }
    }
    Ok(())
}

/// The partitions that the group has given, as it was told.
#[derive(Default)]
struct Share {
    generation: Option<i32>,
    partitions: Vec<TopicPartition>,
}

impl Share {
    /// Tells of what the group has taken and given since: by the classic protocol all of it each time, else what is no more
    /// and what is new.
    fn look_at(&mut self, consumer: &Consumer, protocol: GroupProtocol) {
        let generation = Some(consumer.generation()).filter(|generation| *generation >= 0);
        let now: Vec<TopicPartition> = consumer.assignment().cloned().collect();
        match protocol {
            GroupProtocol::Classic if generation == self.generation => return,
            GroupProtocol::Classic => {
                self.revoke();
                say("partitions_assigned", &[("partitions", names(&now))]);
            }
            GroupProtocol::Consumer => {
                let without = |all: &[TopicPartition], others: &[TopicPartition]| -> Vec<TopicPartition> {
                    all.iter().filter(|at| !others.contains(at)).cloned().collect()
                };
                let (gone, new) = (without(&self.partitions, &now), without(&now, &self.partitions));
                if !gone.is_empty() {
                    say("partitions_revoked", &[("partitions", names(&gone))]);
                }
                // As Kafka's tool does it: of nothing too.
                let is_first = generation.is_some() && self.generation.is_none();
                if is_first || !gone.is_empty() || !new.is_empty() {
                    say("partitions_assigned", &[("partitions", names(&new))]);
                }
            }
        }
        (self.generation, self.partitions) = (generation, now);
    }

    fn revoke(&mut self) {
        if self.generation.take().is_some() {
            say("partitions_revoked", &[("partitions", names(&self.partitions))]);
        }
    }
}

/// Tells of the records: of each one, if it is asked for, and of all together.
fn tell(records: &[ConsumerRecord], is_verbose: bool) {
    if is_verbose {
        for record in records {
            let text =
                |bytes: &Option<Bytes>| json(bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes)));
            let [topic, partition] = place(&record.partition);
            let (key, value) = (("key", text(&record.key)), ("value", text(&record.value)));
            say("record_data", &[key, value, topic, partition, ("offset", json(record.offset.0))]);
        }
    }
    say("records_consumed", &[("count", json(records.len())), ("partitions", sums(records))]);
}

/// How many records there are of each partition, and their first and last offsets.
fn sums(records: &[ConsumerRecord]) -> String {
    let mut sums: BTreeMap<&TopicPartition, (usize, Offset, Offset)> = BTreeMap::new();
    for record in records {
        let (count, _, last) = sums.entry(&record.partition).or_insert((0, record.offset, record.offset));
        (*count, *last) = (*count + 1, record.offset);
    }
    list(sums.into_iter().map(|(at, (count, first, last))| {
        let [topic, partition] = place(at);
        let (count, first) = (("count", json(count)), ("minOffset", json(first.0)));
        object(&[topic, partition, count, first, ("maxOffset", json(last.0))])
    }))
}

/// Tells of a commit after these records.
fn tell_committed(records: &[ConsumerRecord], outcome: Result<(), ClientError>) {
    let next: BTreeMap<&TopicPartition, Offset> =
        records.iter().map(|record| (&record.partition, record.offset + 1)).collect();
    let offsets = list(next.into_iter().map(|(at, offset)| {
        let [topic, partition] = place(at);
        object(&[topic, partition, ("offset", json(offset.0))])
    }));
    let (offsets, success) = (("offsets", offsets), ("success", json(outcome.is_ok())));
    match outcome {
        Ok(()) => say("offsets_committed", &[offsets, success]),
        Err(error) => say("offsets_committed", &[offsets, ("error", json(error.to_string())), success]),
    }
}

fn names(partitions: &[TopicPartition]) -> String {
    list(partitions.iter().map(|at| object(&place(at))))
}

fn place(at: &TopicPartition) -> [(&'static str, String); 2] {
    [("topic", json(at.topic.as_str())), ("partition", json(at.partition))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options;

    fn read(line: &str) -> Result<Plan, Failure> {
        Plan::read(&options::parse_line(&TOOL, line)?)
    }

    #[test]
    fn a_member_is_as_it_is_asked_for() {
        let plan = read("--topic t --group-id g --bootstrap-server b:1").unwrap();
        assert_eq!((plan.records, plan.reset, plan.is_verbose), (None, OffsetReset::Earliest, false));
        assert!(!plan.group.auto_commit);
        assert_eq!(plan.group.heartbeat_interval, Duration::from_secs(3));

        let more = "--max-messages 9 --session-timeout 6000 --reset-policy none --enable-autocommit --group-instance-id i";
        let plan = read(&format!("--topic t --group-id g --bootstrap-server b:1 {more}")).unwrap();
        assert_eq!((plan.records, plan.reset), (Some(9), OffsetReset::None));
        assert_eq!((plan.group.auto_commit, plan.group.instance_id.as_deref()), (true, Some("i")));
        assert_eq!(plan.group.heartbeat_interval, Duration::from_secs(2));

        let more = "--group-protocol CONSUMER --group-remote-assignor range";
        let group = read(&format!("--topic t --group-id g --bootstrap-server b:1 {more}")).unwrap().group;
        assert_eq!(
            (group.protocol, group.remote_assignor.as_deref()),
            (GroupProtocol::Consumer, Some("range"))
        );
    }

    #[test]
    fn what_the_client_does_not_do_is_refused() {
        let needed = "--topic t --group-id g --bootstrap-server b:1";
        assert!(read("--topic t --bootstrap-server b:1").is_err());
        for wrong in [
            "--group-protocol x",
            "--assignment-strategy org.apache.kafka.clients.consumer.RoundRobinAssignor",
            "--reset-policy x",
            "--group-remote-assignor uniform",
        ] {
            assert!(read(&format!("{needed} {wrong}")).is_err(), "{wrong}");
        }
    }
}
