//! How a tool's consumer takes part in its group, as Kafka's properties say.

use super::Failure;
use ottla_client::consumer::group::{GroupConfig, GroupProtocol};
use std::collections::BTreeMap;

/// What is read here.
pub(super) const PROPERTIES: &[&str] = &["group.protocol", "group.remote.assignor"];

/// A member of this group.
pub(super) fn group_config(
    group: &str,
    properties: &BTreeMap<String, String>,
) -> Result<GroupConfig, Failure> {
    let mut config = GroupConfig::new(group);
    if let Some(name) = properties.get("group.protocol") {
        config.protocol = protocol(name).ok_or_else(|| {
            let why = "String must be one of: CLASSIC, CONSUMER";
            Failure::Refused(format!("Invalid value {name} for configuration group.protocol: {why}"))
        })?;
    }
    config.remote_assignor = properties.get("group.remote.assignor").cloned();
    if config.remote_assignor.is_some() && config.protocol == GroupProtocol::Classic {
        let message = "group.remote.assignor cannot be set when group.protocol=CLASSIC";
        return Err(Failure::Refused(message.to_owned()));
    }
    Ok(config)
}

/// The protocol of this name, however it is written.
pub(super) fn protocol(name: &str) -> Option<GroupProtocol> {
    match name.to_lowercase().as_str() {
        "classic" => Some(GroupProtocol::Classic),
        "consumer" => Some(GroupProtocol::Consumer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let read = |properties: &[(&str, &str)]| {
            let all = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            match group_config("g", &all.collect()) {
                Ok(config) => Ok((config.protocol, config.remote_assignor)),
                Err(Failure::Refused(message)) => Err(message),
                Err(other) => panic!("{other:?}"),
            }
        };

        assert_eq!(read(&[]), Ok((GroupProtocol::Classic, None)));
        let (protocol, assignor) = (("group.protocol", "CONSUMER"), ("group.remote.assignor", "range"));
        assert_eq!(read(&[protocol, assignor]), Ok((GroupProtocol::Consumer, Some("range".to_owned()))));
        assert!(read(&[assignor]).is_err_and(|why| why.contains("group.remote.assignor cannot be set")));
        assert!(read(&[("group.protocol", "x")]).is_err_and(|why| why.contains("Invalid value x for")));
    }
}
