//! The Rust of one struct: fields, default, decoding, encoding, JSON, random values.

use super::schema::{Field, Literal, Message, Struct, Type, Versions};
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;

/// Kafka's name in snake case: `KRaftVersionFeature` is `kraft_version_feature`, `Enable2Pc` is `enable_2pc`.
pub(crate) fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft").replace("2Pc", "_2pc");
    let mut snake = String::new();
    let mut before = '_';
    for c in name.chars() {
        if c.is_ascii_uppercase() && before != '_' && !before.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        before = c;
    }
    snake
}

/// The name of a field in Rust.
pub(crate) fn field_name(kafka: &str) -> String {
    match snake(kafka).as_str() {
        name @ ("type" | "match") => format!("r#{name}"),
        name => name.to_owned(),
    }
}

/// The name in Kafka's JSON: its own, the first letter small.
fn json_name(field: &Field) -> String {
    let mut chars = field.name.chars();
    chars.next().map(|first| first.to_ascii_lowercase().to_string() + chars.as_str()).unwrap_or_default()
}

impl Type {
    fn rust(&self) -> String {
        match self {
            Type::Bool => "bool".to_owned(),
            Type::I8 => "i8".to_owned(),
            Type::I16 => "i16".to_owned(),
            Type::I32 => "i32".to_owned(),
            Type::I64 => "i64".to_owned(),
            Type::U16 => "u16".to_owned(),
            Type::F64 => "f64".to_owned(),
            Type::Uuid => "Uuid".to_owned(),
            Type::String => "String".to_owned(),
            Type::Bytes => "Bytes".to_owned(),
            Type::Records => "Records".to_owned(),
            Type::Struct(name) => name.clone(),
            Type::Array(element) => format!("Vec<{}>", element.rust()),
        }
    }

    /// The codec's method, for types that have one.
    fn method(&self) -> Option<&'static str> {
        Some(match self {
            Type::Bool => "bool",
            Type::I8 => "i8",
            Type::I16 => "i16",
            Type::I32 => "i32",
            Type::I64 => "i64",
            Type::U16 => "u16",
            Type::F64 => "f64",
            Type::Uuid => "uuid",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Records => "records",
            Type::Array(_) => "array",
            Type::Struct(_) => return None,
        })
    }

    /// Whether values are as long in both forms.
    fn is_fixed(&self) -> bool {
        !matches!(self, Type::String | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_))
    }
}

impl Field {
    /// Records always are an option: nothing to send is not the same as no bytes.
    fn is_option(&self) -> bool {
        self.nullable.is_some() || self.ty == Type::Records
    }

    fn rust_type(&self) -> String {
        if self.is_option() { format!("Option<{}>", self.ty.rust()) } else { self.ty.rust() }
    }

    fn default(&self) -> String {
        let natural = match &self.ty {
            Type::Bool => "false".to_owned(),
            Type::F64 => "0.0".to_owned(),
            Type::Uuid => "Uuid::ZERO".to_owned(),
            Type::String => "String::new()".to_owned(),
            Type::Bytes => "Bytes::new()".to_owned(),
            Type::Array(_) => "Vec::new()".to_owned(),
            Type::Struct(name) => format!("{name}::default()"),
            _ => "0".to_owned(),
        };
        match self.default {
            Literal::Null => "None".to_owned(),
            _ if self.ty == Type::Records => "None".to_owned(),
            Literal::Natural if self.is_option() => format!("Some({natural})"),
            Literal::Natural => natural,
            Literal::True => "true".to_owned(),
            Literal::Number(number) if number == i64::MAX => "i64::MAX".to_owned(),
            Literal::Number(number) if number == i64::from(i32::MAX) => "i32::MAX".to_owned(),
            Literal::Number(number) if number == i64::from(i32::MIN) => "i32::MIN".to_owned(),
            Literal::Number(number) => number.to_string(),
        }
    }

    /// Whether `Default` of the Rust type is Kafka's default.
    fn default_is_rusts(&self) -> bool {
        match self.default {
            Literal::Null => true,
            Literal::Natural => !self.is_option() || self.ty == Type::Records,
            Literal::True | Literal::Number(_) => false,
        }
    }

