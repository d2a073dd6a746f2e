//! Lines of standard input, each a command, until `exit` or the end.

use super::commands::{self, Shell};
use crate::output;
use crate::tools::Failure;
use std::io::{BufRead, IsTerminal};

const PROMPT: &str = ">> ";

/// Answers line after line.
pub(super) fn run(shell: &mut Shell) -> Result<(), Failure> {
    let input = std::io::stdin();
    let is_terminal = input.is_terminal();
    output::line("[ Kafka Metadata Shell ]");
    let mut lines = input.lock().split(b'\n');
    while !shell.is_over {
        output::text(PROMPT);
        let Some(line) = lines.next() else {
            if is_terminal {
                output::text("\n");
            }
            break;
        };
        let line = line.map_err(|error| Failure::Refused(format!("standard input: {error}")))?;
        let line = String::from_utf8_lossy(&line);
        shell.history.add(&line);
        shell.width = terminal_width();
        output::text(&commands::run(shell, &words(&line), true));
    }
    Ok(())
}

/// How many columns standard output has now; `None` when it is no terminal.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col))
}

/// The words of a line, as JLine tells them apart: by spaces, but not those in quotes or after a backslash. Quotes within a word
/// are part of it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<(char, bool)> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let begins = word.is_none();
        let is_quote = quote.map_or(matches!(c, '\'' | '"'), |(open, _)| c == open);
        if quote.is_none() && !is_quote && c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        if c == '\\' {
            word.extend(chars.next());
        } else if is_quote {
            let is_part = quote.map_or(!begins, |(_, is_part)| is_part);
            word.extend(is_part.then_some(c));
            quote = if quote.is_none() { Some((c, is_part)) } else { None };
        } else {
            word.push(c);
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_spaces_quotes_and_backslashes_make_them() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  ls  \t a \r", &["ls", "a"]),
            ("ls a\\ b", &["ls", "a b"]),
            ("ls \"a b", &["ls", "a b"]),
            ("ls 'a \"b'c \"d'\"", &["ls", "a \"bc", "d'"]),
            ("ls c'd e'f g'h", &["ls", "c'd e'f", "g'h"]),
            ("ls \"a\\\"b\"", &["ls", "a\"b"]),
            ("cat i\\d \\", &["cat", "id", ""]),
            ("cat ''", &["cat", ""]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line), *expected, "{line}");
        }
    }
}
