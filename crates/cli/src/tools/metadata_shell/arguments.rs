//! Command lines within the shell as argparse4j reads them, and the help that it makes.

use super::commands::{COMMANDS, Command};

/// What a command takes.
#[derive(Debug)]
pub(super) struct Argument {
    /// What the help calls it.
    pub(super) name: &'static str,
    /// How many of it.
    pub(super) count: Count,
    /// What it is for.
    pub(super) help: &'static str,
}

/// How many words an argument has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// One or none.
    Optional,
    /// One.
    One,
    /// Any number.
    Any,
    /// One or more.
    Several,
}

impl Argument {
    fn usage(&self) -> String {
        let name = self.name;
        match self.count {
            Count::Optional => format!("[{name}]"),
            Count::One => name.to_owned(),
            Count::Any => format!("[{name} [{name} ...]]"),
            Count::Several => format!("{name} [{name} ...]"),
        }
    }

    fn has_room_after(&self, taken: usize) -> bool {
        matches!(self.count, Count::Any | Count::Several) || taken == 0
    }

    fn is_required(&self) -> bool {
        matches!(self.count, Count::One | Count::Several)
    }
}

/// What a line asks for.
#[derive(Debug)]
pub(super) enum Asked {
    /// To run a command with these arguments.
    Run(&'static Command, Vec<String>),
    /// To say what a command takes.
    Help(&'static Command),
}

/// Reads a line, which has words; the error is what is said to it.
pub(super) fn parse(words: &[String], is_interactive: bool) -> Result<Asked, String> {
    let (name, rest) = words.split_first().ok_or("too few arguments")?;
    let command = find(name, is_interactive)?;
    let Some(taken) = take(command, rest)? else { return Ok(Asked::Help(command)) };
    if command.name != name {
        return Err(format!("invalid choice: '{name}': did you mean '{}'?", command.name));
    }
    Ok(Asked::Run(command, taken))
}

/// The command that the word begins, if it is the only one.
fn find(word: &str, is_interactive: bool) -> Result<&'static Command, String> {
    match word {
        "--" => return Err("too few arguments".to_owned()),
        option if is_option(option) => return Err(format!("unrecognized arguments: '{option}'")),
        _ => {}
    }
    let all = || COMMANDS.iter().filter(|command| is_interactive || !command.is_for_lines_only);
    if let Some(exact) = all().find(|command| command.name == word) {
        return Ok(exact);
    }
    let begun: Vec<&Command> = all().filter(|command| command.name.starts_with(word)).collect();
    match begun.as_slice() {
        [command] => Ok(command),
        [] => {
            let names: Vec<String> = all().map(|command| format!("'{}'", command.name)).collect();
            Err(format!("invalid choice: '{word}' (choose from {})", names.join(", ")))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|command| command.name).collect();
            Err(format!("ambiguous command: {word} could match {}", names.join(", ")))
        }
    }
}

/// The command's arguments; `None` when help is asked for. After `--` nothing is an option.
fn take(command: &Command, words: &[String]) -> Result<Option<Vec<String>>, String> {
    let mut taken = Vec::new();
    let mut words = words.iter();
    let mut may_be_option = true;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--" if may_be_option => may_be_option = false,
            "-h" | "--help" if may_be_option => return Ok(None),
            _ if may_be_option && is_option(word) => return Err(format!("unrecognized arguments: '{word}'")),
            _ if command.argument.as_ref().is_some_and(|argument| argument.has_room_after(taken.len())) => {
                taken.push(word.clone());
            }
            _ => {
                let rest: Vec<&str> = [word].into_iter().chain(words).map(String::as_str).collect();
                return Err(format!("unrecognized arguments: '{}'", rest.join(" ")));
            }
        }
    }
    if taken.is_empty() && command.argument.as_ref().is_some_and(Argument::is_required) {
        return Err("too few arguments".to_owned());
    }
    Ok(Some(taken))
}

