//! Messages as their schemas say, without a type for each: also those that no type could hold.

use crate::codegen::schema::{Field, Literal, Message, Struct, Type};
use anyhow::{Result, bail, ensure};

/// What a field holds, or should not.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Int(i64),
    Uuid([u8; 16]),
    /// A string; not always UTF-8.
    Text(Vec<u8>),
    Blob(Vec<u8>),
    List(Vec<Value>),
    Struct(Vec<(String, Value)>),
    /// A list, string or blob under a length that is not its own.
    Claim(i64, Box<Value>),
    /// What each side calls otherwise.
    Named(Name, i64),
}

/// A value that a node has chosen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Name {
    /// The id of a topic.
    TopicId(String),
    /// The member of a group.
    Member(String),
    /// Its generation, or epoch.
    Generation(String),
    ProducerId,
    ProducerEpoch,
    ClusterId,
    /// The epoch of the broker that is registered and never runs.
    BrokerEpoch,
    /// Record batches of a kind.
    Batch(usize),
}

/// What stands among the tagged fields besides those of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    Right,
    /// One that nobody knows.
    Unknown,
    /// One that is longer than the request.
    TooLong,
    /// More of them than there are.
    TooMany,
    /// The same twice.
    Twice,
}

impl Value {
    pub(super) fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    /// A field of a struct; null when there is none.
    pub(super) fn get(&self, name: &str) -> &Value {
        match self {
            Value::Struct(fields) => {
                fields.iter().find(|(field, _)| field == name).map_or(&Value::Null, |(_, value)| value)
            }
            _ => &Value::Null,
        }
    }

    pub(super) fn int(&self) -> i64 {
        if let Value::Int(number) = self { *number } else { 0 }
    }

    pub(super) fn list(&self) -> &[Value] {
        if let Value::List(items) = self { items } else { &[] }
    }

    pub(super) fn string(&self) -> String {
        if let Value::Text(text) = self { String::from_utf8_lossy(text).into_owned() } else { String::new() }
    }
}

