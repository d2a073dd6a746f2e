//! Errors as Kafka's tools show exceptions: with the name of the class.

use ottla_client::ClientError;
use ottla_protocol::ErrorCode;

/// The error with its class, where that is known.
pub(super) fn shown(error: &ClientError) -> String {
    let class = match (error, error.code()) {
        (ClientError::TimedOut { .. } | ClientError::NoNode { .. }, _) => "TimeoutException".to_owned(),
        (_, Some(code)) => class(code),
        _ => return error.to_string(),
    };
    format!("org.apache.kafka.common.errors.{class}: {error}")
}

/// The class of Kafka's exceptions for an error of the cluster's (`Errors`). Most are named as the error.
fn class(code: ErrorCode) -> String {
    match code {
        ErrorCode::RequestTimedOut => "TimeoutException".to_owned(),
        ErrorCode::InvalidConfig => "InvalidConfigurationException".to_owned(),
        ErrorCode::InvalidTopicException => "InvalidTopicException".to_owned(),
        ErrorCode::NonEmptyGroup => "GroupNotEmptyException".to_owned(),
        ErrorCode::UnknownServerError => "UnknownServerException".to_owned(),
        code => format!("{}Exception", format!("{code:?}").replace("AuthorizationFailed", "Authorization")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_named_as_kafkas_exception() {
        for (code, class) in [
            (ErrorCode::BrokerIdNotRegistered, "BrokerIdNotRegisteredException"),
            (ErrorCode::InvalidConfig, "InvalidConfigurationException"),
            (ErrorCode::InvalidTopicException, "InvalidTopicException"),
            (ErrorCode::GroupAuthorizationFailed, "GroupAuthorizationException"),
            (ErrorCode::UnknownTopicOrPartition, "UnknownTopicOrPartitionException"),
        ] {
            let error = ClientError::refused(code, Some("why".to_owned()));

            assert_eq!(shown(&error), format!("org.apache.kafka.common.errors.{class}: why"));
        }
    }
}
