//! Prints `docs/configuration.md` from the tables that the server itself obeys: `cargo xtask docs`.

#![expect(clippy::print_stdout, reason = "a tool for people")]

use ottla_metadata::broker_config;
use ottla_metadata::topic_config::{self, Support, TOPIC_CONFIGS, TopicConfigDef};
use ottla_server::config::table::{self, FIXED, REFUSED_PREFIXES, SETTINGS, WARNED_PREFIXES, WITHOUT_EFFECT};

fn main() {
    println!("# Configuration\n");
    println!("Made by `cargo xtask docs` from `crates/server/src/config/table.rs` and");
    println!(
        "`crates/metadata/src/topic_config.rs`; edit there, never here. Names and meanings are Kafka's.\n"
    );
    settings();
    topic_settings();
    throttles();
    println!("## Without effect\n");
    println!(
        "They ask how Kafka does something, not what it does. They are accepted, and nothing comes of them.\n"
    );
    WITHOUT_EFFECT.iter().for_each(|name| println!("- `{name}`"));
    println!("\n## One value\n");
    println!(
        "Only Kafka's default is accepted: another value asks for something that does not exist here.\n"
    );
    println!("| setting | value |\n|---|---|");
    for (name, values) in FIXED {
        let values: Vec<String> = values.iter().map(code).collect();
        row(&[code(name), values.join(", ")]);
    }
    println!("\n## Warned of\n");
    println!("What begins so belongs to a part that does not exist here. A node starts, and says so.\n");
    WARNED_PREFIXES.iter().for_each(|(name, part)| println!("- `{name}`: {part}"));
    println!("\n## Refused\n");
    println!("A node does not start with a setting that begins so and has a value.\n");
    REFUSED_PREFIXES.iter().for_each(|name| println!("- `{name}`"));
    println!(
        "\nA name that is nearly one of those above is refused as misspelt. Any other is ignored, with a warning."
    );
}

fn settings() {
    println!("## A node\n");
    println!(
        "In `server.properties`. None can be changed while the node runs, but for those that the next table calls"
    );
    println!("dynamic.\n");
    println!("| setting | values | default | meaning |\n|---|---|---|---|");
    for setting in SETTINGS {
        let values = match setting.kind {
            table::Kind::Boolean => "true, false".to_owned(),
            table::Kind::Number(min, max) => range(min, max),
            table::Kind::Text => "text".to_owned(),
            table::Kind::List => "list".to_owned(),
        };
        let default = setting.default.map_or_else(|| "–".to_owned(), code);
        row(&[code(setting.name), values, default, setting.documentation.to_owned()]);
    }
    println!();
}

fn topic_settings() {
    println!("## A topic\n");
    println!(
        "Given when the topic is created, or changed later. The settings of a node in the fourth column stand in"
    );
    println!(
        "for the default; the first one that is set wins. A *dynamic* one can be set while the cluster runs, for one"
    );
    println!(
        "broker or for all (`kafka-configs --alter --broker ID`, `--broker-defaults`): what is set for one beats what is"
    );
    println!("set for all, and that beats the file. Topics follow at once.\n");
    println!(
        "The levels of a node's log lines change likewise (`--broker-logger ID`), by target, until it is started anew:"
    );
    println!("then they are as `RUST_LOG` says again, or `info`.\n");
    println!("| setting | values | default | on a node | meaning |\n|---|---|---|---|---|");
    for def in TOPIC_CONFIGS {
        let synonym = |name: &&str| match broker_config::dynamic(name) {
            Some(_) => code(name) + " (dynamic)",
            None => code(name),
        };
        let synonyms: Vec<String> = def.synonyms.iter().map(synonym).collect();
        let meaning = def.documentation.to_owned();
        row(&[code(def.name), topic_values(def), code(def.default), synonyms.join(", "), meaning]);
    }
    println!();
}

fn throttles() {
    println!("## Throttles\n");
    println!(
        "Set while the cluster runs, for one broker or for all (`kafka-reassign-partitions --throttle` does it); no file has them.\n"
    );
    println!("| setting | values | default | meaning |\n|---|---|---|---|");
    for def in broker_config::THROTTLES {
        let meaning = def.documentation.to_owned();
        row(&[code(def.name), topic_values(def), code(def.default), meaning]);
    }
    println!();
}

fn topic_values(def: &TopicConfigDef) -> String {
    match def.support {
        Support::DefaultOnly => return "only the default".to_owned(),
        Support::Enforced => {}
    }
    match def.kind {
        topic_config::Kind::Boolean => "true, false".to_owned(),
        topic_config::Kind::Int(min, max) | topic_config::Kind::Long(min, max) => range(min, max),
        topic_config::Kind::Fraction => "0 to 1".to_owned(),
        topic_config::Kind::OneOf(words) => words.join(", "),
        topic_config::Kind::ListOf(words) => format!("list of {}", words.join(", ")),
        topic_config::Kind::Words => "list".to_owned(),
        topic_config::Kind::Replicas => "* or partition:broker,...".to_owned(),
    }
}

/// A range of numbers; the ends of a type's own range are left out.
fn range(min: i64, max: i64) -> String {
    let is_open = max == i64::MAX || max == i64::from(i32::MAX);
    match (min == i64::MIN, is_open) {
        (true, true) => "a number".to_owned(),
        (true, false) => format!("up to {max}"),
        (false, true) => format!("{min} or more"),
        (false, false) => format!("{min} to {max}"),
    }
}

fn code(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    if text.is_empty() { "(empty)".to_owned() } else { format!("`{text}`") }
}

fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}