/// A struct, by names of fields.
pub(super) fn fields<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Struct(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What a field has that nobody has set.
pub(super) fn default(field: &Field) -> Value {
    match (&field.default, &field.ty) {
        (Literal::Null, _) => Value::Null,
        (Literal::True, _) => Value::Int(1),
        (Literal::Number(number), _) => Value::Int(*number),
        (Literal::Natural, Type::Uuid) => Value::Uuid([0; 16]),
        (Literal::Natural, Type::String) => Value::text(""),
        (Literal::Natural, Type::Bytes | Type::Records) => Value::Blob(Vec::new()),
        (Literal::Natural, Type::Array(_)) => Value::List(Vec::new()),
        (Literal::Natural, Type::Struct(_)) => Value::Struct(Vec::new()),
        (Literal::Natural, _) => Value::Int(0),
    }
}

/// Writes a body of `version`. `resolve` says what a name stands for.
pub(super) fn encode(
    message: &Message,
    version: i16,
    value: &Value,
    tags: Tags,
    resolve: &dyn Fn(&Name, i64) -> Value,
) -> Vec<u8> {
    let mut writer =
        Writer { message, version, flexible: message.is_flexible(version), resolve, out: Vec::new() };
    writer.structure(&message.main, value, tags);
    writer.out
}

struct Writer<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
    resolve: &'a dyn Fn(&Name, i64) -> Value,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn structure(&mut self, structure: &Struct, value: &Value, tags: Tags) {
        let in_version = |field: &&Field| field.versions.contains(self.version);
        let (plain, tagged): (Vec<&Field>, Vec<&Field>) =
            structure.fields.iter().filter(in_version).partition(|field| field.tag.is_none());
        for field in plain {
            let set = value.get_set(&field.name);
            self.value(
                &field.ty,
                nullable(field, self.version),
                &set.unwrap_or_else(|| default(field)),
                false,
            );
        }
        if self.flexible {
            self.tagged(&tagged, value, tags);
        }
    }

    fn tagged(&mut self, tagged: &[&Field], value: &Value, tags: Tags) {
        let mut present = Vec::new();
        for field in tagged {
            let Some(set) = value.get_set(&field.name) else { continue };
            let before = std::mem::take(&mut self.out);
            self.value(&field.ty, nullable(field, self.version), &set, true);
            present.push((field.tag.unwrap_or(0), std::mem::replace(&mut self.out, before)));
        }
        match tags {
            Tags::Unknown | Tags::TooLong => present.push((9_999, vec![7; 5])),
            Tags::Twice => present.extend([(9_999, vec![7; 5]), (9_999, vec![7; 5])]),
            Tags::Right | Tags::TooMany => {}
        }
        let claimed = if tags == Tags::TooMany { 1_000 } else { present.len() as u32 };
        self.uvarint(claimed);
        for (tag, bytes) in present {
            self.uvarint(tag);
            let too_long = if tags == Tags::TooLong && tag == 9_999 { 1 << 20 } else { 0 };
            self.uvarint(bytes.len() as u32 + too_long);
            self.out.extend(bytes);
        }
    }

    fn value(&mut self, ty: &Type, nullable: bool, value: &Value, in_tag: bool) {
        match value {
            Value::Named(name, shift) => {
                let resolved = (self.resolve)(name, *shift);
                self.value(ty, nullable, &resolved, in_tag);
            }
            Value::Claim(claimed, real) => self.claimed(ty, *claimed, real),
            Value::Null => self.null(ty, nullable, in_tag),
            _ => self.present(ty, nullable, value, in_tag),
        }
    }

    fn null(&mut self, ty: &Type, nullable: bool, in_tag: bool) {
        match ty {
            Type::Struct(_) if in_tag => self.uvarint(0),
            Type::Struct(_) if nullable => self.out.push(0xff),
            Type::Struct(name) => {
                if let Some(inner) = self.message.inner(name) {
                    self.structure(inner, &Value::Null, Tags::Right);
                }
            }
            _ => self.length(ty, -1),
        }
    }

    fn claimed(&mut self, ty: &Type, claimed: i64, real: &Value) {
        let start = self.out.len();
        self.value(ty, true, real, false);
        let rest = self.out.split_off(start);
        let skip = match ty {
            _ if self.flexible => rest.iter().take_while(|byte| **byte >= 0x80).count() + 1,
            Type::String => 2,
            _ => 4,
        };
        self.length(ty, claimed);
        self.out.extend(rest.get(skip..).unwrap_or_default());
    }

    fn present(&mut self, ty: &Type, nullable: bool, value: &Value, in_tag: bool) {
        match ty {
            Type::Bool | Type::I8 => self.out.push(value.int() as u8),
            Type::I16 | Type::U16 => self.out.extend((value.int() as i16).to_be_bytes()),
            Type::I32 => self.out.extend((value.int() as i32).to_be_bytes()),
            Type::I64 => self.out.extend(value.int().to_be_bytes()),
            Type::F64 => self.out.extend((value.int() as f64).to_be_bytes()),
            Type::Uuid => match value {
                Value::Uuid(bytes) => self.out.extend(bytes),
                _ => self.out.extend([0; 16]),
            },
            Type::String | Type::Bytes | Type::Records => {
                if let Value::Text(bytes) | Value::Blob(bytes) = value {
                    self.length(ty, bytes.len() as i64);
                    self.out.extend(bytes);
                } else {
                    self.length(ty, 0);
                }
            }
            Type::Array(element) => {
                self.length(ty, value.list().len() as i64);
                for item in value.list() {
                    self.value(element, false, item, false);
                }
            }
            Type::Struct(name) => {
                if in_tag && nullable {
                    self.uvarint(1);
                } else if nullable {
                    self.out.push(1);
                }
                if let Some(inner) = self.message.inner(name) {
                    self.structure(inner, value, Tags::Right);
                }
            }
        }
    }

    fn length(&mut self, ty: &Type, length: i64) {
        if self.flexible {
            self.uvarint((length + 1) as u32);
        } else if *ty == Type::String {
            self.out.extend((length as i16).to_be_bytes());
        } else {
            self.out.extend((length as i32).to_be_bytes());
        }
    }

    fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

