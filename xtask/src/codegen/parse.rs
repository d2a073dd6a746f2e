//! From the text of a schema file to what it says. The notation is described in
//! `crates/protocol/schemas/README.md`.

use super::schema::{Api, Family, Field, File, Literal, Message, Record, Storage, Struct, Type, Versions};
use super::structs::field_name;
use anyhow::{Context, Result, bail, ensure};

/// Parses a file.
pub(crate) fn parse(text: &str) -> Result<File> {
    let mut lines = Lines::new(text);
    let file = lines.file();
    file.with_context(|| format!("line {}", lines.number))
}

/// The lines that say something, without comments, and the doc comments before the next of them.
struct Lines<'a> {
    lines: Vec<(usize, &'a str)>,
    next: usize,
    number: usize,
    doc: Vec<String>,
}

/// What the line of an api, a record or a data struct says after its name.
struct Heading {
    versions: Versions,
    flexible: Option<i16>,
    unstable: Option<i16>,
    listeners: Vec<String>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Lines<'a> {
        let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())).collect();
        Lines { lines, next: 0, number: 0, doc: Vec::new() }
    }

    /// The next line, or `None` at the end of the file.
    fn next(&mut self) -> Option<&'a str> {
        while let Some(&(number, line)) = self.lines.get(self.next) {
            self.next += 1;
            self.number = number;
            if let Some(doc) = line.strip_prefix("## ") {
                self.doc.push(doc.to_owned());
            } else if !line.is_empty() && !line.starts_with('#') {
                return Some(line);
            }
        }
        None
    }

    fn take_doc(&mut self) -> Vec<String> {
        std::mem::take(&mut self.doc)
    }

    fn file(&mut self) -> Result<File> {
        let line = self.next().context("an empty file")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["api", key, name, heading @ ..] => {
                let doc = self.take_doc();
                let heading = parse_heading(heading)?;
                let request = self.body("request", &format!("{name}Request"), &heading)?;
                let response = self.body("response", &format!("{name}Response"), &heading)?;
                ensure!(self.next().is_none(), "expected the end of the file");
                Ok(File::Api(Box::new(Api {
                    key: key.parse()?,
                    name: (*name).to_owned(),
                    doc,
                    unstable: heading.unstable,
                    broker: heading.listeners.iter().any(|l| l == "broker"),
                    controller: heading.listeners.iter().any(|l| l == "controller"),
                    request,
                    response,
                })))
            }
            ["family", name, storage] => self.family(name, storage),
            ["data", ..] => {
                let mut messages = vec![self.data(&words)?];
                while let Some(line) = self.next() {
                    messages.push(self.data(&line.split_whitespace().collect::<Vec<_>>())?);
                }
                Ok(File::Data(messages))
            }
            _ => bail!("expected `api`, `family` or `data`: {line}"),
        }
    }

    fn family(&mut self, name: &str, storage: &str) -> Result<File> {
        let doc = self.take_doc();
        let storage = match storage {
            "framed" => Storage::Framed,
            "coordinator" => Storage::Coordinator,
            "plain" => Storage::Plain,
            _ => bail!("expected `framed`, `coordinator` or `plain`: {storage}"),
        };
        let mut records = Vec::new();
        while let Some(line) = self.next() {
            let words: Vec<&str> = line.split_whitespace().collect();
            records.push(match (storage, words.as_slice()) {
                (Storage::Plain, ["data", ..]) => Record::Plain(self.data(&words)?),
                (Storage::Framed, ["record", id, name, heading @ .., open]) => {
                    let value = self.block(open, name, &parse_heading(heading)?)?;
                    Record::Framed { id: id.parse()?, value }
                }
                (Storage::Coordinator, ["record", id, name, heading @ .., "{"]) => {
                    let key = Heading {
                        versions: Versions { first: 0, last: 0 },
                        flexible: None,
                        unstable: None,
                        listeners: Vec::new(),
                    };
                    let key = self.body("key", &format!("{name}Key"), &key)?;
                    let value = self.body("value", &format!("{name}Value"), &parse_heading(heading)?)?;
                    ensure!(self.next() == Some("}"), "expected `}}`");
                    Record::Coordinator { id: id.parse()?, name: (*name).to_owned(), key, value }
                }
                _ => bail!("no record of this family: {line}"),
            });
        }
        Ok(File::Family(Family { name: name.to_owned(), doc, storage, records }))
    }

    fn data(&mut self, words: &[&str]) -> Result<Message> {
        let ["data", name, heading @ .., open] = words else { bail!("expected `data`: {}", words.join(" ")) };
        self.block(open, name, &parse_heading(heading)?)
    }

    /// `request { ... }` and the like.
    fn body(&mut self, keyword: &str, name: &str, heading: &Heading) -> Result<Message> {
        let line = self.next().unwrap_or_default();
        let Some(open) = line.strip_prefix(keyword) else { bail!("expected `{keyword}`: {line}") };
        self.block(open.trim(), name, heading)
    }

    fn block(&mut self, open: &str, name: &str, heading: &Heading) -> Result<Message> {
        let main = Struct { name: name.to_owned(), doc: self.take_doc(), fields: Vec::new() };
        let mut message =
            Message { versions: heading.versions, flexible: heading.flexible, main, inner: Vec::new() };
        match open {
            "{}" => {}
            "{" => message.main.fields = self.fields(name, heading.versions, &mut message)?,
            _ => bail!("expected `{{`: {open}"),
        }
        Ok(message)
    }

    /// The fields of a struct inside a message. It comes before those inside it.
    fn inner(
        &mut self,
        name: String,
        doc: Vec<String>,
        within: Versions,
        message: &mut Message,
    ) -> Result<()> {
        ensure!(message.inner(&name).is_none(), "{name} is there already");
        let index = message.inner.len();
        message.inner.push(Struct { name: name.clone(), doc, fields: Vec::new() });
        message.inner[index].fields = self.fields(&name, within, message)?;
        Ok(())
    }

    /// The fields of `owner`, up to `}`. Structs met on the way go to `message`.
    fn fields(&mut self, owner: &str, within: Versions, message: &mut Message) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        loop {
            let line = self.next().context("expected `}` before the end of the file")?;
            let doc = self.take_doc();
            if line == "}" {
                return Ok(fields);
            }
            if let Some(name) = line.strip_prefix("struct ") {
                let name = name.trim_end_matches('{').trim().to_owned();
                self.inner(name, doc, message.versions, message)?;
                continue;
            }
            let (declaration, opens) = match line.strip_suffix('{') {
                Some(declaration) => (declaration.trim_end(), true),
                None => (line, false),
            };
            let field = parse_field(declaration, doc, within, message.versions)?;
            if opens {
                let name = struct_name(&field.ty).context("only structs have fields")?.to_owned();
                let doc = vec![format!("What [`{}::{}`] holds.", owner, field_name(&field.name))];
                self.inner(name, doc, field.versions, message)?;
            }
            fields.push(field);
        }
    }
}

