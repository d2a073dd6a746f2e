//! The one place that writes to the terminal.

/// Writes a line to standard output. A reader that has gone is no error: `ottla … | head` ends quietly.
pub(crate) fn line(text: impl std::fmt::Display) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Writes an error, with what led to it, to standard error.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("ottla: {error:#}");
}
