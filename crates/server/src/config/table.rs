//! Every broker and controller setting of Kafka 4.4, and what becomes of it here.

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A number in a range, both ends inclusive.
    Number(i64, i64),
    /// Any text.
    Text,
    /// A comma-separated list.
    List,
}

/// One setting that has an effect.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's name.
    pub name: &'static str,
    /// Its values.
    pub kind: Kind,
    /// The value when none is given; `None` when there is none.
    pub default: Option<&'static str>,
    /// One sentence for people.
    pub documentation: &'static str,
}

const fn setting(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    documentation: &'static str,
) -> Setting {
    Setting { name, kind, default, documentation }
}

const INT: i64 = i32::MAX as i64;

/// The settings that have an effect, in the order of their names. Those that stand in for a topic's own
/// configuration are in `ottla_metadata::topic_config`.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    setting("add.partitions.to.txn.retry.backoff.max.ms", Kind::Number(0, INT), Some("100"),
        "How long a leader goes on asking while the transaction before is ending."),
    setting("add.partitions.to.txn.retry.backoff.ms", Kind::Number(1, INT), Some("20"),
        "How long a leader waits before it asks again while the transaction before is ending."),
    setting("advertised.listeners", Kind::List, None,
        "Where clients and other nodes reach the listeners, where that is not where they are bound."),
    setting("auto.create.topics.enable", Kind::Boolean, Some("true"),
        "Whether asking for a topic that is not there creates it."),
    setting("auto.leader.rebalance.enable", Kind::Boolean, Some("true"),
        "Whether leaderships return to the preferred replicas by themselves."),
    setting("broker.heartbeat.interval.ms", Kind::Number(1, INT), Some("200"),
        "How often a broker tells the controller that it lives. (Kafka: 2000)"),
    setting("broker.id", Kind::Number(0, INT), None, "An older name of node.id."),
    setting("broker.rack", Kind::Text, None, "The rack that this broker stands in."),
    setting("broker.session.timeout.ms", Kind::Number(1, INT), Some("9000"),
        "The longest silence after which a broker is fenced, whatever else is known of it."),
    setting("connections.max.idle.ms", Kind::Number(-1, i64::MAX), Some("600000"),
        "How long a connection may carry nothing before it is closed."),
    setting("controlled.shutdown.enable", Kind::Boolean, Some("true"),
        "Whether a broker hands over its leaderships before it stops."),
    setting("controller.listener.names", Kind::List, None, "Which listeners are the controller's."),
    setting("controller.quorum.auto.join.enable", Kind::Boolean, Some("false"),
        "Whether a controller that is no voter becomes one by itself, where the log names the voters."),
    setting("controller.quorum.bootstrap.servers", Kind::List, None,
        "Where to ask for the quorum's leader when the voters are not listed."),
    setting("controller.quorum.election.timeout.ms", Kind::Number(1, INT), Some("1000"),
        "How long a candidate waits for votes."),
    setting("controller.quorum.fetch.timeout.ms", Kind::Number(1, INT), Some("2000"),
        "The longest silence of the quorum's leader after which a voter calls an election."),
    setting("controller.quorum.request.timeout.ms", Kind::Number(1, INT), Some("2000"),
        "How long a request within the quorum may take."),
    setting("controller.quorum.voters", Kind::List, None, "The controllers, as id@host:port."),
    setting("default.replication.factor", Kind::Number(1, i16::MAX as i64), Some("1"),
        "How many replicas a topic has that is created without saying."),
    setting("delete.topic.enable", Kind::Boolean, Some("true"), "Whether topics can be deleted."),
    setting("fetch.max.bytes", Kind::Number(1024, INT), Some("57671680"),
        "The most that one fetch is answered with."),
    setting("group.consumer.assignors", Kind::List, Some("uniform,range"),
        "The assignors that members of consumer groups can ask for, uniform and range; the first is for those that ask for none."),
    setting("group.consumer.heartbeat.interval.ms", Kind::Number(1, INT), Some("5000"),
        "How often members of consumer groups are told to be heard of."),
    setting("group.consumer.max.heartbeat.interval.ms", Kind::Number(1, INT), Some("15000"),
        "The most that group.consumer.heartbeat.interval.ms may be."),
    setting("group.consumer.max.session.timeout.ms", Kind::Number(1, INT), Some("60000"),
        "The most that group.consumer.session.timeout.ms may be."),
    setting("group.consumer.max.size", Kind::Number(1, INT), Some("2147483647"),
        "The most members of a consumer group."),
    setting("group.consumer.migration.policy", Kind::Text, Some("bidirectional"),
        "Whether groups with members may change their protocol: bidirectional, upgrade (to that of KIP-848), downgrade or disabled."),
    setting("group.consumer.min.heartbeat.interval.ms", Kind::Number(1, INT), Some("5000"),
        "The least that group.consumer.heartbeat.interval.ms may be."),
    setting("group.consumer.min.session.timeout.ms", Kind::Number(1, INT), Some("45000"),
        "The least that group.consumer.session.timeout.ms may be."),
    setting("group.consumer.session.timeout.ms", Kind::Number(1, INT), Some("45000"),
        "How long a member of a consumer group may be silent before it is removed."),
    setting("group.initial.rebalance.delay.ms", Kind::Number(0, INT), Some("3000"),
        "How long an empty group waits for more members after the first."),
    setting("group.max.session.timeout.ms", Kind::Number(0, INT), Some("1800000"),
        "The longest session a group member may ask for."),
    setting("group.max.size", Kind::Number(1, INT), Some("2147483647"), "The most members of a group."),
    setting("group.member.disconnect.grace.ms", Kind::Number(0, INT), Some("3000"),
        "How long a dynamic member of a group may take, at least, to be heard of again after its side has closed \
         its connection, before it is removed; 0: as long as its session, as in Kafka. Kafka has no such setting."),
    setting("group.min.session.timeout.ms", Kind::Number(0, INT), Some("6000"),
        "The shortest session a group member may ask for."),
    setting("http.listener", Kind::Text, Some("localhost:9644"),
        "Where /metrics, /livez and /readyz are served, as host:port; empty: nowhere. One that is written must be free, the \
         default need not. Kafka has no such setting."),
    setting("initial.broker.registration.timeout.ms", Kind::Number(1, INT), Some("60000"),
        "How long a starting broker tries to register before it gives up."),
    setting("inter.broker.listener.name", Kind::Text, None, "Which listener brokers reach each other by."),
    setting("leader.imbalance.check.interval.seconds", Kind::Number(1, i64::MAX / 1000), Some("5"),
        "How often the controller returns leaderships to brokers that are back for 10 s. (Kafka: 300)"),
    setting("listener.security.protocol.map", Kind::List,
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
        "The security protocol of each listener. Only PLAINTEXT is served."),
    setting("listeners", Kind::List, Some("PLAINTEXT://:9092"), "Where to listen, as NAME://host:port."),
    setting("log.cleaner.backoff.ms", Kind::Number(0, i64::MAX), Some("15000"),
        "How long the cleaner rests when no log needs to be compacted."),
    setting("log.cleaner.dedupe.buffer.size", Kind::Number(1_048_576, i64::MAX), Some("134217728"),
        "The most memory for the keys of the logs that are being compacted, all threads together."),
    setting("log.cleaner.enable", Kind::Boolean, Some("true"), "Whether logs are compacted."),
    setting("log.cleaner.threads", Kind::Number(0, 1024), Some("1"), "How many logs are compacted at a time."),
    setting("log.dir", Kind::List, Some("/tmp/kafka-logs"), "Where the logs are, when log.dirs does not say."),
    setting("log.dir.failure.timeout.ms", Kind::Number(1, i64::MAX), Some("30000"),
        "How long a broker tries to tell the controller of a directory that failed, before it ends."),
    setting("log.dirs", Kind::List, None,
        "Where the logs are. Of several, each new replica goes into the one with the fewest."),
    setting("log.flush.offset.checkpoint.interval.ms", Kind::Number(1, INT), Some("60000"),
        "How often it is written down up to where the logs are on disk."),
    setting("log.flush.scheduler.interval.ms", Kind::Number(1, i64::MAX), Some("1000"),
        "How often logs are looked for whose flush.ms has passed. (Kafka: 9223372036854775807)"),
    setting("log.flush.start.offset.checkpoint.interval.ms", Kind::Number(1, INT), Some("60000"),
        "How often it is written down where the logs begin."),
    setting("log.retention.check.interval.ms", Kind::Number(1, i64::MAX), Some("300000"),
        "How often old segments are looked for."),
    setting("max.connections", Kind::Number(1, INT), Some("65536"),
        "The most connections that the listeners of a broker serve at a time, together, and those of a controller. More are \
         closed, but for those of the inter-broker listener where clients have another. (Kafka: 2147483647)"),
    setting("max.incremental.fetch.session.cache.slots", Kind::Number(0, INT), Some("1000"),
        "How many fetch sessions a broker keeps (KIP-227)."),
    setting("max.request.partition.size.limit", Kind::Number(1, INT), Some("2000"),
        "How many partitions one answer to DescribeTopicPartitions describes at most."),
    setting("metadata.log.dir", Kind::Text, None, "Where the metadata log is; else in the first of log.dirs."),
    setting("metadata.log.max.record.bytes.between.snapshots", Kind::Number(1, i64::MAX), Some("20971520"),
        "After how many bytes of metadata a snapshot is written."),
    setting("metadata.log.max.snapshot.interval.ms", Kind::Number(0, i64::MAX), Some("3600000"),
        "After how long a snapshot is written though little metadata came; 0 never."),
    setting("metadata.log.segment.bytes", Kind::Number(8_388_608, INT), Some("1073741824"),
        "The largest size of a segment of the metadata log."),
    setting("metadata.log.segment.ms", Kind::Number(1, i64::MAX), Some("604800000"),
        "After how long a segment of the metadata log is rolled though it is not full."),
    setting("metadata.max.idle.interval.ms", Kind::Number(0, INT), Some("5000"),
        "How often the controller writes a record while nothing happens; 0 never. (Kafka: 500)"),
    setting("metadata.max.retention.bytes", Kind::Number(-1, i64::MAX), Some("104857600"),
        "The most that the metadata log and its snapshots may be before older ones go; -1 is no limit."),
    setting("metadata.max.retention.ms", Kind::Number(-1, i64::MAX), Some("604800000"),
        "How long snapshots of the metadata log, and what they contain, are kept; -1 is for ever."),
    setting("min.insync.replicas", Kind::Number(1, INT), Some("1"),
        "How many replicas must be in sync for acks=all to be served."),
    setting("node.id", Kind::Number(0, INT), None, "This node's number in the cluster."),
    setting("num.partitions", Kind::Number(1, INT), Some("1"),
        "How many partitions a topic has that is created without saying."),
    setting("offset.metadata.max.bytes", Kind::Number(0, INT), Some("4096"),
        "The longest note a consumer may leave beside a committed offset."),
    setting("offsets.commit.timeout.ms", Kind::Number(1, INT), Some("5000"),
        "How long committing offsets may take."),
    setting("offsets.retention.check.interval.ms", Kind::Number(1, i64::MAX), Some("600000"),
        "How often expired offsets are looked for."),
    setting("offsets.retention.minutes", Kind::Number(1, INT), Some("10080"),
        "How long the offsets of a group without members are kept."),
    setting("offsets.topic.num.partitions", Kind::Number(1, INT), Some("50"),
        "How many partitions the topic of committed offsets has."),
    setting("offsets.topic.replication.factor", Kind::Number(1, i16::MAX as i64), Some("3"),
        "How many replicas the topic of committed offsets has."),
    setting("offsets.topic.segment.bytes", Kind::Number(1_048_576, INT), Some("104857600"),
        "The segment size of the topic of committed offsets."),
    setting("process.roles", Kind::List, None, "What this node is: broker, controller or both."),
    setting("producer.id.expiration.ms", Kind::Number(1, INT), Some("86400000"),
        "How long a producer that is silent is remembered."),
    setting("replica.fetch.max.bytes", Kind::Number(0, INT), Some("1048576"),
        "The most a follower asks for of one partition."),
    setting("replica.fetch.response.max.bytes", Kind::Number(0, INT), Some("10485760"),
        "The most a follower asks for at a time."),
    setting("replica.fetch.wait.max.ms", Kind::Number(1, INT), Some("500"),
        "How long a follower's fetch waits for records."),
    setting("replica.high.watermark.checkpoint.interval.ms", Kind::Number(1, INT), Some("5000"),
        "How often the high watermarks are written down."),
    setting("replica.lag.time.max.ms", Kind::Number(1, INT), Some("30000"),
        "How long a follower may lag before it leaves the in-sync set."),
    setting("replica.selector.class", Kind::Text, None,
        "Which replica consumers are sent to: org.apache.kafka.common.replica.LeaderSelector, or RackAwareReplicaSelector \
         for one in their rack."),
    setting("socket.request.max.bytes", Kind::Number(1, INT), Some("104857600"), "The largest request."),
    setting("telemetry.max.bytes", Kind::Number(1, INT), Some("1048576"),
        "How much a client may tell of its metrics at once, compressed or not."),
    setting("transaction.abort.timed.out.transaction.cleanup.interval.ms", Kind::Number(1, INT), Some("10000"),
        "How often transactions that take too long are looked for."),
    setting("transaction.max.timeout.ms", Kind::Number(1, INT), Some("900000"),
        "The longest time-out that a producer may ask for its transactions."),
    setting("transaction.partition.verification.enable", Kind::Boolean, Some("true"),
        "Whether leaders ask a transaction's coordinator before it begins in a partition. Newer clients, which leave adding \
         partitions to leaders, are asked for in any case."),
    setting("transaction.remove.expired.transaction.cleanup.interval.ms", Kind::Number(1, INT), Some("3600000"),
        "How often transactional ids that nobody uses are looked for."),
    setting("transaction.state.log.min.isr", Kind::Number(1, INT), Some("2"),
        "How many replicas of the topic of transactions must be in sync for it to be written."),
    setting("transaction.state.log.num.partitions", Kind::Number(1, INT), Some("50"),
        "How many partitions the topic of transactions has."),
    setting("transaction.state.log.replication.factor", Kind::Number(1, i16::MAX as i64), Some("3"),
        "How many replicas the topic of transactions has."),
    setting("transaction.state.log.segment.bytes", Kind::Number(1_048_576, INT), Some("104857600"),
        "The segment size of the topic of transactions."),
    setting("transactional.id.expiration.ms", Kind::Number(1, INT), Some("604800000"),
        "How long a transactional id is remembered with which nothing is done."),
];