fn struct_name(ty: &Type) -> Option<&str> {
    match ty {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_name(element),
        _ => None,
    }
}

fn parse_heading(words: &[&str]) -> Result<Heading> {
    let ["versions", versions, "flexible", flexible, rest @ ..] = words else {
        bail!("expected `versions A-B flexible N+`: {}", words.join(" "));
    };
    let (first, last) = versions.split_once('-').unwrap_or((versions, versions));
    let versions = Versions { first: first.parse()?, last: last.parse()? };
    let flexible = match *flexible {
        "none" => None,
        first => Some(first.strip_suffix('+').context("expected `N+`")?.parse()?),
    };
    let (unstable, rest) = match rest {
        ["unstable", version, rest @ ..] => (Some(version.parse()?), rest),
        _ => (None, rest),
    };
    let listeners = match rest {
        [] => Vec::new(),
        ["listeners", listeners @ ..] => listeners.iter().map(|&l| l.to_owned()).collect(),
        _ => bail!("unexpected: {}", rest.join(" ")),
    };
    Ok(Heading { versions, flexible, unstable, listeners })
}

/// `Name: type [versions] [@tag] [= default]`.
fn parse_field(text: &str, doc: Vec<String>, within: Versions, all: Versions) -> Result<Field> {
    let (name, rest) = text.split_once(": ").with_context(|| format!("expected `Name: type`: {text}"))?;
    let mut words = rest.split_whitespace().peekable();
    let (ty, nullable) = parse_type(words.next().context("expected a type")?)?;
    let mut versions = within;
    let mut tag = None;
    let mut default = Literal::Natural;
    while let Some(word) = words.next() {
        if let Some(number) = word.strip_prefix('@') {
            tag = Some(number.parse()?);
        } else if word == "=" {
            default = match words.next().context("expected a default")? {
                "null" => Literal::Null,
                "true" => Literal::True,
                number => Literal::Number(number.parse().with_context(|| number.to_owned())?),
            };
        } else {
            versions = parse_versions(word, within.last)?;
            ensure!(
                within.first <= versions.first && versions.last <= within.last && versions != within,
                "{name}: versions {word} are not fewer than those around it"
            );
        }
    }
    let nullable = match nullable {
        None => None,
        Some("") => Some(versions),
        Some(text) => Some(parse_versions(text, all.last)?),
    };
    Ok(Field { name: name.to_owned(), doc, ty, versions, within, nullable, tag, default })
}

