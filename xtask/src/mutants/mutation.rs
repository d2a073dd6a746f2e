//! What is made wrong of a request.

use super::chance::Chance;
use super::codec::{Name, Tags, Value};
use super::records;
use super::requests::{Maker, TOPIC};
use crate::codegen::schema::{Field, Message, Struct, Type};

/// A request of which something is wrong, perhaps.
#[derive(Clone, Debug)]
pub(super) struct Mutant {
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) body: Value,
    pub(super) tags: Tags,
    pub(super) frame: Frame,
    /// The kind of what is wrong.
    pub(super) kind: &'static str,
    /// Where and what, for whoever reads the report.
    pub(super) what: String,
}

/// What is wrong with a request's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Right,
    /// So many bytes less of the body, in a frame of the right length.
    Truncated(usize),
    /// Bytes after the body, in the frame.
    Trailing(usize),
    /// A byte of the body, counted from its end, is another.
    Flipped(usize, u8),
    /// The length says so much more or less.
    Length(i32),
    /// The length itself.
    LengthIs(i32),
    /// The header ends after so many bytes.
    Header(usize),
    /// The client's name is longer than the frame.
    ClientId(i16),
    /// The header lacks its tagged fields, or has them where there are none.
    OtherHeader,
    /// Another version.
    Version(i16),
    /// Another API.
    Key(i16),
}

impl Frame {
    /// Whether the other side waits for more, or finds more than it takes.
    pub(super) fn has_wrong_length(self) -> bool {
        matches!(self, Frame::Length(_) | Frame::LengthIs(_))
    }
}

/// A place in a request that can be made wrong.
struct Site {
    /// Indexes of fields and items.
    path: Vec<usize>,
    name: String,
    ty: Type,
    field: String,
}

/// Makes a mutant: the `index`th of its API and version. The first is not wrong at all.
pub(super) fn make(maker: &Maker<'_>, index: usize, chance: &mut Chance) -> Mutant {
    let mut mutant = Mutant {
        api_key: maker.api.key,
        version: maker.version,
        body: maker.request(chance),
        tags: Tags::Right,
        frame: Frame::Right,
        kind: "none",
        what: "as it should be".to_owned(),
    };
    if index == 0 || chance.is(3) {
        return mutant;
    }
    if chance.is(22) {
        wrong_bytes(maker, &mut mutant, chance);
        return mutant;
    }
    let count = if chance.is(15) { 2 } else { 1 };
    let mut what = Vec::new();
    for _ in 0..count {
        let mut sites = Vec::new();
        find(
            &maker.api.request,
            &maker.api.request.main,
            maker.version,
            &mutant.body,
            (&mut Vec::new(), ""),
            &mut sites,
        );
        if sites.is_empty() {
            break;
        }
        let site = chance.pick(&sites);
        let Some(at) = place(&mut mutant.body, &site.path) else { continue };
        let (kind, value) = wrong(maker, site, at, chance);
        what.push(format!("{} = {}", site.name, shown(&value)));
        mutant.kind = kind;
        *at = value;
    }
    mutant.what = what.join(", ");
    mutant
}

fn wrong_bytes(maker: &Maker<'_>, mutant: &mut Mutant, chance: &mut Chance) {
    let flexible = maker.api.request.is_flexible(maker.version);
    let last = *[maker.api.request.versions.last, maker.api.request.versions.first]
        .get(chance.below(2))
        .unwrap_or(&0);
    (mutant.kind, mutant.frame) = match chance.below(if flexible { 13 } else { 10 }) {
        0 => ("truncated", Frame::Truncated(1 + chance.below(12))),
        1 => ("trailing bytes", Frame::Trailing(1 + chance.below(8))),
        2..=4 => ("flipped bytes", Frame::Flipped(1 + chance.below(60), 1 << chance.below(8))),
        5 => ("length", Frame::Length(*chance.pick(&[-4, -1, 1, 9]))),
        6 => ("length", Frame::LengthIs(*chance.pick(&[-1, 0, 1, i32::MIN, i32::MAX, 104_857_601]))),
        7 => (
            "header",
            *chance.pick(&[
                Frame::Header(2),
                Frame::Header(7),
                Frame::Header(9),
                Frame::ClientId(3_000),
                Frame::ClientId(-2),
            ]),
        ),
        8 => ("header", Frame::OtherHeader),
        9 => match chance.below(3) {
            0 => ("version", Frame::Version(last + 1)),
            1 => ("version", Frame::Version(*chance.pick(&[-1, i16::MAX, i16::MIN]))),
            _ => ("api key", Frame::Key(*chance.pick(&[-1, 4, 5, 6, 7, 200, i16::MAX]))),
        },
        _ => ("tagged fields", Frame::Right),
    };
    if mutant.kind == "tagged fields" {
        mutant.tags = *chance.pick(&[Tags::Unknown, Tags::TooLong, Tags::TooMany, Tags::Twice]);
        mutant.what = format!("{:?}", mutant.tags);
    } else {
        mutant.what = format!("{:?}", mutant.frame);
    }
}

