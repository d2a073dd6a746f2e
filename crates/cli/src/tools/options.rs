//! Command lines as Kafka's tools read them: long options; `--a b` and `--a=b`; an option may come more than once.
//!
//! Most tools read them with jopt-simple: what follows an option that needs a value is its value, whatever it looks
//! like. Those with sub-commands use argparse4j, and take abbreviations. Unlike Kafka's, ours refuse words that belong
//! to no option where the tool has no use for such, and values for options that have none: they would be ignored.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A tool, as its command line sees it.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Its name, without suffix.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) purpose: &'static str,
    /// What it says when called without any argument, where that is not its purpose.
    pub(crate) short_purpose: Option<&'static str>,
    /// Its sub-commands; most tools have none.
    pub(crate) commands: &'static [&'static str],
    /// Its options.
    pub(crate) options: &'static [Opt],
}

impl Tool {
    /// What it says when called without any argument.
    pub(crate) fn summary(&self) -> &'static str {
        self.short_purpose.unwrap_or(self.purpose)
    }

    /// Returns whether its command lines begin with a sub-command.
    fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }
}

/// An option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// Its name, without dashes.
    pub(crate) name: &'static str,
    /// Another name of one letter, if it has one.
    pub(crate) short: Option<char>,
    /// What follows it.
    pub(crate) argument: Argument,
    /// What it does; or, refused, what to do instead.
    pub(crate) help: &'static str,
}

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    /// Nothing.
    None,
    /// A value, by this name.
    Required(&'static str),
    /// A value, unless the next is an option.
    Optional(&'static str),
    /// One or more values, by this name: up to the next option.
    Several(&'static str),
    /// It is no option: its values are the words that belong to none.
    Words,
    /// Kafka has the option; we have not. Its help says what to do.
    Refused,
}

/// A switch.
pub(crate) const fn flag(name: &'static str, help: &'static str) -> Opt {
    Opt { name, short: None, argument: Argument::None, help }
}

/// An option with a value.
pub(crate) const fn value(name: &'static str, argument: &'static str, help: &'static str) -> Opt {
    Opt { name, short: None, argument: Argument::Required(argument), help }
}

/// An option whose value may be left out.
pub(crate) const fn optional(name: &'static str, argument: &'static str, help: &'static str) -> Opt {
    Opt { name, short: None, argument: Argument::Optional(argument), help }
}

/// The words that belong to no option, by this name.
pub(crate) const fn words(name: &'static str, help: &'static str) -> Opt {
    Opt { name, short: None, argument: Argument::Words, help }
}

/// An option that is refused.
pub(crate) const fn refused(name: &'static str, instead: &'static str) -> Opt {
    Opt { name, short: None, argument: Argument::Refused, help: instead }
}

impl Opt {
    /// The option with a short name too.
    pub(crate) const fn or(mut self, short: char) -> Opt {
        self.short = Some(short);
        self
    }
}

/// Every tool has these.
const COMMON: &[Opt] =
    &[flag("help", "Prints this."), flag("version", "Prints the version of Kafka that this is like.")];

/// A command line that cannot be read, or asks for what is not there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid(pub(crate) String);

/// A command line, read.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    given: BTreeMap<&'static str, Vec<Option<String>>>,
    /// All of it as it was written, with spaces between the words.
    pub(crate) line: String,
    /// The sub-command, if the tool has such and one was given.
    pub(crate) command: Option<&'static str>,
}

impl Parsed {
    /// Returns whether the option was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The option's last value.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.given.get(name)?.last()?.as_deref()
    }

    /// All the option's values, in order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.given.get(name).into_iter().flatten().flatten().map(String::as_str)
    }

    /// The option's last value, as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Invalid> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Invalid(format!("Cannot parse argument '{text}' of option {name}")))
        };
        self.value(name).map(parse).transpose()
    }
}