fn parse_versions(text: &str, last: i16) -> Result<Versions> {
    let parse = |text: &str| text.parse().with_context(|| format!("expected versions: {text}"));
    if let Some(first) = text.strip_suffix('+') {
        return Ok(Versions { first: parse(first)?, last });
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok(Versions { first: parse(first)?, last: parse(last)? })
}

/// The type, and what stands after its `?`.
fn parse_type(text: &str) -> Result<(Type, Option<&str>)> {
    let (name, nullable) = match text.split_once('?') {
        Some((name, versions)) => (name, Some(versions)),
        None => (text, None),
    };
    if let Some(element) = name.strip_prefix('[') {
        let element = element.strip_suffix(']').context("expected `]`")?;
        return Ok((Type::Array(Box::new(parse_type(element)?.0)), nullable));
    }
    let ty = match name {
        "bool" => Type::Bool,
        "i8" => Type::I8,
        "i16" => Type::I16,
        "i32" => Type::I32,
        "i64" => Type::I64,
        "u16" => Type::U16,
        "f64" => Type::F64,
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        name if name.starts_with(|c: char| c.is_ascii_uppercase()) => Type::Struct(name.to_owned()),
        _ => bail!("no type: {name}"),
    };
    Ok((ty, nullable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &str) -> Result<Message> {
        let text = format!(
            "## Docs.\napi 1 Fetch versions 4-18 flexible 12+ listeners broker\nrequest {{\n{fields}\n}}\nresponse {{}}"
        );
        match parse(&text)? {
            File::Api(api) => Ok(api.request),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn a_field_says_type_versions_tag_and_default() {
        let message = request("ClusterId: string?14+ 12+ @0 = null").unwrap();

        let field = &message.main.fields[0];
        assert_eq!(field.ty, Type::String);
        assert_eq!(field.versions, Versions { first: 12, last: 18 });
        assert_eq!(field.nullable, Some(Versions { first: 14, last: 18 }));
        assert_eq!((field.tag, &field.default), (Some(0), &Literal::Null));
    }

    #[test]
    fn a_struct_inside_has_the_versions_of_its_field() {
        let message = request("State: [ReplicaState] 15+ {\nId: i32 = -1\n}").unwrap();

        assert_eq!(message.inner[0].name, "ReplicaState");
        assert_eq!(message.inner[0].fields[0].within, Versions { first: 15, last: 18 });
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for wrong in
            ["Id i32", "Id: int32", "Id: i32 4+", "Id: i32 19", "Id: [i32", "Id: i32 {\n}", "Id: i32 ="]
        {
            assert!(request(wrong).is_err(), "{wrong}");
        }
    }
}
