//! Topics by a list of regular expressions, as many tools take them (`TopicFilter.IncludeList`).

use regex::Regex;

/// A list of expressions, each for a whole name: a comma means "or", spaces and quotes are left out.
///
/// # Errors
/// What Kafka says of a text that is no expression.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    let text = text.trim().replace(',', "|").replace(' ', "");
    let text = text.trim_matches(['"', '\'']);
    Regex::new(&format!("^(?:{text})$")).map_err(|_| format!("{text} is an invalid regex."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_means_or_and_a_name_matches_as_a_whole() {
        let is_match = |text: &str, name: &str| pattern(text).unwrap().is_match(name);

        assert!(is_match("a, b.*", "a") && is_match("a, b.*", "bc") && is_match("'a'", "a"));
        assert!(!is_match("a,b", "ab"));
        assert_eq!(pattern("(").unwrap_err(), "( is an invalid regex.");
    }
}
