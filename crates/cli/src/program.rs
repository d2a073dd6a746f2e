//! Where this program lies.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static PATH: OnceLock<PathBuf> = OnceLock::new();

/// Finds out where this program lies; to be called first. Once its file is replaced, by a new build, the system tells a
/// place that is not there.
pub(crate) fn locate() {
    path();
}

/// Where this program lay when it was started. A program started from there later may be a newer one.
pub(crate) fn path() -> &'static Path {
    PATH.get_or_init(|| std::env::current_exe().unwrap_or_else(|_| PathBuf::from("ottla")))
}
