//! What the shell shows: directories, and leaves with a text (`MetadataNode`).

use std::cmp::Ordering;
use std::fmt::Display;
use std::rc::Rc;

/// A place in the tree. Some are in several directories, and are shared.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Nodes under their names, in order. Kafka's tool gives two quotas the same name when they differ in a default only.
    Directory(Vec<(String, Rc<Node>)>),
    /// A line of text.
    Leaf(String),
}

/// A directory with these in it.
pub(super) fn directory<N: Into<String>>(children: impl IntoIterator<Item = (N, Rc<Node>)>) -> Rc<Node> {
    let mut children: Vec<(String, Rc<Node>)> =
        children.into_iter().map(|(name, node)| (name.into(), node)).collect();
    children.sort_by(|(one, _), (other, _)| java_order(one, other));
    Rc::new(Node::Directory(children))
}

/// A leaf with this text.
pub(super) fn leaf(text: impl Display) -> Rc<Node> {
    Rc::new(Node::Leaf(text.to_string()))
}

/// The order of Java's strings: that of UTF-16.
fn java_order(one: &str, other: &str) -> Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

impl Node {
    /// Returns whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        matches!(self, Node::Directory(_))
    }

    /// What is in it; nothing is in a leaf.
    pub(super) fn children(&self) -> &[(String, Rc<Node>)] {
        match self {
            Node::Directory(children) => children,
            Node::Leaf(_) => &[],
        }
    }

    /// The one in it of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Rc<Node>> {
        let children = self.children();
        let at = children.binary_search_by(|(child, _)| java_order(child, name)).ok()?;
        Some(&children[at].1)
    }

    /// Writes it with all that is below it, each level further in by two.
    pub(super) fn print(&self, out: &mut String) {
        self.print_at(0, out);
    }

    fn print_at(&self, depth: usize, out: &mut String) {
        let indentation = "  ".repeat(depth);
        match self {
            Node::Leaf(text) => *out += &format!("{indentation}{text}\n"),
            Node::Directory(children) => {
                for (name, child) in children {
                    *out += &format!("{indentation}{name}:\n");
                    child.print_at(depth + 1, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_printed_in_the_order_of_javas_strings() {
        let empty = directory::<String>([]);
        let inner =
            directory([("\u{ff61}", leaf("last")), ("\u{1f600}", leaf(7)), ("10", leaf("a")), ("9", empty)]);
        let tree = directory([("inner", inner), ("A", leaf("first"))]);
        let mut out = String::new();

        tree.print(&mut out);

        assert_eq!(
            out,
            "A:\n  first\ninner:\n  10:\n    a\n  9:\n  \u{1f600}:\n    7\n  \u{ff61}:\n    last\n"
        );
        assert_eq!(tree.child("inner").unwrap().child("\u{ff61}"), Some(&leaf("last")));
        assert_eq!(tree.child("A").unwrap().child("A"), None);
    }
}