    /// The condition under which a tagged field is written: that it does not have its default.
    fn is_set(&self) -> String {
        let name = field_name(&self.name);
        match (&self.ty, &self.default, self.is_option()) {
            (_, Literal::Null, _) => format!("self.{name}.is_some()"),
            (Type::String | Type::Bytes | Type::Array(_), _, true) => {
                format!("self.{name}.as_ref().is_none_or(|value| !value.is_empty())")
            }
            (Type::String | Type::Bytes | Type::Array(_), _, false) => format!("!self.{name}.is_empty()"),
            (Type::Bool, Literal::Natural, _) => format!("self.{name}"),
            (Type::Bool, _, _) => format!("!self.{name}"),
            _ => format!("self.{name} != {}", self.default()),
        }
    }

    fn doc(&self, message: Versions) -> Vec<String> {
        let mut doc = self.doc.clone();
        let mut facts = Vec::new();
        let range = |versions: Versions| match versions {
            Versions { first, last } if last == message.last => format!("{first}+"),
            Versions { first, last } if first == last => first.to_string(),
            Versions { first, last } => format!("{first}–{last}"),
        };
        if self.versions != message {
            facts.push(format!("Versions {}.", range(self.versions)));
        }
        if let Some(tag) = self.tag {
            facts.push(format!("Tagged field {tag}."));
        }
        if let Some(nullable) = self.nullable.filter(|nullable| *nullable != self.versions) {
            facts.push(format!("Null in versions {} only.", range(nullable)));
        }
        if !self.default_is_rusts() {
            facts.push(format!("Default `{}`.", self.default()));
        }
        if !facts.is_empty() {
            doc.push(facts.join(" "));
        }
        doc
    }
}

/// Writes the Rust of the structs of one message.
pub(crate) struct Writer<'a> {
    message: &'a Message,
    out: String,
}

impl<'a> Writer<'a> {
    /// The Rust of a message. `lead` is said first of it.
    pub(crate) fn message(message: &'a Message, lead: &[String]) -> Result<String> {
        let mut writer = Writer { message, out: String::new() };
        writer.definition(&message.main, lead)?;
        writer.main_impl()?;
        writer.lesser_impls(&message.main)?;
        for inner in &message.inner {
            writer.definition(inner, &inner.doc)?;
            writer.inner_impl(inner)?;
            writer.lesser_impls(inner)?;
        }
        Ok(writer.out)
    }

    fn form(&self) -> String {
        match self.message.flexible {
            None => "Form::Classic".to_owned(),
            Some(first) if first <= self.message.versions.first => "Form::Flexible".to_owned(),
            Some(first) => format!("Form::flexible_if(version >= {first})"),
        }
    }

    fn definition(&mut self, this: &Struct, doc: &[String]) -> Result<()> {
        for line in doc {
            writeln!(self.out, "/// {line}")?;
        }
        let derived = this.fields.iter().all(Field::default_is_rusts);
        let default = if derived { ", Default" } else { "" };
        writeln!(self.out, "#[derive(Clone, Debug, PartialEq{default})]\npub struct {} {{", this.name)?;
        for field in &this.fields {
            for line in field.doc(self.message.versions) {
                writeln!(self.out, "/// {line}")?;
            }
            writeln!(self.out, "pub {}: {},", field_name(&field.name), field.rust_type())?;
        }
        writeln!(self.out, "}}\n")?;
        if !derived {
            let name = &this.name;
            writeln!(self.out, "impl Default for {name} {{ fn default() -> {name} {{ {name} {{")?;
            for field in &this.fields {
                writeln!(self.out, "{}: {},", field_name(&field.name), field.default())?;
            }
            writeln!(self.out, "}} }} }}\n")?;
        }
        Ok(())
    }

