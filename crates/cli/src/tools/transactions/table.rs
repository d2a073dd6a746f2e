//! A table as Kafka's tools with sub-commands print it.

/// Headers and rows: each column as wide as its widest cell, each cell ended by a tab.
pub(super) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([headers[at].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let line = |cells: Vec<&str>| -> String {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}\t"));
        cells.chain(["\n".to_owned()]).collect()
    };
    let rows = rows.iter().map(|row| row.iter().map(String::as_str).collect());
    std::iter::once(headers.to_vec()).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_its_widest_cell() {
        let rows = [vec!["1".to_owned(), "long".to_owned()], vec!["22".to_owned(), "x".to_owned()]];

        assert_eq!(table(&["Id", "Of"], &rows), "Id\tOf  \t\n1 \tlong\t\n22\tx   \t\n");
        assert_eq!(table(&["Id", "Of"], &[]), "Id\tOf\t\n");
    }
}
