//! `kafka-streams-application-reset`: an application of Kafka Streams begins anew (`StreamsResetter`).
//!
//! Its group goes on elsewhere in the input topics, and the topics that Streams made for it are deleted. Unlike Kafka's tool, ours
//! names the partition for which a file has no offset, or which is none of the input topics'; and takes no default for where the group
//! is from a client's properties (`auto.offset.reset`).
//!
//! Reading order: [`members`], [`seek`], [`places`], [`internal_topics`].

mod internal_topics;
mod members;
mod places;
mod seek;

use super::connect::{self, NoClient};
use super::options::{Parsed, Tool, exclude, flag, value};
use super::{Failure, exceptions, java_map};
use crate::output;
use ottla_client::{Admin, Client, ClientError};
use std::fmt::Display;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-streams-application-reset",
    purpose: PURPOSE,
    short_purpose: Some("Missing required option(s) [application-id]"),
    commands: &[],
    options: &[
        value("application-id", "id", "REQUIRED: the application.id of the Kafka Streams application."),
        value(
            "bootstrap-server",
            "server to connect to",
            "The brokers to begin with, as host:port,...; localhost:9092 if not given.",
        ),
        value("by-duration", "duration", "Goes on at what was written so long ago: PnDTnHnMnS."),
        value("command-config", "file name", "A client's properties."),
        value("config-file", "file name", "The same. Use --command-config."),
        flag("dry-run", "Only shows what would be done."),
        flag("force", "Removes the members that the group still has. The application must not run."),
        value(
            "from-file",
            "path",
            "Goes on at the offsets in this file, a topic,partition,offset on each line.",
        ),
        value(
            "input-topics",
            "list",
            "The topics that the application reads, with commas between them. It goes on at their first record, if no \
             other option says where.",
        ),
        value(
            "intermediate-topics",
            "list",
            "Topics that it writes and reads, to go on at their end. Deprecated.",
        ),
        value(
            "internal-topics",
            "list",
            "Deletes only these of the topics that Streams made, which --dry-run shows.",
        ),
        value("shift-by", "number-of-offsets", "Goes on so many records later, or earlier."),
        value(
            "to-datetime",
            "datetime",
            "Goes on at this time: YYYY-MM-DDTHH:mm:ss.sss, in UTC or with a zone.",
        ),
        flag("to-earliest", "Goes on at the first record."),
        flag("to-latest", "Goes on at the end."),
        value("to-offset", "offset", "Goes on at this offset."),
    ],
};

const PURPOSE: &str = "This tool resets an application of Kafka Streams, so that it processes its input from scratch.\n\
     * Its group goes on at the first record of each input topic, or where an option says.\n\
     * The topics that Kafka Streams made for it, whose names begin with \"<application.id>-\", are deleted; or those of them \
     that --internal-topics names.\n\
     * Topics that it writes are left as they are.\n\
     * What its instances keep on their disks is left too: call KafkaStreams#cleanUp(), or delete their state.dir. Otherwise \
     results will be wrong.\n\
     * Members that did not leave the group are in the way until their sessions end, unless --force removes them.\n\
     What is done cannot be undone: try it with --dry-run first.";

/// The options that say where the input topics go on, in the order in which Kafka looks for what they exclude.
const SCENARIOS: &[&str] =
    &["to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "from-file", "shift-by"];

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    check(parsed)?;
    let application = parsed.value("application-id").unwrap_or_default();
    let admin = admin(parsed)?;
    let is_whole = connect::block_on(async {
        members::expect_none(&admin, application, parsed.has("force")).await?;
        let topics = topics(&admin).await?;
        if parsed.has("dry-run") {
            output::line(
                "----Dry run displays the actions which will be performed when running Streams Reset Tool----",
            );
        }
        let is_whole = seek::seek(parsed, &admin, application, &topics).await?;
        internal_topics::delete(parsed, &admin, application, &topics).await?;
        Ok(is_whole)
    })?;
    if is_whole { Ok(()) } else { Err(Failure::Quiet) }
}

/// Which options go together.
fn check(parsed: &Parsed) -> Result<(), Failure> {
    if !parsed.has("application-id") {
        return Err(Failure::Usage(TOOL.summary().to_owned()));
    }
    for scenario in SCENARIOS {
        let others: Vec<&str> = SCENARIOS.iter().copied().filter(|other| other != scenario).collect();
        exclude(parsed, scenario, &others)?;
    }
    exclude(parsed, "config-file", &["command-config"])
}

fn admin(parsed: &Parsed) -> Result<Admin, Failure> {
    if parsed.has("config-file") {
        output::line(
            "Option --config-file has been deprecated and will be removed in a future version. Use --command-config instead.",
        );
    }
    let file = parsed.value("config-file").or(parsed.value("command-config"));
    let addresses = parsed.value("bootstrap-server").unwrap_or("localhost:9092");
    let config = connect::resolved_config(addresses, file, TOOL.name).map_err(|error| match &error {
        NoClient::File(..) => thrown("java.nio.file.NoSuchFileException", &error),
        NoClient::Addresses(cause) => {
            thrown("org.apache.kafka.common.KafkaException", format_args!("{error}\nCaused by: {cause}"))
        }
        NoClient::Property(_) => thrown("org.apache.kafka.common.KafkaException", &error),
    })?;
    Ok(Admin::new(Client::new(config)))
}

/// The names of all topics that are not Kafka's own, as a Java map has them.
async fn topics(admin: &Admin) -> Result<Vec<String>, Failure> {
    let topics = admin.list_topics().await.map_err(refused)?;
    let names = topics.into_iter().filter(|(_, is_internal)| !is_internal).map(|(name, _)| name);
    Ok(java_map::in_hash_order(names.collect(), |name| name))
}

/// The values of an option whose value is a list.
fn list<'a>(parsed: &'a Parsed, name: &str) -> Vec<&'a str> {
    let words = |value: &'a str| match value {
        "" => vec![""],
        _ => value.split(',').filter(|word| !word.is_empty()).collect(),
    };
    parsed.values(name).flat_map(words).collect()
}

/// As Java shows a list.
fn shown(names: &[&str]) -> String {
    format!("[{}]", names.join(", "))
}

/// What the tool says of an exception.
fn thrown(class: &str, message: impl Display) -> Failure {
    Failure::Refused(format!("ERROR: {class}: {message}"))
}

/// What it says of an error of the cluster's.
fn refused(error: ClientError) -> Failure {
    thrown("java.util.concurrent.ExecutionException", exceptions::shown(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options::parse_line;

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        let message = |line: &str| match check(&parse_line(&TOOL, line).unwrap()) {
            Err(Failure::Usage(message)) => message,
            other => panic!("{line}: {other:?}"),
        };

        assert_eq!(message("--dry-run"), "Missing required option(s) [application-id]");
        assert_eq!(
            message("--application-id a --shift-by 1 --to-latest"),
            "Option \"[to-latest]\" can't be used with option \"[shift-by]\""
        );
        assert_eq!(
            message("--application-id a --command-config b --config-file c"),
            "Option \"[config-file]\" can't be used with option \"[command-config]\""
        );
        assert!(check(&parse_line(&TOOL, "--application-id a --to-offset 5").unwrap()).is_ok());
    }

    #[test]
    fn a_list_has_commas_and_may_come_more_than_once() {
        let parsed = parse_line(&TOOL, "--input-topics a,,b --input-topics c").unwrap();

        assert_eq!(shown(&list(&parsed, "input-topics")), "[a, b, c]");
        assert!(list(&parsed, "internal-topics").is_empty());
    }
}
