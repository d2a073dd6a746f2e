//! The lines that were typed, for `history`: numbered from 0, as many as JLine keeps.

use std::collections::VecDeque;

/// How many lines are kept.
const LINES_MAX: usize = 500;

/// The lines.
#[derive(Debug, Default)]
pub(super) struct History {
    lines: VecDeque<String>,
    /// How many were kept once, and are no longer.
    forgotten: usize,
}

impl History {
    /// Notes a line, unless it is the one before it again, or begins with a space, or is empty.
    pub(super) fn add(&mut self, line: &str) {
        if line.trim().is_empty()
            || line.starts_with(' ')
            || self.lines.back().is_some_and(|last| last == line.trim())
        {
            return;
        }
        self.lines.push_back(line.trim().to_owned());
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
            self.forgotten += 1;
        }
    }

    /// The last `count` lines with their numbers.
    pub(super) fn last(&self, count: usize) -> String {
        let skipped = self.lines.len().saturating_sub(count);
        let numbered = self.lines.iter().enumerate().skip(skipped);
        numbered.map(|(i, line)| format!(" {:>4}  {line}\n", self.forgotten + i)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_said_once() {
        let mut history = History::default();

        for line in ["ls", "ls ", "pwd", " hidden", "", "ls"] {
            history.add(line);
        }

        assert_eq!(history.last(usize::MAX), "    0  ls\n    1  pwd\n    2  ls\n");
        assert_eq!(history.last(1), "    2  ls\n");
        assert_eq!(history.last(0), "");
    }

    #[test]
    fn old_lines_are_forgotten_and_the_numbers_stay() {
        let mut history = History::default();

        (0..LINES_MAX + 3).for_each(|n| history.add(&format!("cd {n}")));

        assert_eq!(history.last(1), "  502  cd 502\n");
        assert_eq!(history.last(usize::MAX).lines().next(), Some("    3  cd 3"));
    }
}
