//! The commands, and what each says.

use super::arguments::{self, Argument, Asked, Count};
use super::columns;
use super::history::History;
use super::node::Node;
use super::paths::{self, Found};
use std::rc::Rc;

/// Someone who looks around in a tree.
#[derive(Debug)]
pub(super) struct Shell {
    root: Rc<Node>,
    /// Where he is: an absolute path.
    directory: String,
    /// How many columns the terminal has, if there is one.
    pub(super) width: Option<usize>,
    /// What he has typed.
    pub(super) history: History,
    /// He has asked to leave.
    pub(super) is_over: bool,
}

impl Shell {
    /// At the root of this tree.
    pub(super) fn new(root: Rc<Node>) -> Shell {
        Shell { root, directory: "/".to_owned(), width: None, history: History::default(), is_over: false }
    }

    fn find(&self, path: &str) -> Vec<Found> {
        paths::find(&self.root, &self.directory, path)
    }
}

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    /// What it is called by.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) description: &'static str,
    /// What it takes, if anything.
    pub(super) argument: Option<Argument>,
    /// Whether it has no use on the tool's own command line.
    pub(super) is_for_lines_only: bool,
    /// Runs it with its arguments, and returns what is to be printed.
    act: fn(&mut Shell, &[String]) -> String,
}

/// All of them, by name.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "cat",
        description: "Show the contents of metadata files.",
        argument: Some(Argument {
            name: "targets",
            count: Count::Several,
            help: "The metadata files to display.",
        }),
        is_for_lines_only: false,
        act: cat,
    },
    Command {
        name: "cd",
        description: "Set the current working directory.",
        argument: Some(Argument {
            name: "target",
            count: Count::Optional,
            help: "The directory to change to.",
        }),
        is_for_lines_only: true,
        act: cd,
    },
    Command {
        name: "exit",
        description: "Exit the metadata shell.",
        argument: None,
        is_for_lines_only: true,
        act: exit,
    },
    Command {
        name: "find",
        description: "Search for nodes in the directory hierarchy.",
        argument: Some(Argument { name: "paths", count: Count::Any, help: "The paths to start at." }),
        is_for_lines_only: false,
        act: find,
    },
    Command {
        name: "help",
        description: "Display this help message.",
        argument: None,
        is_for_lines_only: true,
        act: help,
    },
    Command {
        name: "history",
        description: "Print command history.",
        argument: Some(Argument {
            name: "numEntriesToShow",
            count: Count::Optional,
            help: "The number of entries to show.",
        }),
        is_for_lines_only: true,
        act: history,
    },
    Command {
        name: "ls",
        description: "List metadata nodes.",
        argument: Some(Argument {
            name: "targets",
            count: Count::Any,
            help: "The metadata node paths to list.",
        }),
        is_for_lines_only: false,
        act: ls,
    },
    Command {
        name: "man",
        description: "Show the help text for a specific command.",
        argument: Some(Argument {
            name: "cmd",
            count: Count::One,
            help: "The command to get help text for.",
        }),
        is_for_lines_only: true,
        act: man,
    },
    Command {
        name: "pwd",
        description: "Print the current working directory.",
        argument: None,
        is_for_lines_only: true,
        act: pwd,
    },
    Command {
        name: "tree",
        description: "Show the contents of metadata nodes in a tree structure.",
        argument: Some(Argument {
            name: "targets",
            count: Count::Several,
            help: "The metadata nodes to display.",
        }),
        is_for_lines_only: false,
        act: tree,
    },
];

/// Runs what the words ask for, and returns what is to be printed.
pub(super) fn run(shell: &mut Shell, words: &[String], is_interactive: bool) -> String {
    // Empty words at the end are none.
    let count = words.iter().rposition(|word| !word.is_empty()).map_or(0, |last| last + 1);
    if count == 0 {
        return String::new();
    }
    match arguments::parse(&words[..count], is_interactive) {
        Ok(Asked::Run(command, arguments)) => (command.act)(shell, &arguments),
        Ok(Asked::Help(command)) => arguments::help(command),
        Err(message) => message + "\n",
    }
}

fn cat(shell: &mut Shell, targets: &[String]) -> String {
    let mut out = String::new();
    for target in targets {
        let found = shell.find(target);
        if found.is_empty() {
            out += &format!("cat: {target}: No such file or directory.\n");
        }
        for found in found {
            if found.node.is_directory() {
                out += &format!("cat: {target}: Is a directory\n");
            } else {
                found.node.print(&mut out);
            }
        }
    }
    out
}

fn cd(shell: &mut Shell, target: &[String]) -> String {
    let target = target.first().map_or("/", String::as_str);
    let mut out = String::new();
    let found = shell.find(target);
    if found.is_empty() {
        out += &format!("cd: {target}: no such directory.\n");
    }
    for found in found {
        if found.node.is_directory() {
            shell.directory = found.absolute();
        } else {
            out += &format!("cd: {target}: not a directory.\n");
        }
    }
    out
}

fn exit(shell: &mut Shell, _: &[String]) -> String {
    shell.is_over = true;
    String::new()
}

