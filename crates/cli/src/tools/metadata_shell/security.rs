//! What the log says of features that Ottla does not have: access control, quotas, credentials, tokens.

use super::node::{Node, directory, leaf};
use ottla_metadata::KeptRecords;
use ottla_protocol::records::metadata::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, MetadataRecord,
    UserScramCredentialRecord,
};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Whose quota it is: types and names, in order; the default's name is none.
type Entity = Vec<(String, Option<String>)>;

/// Kafka's names of the numbers, each from 0 on.
const RESOURCE_TYPES: &[&str] =
    &["UNKNOWN", "ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"];
const PATTERN_TYPES: &[&str] = &["UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"];
const OPERATIONS: &[&str] = &[
    "UNKNOWN",
    "ANY",
    "ALL",
    "READ",
    "WRITE",
    "CREATE",
    "DELETE",
    "ALTER",
    "DESCRIBE",
    "CLUSTER_ACTION",
    "DESCRIBE_CONFIGS",
    "ALTER_CONFIGS",
    "IDEMPOTENT_WRITE",
    "CREATE_TOKENS",
    "DESCRIBE_TOKENS",
    "TWO_PHASE_COMMIT",
];
const PERMISSION_TYPES: &[&str] = &["UNKNOWN", "ANY", "DENY", "ALLOW"];
const SCRAM_MECHANISMS: [(&str, i8); 2] = [("SCRAM-SHA-256", 1), ("SCRAM-SHA-512", 2)];

fn name(names: &[&'static str], number: i8) -> &'static str {
    usize::try_from(number).ok().and_then(|number| names.get(number)).copied().unwrap_or("UNKNOWN")
}

/// The entries of the access control list, by id.
pub(super) fn acls(kept: &KeptRecords) -> Rc<Node> {
    let entries = kept.iter().filter_map(|record| match record {
        MetadataRecord::AccessControlEntry(record) => Some((record.id.to_string(), leaf(acl(record)))),
        _ => None,
    });
    directory([("byId", directory(entries))])
}

fn acl(record: &AccessControlEntryRecord) -> String {
    format!(
        "StandardAcl[resourceType={}, resourceName={}, patternType={}, principal={}, host={}, operation={}, \
         permissionType={}]",
        name(RESOURCE_TYPES, record.resource_type),
        record.resource_name,
        name(PATTERN_TYPES, record.pattern_type),
        record.principal,
        record.host,
        name(OPERATIONS, record.operation),
        name(PERMISSION_TYPES, record.permission_type),
    )
}

/// Quotas, by whose they are.
///
/// Kafka's names leave defaults out, and lead to the quota that has none, or nowhere: such a name is an empty directory here.
pub(super) fn client_quotas(kept: &KeptRecords) -> Rc<Node> {
    let (named, with_defaults): (BTreeMap<Entity, _>, BTreeMap<_, _>) =
        quotas(kept).into_iter().partition(|(entity, _)| entity.iter().all(|(_, name)| name.is_some()));
    let mut nodes: Vec<(String, Rc<Node>)> =
        named.iter().map(|(entity, values)| (entity_name(entity), quota(values))).collect();
    for entity in with_defaults.keys() {
        let without: Entity = entity.iter().filter(|(_, name)| name.is_some()).cloned().collect();
        nodes.push((
            entity_name(entity),
            named.get(&without).map_or_else(|| quota(&[]), |values| quota(values)),
        ));
    }
    directory(nodes)
}

fn quotas(kept: &KeptRecords) -> BTreeMap<Entity, Vec<(&str, f64)>> {
    let mut quotas: BTreeMap<Entity, Vec<(&str, f64)>> = BTreeMap::new();
    for record in kept.iter() {
        if let MetadataRecord::ClientQuota(record) = record {
            quotas.entry(entity(record)).or_default().push((&record.key, record.value));
        }
    }
    quotas
}

fn entity(record: &ClientQuotaRecord) -> Entity {
    let parts = record.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone()));
    let mut parts: Entity = parts.collect();
    parts.sort();
    parts
}

fn entity_name(entity: &Entity) -> String {
    let parts = entity.iter().filter_map(|(entity_type, name)| {
        let entity_type = if entity_type == "client-id" { "clientId" } else { entity_type };
        let name = name.as_ref()?.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
        Some(format!("{entity_type}({name})"))
    });
    parts.collect::<Vec<_>>().join("_")
}

fn quota(values: &[(&str, f64)]) -> Rc<Node> {
    directory(values.iter().map(|&(key, value)| (key, leaf(double(value)))))
}

/// The number as `Double.toString` writes it.
fn double(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value.is_nan() || value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("so numbers are written");
    let fraction = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{fraction}E{exponent}")
}

