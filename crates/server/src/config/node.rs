//! A whole configuration, as meant.

use super::{ConfigError, ListenerConfig, Properties, consumer_groups};
use ottla_metadata::topic_config;
use ottla_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// It stores and serves partitions.
    pub broker: bool,
    /// It votes in the quorum and may be the active controller.
    pub controller: bool,
}

/// A controller of a static quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its `node.id`.
    pub id: NodeId,
    /// Where it is reached.
    pub host: String,
    /// Where it is reached.
    pub port: u16,
}

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A host name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Which replica consumers are sent to (`replica.selector.class`, KIP-392).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaSelector {
    /// The leader.
    Leader,
    /// One in the consumer's rack, if there is such and the leader is elsewhere.
    RackAware,
}

/// A node's configuration, every part checked against the others.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// `node.id`.
    pub node_id: NodeId,
    /// `process.roles`.
    pub roles: Roles,
    /// What to bind.
    pub listeners: Vec<ListenerConfig>,
    /// What to tell others, by listener name. Same names as `listeners`.
    pub advertised: BTreeMap<String, ListenerConfig>,
    /// Names of the controller's listeners.
    pub controller_listeners: Vec<String>,
    /// Name of the listener that brokers reach each other by; empty without the broker role.
    pub inter_broker_listener: String,
    /// The quorum, where the configuration names it.
    pub voters: Vec<Voter>,
    /// Where to ask who leads the quorum, where its log names the voters.
    pub bootstrap_servers: Vec<Address>,
    /// Where the partitions are; the metadata log is in `metadata_log_dir`.
    pub log_dirs: Vec<PathBuf>,
    /// Where the metadata log is.
    pub metadata_log_dir: PathBuf,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Where consumers read.
    pub replica_selector: ReplicaSelector,
    /// What topics get that do not say otherwise, by topic configuration name.
    pub topic_defaults: BTreeMap<String, String>,
    /// Every setting as written, for those who read one on their own.
    pub properties: Properties,
}

impl NodeConfig {
    /// Checks settings, each on its own and against each other.
    ///
    /// # Errors
    /// The first mistake.
    pub fn new(properties: Properties) -> Result<NodeConfig, ConfigError> {
        properties.check()?;
        let node_id = node_id(&properties)?;
        let roles = roles(&properties)?;
        let listeners = parse_listeners("listeners", &properties.list("listeners"))?;
        let controller_listeners: Vec<String> =
            properties.list("controller.listener.names").into_iter().map(str::to_owned).collect();
        if controller_listeners.is_empty() {
            return Err(ConfigError::Missing {
                name: "controller.listener.names",
                help: "name the listener of the controllers, such as CONTROLLER",
            });
        }
        consumer_groups::check(&properties)?;
        check_listeners(&properties, roles, &listeners, &controller_listeners)?;
        let advertised = advertised(&properties, &listeners)?;
        let voters = voters(&properties)?;
        let bootstrap_servers = bootstrap_servers(&properties)?;
        if voters.is_empty() && bootstrap_servers.is_empty() {
            return Err(ConfigError::Missing {
                name: "controller.quorum.bootstrap.servers",
                help: "list the controllers as host:port,... or, as id@host:port,..., in controller.quorum.voters",
            });
        }
        if properties.switch("controller.quorum.auto.join.enable") && !roles.controller {
            return Err(ConfigError::Invalid {
                name: "controller.quorum.auto.join.enable".to_owned(),
                value: "true".to_owned(),
                reason: "only a controller can join the voters; process.roles has no controller".to_owned(),
            });
        }
        if roles.controller && !voters.is_empty() && !voters.iter().any(|voter| voter.id == node_id) {
            return Err(ConfigError::Invalid {
                name: "controller.quorum.voters".to_owned(),
                value: properties.written("controller.quorum.voters").unwrap_or_default().to_owned(),
                reason: format!("a controller must be one of the voters; add {node_id}@host:port"),
            });
        }
        if properties.is_blank("log.dirs") {
            // Not the default: whoever wrote it, perhaps as a variable that was not set, meant a place.
            return Err(ConfigError::Invalid {
                name: "log.dirs".to_owned(),
                value: String::new(),
                reason: "it must not be empty; name the directory where the logs are kept".to_owned(),
            });
        }
        let log_dirs: Vec<PathBuf> = match properties.written("log.dirs") {
            Some(_) => properties.list("log.dirs"),
            None => properties.list("log.dir"),
        }
        .into_iter()
        .map(PathBuf::from)
        .collect();
        if let Some(twice) =
            log_dirs.iter().enumerate().find_map(|(i, dir)| log_dirs[..i].contains(dir).then_some(dir))
        {
            return Err(ConfigError::Invalid {
                name: "log.dirs".to_owned(),
                value: properties.written("log.dirs").unwrap_or_default().to_owned(),
                reason: format!("{} is named twice; name each directory once", twice.display()),
            });
        }
        let metadata_log_dir = match properties.written("metadata.log.dir") {
            Some(dir) => PathBuf::from(dir),
            None => log_dirs.first().cloned().ok_or(ConfigError::Missing {
                name: "log.dirs",
                help: "name the directory where the logs are kept",
            })?,
        };
        let topic_defaults = properties.topic_defaults()?;
        check_together(&properties, &topic_defaults)?;
        Ok(NodeConfig {
            node_id,
            roles,
            inter_broker_listener: inter_broker_listener(&properties, &listeners, &controller_listeners)?,
            listeners,
            advertised,
            controller_listeners,
            voters,
            bootstrap_servers,
            log_dirs,
            metadata_log_dir,
            rack: properties.written("broker.rack").map(str::to_owned),
            replica_selector: replica_selector(&properties)?,
            topic_defaults,
            properties,
        })
    }

