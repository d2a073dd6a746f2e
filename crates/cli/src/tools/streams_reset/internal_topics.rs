//! The topics that Streams made for the application: deleted.

use super::{list, shown, thrown};
use crate::output;
use crate::tools::options::Parsed;
use crate::tools::{Failure, exceptions};
use ottla_client::Admin;
use regex::Regex;

/// How their names end: changelogs, repartitioned streams, and the two ways of joining by a foreign key.
const INTERNAL: &str = "(-changelog|-repartition|-subscription-registration-topic|-subscription-response-topic\
     |.+-KTABLE-FK-JOIN-SUBSCRIPTION-(REGISTRATION|RESPONSE)-[0-9]+-topic)$";

/// Deletes those that the command line names, else all.
pub(super) async fn delete(
    parsed: &Parsed,
    admin: &Admin,
    application: &str,
    topics: &[String],
) -> Result<(), Failure> {
    let inferred = inferred(parsed, application, topics);
    let specified = list(parsed, "internal-topics");
    let chosen = if specified.is_empty() {
        output::line(format_args!("Deleting inferred internal topics {}", shown(&inferred)));
        inferred
    } else {
        if !specified.iter().all(|topic| inferred.contains(topic)) {
            return Err(thrown(
                "java.lang.IllegalArgumentException",
                "Invalid topic specified in the --internal-topics option. Ensure that the topics specified are all internal \
                 topics. Do a dry run without the --internal-topics option to see the list of all internal topics that can \
                 be deleted.",
            ));
        }
        output::line(format_args!("Deleting specified internal topics {}", shown(&specified)));
        specified
    };
    if !parsed.has("dry-run") {
        delete_all(admin, &chosen).await?;
    }
    output::line("Done.");
    Ok(())
}

/// The topics that look as if Streams had made them for the application. What it reads it has not made, however that is called
/// (KAFKA-7930).
fn inferred<'a>(parsed: &Parsed, application: &str, topics: &'a [String]) -> Vec<&'a str> {
    let prefix = format!("{application}-");
    let pattern = Regex::new(INTERNAL).expect("the tests use it");
    let read = [list(parsed, "input-topics"), list(parsed, "intermediate-topics")].concat();
    let is_internal =
        |topic: &&str| topic.starts_with(&prefix) && pattern.is_match(topic) && !read.contains(topic);
    topics.iter().map(String::as_str).filter(is_internal).collect()
}

async fn delete_all(admin: &Admin, topics: &[&str]) -> Result<(), Failure> {
    let mut is_whole = true;
    for topic in topics {
        if let Err(error) = admin.delete_topic(topic).await {
            output::error_line(format_args!("ERROR: deleting topic {topic}\n{}", exceptions::shown(&error)));
            is_whole = false;
        }
    }
    if is_whole {
        return Ok(());
    }
    Err(thrown("java.lang.RuntimeException", "Encountered an error deleting one or more topics"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options::parse_line;
    use crate::tools::streams_reset::TOOL;

    #[test]
    fn topics_that_streams_made_are_known_by_their_names() {
        let internal = [
            "a-x-changelog",
            "a-repartition",
            "a-y-subscription-registration-topic",
            "a-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000012-topic",
        ];
        let others = [
            "a-output",
            "a-changelog-x",
            "ab-x-changelog",
            "changelog",
            "a-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-x-topic",
            "a-read-changelog",
        ];
        let topics: Vec<String> = internal.iter().chain(&others).map(|&topic| topic.to_owned()).collect();
        let parsed = parse_line(&TOOL, "--input-topics other,a-read-changelog").unwrap();

        assert_eq!(inferred(&parsed, "a", &topics), internal);
    }
}