/// Every field and item that the version has, in order.
fn find(
    message: &Message,
    structure: &Struct,
    version: i16,
    value: &Value,
    (path, name): (&mut Vec<usize>, &str),
    sites: &mut Vec<Site>,
) {
    let Value::Struct(fields) = value else { return };
    for (index, (field_name, value)) in fields.iter().enumerate() {
        let is_this = |field: &&Field| field.name == *field_name && field.versions.contains(version);
        let Some(field) = structure.fields.iter().find(is_this) else { continue };
        path.push(index);
        let name = if name.is_empty() { field_name.clone() } else { format!("{name}.{field_name}") };
        walk(message, version, &field.ty, field, value, (path, &name), sites);
        path.pop();
    }
}

fn walk(
    message: &Message,
    version: i16,
    ty: &Type,
    field: &Field,
    value: &Value,
    (path, name): (&mut Vec<usize>, &str),
    sites: &mut Vec<Site>,
) {
    sites.push(Site { path: path.clone(), name: name.to_owned(), ty: ty.clone(), field: field.name.clone() });
    match (ty, value) {
        (Type::Array(element), Value::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index);
                walk(message, version, element, field, item, (path, name), sites);
                path.pop();
            }
        }
        (Type::Struct(inner), Value::Struct(_)) => {
            if let Some(inner) = message.inner(inner) {
                // The struct itself is no place of its own.
                sites.pop();
                find(message, inner, version, value, (path, name), sites);
            }
        }
        _ => {}
    }
}

fn place<'a>(value: &'a mut Value, path: &[usize]) -> Option<&'a mut Value> {
    let Some((first, rest)) = path.split_first() else { return Some(value) };
    match value {
        Value::Struct(fields) => place(&mut fields.get_mut(*first)?.1, rest),
        Value::List(items) => place(items.get_mut(*first)?, rest),
        _ => None,
    }
}

fn wrong(maker: &Maker<'_>, site: &Site, now: &Value, chance: &mut Chance) -> (&'static str, Value) {
    match &site.ty {
        Type::String => text(maker, now, chance),
        Type::Uuid => uuid(maker, chance),
        Type::Records if chance.is(80) => {
            ("records", Value::Named(Name::Batch(chance.below(records::KINDS.len())), 0))
        }
        Type::Bytes | Type::Records => blob(chance),
        Type::Array(_) => list(now, chance),
        Type::Struct(_) => ("null", Value::Null),
        ty => number(maker, site, ty, now, chance),
    }
}

fn text(maker: &Maker<'_>, now: &Value, chance: &mut Chance) -> (&'static str, Value) {
    let internal = if maker.api.name == "DeleteTopics" || maker.api.name == "Produce" {
        ""
    } else {
        "__consumer_offsets"
    };
    match chance.below(9) {
        0 => ("empty string", Value::text("")),
        1 => ("null", Value::Null),
        2 => ("long string", Value::Text(vec![b'x'; *chance.pick(&[249, 250, 32_767, 40_000])])),
        3 => (
            "bad string",
            Value::text(pick_text(chance, &["a b", ".", "..", "\u{e4}", "a\0b", "a/b", "\u{1f600}", "("])),
        ),
        4 => ("not UTF-8", Value::Text(vec![b'a', 0xff, 0xfe, 0xc3])),
        5 | 6 => (
            "unknown name",
            Value::text(pick_text(chance, &["mutants-unknown", "no.such", "AAAAAAAAAAAAAAAAAAAAAA"])),
        ),
        7 => (
            "other name",
            Value::text(pick_text(
                chance,
                &["__transaction_state", internal, "1", "consumer", "cleanup.policy"],
            )),
        ),
        _ => ("wrong length", Value::Claim(*chance.pick(&[-2, -1, 1_000, 32_767]), Box::new(now.clone()))),
    }
}