    fn main_impl(&mut self) -> Result<()> {
        let name = self.message.name();
        let Versions { first, last } = self.message.versions;
        let flexible = match self.message.flexible {
            None => "false".to_owned(),
            Some(flexible) if flexible <= first => "true".to_owned(),
            Some(flexible) => format!("version >= {flexible}"),
        };
        let version = if flexible.contains("version") { "version" } else { "_version" };
        let (decode, encode) = (self.decode(&self.message.main)?, self.encode(&self.message.main)?);
        writeln!(
            self.out,
            "impl Message for {name} {{
                const NAME: &'static str = \"{name}\";
                const VERSIONS: RangeInclusive<i16> = {first}..={last};

                fn is_flexible({version}: i16) -> bool {{ {flexible} }}

                fn decode(input: &mut Decoder, version: i16) -> Result<{name}, DecodeError> {{
                    check_decode::<{name}>(input, version)?;
                    {decode}
                }}

                fn encode(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError> {{
                    check_encode::<{name}>(version)?;
                    {encode}
                }}
            }}\n"
        )?;
        Ok(())
    }

    fn inner_impl(&mut self, this: &Struct) -> Result<()> {
        let name = &this.name;
        let (decode, encode) = (self.decode(this)?, self.encode(this)?);
        writeln!(
            self.out,
            "impl {name} {{
                fn decode(input: &mut Decoder, {}: i16) -> Result<{name}, DecodeError> {{ {decode} }}

                fn encode(&self, out: &mut Encoder, {}: i16) -> Result<(), EncodeError> {{ {encode} }}
            }}\n",
            version_parameter(&decode),
            version_parameter(&encode),
        )?;
        Ok(())
    }

    /// JSON and random values.
    fn lesser_impls(&mut self, this: &Struct) -> Result<()> {
        let name = &this.name;
        let (mut json, mut random) = (String::new(), String::new());
        for field in &this.fields {
            let (field_name, json_name) = (field_name(&field.name), json_name(field));
            let entry = if field.ty == Type::Records {
                format!(
                    "object.field(if self.{field_name}.is_some() {{ \"{json_name}SizeInBytes\" }} else {{ \"{json_name}\" }}, &self.{field_name});"
                )
            } else {
                format!("object.field(\"{json_name}\", &self.{field_name});")
            };
            let set = field.tag.map(|_| field.is_set());
            json.push_str(&guarded(&conditions([field.versions.condition(field.within), set]), &entry));
            let any = "Arbitrary::arbitrary(random, version)";
            let value = match field.nullable {
                None if field.is_option() => format!("Some({any})"),
                None => any.to_owned(),
                Some(nullable) => match nullable.condition(field.versions) {
                    None => any.to_owned(),
                    Some(condition) => format!("if {condition} {{ {any} }} else {{ Some({any}) }}"),
                },
            };
            let assignment = format!("this.{field_name} = {value};");
            random
                .push_str(&guarded(&conditions([field.versions.condition(field.within), None]), &assignment));
        }
        let (open, close) = if this.fields.is_empty() {
            ("Object::new(out, version)", ".end();")
        } else {
            ("let mut object = Object::new(out, version);", "object.end();")
        };
        let make = if this.fields.is_empty() {
            format!("{name} {{}}")
        } else {
            format!("let mut this = {name}::default(); {random} this")
        };
        let random_parameter = if this.fields.is_empty() { "_random" } else { "random" };
        writeln!(
            self.out,
            "impl ToJson for {name} {{
                fn to_json(&self, out: &mut String, version: i16) {{ {open}{json}{close} }}
            }}

            #[cfg(any(test, feature = \"arbitrary\"))]
            impl Arbitrary for {name} {{
                fn arbitrary({random_parameter}: &mut Random, {}: i16) -> {name} {{ {make} }}
            }}\n",
            version_parameter(&make),
        )?;
        Ok(())
    }

    fn decode(&self, this: &Struct) -> Result<String> {
        let mut body = String::new();
        for field in this.fields.iter().filter(|field| field.tag.is_none()) {
            let read = format!("this.{} = {};", field_name(&field.name), self.read(field)?);
            body.push_str(&guarded(&conditions([field.versions.condition(field.within), None]), &read));
        }
        let mut known = String::new();
        for field in this.fields.iter().filter(|field| field.tag.is_some()) {
            let tag = field.tag.unwrap_or_default();
            let within = Versions {
                first: field.within.first.max(self.message.flexible.unwrap_or(0)),
                ..field.within
            };
            let guard = field.versions.condition(within).map(|c| format!(" if {c}")).unwrap_or_default();
            write!(known, "{tag}{guard} => this.{} = {},", field_name(&field.name), self.read(field)?)?;
        }
        if self.message.flexible.is_some() {
            let tags = if known.is_empty() {
                "input.skip_tagged_fields()?;".to_owned()
            } else {
                format!(
                    "input.tagged_fields(|tag, input| {{
                        match tag {{ {known} _ => return Ok(Tag::Unknown), }}
                        Ok(Tag::Known)
                    }})?;"
                )
            };
            body.push_str(&guarded(&self.if_flexible(), &tags));
        }
        let binding = if this.fields.is_empty() { "let this" } else { "let mut this" };
        let form = self.bind_form(&body);
        Ok(format!("{form} {binding} = {}::default(); {body} Ok(this)", this.name))
    }

    fn encode(&self, this: &Struct) -> Result<String> {
        let mut body = String::new();
        for field in this.fields.iter().filter(|field| field.tag.is_none()) {
            let write = self.write(field)?;
            body.push_str(&guarded(&conditions([field.versions.condition(field.within), None]), &write));
        }
        let mut tagged: Vec<&Field> = this.fields.iter().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        let mut tags = String::new();
        for field in tagged {
            let tag = field.tag.unwrap_or_default();
            ensure!(field.ty != Type::Records, "{}: records cannot be tagged", field.name);
            let within = Versions {
                first: field.within.first.max(self.message.flexible.unwrap_or(0)),
                ..field.within
            };
            let condition = conditions([field.versions.condition(within), Some(field.is_set())]);
            let write = format!("tags.field({tag}, |out| {{ {} Ok(()) }})?;", self.write(field)?);
            tags.push_str(&guarded(&condition, &write));
        }
        if self.message.flexible.is_some() {
            let tags = if tags.is_empty() {
                "out.tagged_fields();".to_owned()
            } else {
                format!("let mut tags = out.tagged_fields(); {tags}")
            };
            body.push_str(&guarded(&self.if_flexible(), &tags));
        }
        Ok(format!("{} {body} Ok(())", self.bind_form(&body)))
    }

    fn bind_form(&self, body: &str) -> String {
        if body.contains("form") { format!("let form = {};", self.form()) } else { String::new() }
    }

    fn if_flexible(&self) -> String {
        match self.message.flexible {
            Some(first) if first > self.message.versions.first => "form.is_flexible()".to_owned(),
            _ => String::new(),
        }
    }

    /// The expression that reads a field.
    fn read(&self, field: &Field) -> Result<String> {
        let plain = format!("{}?", self.read_value(&field.ty)?);
        let some = if field.is_option() { format!("Some({plain})") } else { plain };
        let Some(nullable) = field.nullable else { return Ok(some) };
        let or_null = match &field.ty {
            Type::Struct(name) => {
                let is_present = presence(field);
                format!(
                    "if input.{is_present}()? {{ Some({name}::decode(input, version)?) }} else {{ None }}"
                )
            }
            ty => format!("{}?", self.read_value(ty)?.replacen("input.", "input.nullable_", 1)),
        };
        Ok(match nullable.condition(field.versions) {
            None => or_null,
            Some(condition) => format!("if {condition} {{ {or_null} }} else {{ {some} }}"),
        })
    }

    /// The expression that reads a value, a `Result`.
    fn read_value(&self, ty: &Type) -> Result<String> {
        Ok(match (ty, ty.method()) {
            (Type::Struct(name), _) => format!("{name}::decode(input, version)"),
            (Type::Array(element), _) => {
                let versions = self.message.versions.iter();
                let sizes: Result<Vec<usize>> = versions.map(|v| self.bytes_min(element, v)).collect();
                let bytes_min = sizes?.into_iter().min().context("a message has versions")?;
                format!("input.array(form, {bytes_min}, |input| {})", self.read_value(element)?)
            }
            (_, method) if ty.is_fixed() => format!("input.{}()", method.context("a type has a method")?),
            (_, method) => format!("input.{}(form)", method.context("a type has a method")?),
        })
    }

    /// The statements that write a field.
    fn write(&self, field: &Field) -> Result<String> {
        let name = field_name(&field.name);
        let borrowed = match &field.ty {
            Type::Records => format!("self.{name}.as_ref()"),
            _ => format!("self.{name}.as_deref()"),
        };
        let required = format!("required({borrowed}, \"{}\")?", field.name);
        let (plain, or_null) = match &field.ty {
            Type::Struct(_) if field.is_option() => (
                format!("required(self.{name}.as_ref(), \"{}\")?.encode(out, version)?;", field.name),
                format!(
                    "out.{}(self.{name}.is_some());
                    if let Some(value) = &self.{name} {{ value.encode(out, version)?; }}",
                    presence(field)
                ),
            ),
            Type::Struct(_) => (format!("self.{name}.encode(out, version)?;"), String::new()),
            ty if ty.is_fixed() => {
                (format!("out.{}(self.{name});", ty.method().context("a method")?), String::new())
            }
            ty => {
                let method = ty.method().context("a method")?;
                let element = match ty {
                    Type::Array(element) => format!(", {}", write_element(element)?),
                    _ => String::new(),
                };
                let value = if field.is_option() { required } else { format!("&self.{name}") };
                (
                    format!("out.{method}({value}, form{element})?;"),
                    format!("out.nullable_{method}({borrowed}, form{element})?;"),
                )
            }
        };
        Ok(match field.nullable.map(|nullable| nullable.condition(field.versions)) {
            None => plain,
            Some(None) => or_null,
            Some(Some(condition)) => format!("if {condition} {{ {or_null} }} else {{ {plain} }}"),
        })
    }

    /// The fewest bytes that a value takes at a version.
    fn bytes_min(&self, ty: &Type, version: i16) -> Result<usize> {
        let flexible = self.message.is_flexible(version);
        Ok(match ty {
            Type::Bool | Type::I8 => 1,
            Type::I16 | Type::U16 => 2,
            Type::I32 => 4,
            Type::I64 | Type::F64 => 8,
            Type::Uuid => 16,
            Type::String | Type::Bytes | Type::Records | Type::Array(_) if flexible => 1,
            Type::String => 2,
            Type::Bytes | Type::Records | Type::Array(_) => 4,
            Type::Struct(name) => {
                let inner = self.message.inner(name).with_context(|| format!("no struct {name}"))?;
                let mut sum = usize::from(flexible);
                for field in inner.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version)) {
                    sum += match (&field.ty, field.nullable) {
                        (Type::Struct(_), Some(_)) => 1,
                        (ty, _) => self.bytes_min(ty, version)?,
                    };
                }
                sum.max(1)
            }
        })
    }
}