/// A dash begins an option, unless it is the sign of a number.
fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-') && word.parse::<f64>().is_err()
}

/// All commands, and what each is for.
pub(super) fn overview() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let names = format!("{{{}}}", names.join(","));
    let mut out = format!("usage:  {names} ...\n\npositional arguments:\n  {names}\n");
    for command in COMMANDS {
        out += &format!("    {:<20} {}\n", command.name, command.description);
    }
    out
}

/// What `man` says of a command.
pub(super) fn manual(command: &Command) -> String {
    let mut out = format!("{}: {}\n\nusage: {}", command.name, command.description, command.name);
    if let Some(argument) = &command.argument {
        out += &format!(" {}\n\n{}", argument.usage(), described(argument));
    } else {
        out.push('\n');
    }
    out
}

/// What a command says that is asked for help.
pub(super) fn help(command: &Command) -> String {
    let mut out = format!("usage:  {} [-h]", command.name);
    if let Some(argument) = &command.argument {
        out += &format!(" {}\n\n{}", argument.usage(), described(argument));
    } else {
        out.push('\n');
    }
    out + &format!("\noptional arguments:\n  {:<22} show this help message and exit\n", "-h, --help")
}

fn described(argument: &Argument) -> String {
    format!("positional arguments:\n  {:<22} {}\n", argument.name, argument.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str, is_interactive: bool) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(&words, is_interactive) {
            Ok(Asked::Run(command, arguments)) => format!("{}{arguments:?}", command.name),
            Ok(Asked::Help(command)) => format!("help of {}", command.name),
            Err(message) => message,
        }
    }

    /// As Apache Kafka's tool says it.
    #[test]
    fn lines_are_read_as_argparse_reads_them() {
        let cases = [
            ("ls", "ls[]"),
            ("ls a b", "ls[\"a\", \"b\"]"),
            ("ls -- -x", "ls[\"-x\"]"),
            ("cat -1", "cat[\"-1\"]"),
            ("history -1", "history[\"-1\"]"),
            ("ls -h a", "help of ls"),
            ("ls --help", "help of ls"),
            ("cat", "too few arguments"),
            ("ca", "too few arguments"),
            ("--", "too few arguments"),
            ("-h", "unrecognized arguments: '-h'"),
            ("cat -x", "unrecognized arguments: '-x'"),
            ("ls -x -y a", "unrecognized arguments: '-x'"),
            ("pwd a b", "unrecognized arguments: 'a b'"),
            ("man a b", "unrecognized arguments: 'b'"),
            ("exit 3", "unrecognized arguments: '3'"),
            ("c", "ambiguous command: c could match cat, cd"),
            ("hist", "invalid choice: 'hist': did you mean 'history'?"),
        ];
        for (line, expected) in cases {
            assert_eq!(said(line, true), expected, "{line}");
        }
        let others = "invalid choice: 'pwd' (choose from 'cat', 'find', 'ls', 'tree')";
        assert_eq!(said("pwd", false), others);
        assert_eq!(said("c", false), "too few arguments");
    }

    /// As Apache Kafka's tool says it.
    #[test]
    fn a_command_has_a_manual_and_help() {
        let command = |name| COMMANDS.iter().find(|command| command.name == name).unwrap();
        assert_eq!(
            manual(command("ls")),
            "ls: List metadata nodes.\n\nusage: ls [targets [targets ...]]\n\npositional arguments:\n  \
             targets                The metadata node paths to list.\n"
        );
        assert_eq!(manual(command("pwd")), "pwd: Print the current working directory.\n\nusage: pwd\n");
        assert_eq!(
            help(command("man")),
            "usage:  man [-h] cmd\n\npositional arguments:\n  cmd                    \
             The command to get help text for.\n\noptional arguments:\n  -h, --help             \
             show this help message and exit\n"
        );
        let overview = overview();
        assert!(overview.contains("\n    exit                 Exit the metadata shell.\n"), "{overview}");
    }
}