fn uuid(maker: &Maker<'_>, chance: &mut Chance) -> (&'static str, Value) {
    let mut unknown = [0; 16];
    unknown.fill_with(|| chance.next() as u8);
    match chance.below(4) {
        0 => ("zero id", Value::Uuid([0; 16])),
        1 => {
            let mut one = [0; 16];
            one[15] = 1;
            ("unknown id", Value::Uuid(one))
        }
        2 if maker.api.name != "DeleteTopics" => {
            ("other id", Value::Named(Name::TopicId(TOPIC.to_owned()), 0))
        }
        _ => ("unknown id", Value::Uuid(unknown)),
    }
}

fn blob(chance: &mut Chance) -> (&'static str, Value) {
    match chance.below(4) {
        0 => ("empty bytes", Value::Blob(Vec::new())),
        1 => ("null", Value::Null),
        2 => ("garbage", Value::Blob((0..61).map(|_| chance.next() as u8).collect())),
        _ => {
            let length = *chance.pick(&[-2, 1_000, i64::from(i32::MAX)]);
            ("wrong length", Value::Claim(length, Box::new(Value::Blob(vec![1; 4]))))
        }
    }
}

fn list(now: &Value, chance: &mut Chance) -> (&'static str, Value) {
    let items = now.list();
    match chance.below(6) {
        0 => ("empty list", Value::List(Vec::new())),
        1 => ("null", Value::Null),
        2 | 3 if !items.is_empty() => ("duplicate", Value::List([items, &items[..1]].concat())),
        4 if !items.is_empty() => ("duplicate", Value::List([items, items, items].concat())),
        _ => {
            let count = *chance.pick(&[-2, -1, 2, 1_000, i64::from(i32::MAX) - 1]);
            ("wrong count", Value::Claim(count, Box::new(now.clone())))
        }
    }
}

fn number(
    maker: &Maker<'_>,
    site: &Site,
    ty: &Type,
    now: &Value,
    chance: &mut Chance,
) -> (&'static str, Value) {
    let (min, max) = match ty {
        Type::Bool => (0, 1),
        Type::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        Type::I16 | Type::U16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Type::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    if let Value::Named(name, _) = now
        && chance.is(40)
    {
        return ("stale", Value::Named(name.clone(), *chance.pick(&[-1, 1, 1, 10])));
    }
    // What would cost both sides more than it tells, or what the quorum would not outlive.
    let bounded = match (maker.api.name.as_str(), site.field.as_str()) {
        (_, "NumPartitions" | "Count") => &[-2, -1, 0, 1, 2, max][..],
        ("Vote" | "BeginQuorumEpoch" | "EndQuorumEpoch" | "Fetch" | "FetchSnapshot", field)
            if field.contains("Epoch") && maker.api.key != 1 =>
        {
            &[-2, -1, 0, 1][..]
        }
        ("UpdateFeatures", "MaxVersionLevel") => &[-1, 0, 1, 33, 34, max][..],
        ("UnregisterBroker" | "BrokerHeartbeat" | "RemoveRaftVoter", "BrokerId" | "VoterId") => {
            &[-1, 0, 2, max, min][..]
        }
        _ => &[-2, -1, 0, 1, 2, 3, 100, max, min][..],
    };
    let number = *chance.pick(bounded);
    let kind = match number {
        _ if number == max || number == min => "extreme number",
        _ if number < 0 => "negative number",
        _ => "number",
    };
    (kind, Value::Int(number))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) if text.len() > 60 => format!("{} bytes", text.len()),
        Value::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
        Value::Uuid(id) if *id == [0; 16] => "zero".to_owned(),
        Value::Uuid(_) => "an id".to_owned(),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
        Value::List(items) => format!("{} items", items.len()),
        Value::Claim(claimed, _) => format!("{claimed} claimed"),
        Value::Named(Name::Batch(kind), _) => records::KINDS[*kind].to_owned(),
        Value::Named(name, shift) => format!("{name:?} {shift:+}"),
        Value::Struct(_) => "a struct".to_owned(),
    }
}

fn pick_text<'a>(chance: &mut Chance, from: &[&'a str]) -> &'a str {
    chance.pick::<&str>(from)
}