    /// All directories of the node: those of the partitions, and the metadata log's where that has one of its own.
    pub fn directories(&self) -> Vec<PathBuf> {
        let mut directories = self.log_dirs.clone();
        if !directories.contains(&self.metadata_log_dir) {
            directories.push(self.metadata_log_dir.clone());
        }
        directories
    }

    /// The listeners that brokers' clients use.
    pub fn broker_listeners(&self) -> impl Iterator<Item = &ListenerConfig> {
        self.listeners.iter().filter(|l| self.roles.broker && !self.controller_listeners.contains(&l.name))
    }

    /// The listeners that the quorum and brokers use to reach this controller.
    pub fn bound_controller_listeners(&self) -> impl Iterator<Item = &ListenerConfig> {
        self.listeners.iter().filter(|l| self.roles.controller && self.controller_listeners.contains(&l.name))
    }
}

/// Checks what settings say together, as Kafka does when it starts.
fn check_together(
    properties: &Properties,
    topic_defaults: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let number = |name| properties.number(name);
    let invalid = |name: &'static str, reason: String| {
        Err(ConfigError::Invalid { name: name.to_owned(), value: number(name).to_string(), reason })
    };
    let threads = number("log.cleaner.threads");
    if threads > 0 && number("log.cleaner.dedupe.buffer.size") / threads < 1 << 20 {
        let reason = format!("must be at least 1048576 for each of log.cleaner.threads={threads}");
        return invalid("log.cleaner.dedupe.buffer.size", reason);
    }
    let lag = number("replica.lag.time.max.ms");
    if number("replica.fetch.wait.max.ms") > lag {
        let reason = format!(
            "must be at most replica.lag.time.max.ms={lag}: followers that wait for longer would leave the in-sync set"
        );
        return invalid("replica.fetch.wait.max.ms", reason);
    }
    let of_topics = |name: &str| topic_defaults.get(name).map(String::as_str);
    topic_config::validate_together(of_topics).map_err(|conflict| ConfigError::Invalid {
        name: "log.cleaner.min.compaction.lag.ms".to_owned(),
        value: of_topics("min.compaction.lag.ms").unwrap_or_default().to_owned(),
        reason: conflict.to_string(),
    })
}

