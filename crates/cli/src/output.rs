//! The one place that writes to the terminal.

/// Writes a line to standard output. A reader that has gone is no error: `ottla … | head` ends quietly.
pub(crate) fn line(text: impl std::fmt::Display) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Writes text to standard output as it is.
pub(crate) fn text(text: &str) {
    bytes(text.as_bytes());
}

/// Writes bytes to standard output as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes a line to standard error.
pub(crate) fn error_line(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Writes an error, with what led to it, to standard error.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("ottla: {error:#}");
}