impl Value {
    fn get_set(&self, name: &str) -> Option<Value> {
        match self {
            Value::Struct(fields) => {
                fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
            }
            _ => None,
        }
    }
}

fn nullable(field: &Field, version: i16) -> bool {
    field.nullable.is_some_and(|versions| versions.contains(version))
}

/// Reads a body that is all of `bytes`.
///
/// # Errors
/// When it is none.
pub(super) fn decode(message: &Message, version: i16, bytes: &[u8]) -> Result<Value> {
    let mut reader = Reader { message, version, flexible: message.is_flexible(version), bytes };
    let value = reader.structure(&message.main)?;
    ensure!(reader.bytes.is_empty(), "{} bytes are left", reader.bytes.len());
    Ok(value)
}

struct Reader<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn structure(&mut self, structure: &Struct) -> Result<Value> {
        let mut read = Vec::new();
        let version = self.version;
        for field in structure.fields.iter().filter(|f| f.versions.contains(version) && f.tag.is_none()) {
            read.push((field.name.clone(), self.value(&field.ty, nullable(field, version), false)?));
        }
        if self.flexible {
            for _ in 0..self.uvarint()? {
                let (tag, size) = (self.uvarint()?, self.uvarint()? as usize);
                let content = self.take(size)?;
                let known = |f: &&Field| f.tag == Some(tag) && f.versions.contains(version);
                if let Some(field) = structure.fields.iter().find(known) {
                    let mut inside = Reader { bytes: content, ..*self };
                    read.push((field.name.clone(), inside.value(&field.ty, nullable(field, version), true)?));
                    ensure!(inside.bytes.is_empty(), "{} does not fill its tag", field.name);
                }
            }
        }
        Ok(Value::Struct(read))
    }

    fn value(&mut self, ty: &Type, nullable: bool, in_tag: bool) -> Result<Value> {
        Ok(match ty {
            Type::Bool | Type::I8 => Value::Int(i64::from(self.take(1)?[0] as i8)),
            Type::I16 | Type::U16 => Value::Int(i64::from(i16::from_be_bytes(self.take(2)?.try_into()?))),
            Type::I32 => Value::Int(i64::from(i32::from_be_bytes(self.take(4)?.try_into()?))),
            Type::I64 | Type::F64 => Value::Int(i64::from_be_bytes(self.take(8)?.try_into()?)),
            Type::Uuid => Value::Uuid(self.take(16)?.try_into()?),
            Type::Struct(name) => {
                let absent = match (nullable, in_tag) {
                    (true, true) => self.uvarint()? == 0,
                    (true, false) => self.take(1)?[0] as i8 == -1,
                    (false, _) => false,
                };
                match self.message.inner(name) {
                    _ if absent => Value::Null,
                    Some(inner) => self.structure(inner)?,
                    None => bail!("no struct {name}"),
                }
            }
            Type::String | Type::Bytes | Type::Records | Type::Array(_) => {
                let length = self.length(ty)?;
                let Ok(length) = usize::try_from(length) else {
                    ensure!(nullable, "null where the version has none");
                    return Ok(Value::Null);
                };
                match ty {
                    Type::Array(element) => {
                        let items: Result<Vec<Value>> =
                            (0..length).map(|_| self.value(element, false, false)).collect();
                        Value::List(items?)
                    }
                    Type::String => Value::Text(self.take(length)?.to_vec()),
                    _ => Value::Blob(self.take(length)?.to_vec()),
                }
            }
        })
    }

    fn length(&mut self, ty: &Type) -> Result<i64> {
        Ok(if self.flexible {
            i64::from(self.uvarint()?) - 1
        } else if *ty == Type::String {
            i64::from(i16::from_be_bytes(self.take(2)?.try_into()?))
        } else {
            i64::from(i32::from_be_bytes(self.take(4)?.try_into()?))
        })
    }

    fn uvarint(&mut self) -> Result<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        bail!("a varint without an end")
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        ensure!(count <= self.bytes.len(), "the answer ends too early");
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Ok(taken)
    }
}