fn node_id(properties: &Properties) -> Result<NodeId, ConfigError> {
    let parse = |name| properties.written(name).map(|text| text.parse::<i32>().expect("checked"));
    match (parse("node.id"), parse("broker.id")) {
        (Some(node), Some(broker)) if node != broker => Err(ConfigError::Invalid {
            name: "broker.id".to_owned(),
            value: broker.to_string(),
            reason: format!("must equal node.id, which is {node}; remove broker.id"),
        }),
        (Some(id), _) | (None, Some(id)) => Ok(NodeId(id)),
        (None, None) => {
            Err(ConfigError::Missing { name: "node.id", help: "give this node a number of its own" })
        }
    }
}

fn replica_selector(properties: &Properties) -> Result<ReplicaSelector, ConfigError> {
    const NAME: &str = "replica.selector.class";
    match properties.written(NAME) {
        None | Some("org.apache.kafka.common.replica.LeaderSelector") => Ok(ReplicaSelector::Leader),
        Some("org.apache.kafka.common.replica.RackAwareReplicaSelector") => Ok(ReplicaSelector::RackAware),
        Some(other) => Err(ConfigError::Invalid {
            name: NAME.to_owned(),
            value: other.to_owned(),
            reason: "there are no classes here; the two that mean something are \
                     org.apache.kafka.common.replica.LeaderSelector and \
                     org.apache.kafka.common.replica.RackAwareReplicaSelector"
                .to_owned(),
        }),
    }
}

fn roles(properties: &Properties) -> Result<Roles, ConfigError> {
    let list = properties.list("process.roles");
    let mut roles = Roles { broker: false, controller: false };
    for role in &list {
        match *role {
            "broker" => roles.broker = true,
            "controller" => roles.controller = true,
            other => {
                return Err(ConfigError::Invalid {
                    name: "process.roles".to_owned(),
                    value: other.to_owned(),
                    reason: "must be broker, controller or broker,controller".to_owned(),
                });
            }
        }
    }
    if list.is_empty() {
        return Err(ConfigError::Missing {
            name: "process.roles",
            help: "set it to broker, controller or broker,controller",
        });
    }
    Ok(roles)
}