/// Settings that ask how Kafka does something, not what it does. Accepted, so that an existing file
/// starts; there is nothing here that they could change.
pub const WITHOUT_EFFECT: &[&str] = &[
    "alter.log.dirs.replication.quota.window.num",
    "alter.log.dirs.replication.quota.window.size.seconds",
    "background.threads",
    "controller.performance.always.log.threshold.ms",
    "controller.performance.sample.period.ms",
    "controller.quorum.append.linger.ms",
    "controller.quorum.election.backoff.max.ms",
    "controller.quorum.fetch.max.bytes",
    "controller.quorum.fetch.snapshot.max.bytes",
    "controller.quorum.retry.backoff.ms",
    "controller.socket.timeout.ms",
    "delete.records.purgatory.purge.interval.requests",
    "fetch.purgatory.purge.interval.requests",
    "group.consumer.assignment.interval.ms",
    "group.consumer.assignor.offload.enable",
    "group.consumer.max.assignment.interval.ms",
    "group.consumer.min.assignment.interval.ms",
    "group.consumer.regex.refresh.interval.ms",
    "group.coordinator.append.linger.ms",
    "group.coordinator.background.threads",
    "group.coordinator.cached.buffer.max.bytes",
    "group.coordinator.threads",
    "internal.metadata.delete.delay.millis",
    "internal.metadata.log.segment.bytes",
    "internal.metadata.max.batch.size.in.bytes",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.initial.task.delay.ms",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.alter.log.dirs.threads",
    "num.replica.fetchers",
    "offsets.load.buffer.size",
    "producer.id.expiration.check.interval.ms",
    "producer.purgatory.purge.interval.requests",
    "queued.max.requests",
    "replica.fetch.backoff.ms",
    "replica.fetch.min.bytes",
    "replica.socket.receive.buffer.bytes",
    "replica.socket.timeout.ms",
    "replication.quota.window.num",
    "replication.quota.window.size.seconds",
    "request.timeout.ms",
    "server.max.startup.time.ms",
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.listen.backlog.size",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "transaction.state.log.load.buffer.size",
    "unclean.leader.election.interval.ms",
];

