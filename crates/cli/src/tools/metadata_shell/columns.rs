//! What `ls` prints: names in as many columns as the terminal has room for (`LsCommandHandler`).

use super::paths::Found;

/// The least that a column takes.
const COLUMN_WIDTH_MIN: usize = 4;

/// What stands between two columns.
const GAP: usize = 2;

/// Lists what was found: leaves by their names, then directories with what is in them. A directory that is empty is not
/// mentioned. Without a `width` each name has its line.
pub(super) fn list(found: &[Found], width: Option<usize>) -> String {
    let (directories, leaves): (Vec<&Found>, Vec<&Found>) =
        found.iter().partition(|found| found.node.is_directory());
    let names: Vec<&str> = leaves.iter().map(|leaf| leaf.name()).collect();
    let mut out = entries(&names, width);
    let is_named = !leaves.is_empty() || directories.len() > 1;
    for (i, directory) in directories.iter().enumerate() {
        let names: Vec<&str> = directory.node.children().iter().map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            continue;
        }
        if is_named {
            let gap = if i == 0 && leaves.is_empty() { "" } else { "\n" };
            out += &format!("{gap}{}:\n", directory.name());
        }
        out += &entries(&names, width);
    }
    out
}

fn entries(names: &[&str], width: Option<usize>) -> String {
    let mut out = String::new();
    if names.is_empty() {
        return out;
    }
    let columns = width.map_or_else(|| Columns::of(names, 1), |width| Columns::within(names, width));
    for line in 0..names.len().div_ceil(columns.widths.len()) {
        for (column, &width) in columns.widths.iter().enumerate() {
            let Some(name) = names.get(line + column * columns.height) else { continue };
            let is_last = column + 1 == columns.widths.len();
            out += &if is_last { (*name).to_owned() } else { format!("{name:width$}") };
        }
        out.push('\n');
    }
    out
}

/// Names written downwards, one column after the other.
#[derive(Debug, PartialEq, Eq)]
struct Columns {
    /// How wide each is, with the gap after it; 0 where there is nothing left for it.
    widths: Vec<usize>,
    /// How many names are in each but the last.
    height: usize,
}

impl Columns {
    fn of(names: &[&str], count: usize) -> Columns {
        let height = names.len().div_ceil(count);
        let mut widths = vec![0; count];
        for (i, name) in names.iter().enumerate() {
            let width = &mut widths[i / height];
            *width = (*width).max(name.chars().count() + GAP);
        }
        Columns { widths, height }
    }

    /// As many as fit, and have a name each.
    fn within(names: &[&str], width: usize) -> Columns {
        // More columns than names would leave some empty.
        let count_max = (width / COLUMN_WIDTH_MIN).min(names.len());
        let fits = |columns: &Columns| {
            columns.widths.last() != Some(&0) && columns.widths.iter().sum::<usize>() <= width
        };
        let found = (2..=count_max).rev().map(|count| Columns::of(names, count)).find(fits);
        found.unwrap_or_else(|| Columns::of(names, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::{Node, directory, leaf};
    use super::*;
    use std::rc::Rc;

    fn found(name: &str, node: Rc<Node>) -> Found {
        Found { names: vec![name.to_owned()], node }
    }

    fn with(names: &[&str]) -> Rc<Node> {
        directory(names.iter().map(|name| (*name, leaf(""))))
    }

    #[test]
    fn leaves_come_first_and_directories_are_named_where_there_are_several_things() {
        let one = [found("a", with(&["y", "x"]))];
        let two = [found("a", with(&["x"])), found("b", with(&["y"]))];
        let after_an_empty_one = [found("a", with(&[])), found("b", with(&["y"]))];
        let with_a_leaf = [found("b", with(&["y"])), found("f", leaf("")), found("e", leaf(""))];
        let cases: [(&[Found], &str); 5] = [
            (&[], ""),
            (&one, "x\ny\n"),
            (&two, "a:\nx\n\nb:\ny\n"),
            (&after_an_empty_one, "\nb:\ny\n"),
            (&with_a_leaf, "f\ne\n\nb:\ny\n"),
        ];
        for (found, expected) in cases {
            assert_eq!(list(found, None), expected);
        }
    }

    #[test]
    fn there_are_as_many_columns_as_fit() {
        let letters = ["abc", "def", "ghi", "jkl"];
        let cases: &[(&[&str], usize, &[usize])] = &[
            (&letters, 80, &[5, 5, 5, 5]),
            (&letters, 20, &[5, 5, 5, 5]),
            // Three would leave the third empty.
            (&letters, 19, &[5, 5]),
            (&letters, 9, &[5]),
            (&letters, 3, &[5]),
            (&["a", "longer", "b", "c", "d"], 19, &[8, 3, 3]),
            (&["a"], 80, &[3]),
        ];
        for (names, width, expected) in cases {
            assert_eq!(Columns::within(names, *width).widths, *expected, "{names:?} {width}");
        }
        assert_eq!(entries(&["a", "longer", "b", "c", "d"], Some(19)), "a       b  d\nlonger  c  \n");
    }
}