fn parse_listeners(setting: &str, list: &[&str]) -> Result<Vec<ListenerConfig>, ConfigError> {
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for text in list {
        let listener = ListenerConfig::parse(setting, text)?;
        let port_taken = listeners.iter().any(|l| {
            l.port == listener.port && l.port != 0 && setting == "listeners" && l.host == listener.host
        });
        if listeners.iter().any(|l| l.name == listener.name) || port_taken {
            return Err(ConfigError::Invalid {
                name: setting.to_owned(),
                value: (*text).to_owned(),
                reason: "each listener must have a name and a port of its own".to_owned(),
            });
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn check_listeners(
    properties: &Properties,
    roles: Roles,
    listeners: &[ListenerConfig],
    controller_listeners: &[String],
) -> Result<(), ConfigError> {
    let protocols: BTreeMap<&str, &str> = properties
        .list("listener.security.protocol.map")
        .into_iter()
        .filter_map(|entry| entry.split_once(':'))
        .collect();
    for listener in listeners {
        // Controller listeners that the map leaves out are PLAINTEXT, as in Kafka.
        let name = listener.name.as_str();
        let protocol = protocols.get(name).copied();
        let protocol =
            protocol.or_else(|| controller_listeners.iter().any(|l| l == name).then_some("PLAINTEXT"));
        match protocol {
            Some("PLAINTEXT") => {}
            Some(other) => {
                return Err(ConfigError::Unsupported {
                    name: format!("listener.security.protocol.map for listener {name}"),
                    value: other.to_owned(),
                });
            }
            None => {
                return Err(ConfigError::Invalid {
                    name: "listeners".to_owned(),
                    value: name.to_owned(),
                    reason: format!(
                        "no security protocol; add {name}:PLAINTEXT to listener.security.protocol.map"
                    ),
                });
            }
        }
    }
    let names: BTreeSet<&str> = listeners.iter().map(|l| l.name.as_str()).collect();
    let first = controller_listeners[0].as_str();
    if roles.controller && !names.contains(first) {
        return Err(ConfigError::Invalid {
            name: "controller.listener.names".to_owned(),
            value: first.to_owned(),
            reason: "a controller must have this listener; add it to listeners".to_owned(),
        });
    }
    if roles.broker && !names.iter().any(|name| !controller_listeners.iter().any(|c| c == name)) {
        return Err(ConfigError::Invalid {
            name: "listeners".to_owned(),
            value: properties.list("listeners").join(","),
            reason: "a broker needs a listener that is not the controller's; add PLAINTEXT://host:9092"
                .to_owned(),
        });
    }
    Ok(())
}

fn advertised(
    properties: &Properties,
    listeners: &[ListenerConfig],
) -> Result<BTreeMap<String, ListenerConfig>, ConfigError> {
    let mut advertised: BTreeMap<String, ListenerConfig> =
        listeners.iter().map(|l| (l.name.clone(), l.clone())).collect();
    for listener in parse_listeners("advertised.listeners", &properties.list("advertised.listeners"))? {
        if !advertised.contains_key(&listener.name) {
            return Err(ConfigError::Invalid {
                name: "advertised.listeners".to_owned(),
                value: listener.name,
                reason: "there is no listener of this name; add it to listeners".to_owned(),
            });
        }
        advertised.insert(listener.name.clone(), listener);
    }
    for listener in advertised.values_mut() {
        if listener.host == "0.0.0.0" || listener.host == "::" {
            return Err(ConfigError::Invalid {
                name: "advertised.listeners".to_owned(),
                value: format!("{}://{}:{}", listener.name, listener.host, listener.port),
                reason: "nobody can connect to this address; advertise one that others reach".to_owned(),
            });
        }
        if listener.host.is_empty() {
            listener.host = "localhost".to_owned();
        }
    }
    Ok(advertised)
}

fn voters(properties: &Properties) -> Result<Vec<Voter>, ConfigError> {
    let mut voters: Vec<Voter> = Vec::new();
    for text in properties.list("controller.quorum.voters") {
        let invalid = |reason: &str| ConfigError::Invalid {
            name: "controller.quorum.voters".to_owned(),
            value: text.to_owned(),
            reason: reason.to_owned(),
        };
        let form = "each voter must have the form id@host:port";
        let (id, address) = text.split_once('@').ok_or_else(|| invalid(form))?;
        let (host, port) = address.rsplit_once(':').ok_or_else(|| invalid(form))?;
        let id = NodeId(id.parse().ok().filter(|id| *id >= 0).ok_or_else(|| invalid(form))?);
        let port = port.parse().map_err(|_| invalid(form))?;
        if voters.iter().any(|voter| voter.id == id) {
            return Err(invalid("this id is listed twice"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        voters.push(Voter { id, host, port });
    }
    Ok(voters)
}

fn bootstrap_servers(properties: &Properties) -> Result<Vec<Address>, ConfigError> {
    const NAME: &str = "controller.quorum.bootstrap.servers";
    let address = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Address { host, port: port.parse().ok()? }).filter(|address| !address.host.is_empty())
    };
    let servers = properties.list(NAME).into_iter().map(|text| {
        address(text).ok_or_else(|| ConfigError::Invalid {
            name: NAME.to_owned(),
            value: text.to_owned(),
            reason: "each address must have the form host:port".to_owned(),
        })
    });
    servers.collect()
}

fn inter_broker_listener(
    properties: &Properties,
    listeners: &[ListenerConfig],
    controller_listeners: &[String],
) -> Result<String, ConfigError> {
    let mut brokers = listeners.iter().filter(|l| !controller_listeners.contains(&l.name));
    match properties.written("inter.broker.listener.name") {
        None => Ok(brokers
            .clone()
            .find(|l| l.name == "PLAINTEXT")
            .or_else(|| brokers.next())
            .map(|l| l.name.clone())
            .unwrap_or_default()),
        Some(name) if brokers.any(|l| l.name == name) => Ok(name.to_owned()),
        Some(name) => Err(ConfigError::Invalid {
            name: "inter.broker.listener.name".to_owned(),
            value: name.to_owned(),
            reason: "there is no broker listener of this name; add it to listeners".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &str) -> Result<NodeConfig, ConfigError> {
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:2181\n\
             controller.quorum.voters=1@localhost:2181\nlog.dirs=/tmp/x\n{extra}\n"
        );
        NodeConfig::new(Properties::parse("server.properties", text.as_bytes())?)
    }

    #[test]
    fn a_combined_node_has_a_listener_for_each_role() {
        let config = config("").unwrap();

        assert_eq!(config.broker_listeners().map(|l| l.port).collect::<Vec<_>>(), [9092]);
        assert_eq!(config.bound_controller_listeners().map(|l| l.port).collect::<Vec<_>>(), [2181]);
        assert_eq!(config.inter_broker_listener, "PLAINTEXT");
        assert_eq!(config.metadata_log_dir, PathBuf::from("/tmp/x"));
    }

    #[test]
    fn the_controllers_are_listed_one_way_or_the_other() {
        let config = |lines: &str| {
            let text = format!(
                "process.roles=broker\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
                 listeners=PLAINTEXT://localhost:9092\nlog.dirs=/tmp/x\n{lines}\n"
            );
            NodeConfig::new(Properties::parse("server.properties", text.as_bytes())?)
        };
        let servers = "controller.quorum.bootstrap.servers";

        let found = config(&format!("{servers}=c1:9093,[::1]:9094")).unwrap().bootstrap_servers;
        let found: Vec<_> = found.iter().map(|server| (server.host.as_str(), server.port)).collect();
        assert_eq!(found, [("c1", 9093), ("::1", 9094)]);
        assert!(config("").unwrap_err().to_string().contains(servers));
        assert!(config(&format!("{servers}=c1")).unwrap_err().to_string().contains("host:port"));
        let joins = format!("{servers}=c1:9093\ncontroller.quorum.auto.join.enable=true");
        assert!(config(&joins).unwrap_err().to_string().contains("only a controller can join"));
    }

    #[test]
    fn says_what_does_not_fit_together() {
        let cases = [
            ("broker.id=2", "broker.id=2: must equal node.id, which is 1; remove broker.id"),
            (
                "controller.quorum.voters=2@localhost:2181",
                "controller.quorum.voters=2@localhost:2181: a controller must be one of the voters; add 1@host:port",
            ),
            ("process.roles=brokre", "process.roles=brokre: must be broker, controller or broker,controller"),
            (
                "listeners=CONTROLLER://localhost:2181",
                "listeners=CONTROLLER://localhost:2181: a broker needs a listener that is not the controller's; \
                 add PLAINTEXT://host:9092",
            ),
            (
                "log.cleaner.min.compaction.lag.ms=7\nlog.cleaner.max.compaction.lag.ms=6",
                "log.cleaner.min.compaction.lag.ms=7: conflict topic config setting min.compaction.lag.ms (7) > \
                 max.compaction.lag.ms (6)",
            ),
            (
                "replica.fetch.wait.max.ms=30001",
                "replica.fetch.wait.max.ms=30001: must be at most replica.lag.time.max.ms=30000: followers that wait for \
                 longer would leave the in-sync set",
            ),
        ];
        for (extra, expected) in cases {
            assert_eq!(config(extra).expect_err(extra).to_string(), expected);
        }
    }
}
