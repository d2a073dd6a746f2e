//! What is said of a refusal, beside its error.

/// The longest message, in bytes. It may repeat what was asked for, and a string of 32 KiB would make it too long to be
/// written: then there would be no answer at all.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A message, cut to what an answer may hold.
pub(crate) fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let ends_here = |&at: &usize| message.is_char_boundary(at);
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(ends_here).unwrap_or(0);
        message.truncate(end);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(cut("short".to_owned()), "short");
        assert_eq!(cut("x".repeat(40_000)).len(), MESSAGE_BYTES_MAX);
        assert_eq!(cut("\u{20ac}".repeat(40_000)).len(), MESSAGE_BYTES_MAX - 1);
    }
}
