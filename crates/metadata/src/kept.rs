//! What the log says of features that Ottla does not have: kept, and not acted on.
//!
//! Nodes of Apache Kafka's may be in the cluster, too, and read our snapshots: what they know must not be lost there.

use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::records::metadata::client_quota_record::EntityData;
use ottla_types::Uuid;
use std::collections::BTreeMap;

/// The records that a snapshot must have again, each under what it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeptRecords {
    records: BTreeMap<About, MetadataRecord>,
}

/// What a record is about: a later one takes its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// An entry of the access control list.
    AccessControlEntry(Uuid),
    /// A name's password, by mechanism.
    ScramCredential(String, i8),
    /// A quota: types and names, the default's is none; and which of theirs it is.
    ClientQuota(Vec<(String, Option<String>)>, String),
    /// A token.
    DelegationToken(String),
}

impl KeptRecords {
    /// Takes note of a record of such a feature; others are none of its business.
    pub fn replay(&mut self, record: &MetadataRecord) {
        let (about, is_removal) = match record {
            MetadataRecord::AccessControlEntry(record) => (About::AccessControlEntry(record.id), false),
            MetadataRecord::RemoveAccessControlEntry(record) => (About::AccessControlEntry(record.id), true),
            MetadataRecord::UserScramCredential(record) => {
                (About::ScramCredential(record.name.clone(), record.mechanism), false)
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                (About::ScramCredential(record.name.clone(), record.mechanism), true)
            }
            MetadataRecord::DelegationToken(record) => {
                (About::DelegationToken(record.token_id.clone()), false)
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                (About::DelegationToken(record.token_id.clone()), true)
            }
            MetadataRecord::ClientQuota(record) => {
                let of = |part: &EntityData| (part.entity_type.clone(), part.entity_name.clone());
                let mut entity: Vec<_> = record.entity.iter().map(of).collect();
                // The same whichever is named first.
                entity.sort();
                (About::ClientQuota(entity, record.key.clone()), record.remove)
            }
            _ => return,
        };
        if is_removal {
            self.records.remove(&about);
        } else {
            self.records.insert(about, record.clone());
        }
    }

    /// The records, in an order that depends on them alone.
    pub fn iter(&self) -> impl Iterator<Item = &MetadataRecord> {
        self.records.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::metadata::{
        AccessControlEntryRecord, ClientQuotaRecord, RemoveAccessControlEntryRecord,
        RemoveUserScramCredentialRecord, UserScramCredentialRecord,
    };

    fn quota(parts: &[(&str, Option<&str>)], key: &str, value: f64, remove: bool) -> MetadataRecord {
        let part = |&(entity_type, entity_name): &(&str, Option<&str>)| EntityData {
            entity_type: entity_type.to_owned(),
            entity_name: entity_name.map(str::to_owned),
        };
        let entity = parts.iter().map(part).collect();
        MetadataRecord::ClientQuota(ClientQuotaRecord { entity, key: key.to_owned(), value, remove })
    }

    #[test]
    fn the_last_word_about_each_is_kept() {
        let entry = |id| {
            MetadataRecord::AccessControlEntry(AccessControlEntryRecord {
                id: Uuid::from_u128(id),
                ..Default::default()
            })
        };
        let password = |iterations| {
            MetadataRecord::UserScramCredential(UserScramCredentialRecord {
                name: "alice".to_owned(),
                mechanism: 1,
                iterations,
                ..Default::default()
            })
        };
        let no_entry = RemoveAccessControlEntryRecord { id: Uuid::from_u128(1) };
        let no_password = RemoveUserScramCredentialRecord { name: "alice".to_owned(), mechanism: 2 };
        let history = [
            entry(1),
            entry(2),
            MetadataRecord::RemoveAccessControlEntry(no_entry),
            password(4096),
            password(8192),
            MetadataRecord::RemoveUserScramCredential(no_password),
            quota(&[("user", Some("a")), ("client-id", None)], "producer_byte_rate", 1.0, false),
            quota(&[("client-id", None), ("user", Some("a"))], "producer_byte_rate", 2.0, false),
            quota(&[("user", None)], "producer_byte_rate", 3.0, false),
            quota(&[("user", None)], "producer_byte_rate", 0.0, true),
        ];
        let mut kept = KeptRecords::default();

        history.iter().for_each(|record| kept.replay(record));

        let left: Vec<MetadataRecord> = kept.iter().cloned().collect();
        assert_eq!(left, [entry(2), password(8192), history[7].clone()]);
        let mut again = KeptRecords::default();
        left.iter().for_each(|record| again.replay(record));
        assert_eq!(again, kept);
    }
}
