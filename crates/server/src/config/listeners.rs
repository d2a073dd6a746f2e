//! Listeners: `NAME://host:port`.

use super::ConfigError;

/// One listener, as bound or as advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name: the part before `://`.
    pub name: String,
    /// The host; empty stands for every address.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl ListenerConfig {
    /// Reads `NAME://host:port`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// When the text has another form or the port is not a number below 65536.
    pub fn parse(setting: &str, text: &str) -> Result<ListenerConfig, ConfigError> {
        let invalid = |reason: &str| ConfigError::Invalid {
            name: setting.to_owned(),
            value: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (name, address) =
            text.split_once("://").ok_or_else(|| invalid("must have the form NAME://host:port"))?;
        let (host, port) =
            address.rsplit_once(':').ok_or_else(|| invalid("the port is missing: NAME://host:port"))?;
        let port = port.parse().map_err(|_| invalid("the port must be a number from 0 to 65535"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if name.is_empty() {
            return Err(invalid("the listener's name is missing: NAME://host:port"));
        }
        Ok(ListenerConfig { name: name.to_owned(), host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kafka_reads() {
        let cases = [
            ("PLAINTEXT://:9092", "PLAINTEXT", "", 9092),
            ("CONTROLLER://localhost:2181", "CONTROLLER", "localhost", 2181),
            ("A://[::1]:1", "A", "::1", 1),
        ];
        for (text, name, host, port) in cases {
            let listener = ListenerConfig::parse("listeners", text).unwrap();
            assert_eq!((&*listener.name, &*listener.host, listener.port), (name, host, port));
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_port() {
        let error = ListenerConfig::parse("listeners", "PLAINTEXT://localhost:99999").unwrap_err();
        assert_eq!(
            error.to_string(),
            "listeners=PLAINTEXT://localhost:99999: the port must be a number from 0 to 65535"
        );
        assert!(ListenerConfig::parse("listeners", "localhost:9092").is_err());
    }
}