/// Settings of which there is one value here, or one written in more than one way: Kafka's default. Another one asks for something that
/// does not exist, and is refused.
pub const FIXED: &[(&str, &[&str])] = &[
    ("connection.failed.authentication.delay.ms", &["100"]),
    ("connections.max.reauth.ms", &["0"]),
    ("follower.fetch.last.tiered.offset.enable", &["false"]),
    (
        "group.coordinator.rebalance.protocols",
        &["classic,consumer,streams", "classic,consumer", "consumer,classic"],
    ),
    ("max.connection.creation.rate", &["2147483647"]),
    ("max.connections.per.ip", &["2147483647"]),
    ("max.connections.per.ip.overrides", &[""]),
    ("offsets.topic.compression.codec", &["0"]),
    ("queued.max.request.bytes", &["-1"]),
    ("security.inter.broker.protocol", &["PLAINTEXT"]),
    ("transaction.two.phase.commit.enable", &["false"]),
    ("unstable.api.versions.enable", &["false"]),
    ("unstable.feature.versions.enable", &["false"]),
];

/// What begins so belongs to a part that does not exist here, and by itself asks for nothing. Accepted; a start tells that nothing comes of
/// it, and of which part it is.
pub const WARNED_PREFIXES: &[(&str, &str)] = &[
    ("controller.quota.", "quotas"),
    ("errors.deadletterqueue.", "share groups"),
    ("group.share.", "share groups"),
    ("group.streams.", "streams groups"),
    ("kafka.metrics.", "reporters of metrics that are written in Java"),
    ("metric.reporters", "reporters of metrics that are written in Java"),
    ("quota.window.", "quotas"),
    ("remote.fetch.", "tiered storage"),
    ("remote.list.", "tiered storage"),
    ("share.", "share groups"),
];

/// Settings of parts that do not exist here: who sets one expects something that would not happen.
/// Anything that begins so is refused.
pub const REFUSED_PREFIXES: &[&str] = &[
    "alter.config.policy.",
    "authorizer.",
    "client.quota.callback.",
    "config.providers",
    "cordoned.log.dirs",
    "create.topic.policy.",
    "delegation.token.",
    "early.start.listeners",
    "listener.name.",
    "log.cleaner.io.max.bytes.per.second",
    "principal.builder.",
    "remote.log.",
    "sasl.",
    "security.providers",
    "ssl.",
    "super.users",
    "zookeeper.",
];

/// The setting called `name`.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.binary_search_by(|setting| setting.name.cmp(name)).ok().map(|i| &SETTINGS[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
        assert!(WITHOUT_EFFECT.is_sorted());
        assert!(REFUSED_PREFIXES.is_sorted());
        assert!(FIXED.is_sorted());
        assert!(WARNED_PREFIXES.is_sorted());
    }
}
