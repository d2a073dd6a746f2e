//! What `kafka-consumer-groups` prints (`ConsumerGroupCommand`).

use ottla_client::admin::groups::MemberDescription;
use ottla_types::TopicPartition;
use std::fmt::Write as _;

/// What stands for a value that is not known.
const MISSING: &str = "-";

/// A row of the table of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OffsetRow {
    pub(crate) group: String,
    pub(crate) at: Option<TopicPartition>,
    pub(crate) current: Option<i64>,
    pub(crate) leader_epoch: Option<i32>,
    pub(crate) end: Option<i64>,
    pub(crate) consumer_id: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) client_id: Option<String>,
}

/// The group's state in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateRow {
    pub(super) group: String,
    /// `host:port  (id)`.
    pub(super) coordinator: String,
    pub(super) assignor: String,
    pub(super) state: String,
    pub(super) members: usize,
}

fn or_missing<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

fn width<'a>(least: usize, texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(str::len).max().unwrap_or(0).max(least)
}

/// The table of offsets of one group.
pub(super) fn offsets(rows: &[OffsetRow], verbose: bool) -> String {
    let topics: Vec<String> =
        rows.iter().map(|row| or_missing(row.at.as_ref().map(|at| &at.topic))).collect();
    let consumers: Vec<String> = rows.iter().map(|row| or_missing(row.consumer_id.as_ref())).collect();
    let hosts: Vec<String> = rows.iter().map(|row| or_missing(row.host.as_ref())).collect();
    let group_width = width(15, rows.iter().map(|row| row.group.as_str()));
    let topic_width = width(15, topics.iter().map(String::as_str));
    let consumer_width = width(15, consumers.iter().map(String::as_str));
    let host_width = width(15, hosts.iter().map(String::as_str));
    let mut text = String::new();
    let mut line = |cells: [&str; 10]| {
        let [group, topic, partition, epoch, current, end, lag, consumer, host, client] = cells;
        write!(text, "\n{group:<group_width$} {topic:<topic_width$} {partition:<10} ").expect(INTO_STRING);
        if verbose {
            write!(text, "{epoch:<15} ").expect(INTO_STRING);
        }
        write!(text, "{current:<15} {end:<15} {lag:<15} ").expect(INTO_STRING);
        write!(text, "{consumer:<consumer_width$} {host:<host_width$} {client}").expect(INTO_STRING);
    };
    line([
        "GROUP",
        "TOPIC",
        "PARTITION",
        "LEADER-EPOCH",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ]);
    for (((row, topic), consumer), host) in rows.iter().zip(&topics).zip(&consumers).zip(&hosts) {
        let lag = row.current.zip(row.end).map(|(current, end)| end - current);
        line([
            &row.group,
            topic,
            &or_missing(row.at.as_ref().map(|at| at.partition)),
            &or_missing(row.leader_epoch),
            &or_missing(row.current),
            &or_missing(row.end),
            &or_missing(lag),
            consumer,
            host,
            &or_missing(row.client_id.as_ref()),
        ]);
    }
    text.push('\n');
    text
}

const INTO_STRING: &str = "a String takes everything";

/// The table of members of one group.
pub(super) fn members(group: &str, members: &[MemberDescription], verbose: bool) -> String {
    let group_width = width(15, members.iter().map(|_| group));
    let consumer_width = width(15, members.iter().map(|member| member.member_id.as_str()));
    let instances: Vec<&str> = members.iter().filter_map(|m| m.group_instance_id.as_deref()).collect();
    let instance_width = width(17, instances.iter().copied());
    let host_width = width(15, members.iter().map(|member| member.host.as_str()));
    let client_width = width(15, members.iter().map(|member| member.client_id.as_str()));
    let assignments: Vec<String> = members.iter().map(|member| assignment(&member.assignment)).collect();
    let assignment_width = width(20, assignments.iter().map(String::as_str));
    let mut text = String::new();
    let mut line = |cells: [&str; 6], more: [&str; 4]| {
        let [group, consumer, instance, host, client, count] = cells;
        write!(text, "\n{group:<group_width$} {consumer:<consumer_width$} ").expect(INTO_STRING);
        if !instances.is_empty() {
            write!(text, "{instance:<instance_width$} ").expect(INTO_STRING);
        }
        write!(text, "{host:<host_width$} {client:<client_width$} {count:<15} ").expect(INTO_STRING);
        if verbose {
            let [epoch, current, target_epoch, target] = more;
            write!(text, "{epoch:<15} {current:<assignment_width$} {target_epoch:<15} {target:<20}")
                .expect(INTO_STRING);
        }
    };
    line(
        ["GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS"],
        ["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"],
    );
    for (member, share) in members.iter().zip(&assignments) {
        let instance = member.group_instance_id.as_deref().unwrap_or("");
        let count = member.assignment.len().to_string();
        line(
            [group, &member.member_id, instance, &member.host, &member.client_id, &count],
            [MISSING, share, MISSING, MISSING],
        );
    }
    text.push('\n');
    text
}

/// A share as text: `topic:0,1;other:3`.
fn assignment(share: &[TopicPartition]) -> String {
    if share.is_empty() {
        return MISSING.to_owned();
    }
    let topics = TopicPartition::by_topic(share).into_iter().map(|(topic, mut partitions)| {
        partitions.sort_unstable();
        let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
        format!("{topic}:{}", partitions.join(","))
    });
    topics.collect::<Vec<_>>().join(";")
}

