//! Regular expressions that clients and administrators choose, in RE2's syntax.

use regex::{Regex, RegexBuilder};

/// How much memory a compiled expression may take, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// How long an expression may be, in bytes: reading one takes time too, while others wait.
const EXPRESSION_BYTES_MAX: usize = 4096;

/// Compiles an expression, which must match a whole text.
///
/// # Errors
/// What is wrong with it, in words.
pub fn compile(expression: &str) -> Result<Regex, String> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("it is longer than {EXPRESSION_BYTES_MAX} bytes"));
    }
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    // By itself first: what is unbalanced must not be balanced by what is put around it.
    let compiled = build(expression).and_then(|_| build(&format!(r"\A(?:{expression})\z")));
    compiled.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_whole_names() {
        let cases = [
            ("a", "a", true),
            ("a", "ab", false),
            ("a|b", "ab", false),
            ("a|b.*", "bcd", true),
            ("(?i)abc", "ABC", true),
            ("[[:alpha:]]+", "abc", true),
            ("", "a", false),
        ];
        for (expression, name, matches) in cases {
            assert_eq!(compile(expression).unwrap().is_match(name), matches, "{expression} {name}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for expression in ["(", "a)|(b", "[", "*", "(?=a)", r"(a)\1", "(a{1000}){1000}"] {
            assert!(compile(expression).is_err(), "{expression}");
        }
    }
}
