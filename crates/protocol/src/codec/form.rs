//! Which of the two encodings a version has.

/// How lengths are written, and whether structs end with tagged fields (KIP-482).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lengths are big-endian integers (i16 for strings, i32 for the rest), −1 for null; no tagged fields.
    Classic,
    /// Lengths are unsigned varints of length + 1, 0 for null; every struct ends with its tagged fields.
    Flexible,
}

impl Form {
    /// The form of a version that is, or is not, at or above the first flexible one.
    pub const fn flexible_if(flexible: bool) -> Form {
        if flexible { Form::Flexible } else { Form::Classic }
    }

    /// Returns whether structs end with tagged fields.
    pub const fn is_flexible(self) -> bool {
        matches!(self, Form::Flexible)
    }
}