/// The codec's method for whether a nullable struct follows.
fn presence(field: &Field) -> &'static str {
    if field.tag.is_some() { "is_present_tagged" } else { "is_present" }
}

/// The closure that writes an element of an array.
fn write_element(ty: &Type) -> Result<String> {
    Ok(match ty {
        Type::Struct(_) => "|out, value| value.encode(out, version)".to_owned(),
        ty if ty.is_fixed() => {
            format!("|out, value| {{ out.{}(*value); Ok(()) }}", ty.method().context("a method")?)
        }
        ty => format!("|out, value| out.{}(value, form)", ty.method().context("a method")?),
    })
}

fn conditions(all: [Option<String>; 2]) -> String {
    all.into_iter().flatten().collect::<Vec<_>>().join(" && ")
}

fn guarded(condition: &str, statement: &str) -> String {
    if condition.is_empty() {
        format!("{statement}\n")
    } else {
        format!("if {condition} {{ {statement} }}\n")
    }
}

/// The parameter's name: fields called `..._version` do not make it used.
fn version_parameter(body: &str) -> &'static str {
    let used = [" version", "&version", "(version"].iter().any(|usage| body.contains(usage));
    if used { "version" } else { "_version" }
}

#[cfg(test)]
mod tests {
    use super::snake;

    #[test]
    fn names_become_snake_case() {
        for (kafka, rust) in [
            ("TopicData", "topic_data"),
            ("timeoutMs", "timeout_ms"),
            ("KRaftVersionFeature", "kraft_version_feature"),
            ("Enable2Pc", "enable_2pc"),
            ("V3AndBelowTopics", "v3_and_below_topics"),
            ("Type", "type"),
        ] {
            assert_eq!(snake(kafka), rust);
        }
    }
}