fn find(shell: &mut Shell, given: &[String]) -> String {
    let mut out = String::new();
    for path in or_here(given) {
        let found = shell.find(path);
        if found.is_empty() {
            out += &format!("find: {path}: no such file or directory.\n");
        }
        // Each begins with the path as it was written, whatever it has led to.
        found.iter().for_each(|found| find_below(path, &found.node, &mut out));
    }
    out
}

fn find_below(path: &str, node: &Node, out: &mut String) {
    *out += &format!("{path}\n");
    for (name, child) in node.children() {
        let separator = if path == "/" { "" } else { "/" };
        find_below(&format!("{path}{separator}{name}"), child, out);
    }
}

fn help(_: &mut Shell, _: &[String]) -> String {
    format!("Welcome to the Apache Kafka metadata shell.\n\n{}", arguments::overview())
}

fn history(shell: &mut Shell, count: &[String]) -> String {
    match count.first().map(|text| (text, text.parse::<i32>())) {
        None => shell.history.last(usize::MAX),
        Some((_, Ok(count))) => shell.history.last(usize::try_from(count).unwrap_or(0)),
        Some((text, Err(_))) => format!(
            "argument numEntriesToShow: could not convert '{text}' to Integer (For input string: \"{text}\")\n"
        ),
    }
}

fn ls(shell: &mut Shell, targets: &[String]) -> String {
    let mut out = String::new();
    let mut all = Vec::new();
    for target in or_here(targets) {
        let found = shell.find(target);
        if found.is_empty() {
            out += &format!("ls: {target}: no such file or directory.\n");
        }
        all.extend(found);
    }
    out + &columns::list(&all, shell.width)
}

fn man(_: &mut Shell, name: &[String]) -> String {
    let name = name.first().map_or("", String::as_str);
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => arguments::manual(command),
        None => format!("man: unknown command {name}. Type help to get a list of commands.\n"),
    }
}

fn pwd(shell: &mut Shell, _: &[String]) -> String {
    format!("{}\n", shell.directory)
}

fn tree(shell: &mut Shell, targets: &[String]) -> String {
    let mut out = String::new();
    for target in targets {
        let found = shell.find(target);
        if found.is_empty() {
            out += &format!("tree: {target}: No such file or directory.\n");
        }
        found.iter().for_each(|found| found.node.print(&mut out));
    }
    out
}

/// The paths that are not empty; where there are none, this directory.
fn or_here(paths: &[String]) -> Vec<&str> {
    let given: Vec<&str> = paths.iter().map(String::as_str).filter(|path| !path.is_empty()).collect();
    if given.is_empty() { vec!["."] } else { given }
}

#[cfg(test)]
mod tests {
    use super::super::node::{directory, leaf};
    use super::*;

    fn shell() -> Shell {
        let topic = directory([("id", leaf("AAAA")), ("name", leaf("t")), ("0", leaf("Partition()"))]);
        let image = directory([("empty", directory::<String>([])), ("t", topic)]);
        Shell::new(directory([("image", image), ("version", leaf(1))]))
    }

    fn said(shell: &mut Shell, line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        run(shell, &words, true)
    }

    #[test]
    fn every_command_says_what_kafkas_does() {
        let cases = [
            ("", ""),
            ("cat /version /image/t/i*", "1\nAAAA\n"),
            ("cat /image nope", "cat: /image: Is a directory\ncat: nope: No such file or directory.\n"),
            ("cat version  ", "1\n"),
            ("ls", "image\nversion\n"),
            ("ls /image/empty", ""),
            ("ls nope version image", "ls: nope: no such file or directory.\nversion\n\nimage:\nempty\nt\n"),
            ("find /version", "/version\n"),
            ("find image/", "image/\nimage//empty\nimage//t\nimage//t/0\nimage//t/id\nimage//t/name\n"),
            ("find nope", "find: nope: no such file or directory.\n"),
            ("tree version", "1\n"),
            ("tree image", "empty:\nt:\n  0:\n    Partition()\n  id:\n    AAAA\n  name:\n    t\n"),
            ("tree nope", "tree: nope: No such file or directory.\n"),
            ("man nope", "man: unknown command nope. Type help to get a list of commands.\n"),
            (
                "history x",
                "argument numEntriesToShow: could not convert 'x' to Integer (For input string: \"x\")\n",
            ),
            ("history -1", ""),
        ];
        for (line, expected) in cases {
            assert_eq!(said(&mut shell(), line), expected, "{line}");
        }
        assert!(said(&mut shell(), "find /").starts_with("/\n/image\n/image/empty\n"));
        assert!(said(&mut shell(), "find").starts_with(".\n./image\n"));
    }

    #[test]
    fn one_is_where_he_went_last() {
        let mut shell = shell();
        let steps = [
            ("pwd", "/\n"),
            ("cd image/t", ""),
            ("pwd", "/image/t\n"),
            ("ls", "0\nid\nname\n"),
            ("cd id", "cd: id: not a directory.\n"),
            ("cd ../nope", "cd: ../nope: no such directory.\n"),
            ("cd ../e*", ""),
            ("pwd", "/image/empty\n"),
            ("cd", ""),
            ("pwd", "/\n"),
        ];
        for (line, expected) in steps {
            assert_eq!(said(&mut shell, line), expected, "{line}");
        }
        assert!(!shell.is_over);
        assert_eq!(said(&mut shell, "exit"), "");
        assert!(shell.is_over);
    }
}