/// Reads a command line whose words have no spaces in them.
#[cfg(test)]
pub(crate) fn parse_line(tool: &Tool, line: &str) -> Result<Parsed, Invalid> {
    parse(tool, &line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

/// Reads a command line.
pub(crate) fn parse(tool: &Tool, arguments: &[String]) -> Result<Parsed, Invalid> {
    let mut parsed = Parsed { line: arguments.join(" "), ..Parsed::default() };
    let mut arguments = arguments.iter().peekable();
    while let Some(argument) = arguments.next() {
        let (written, inline) = match argument.split_once('=') {
            Some((name, value)) if argument.starts_with('-') => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let Some(name) = written.strip_prefix("--").or_else(|| written.strip_prefix('-')) else {
            take_word(tool, argument, &mut parsed)?;
            continue;
        };
        let option = find(tool, name, written)?;
        let is_value = |next: &&String| !next.starts_with('-') || next.parse::<f64>().is_ok();
        let is_taken = |next: &&String| !tool.has_commands() || is_value(next);
        let value = match option.argument {
            Argument::Refused => {
                return Err(Invalid(format!("--{} is not supported by Ottla: {}", option.name, option.help)));
            }
            Argument::None if inline.is_some() => {
                return Err(Invalid(format!("Option {} does not take an argument", option.name)));
            }
            // No name leads here.
            Argument::None | Argument::Words => None,
            Argument::Required(_) | Argument::Optional(_) | Argument::Several(_) if inline.is_some() => {
                inline
            }
            Argument::Required(_) | Argument::Several(_) => Some(
                arguments
                    .next_if(is_taken)
                    .cloned()
                    .ok_or_else(|| Invalid(format!("Option {} requires an argument", option.name)))?,
            ),
            Argument::Optional(_) => arguments.next_if(is_value).cloned(),
        };
        let values = parsed.given.entry(option.name).or_default();
        values.push(value);
        if let Argument::Several(_) = option.argument {
            while let Some(more) = arguments.next_if(is_value) {
                values.push(Some(more.clone()));
            }
        }
    }
    Ok(parsed)
}

/// Takes a word that belongs to no option.
fn take_word(tool: &Tool, word: &str, parsed: &mut Parsed) -> Result<(), Invalid> {
    if let Some(words) = tool.options.iter().find(|option| option.argument == Argument::Words) {
        parsed.given.entry(words.name).or_default().push(Some(word.to_owned()));
        return Ok(());
    }
    let command = tool.commands.iter().find(|command| **command == word);
    match (command, parsed.command) {
        (Some(command), None) => parsed.command = Some(command),
        _ => return Err(Invalid(format!("{word} is not a recognized option"))),
    }
    Ok(())
}

fn find(tool: &Tool, name: &str, written: &str) -> Result<&'static Opt, Invalid> {
    let options = tool.options.iter().filter(|option| option.argument != Argument::Words);
    let all = || options.clone().chain(COMMON);
    if let Some(exact) = all().find(|option| option.name == name) {
        return Ok(exact);
    }
    let mut letters = name.chars();
    if let (Some(letter), None) = (letters.next(), letters.next())
        && let Some(short) = all().find(|option| option.short == Some(letter))
    {
        return Ok(short);
    }
    let abbreviated: Vec<_> = all().filter(|option| option.name.starts_with(name)).collect();
    match abbreviated.as_slice() {
        [option] if tool.has_commands() && !name.is_empty() => Ok(option),
        // After a single dash every letter is an option, and the first is not.
        _ if !written.starts_with("--") && !name.is_empty() => {
            Err(Invalid(format!("{} is not a recognized option", name.chars().next().unwrap_or_default())))
        }
        _ => Err(Invalid(format!("{name} is not a recognized option"))),
    }
}

/// The table of options. Those that are refused are not in it.
pub(crate) fn usage(tool: &Tool) -> String {
    let mut text = String::new();
    let line = |text: &mut String, left: &str, right: &str| {
        writeln!(text, "{left:<40} {right}").expect("a String takes everything");
    };
    line(&mut text, "Option", "Description");
    line(&mut text, "------", "-----------");
    for command in tool.commands {
        line(&mut text, command, "(command)");
    }
    for option in tool.options.iter().chain(COMMON) {
        if option.argument == Argument::Words {
            line(&mut text, &format!("{} ...", option.name), option.help);
            continue;
        }
        let short = option.short.map(|short| format!(", -{short}")).unwrap_or_default();
        let argument = match option.argument {
            Argument::Refused => continue,
            Argument::None | Argument::Words => String::new(),
            Argument::Required(name) => format!(" <{name}>"),
            Argument::Optional(name) => format!(" [{name}]"),
            Argument::Several(name) => format!(" <{name}> ..."),
        };
        line(&mut text, &format!("--{}{short}{argument}", option.name), option.help);
    }
    text.truncate(text.trim_end().len());
    text
}

/// Fails when a required option is missing.
pub(crate) fn require(parsed: &Parsed, names: &[&str]) -> Result<(), super::Failure> {
    match names.iter().find(|name| !parsed.has(name)) {
        Some(name) => Err(super::Failure::Usage(format!("Missing required argument \"[{name}]\""))),
        None => Ok(()),
    }
}

/// Fails when an option was given with an action that has no use for it.
pub(crate) fn only_with(
    parsed: &Parsed,
    name: &str,
    action: &str,
    allowed: &[&str],
) -> Result<(), super::Failure> {
    if allowed.contains(&action) { Ok(()) } else { exclude(parsed, name, &[action]) }
}

/// Fails when an option was given together with one that it excludes.
pub(crate) fn exclude(parsed: &Parsed, name: &str, others: &[&str]) -> Result<(), super::Failure> {
    match others.iter().find(|other| parsed.has(name) && parsed.has(other)) {
        Some(other) => {
            Err(super::Failure::Usage(format!("Option \"[{name}]\" can't be used with option \"[{other}]\"")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool { name: "t", purpose: "", short_purpose: None, commands: &[], options: OPTIONS };
    const WITH_COMMANDS: Tool =
        Tool { name: "t", purpose: "", short_purpose: None, commands: &["describe"], options: OPTIONS };
    const OPTIONS: &[Opt] = &[
        flag("list", ""),
        value("topic", "name", ""),
        value("topic-id", "id", ""),
        value("offset", "n", "").or('o'),
        refused("reject", "do not"),
        optional("state", "s", ""),
        Opt { name: "props", short: None, argument: Argument::Several("p"), help: "" },
    ];

    fn read(line: &str) -> Result<Parsed, Invalid> {
        parse_line(&TOOL, line)
    }

    fn read_with_commands(line: &str) -> Result<Parsed, Invalid> {
        parse_line(&WITH_COMMANDS, line)
    }

    #[test]
    fn options_are_read_in_every_way_of_writing_them() {
        for line in ["--topic a", "--topic=a", "-topic a", "--topic b --topic a"] {
            assert_eq!(read(line).unwrap().value("topic"), Some("a"), "{line}");
        }
        assert!(read_with_commands("--li").unwrap().has("list"));
        assert_eq!(read("-o -5").unwrap().number("offset"), Ok(Some(-5)));
        assert_eq!(read("--state --list").unwrap().value("state"), None);
        assert_eq!(read("--state=a").unwrap().value("state"), Some("a"));
        assert_eq!(read("--topic --list").unwrap().value("topic"), Some("--list"));
        assert_eq!(read_with_commands("describe --list").unwrap().command, Some("describe"));
        assert_eq!(read("--topic a=b").unwrap().value("topic"), Some("a=b"));
        let several = read("--props a=1 b=2 --list --props c=3").unwrap();
        assert_eq!(several.values("props").collect::<Vec<_>>(), ["a=1", "b=2", "c=3"]);
        assert!(several.has("list") && read("--props").is_err());
    }

    #[test]
    fn words_are_taken_by_the_tool_that_has_a_use_for_them() {
        const OPTIONS: &[Opt] = &[value("file", "file", ""), words("command", "")];
        let tool = Tool { options: OPTIONS, ..TOOL };

        let parsed = parse_line(&tool, "ls --file f / a=b").unwrap();

        assert_eq!(parsed.values("command").collect::<Vec<_>>(), ["ls", "/", "a=b"]);
        assert_eq!(parsed.value("file"), Some("f"));
        assert!(parse_line(&tool, "--command ls").is_err(), "it is no option");
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_kafkas_words() {
        let cases = [
            ("--nope", "nope is not a recognized option"),
            ("--t a", "t is not a recognized option"),
            ("--topic", "Option topic requires an argument"),
            ("--li", "li is not a recognized option"),
            ("-nope", "n is not a recognized option"),
            ("word", "word is not a recognized option"),
            ("--reject", "--reject is not supported by Ottla: do not"),
        ];
        for (line, expected) in cases {
            assert_eq!(read(line).unwrap_err(), Invalid(expected.to_owned()));
        }
        let missing = Invalid("Option topic requires an argument".to_owned());
        assert_eq!(read_with_commands("--topic --list").unwrap_err(), missing);
    }
}
