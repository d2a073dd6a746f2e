//! Paths with `*`, `?` and `{a,b}` in them, and the nodes that they lead to (`GlobVisitor`).

use super::node::Node;
use regex::Regex;
use std::rc::Rc;

/// A node that a path leads to.
#[derive(Debug)]
pub(super) struct Found {
    /// The names that lead to it from the root.
    pub(super) names: Vec<String>,
    /// The node.
    pub(super) node: Rc<Node>,
}

impl Found {
    /// The last of the names.
    pub(super) fn name(&self) -> &str {
        self.names.last().map_or("/", String::as_str)
    }

    /// The path to it from the root.
    pub(super) fn absolute(&self) -> String {
        format!("/{}", self.names.join("/"))
    }
}

/// The nodes that `path` leads to from `directory`, which is absolute; none when there is no such.
pub(super) fn find(root: &Rc<Node>, directory: &str, path: &str) -> Vec<Found> {
    let full = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
    let mut found = vec![Found { names: Vec::new(), node: root.clone() }];
    for part in parts(&full) {
        let part = Part::new(part);
        found = found.iter().flat_map(|from| part.follow(from)).collect();
    }
    found
}

/// The names of a path; of two slashes one is enough, `..` takes the name before it away.
fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

/// One name of a path.
enum Part<'a> {
    /// It is taken as it is.
    Literal(&'a str),
    /// Every name that matches is meant.
    Pattern(Regex),
}

impl<'a> Part<'a> {
    /// What cannot be read as a pattern is taken as it is.
    fn new(text: &'a str) -> Part<'a> {
        let pattern = expression(text).and_then(|expression| Regex::new(&expression).ok());
        pattern.map_or(Part::Literal(text), Part::Pattern)
    }

    fn follow(&self, from: &Found) -> Vec<Found> {
        let to = |(name, node): (&str, &Rc<Node>)| {
            let mut names = from.names.clone();
            names.push(name.to_owned());
            Found { names, node: node.clone() }
        };
        match self {
            Part::Literal(name) => from.node.child(name).map(|node| to((name, node))).into_iter().collect(),
            Part::Pattern(pattern) => {
                let children = from.node.children().iter();
                let matching = children.filter(|(name, _)| pattern.is_match(name));
                matching.map(|(name, node)| to((name, node))).collect()
            }
        }
    }
}

/// The pattern as a regular expression; `None` when it is none, or not a whole one.
fn expression(pattern: &str) -> Option<String> {
    let mut expression = "^".to_owned();
    let (mut is_literal, mut is_in_group) = (true, false);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let special = match c {
            '?' => ".",
            '*' => ".*",
            '{' if is_in_group => return None,
            '{' => "(?:(?:",
            ',' if is_in_group => ")|(?:",
            '}' if is_in_group => "))",
            c => {
                let plain = if c == '\\' { chars.next().unwrap_or(c) } else { c };
                expression += &regex::escape(plain.encode_utf8(&mut [0; 4]));
                continue;
            }
        };
        expression += special;
        is_literal = false;
        is_in_group = (is_in_group || c == '{') && c != '}';
    }
    (!is_literal && !is_in_group).then(|| expression + "$")
}

#[cfg(test)]
mod tests {
    use super::super::node::{directory, leaf};
    use super::*;

    fn found(from: &str, path: &str) -> Vec<String> {
        let topics = ["bar", "foo", "foo.2", "f*o", "a(b)", "a(b", "{x"];
        let topics = directory(topics.map(|name| (name, directory([("id", leaf(name)), ("0", leaf("p"))]))));
        let root = directory([("image", directory([("topics", topics), ("version", leaf(1))]))]);
        find(&root, from, path).iter().map(Found::absolute).collect()
    }

    #[test]
    fn paths_lead_from_the_root_or_from_the_directory() {
        let cases = [
            ("/", "image", "/image"),
            ("/image", "topics//foo/", "/image/topics/foo"),
            ("/image/topics", "../version", "/image/version"),
            ("/image/topics", "../../../..", "/"),
            ("/image/topics", "/image/./version", "/image/version"),
            ("/image/topics", "", "/image/topics"),
        ];
        for (from, path, expected) in cases {
            assert_eq!(found(from, path), [expected], "{from} {path}");
        }
        for nothing in ["nope", "version/x", "topics/foo/nope", "topics/fo", "version/*"] {
            assert_eq!(found("/image", nothing), [""; 0], "{nothing}");
        }
    }

    #[test]
    fn patterns_lead_to_every_name_that_matches() {
        let cases: &[(&str, &[&str])] = &[
            ("fo?", &["foo"]),
            ("f*", &["f*o", "foo", "foo.2"]),
            ("*o", &["f*o", "foo"]),
            ("foo.*", &["foo.2"]),
            ("{foo,bar}", &["bar", "foo"]),
            ("{foo*,a}", &["foo", "foo.2"]),
            ("?\\*?", &["f*o"]),
            ("a(b*", &["a(b", "a(b)"]),
            ("b*,", &[]),
            // No whole patterns: taken as they are.
            ("{x", &["{x"]),
            ("{{x}", &[]),
        ];
        for (path, expected) in cases {
            let expected: Vec<String> = expected.iter().map(|name| format!("/image/topics/{name}")).collect();
            assert_eq!(found("/image/topics", path), expected, "{path}");
        }
        assert_eq!(found("/", "*/topics/b*/?d"), ["/image/topics/bar/id"]);
        assert_eq!(found("/", "*/topics/*/0").len(), 7);
    }
}
