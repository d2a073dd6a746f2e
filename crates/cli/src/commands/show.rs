//! Answers for people, as tables, and for programs, as JSON.

use crate::output;
use serde_json::Value;

/// How answers are shown.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Tables and lines, for people: they may change.
    Text,
    /// JSON with fields that stay.
    Json,
}

/// How answers are shown.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Shown {
    /// How answers are shown.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Shown {
    /// Returns whether a program reads the answer.
    pub(super) fn is_json(self) -> bool {
        self.output == Output::Json
    }

    /// Prints what is asked for: the text, or the value on one line.
    pub(super) fn print(self, value: &Value, text: &str) {
        match self.output {
            Output::Json => output::line(value),
            Output::Text => output::text(text),
        }
    }
}

/// What was done, one thing after another: it is told also when a later one failed.
#[derive(Debug, Default)]
pub(super) struct Done {
    values: Vec<Value>,
    text: String,
}

impl Done {
    /// Adds what was done, as a value and as a line.
    pub(super) fn add(&mut self, value: Value, line: &str) {
        self.values.push(value);
        self.text += line;
        self.text.push('\n');
    }

    /// Prints all that was done.
    pub(super) fn print(self, shown: Shown) {
        shown.print(&Value::Array(self.values), &self.text);
    }
}

/// What stands for a value that is not there.
pub(super) const NONE: &str = "-";

/// The text of a value, or what stands for none.
pub(super) fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

/// Things in a row with commas between.
pub(super) fn listed<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return NONE.to_owned();
    }
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// A count and its noun, which takes an s where the count is not one.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A table: columns as wide as their widest cells, numbers to the right.
#[derive(Debug)]
pub(super) struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headers and no rows yet.
    pub(super) fn new<const N: usize>(headers: [&'static str; N]) -> Table {
        Table { headers: headers.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.headers.len(), "a row has a cell for each header");
        self.rows.push(cells.to_vec());
    }

    /// The table's lines, each with this before it.
    pub(super) fn text(&self, indent: &str) -> String {
        let columns: Vec<(usize, bool)> = (0..self.headers.len()).map(|at| self.column(at)).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = indent.to_owned();
            for (at, (cell, &(width, is_number))) in cells.zip(&columns).enumerate() {
                if at > 0 {
                    line.push_str("  ");
                }
                line += &if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            }
            format!("{}\n", line.trim_end())
        };
        let mut text = line(&mut self.headers.iter().copied());
        for row in &self.rows {
            text += &line(&mut row.iter().map(String::as_str));
        }
        text
    }

    /// How wide a column is, and whether it has only numbers.
    fn column(&self, at: usize) -> (usize, bool) {
        let cells = || self.rows.iter().filter_map(|row| row.get(at));
        let width = cells().map(|cell| cell.chars().count()).chain([self.headers[at].len()]).max();
        let is_number = cells().all(|cell| cell == NONE || cell.parse::<f64>().is_ok());
        (width.unwrap_or_default(), is_number && !self.rows.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_numbers_to_the_right_and_no_spaces_at_the_end() {
        let mut table = Table::new(["NAME", "PARTITIONS", "STATE"]);
        table.row(["a".to_owned(), "8".to_owned(), "ok".to_owned()]);
        table.row(["orders".to_owned(), "128".to_owned(), NONE.to_owned()]);

        assert_eq!(
            table.text(" "),
            " NAME    PARTITIONS  STATE\n \
              a                8  ok\n \
              orders         128  -\n"
        );
        assert_eq!(Table::new(["NAME", "STATE"]).text(""), "NAME  STATE\n");
    }

    #[test]
    fn a_noun_goes_with_its_count() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "record")), ["0 records", "1 record", "2 records"]);
        assert_eq!(listed::<i32>(&[]), "-");
        assert_eq!(listed(&[1, 2]), "1,2");
    }
}
