//! What a schema file says.

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) first: i16,
    pub(crate) last: i16,
}

impl Versions {
    /// The Rust condition that is true in `self`, given that the version lies in `within`; `None` when it
    /// always is.
    pub(crate) fn condition(self, within: Versions) -> Option<String> {
        match (self.first > within.first, self.last < within.last) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {}", self.first)),
            (_, true) if self.first == self.last => Some(format!("version == {}", self.first)),
            (false, true) => Some(format!("version <= {}", self.last)),
            (true, true) => Some(format!("({}..={}).contains(&version)", self.first, self.last)),
        }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = i16> {
        self.first..=self.last
    }

    pub(crate) fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U16,
    F64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    /// What the type has without a word: zero, false, empty.
    Natural,
    Null,
    True,
    Number(i64),
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// As in Kafka.
    pub(crate) name: String,
    pub(crate) doc: Vec<String>,
    pub(crate) ty: Type,
    /// The versions that have it.
    pub(crate) versions: Versions,
    /// The versions that have the struct it is in.
    pub(crate) within: Versions,
    /// Those of `versions` that allow null.
    pub(crate) nullable: Option<Versions>,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Literal,
}

#[derive(Clone, Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) doc: Vec<String>,
    pub(crate) fields: Vec<Field>,
}

/// A message: a top-level struct, and those inside it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) versions: Versions,
    /// The first flexible version.
    pub(crate) flexible: Option<i16>,
    pub(crate) main: Struct,
    pub(crate) inner: Vec<Struct>,
}

impl Message {
    pub(crate) fn name(&self) -> &str {
        &self.main.name
    }

    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        self.flexible.is_some_and(|first| version >= first)
    }

    pub(crate) fn inner(&self, name: &str) -> Option<&Struct> {
        self.inner.iter().find(|inner| inner.name == name)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: String,
    pub(crate) doc: Vec<String>,
    pub(crate) unstable: Option<i16>,
    pub(crate) broker: bool,
    pub(crate) controller: bool,
    pub(crate) request: Message,
    pub(crate) response: Message,
}

/// How the records of a family are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In KRaft's frame: frame version, type, version, body.
    Framed,
    /// Type and key struct in the record's key, version and value struct in its value.
    Coordinator,
    /// Somewhere else; no common enum.
    Plain,
}

#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// Of a framed family.
    Framed { id: u32, value: Message },
    /// Of a coordinator's family.
    Coordinator { id: u32, name: String, key: Message, value: Message },
    /// A struct without a type number.
    Plain(Message),
}

impl Record {
    pub(crate) fn messages(&self) -> Vec<&Message> {
        match self {
            Record::Framed { value, .. } => vec![value],
            Record::Coordinator { key, value, .. } => vec![key, value],
            Record::Plain(message) => vec![message],
        }
    }

    /// The name of its module, before it is put in snake case.
    pub(crate) fn name(&self) -> &str {
        match self {
            Record::Framed { value, .. } => value.name(),
            Record::Coordinator { name, .. } => name,
            Record::Plain(message) => message.name(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) doc: Vec<String>,
    pub(crate) storage: Storage,
    pub(crate) records: Vec<Record>,
}

/// One file.
#[derive(Clone, Debug)]
pub(crate) enum File {
    Api(Box<Api>),
    Family(Family),
    /// Messages that belong to no API and no family.
    Data(Vec<Message>),
}