/// The state of one group. A classic group has none of the epochs that `verbose` adds.
pub(super) fn state(row: &StateRow, verbose: bool) -> String {
    let group_width = width(15, [row.group.as_str()].into_iter());
    let coordinator_width = width(25, [row.coordinator.as_str()].into_iter());
    let line = |group: &str,
                coordinator: &str,
                assignor: &str,
                state: &str,
                epochs: [&str; 2],
                members: &str| {
        let epochs = if verbose { format!("{:<15} {:<25} ", epochs[0], epochs[1]) } else { String::new() };
        format!(
            "\n{group:<group_width$} {coordinator:<coordinator_width$} {assignor:<20} {state:<20} {epochs}{members}"
        )
    };
    // In two parts: as one word it would look like the id of an invariant.
    let epochs = [concat!("GROUP", "-EPOCH"), "TARGET-ASSIGNMENT-EPOCH"];
    let header = line("GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", epochs, "#MEMBERS");
    let assignor = if row.assignor.is_empty() { MISSING } else { &row.assignor };
    let members = row.members.to_string();
    header + &line(&row.group, &row.coordinator, assignor, &row.state, [MISSING; 2], &members) + "\n"
}

/// Groups with their types and states, as far as those are wanted.
pub(super) fn list(rows: &[(String, String, String)], with_type: bool, with_state: bool) -> String {
    let group_width = width(15, rows.iter().map(|(group, ..)| group.as_str())) + 10;
    let mut text = String::new();
    let mut line = |group: &str, group_type: &str, state: &str| {
        let mut cells = vec![format!("{group:<group_width$}")];
        if with_type {
            cells.push(format!("{group_type:<20}"));
        }
        if with_state {
            cells.push(format!("{state:<20}"));
        }
        writeln!(text, "{}", cells.join(" ")).expect(INTO_STRING);
    };
    line("GROUP", "TYPE", "STATE");
    for (group, group_type, state) in rows {
        line(group, group_type, state);
    }
    text
}

/// Offsets that are or would be set, of every group.
pub(super) fn reset(groups: &[(String, Vec<(TopicPartition, i64)>)]) -> String {
    if groups.is_empty() {
        return "\n".to_owned();
    }
    let group_width =
        width(15, groups.iter().filter(|(_, plan)| !plan.is_empty()).map(|(id, _)| id.as_str()));
    let all = || groups.iter().flat_map(|(id, plan)| plan.iter().map(move |(at, offset)| (id, at, offset)));
    let topic_width = width(15, all().map(|(_, at, _)| at.topic.as_str()));
    let line = |group: &str, topic: &str, partition: &str, offset: &str| {
        format!("\n{group:<group_width$} {topic:<topic_width$} {partition:<10} {offset}")
    };
    let mut text = line("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
    for (group, at, offset) in all() {
        text += &line(group, &at.topic, &at.partition.to_string(), &offset.to_string());
    }
    text.push('\n');
    text
}

/// What came of each partition whose offset was to be deleted.
pub(super) fn deleted_offsets(rows: &[(String, Option<i32>, String)]) -> String {
    let topic_width = width(15, rows.iter().map(|(topic, ..)| topic.as_str()));
    let line = |topic: &str, partition: &str, status: &str| {
        format!("\n{topic:<topic_width$} {partition:<10} {status:<15}")
    };
    let mut text = line("TOPIC", "PARTITION", "STATUS");
    for (topic, partition, status) in rows {
        text += &line(topic, &or_missing(*partition), status);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden texts are what the tools of Apache Kafka print.
    fn row() -> OffsetRow {
        OffsetRow {
            group: "g".into(),
            at: Some(TopicPartition::new("t", 0)),
            current: Some(3),
            leader_epoch: None,
            end: Some(5),
            consumer_id: None,
            host: None,
            client_id: None,
        }
    }

    #[test]
    fn offsets_are_printed_as_kafka_does() {
        assert_eq!(
            offsets(&[row()], false),
            "\nGROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID\
             \ng               t               0          3               5               2               -               -               -\n"
        );
        assert!(offsets(&[row()], true).contains("PARTITION  LEADER-EPOCH    CURRENT-OFFSET"));
    }

    #[test]
    fn members_are_printed_as_kafka_does() {
        let member = MemberDescription {
            member_id: "m".into(),
            group_instance_id: None,
            client_id: "c".into(),
            host: "/127.0.0.1".into(),
            rack_id: None,
            assignment: vec![TopicPartition::new("t", 1), TopicPartition::new("t", 0)],
            progress: None,
        };

        assert_eq!(
            members("g", std::slice::from_ref(&member), false),
            "\nGROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS     \
             \ng               m               /127.0.0.1      c               2               \n"
        );
        assert_eq!(assignment(&member.assignment), "t:0,1");
        assert_eq!(assignment(&[]), "-");
    }

    #[test]
    fn the_state_is_printed_as_kafka_does() {
        let row = StateRow {
            group: "g".into(),
            coordinator: "h:9092  (1)".into(),
            assignor: "range".into(),
            state: "Stable".into(),
            members: 1,
        };

        assert_eq!(
            state(&row, false),
            "\nGROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                #MEMBERS\
             \ng               h:9092  (1)               range                Stable               1\n"
        );
    }

    #[test]
    fn new_offsets_are_printed_as_kafka_does() {
        let offsets = [(2, 0), (1, 1)].map(|(p, offset)| (TopicPartition::new("t", p), offset));

        assert_eq!(
            reset(&[("g1".to_owned(), offsets.into()), ("busy".to_owned(), Vec::new())]),
            "\nGROUP           TOPIC           PARTITION  NEW-OFFSET\
             \ng1              t               2          0\
             \ng1              t               1          1\n"
        );
    }
}
