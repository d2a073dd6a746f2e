//! The older form of `kafka-e2e-latency`'s command line, whose words have a place instead of a name (KAFKA-19011).

use crate::output;
use crate::tools::Failure;

/// What stands in each place. The last may be missing.
const NAMES: [&str; 6] = [
    "--bootstrap-server",
    "--topic",
    "--num-records",
    "--producer-acks",
    "--record-size",
    "--command-config",
];

/// The command line with names. One that has some, or no words, is as it was.
pub(crate) fn named(words: Vec<String>) -> Result<Vec<String>, Failure> {
    if words.is_empty() || words.iter().any(|word| word.starts_with("--")) {
        return Ok(words);
    }
    if !(NAMES.len() - 1..=NAMES.len()).contains(&words.len()) {
        return Err(Failure::Refused(format!(
            "Invalid number of arguments. Expected 5 or 6 positional arguments, but got {}. Usage: bootstrap-server topic \
             num-records producer-acks record-size [optional] command-config",
            words.len()
        )));
    }
    output::line(
        "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. Please use named arguments \
         instead: --bootstrap-server, --topic, --num-records, --producer-acks, --record-size, --command-config",
    );
    Ok(NAMES.iter().zip(words).flat_map(|(&name, word)| [name.to_owned(), word]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<String, Failure> {
        named(line.split_whitespace().map(str::to_owned).collect()).map(|words| words.join(" "))
    }

    #[test]
    fn words_in_their_places_get_their_names() {
        let line = "--bootstrap-server b:1 --topic t --num-records 5 --producer-acks 1 --record-size 9";

        assert_eq!(read("b:1 t 5 1 9").unwrap(), line);
        assert_eq!(read("b:1 t 5 1 9 file").unwrap(), format!("{line} --command-config file"));
        for same in ["", "--help", line, "--topic=t x"] {
            assert_eq!(read(same).unwrap(), same);
        }
        for (line, count) in [("b:1 t 5 1", 4), ("b:1 t 5 1 9 a b", 7)] {
            let Err(Failure::Refused(message)) = read(line) else { panic!("{line}") };
            assert!(message.contains(&format!("but got {count}. Usage: bootstrap-server ")), "{message}");
        }
    }
}