/// Passwords' salted hashes, by mechanism and user.
pub(super) fn scram(kept: &KeptRecords) -> Rc<Node> {
    directory(SCRAM_MECHANISMS.map(|(mechanism, number)| {
        let users = kept.iter().filter_map(|record| match record {
            MetadataRecord::UserScramCredential(record) if record.mechanism == number => {
                Some((record.name.as_str(), leaf(credential(record))))
            }
            _ => None,
        });
        (mechanism, directory(users))
    }))
}

fn credential(record: &UserScramCredentialRecord) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!(
        "ScramCredentialData(salt={}, storedKey={}, serverKey={}, iterations={})",
        hex(&record.salt),
        hex(&record.stored_key),
        hex(&record.server_key),
        record.iterations,
    )
}

/// Tokens, by id.
pub(super) fn delegation_tokens(kept: &KeptRecords) -> Rc<Node> {
    directory(kept.iter().filter_map(|record| match record {
        MetadataRecord::DelegationToken(record) => Some((record.token_id.as_str(), leaf(token(record)))),
        _ => None,
    }))
}

/// A token, with the brackets that Kafka gives it.
fn token(record: &DelegationTokenRecord) -> String {
    format!(
        "DelegationTokenDatatokenId={}(owner={}(tokenRequester={}(renewers={}, issueTimestamp={}, maxTimestamp={}), \
         expiryTimestamp={}",
        record.token_id,
        record.owner,
        record.requester,
        record.renewers.join(" "),
        record.issue_timestamp,
        record.max_timestamp,
        record.expiration_timestamp,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::metadata::client_quota_record::EntityData;

    fn kept(records: &[MetadataRecord]) -> KeptRecords {
        let mut kept = KeptRecords::default();
        records.iter().for_each(|record| kept.replay(record));
        kept
    }

    fn printed(node: &Node) -> String {
        let mut out = String::new();
        node.print(&mut out);
        out
    }

    fn quota(entity: &[(&str, Option<&str>)], value: f64) -> MetadataRecord {
        let part = |&(entity_type, entity_name): &(&str, Option<&str>)| EntityData {
            entity_type: entity_type.to_owned(),
            entity_name: entity_name.map(str::to_owned),
        };
        let entity = entity.iter().map(part).collect();
        MetadataRecord::ClientQuota(ClientQuotaRecord {
            entity,
            key: "rate".to_owned(),
            value,
            remove: false,
        })
    }

    #[test]
    fn quotas_are_named_by_whose_they_are() {
        let kept = kept(&[
            quota(&[("user", Some("a(b)\\")), ("client-id", Some("c"))], 1024.0),
            quota(&[("ip", Some("::1"))], 0.5),
        ]);

        let expected = "clientId(c)_user(a\\(b\\)\\\\):\n  rate:\n    1024.0\nip(::1):\n  rate:\n    0.5\n";
        assert_eq!(printed(&client_quotas(&kept)), expected);
    }

    /// As Apache Kafka's tool prints them.
    #[test]
    fn a_quota_of_a_default_goes_by_the_name_of_the_rest() {
        let kept = kept(&[
            quota(&[("user", None)], 1.0),
            quota(&[("user", None), ("client-id", Some("c"))], 2.0),
            quota(&[("client-id", Some("c"))], 3.0),
        ]);

        let node = client_quotas(&kept);

        assert_eq!(printed(&node), ":\nclientId(c):\n  rate:\n    3.0\nclientId(c):\n  rate:\n    3.0\n");
        assert!(node.child("").unwrap().children().is_empty());
    }

    #[test]
    fn numbers_are_written_as_java_does() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1e7, "1.0E7"),
            (9_999_999.5, "9999999.5"),
            (-12_345_678.0, "-1.2345678E7"),
            (0.001, "0.001"),
            (0.000_123, "1.23E-4"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(double(value), expected);
        }
    }

    #[test]
    fn a_number_without_a_name_is_unknown() {
        assert_eq!([3, -1, 99].map(|number| name(OPERATIONS, number)), ["READ", "UNKNOWN", "UNKNOWN"]);
    }

    #[test]
    fn a_token_tells_all_it_has() {
        let kept = kept(&[MetadataRecord::DelegationToken(DelegationTokenRecord {
            owner: "User:o".to_owned(),
            requester: "User:q".to_owned(),
            renewers: vec!["User:r".to_owned(), "User:s".to_owned()],
            issue_timestamp: 1,
            max_timestamp: 2,
            expiration_timestamp: 3,
            token_id: "id".to_owned(),
        })]);

        assert_eq!(
            printed(&delegation_tokens(&kept)),
            "id:\n  DelegationTokenDatatokenId=id(owner=User:o(tokenRequester=User:q(renewers=User:r User:s, \
             issueTimestamp=1, maxTimestamp=2), expiryTimestamp=3\n"
        );
    }
}
