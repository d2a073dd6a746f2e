//! Brokers are configured while they run (KIP-226): topics follow, and what was set outlives a restart; log levels follow
//! (KIP-412), and do not.

use ottla_e2e::client::Client;
use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Cluster, eventually, kcat};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_configs_request;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::{AlterConfigsRequest, ListTransactionsRequest};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Sets a setting of a broker, or of all, or removes it; what is answered.
fn alter(cluster: &Cluster, broker: &str, name: &str, value: Option<&str>) -> (ErrorCode, String) {
    let config = AlterableConfig {
        name: name.to_owned(),
        config_operation: i8::from(value.is_none()),
        value: value.map(str::to_owned),
    };
    let resource = AlterConfigsResource {
        resource_type: BROKER,
        resource_name: broker.to_owned(),
        configs: vec![config],
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = Client::connect(cluster.nodes()[0].port).call(1, &request).expect("an answer");
    let answer = &answer.responses[0];
    (ErrorCode::from(answer.error_code), answer.error_message.clone().unwrap_or_default())
}

/// The values and sources of a setting, the one that counts first, as a node says.
fn described(cluster: &Cluster, node: usize, resource: (i8, &str), name: &str) -> Vec<(String, i8)> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: resource.0,
            resource_name: resource.1.to_owned(),
            configuration_keys: Some(vec![name.to_owned()]),
        }],
        include_synonyms: true,
        include_documentation: false,
    };
    let answer = Client::connect(cluster.nodes()[node - 1].port).call(4, &request).expect("an answer");
    let configs = &answer.results[0].configs;
    let synonyms = configs.iter().flat_map(|config| &config.synonyms);
    synonyms.map(|synonym| (synonym.value.clone().expect("no secret"), synonym.source)).collect()
}

/// Whether a record of 5,000 bytes is taken by the leader of a topic.
fn takes_much(cluster: &Cluster, topic: &str) -> bool {
    let output = kcat::try_run(cluster, &["-P", "-t", topic], &format!("{}\n", "x".repeat(5000)));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || said.contains("Message size too large"), "{said}");
    output.status.success()
}

fn wait_until(cluster: &Cluster, expected: [bool; 2]) {
    let taken = || ["at-one", "at-two"].map(|topic| takes_much(cluster, topic));
    eventually("both leaders follow", PATIENCE, || (taken() == expected).then_some(()));
}

#[test]
fn topics_follow_what_is_set_for_one_broker_and_for_all_also_after_a_restart() {
    const NAME: &str = "message.max.bytes";
    let mut cluster = Cluster::start(3, "message.max.bytes=200000\n");
    let bootstrap = cluster.bootstrap();
    for (topic, leader) in [("at-one", "1"), ("at-two", "2")] {
        let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", topic];
        cluster.tool(&[&create[..], &["--replica-assignment", leader]].concat());
    }
    let done = (ErrorCode::None, String::new());
    let (file, default) = (("200000".to_owned(), 4), ("1048588".to_owned(), 5));
    wait_until(&cluster, [true, true]);

    assert_eq!(alter(&cluster, "", NAME, Some("1000")), done);
    wait_until(&cluster, [false, false]);
    assert_eq!(alter(&cluster, "2", NAME, Some("100000")), done);
    wait_until(&cluster, [false, true]);
    let refused = alter(&cluster, "1", "node.id", Some("7"));
    assert_eq!(refused.0, ErrorCode::InvalidRequest);
    assert!(refused.1.contains("node.id"), "{}", refused.1);
    assert_eq!(alter(&cluster, "1", NAME, Some("many")).0, ErrorCode::InvalidRequest);
    cluster.stop();
    cluster.restart();

    wait_until(&cluster, [false, true]);
    let of_all = ("1000".to_owned(), 3);
    let of_two = ("100000".to_owned(), 2);
    assert_eq!(described(&cluster, 1, (BROKER, ""), NAME), std::slice::from_ref(&of_all));
    let at_one = [of_all.clone(), file.clone(), default.clone()];
    assert_eq!(described(&cluster, 1, (BROKER, "1"), NAME), at_one);
    assert_eq!(described(&cluster, 1, (TOPIC, "at-one"), "max.message.bytes"), at_one);
    let at_two = [of_two, of_all, file.clone(), default.clone()];
    assert_eq!(described(&cluster, 2, (BROKER, "2"), NAME), at_two);

    assert_eq!(alter(&cluster, "2", NAME, None), done);
    wait_until(&cluster, [false, false]);
    assert_eq!(alter(&cluster, "", NAME, None), done);
    wait_until(&cluster, [true, true]);
    assert_eq!(described(&cluster, 2, (BROKER, "2"), NAME), [file, default]);
}

/// Replaces all that is set for a topic; what is answered.
fn replace(cluster: &Cluster, version: i16, topic: &str, configs: &[(&str, &str)]) -> ErrorCode {
    let config = |&(name, value): &(&str, &str)| alter_configs_request::AlterableConfig {
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let resource = alter_configs_request::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.to_owned(),
        configs: configs.iter().map(config).collect(),
    };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = Client::connect(cluster.nodes()[0].port).call(version, &request).expect("an answer");
    ErrorCode::from(answer.responses[0].error_code)
}

#[test]
fn clients_of_old_replace_what_is_set_for_a_topic_in_every_version() {
    let cluster = Cluster::start(1, "");
    let bootstrap = cluster.bootstrap();
    cluster.tool(&["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"]);
    let own = |name: &str| {
        let values = described(&cluster, 1, (TOPIC, "t"), name);
        values.first().filter(|(_, source)| *source == 1).map(|(value, _)| value.clone())
    };

    for version in 0..=2 {
        let first = [("retention.ms", "70000"), ("segment.ms", "80000")];
        assert_eq!(replace(&cluster, version, "t", &first), ErrorCode::None);
        assert_eq!(own("retention.ms").as_deref(), Some("70000"));
        assert_eq!(replace(&cluster, version, "t", &[("segment.ms", "90000")]), ErrorCode::None);
        assert_eq!((own("retention.ms"), own("segment.ms").as_deref()), (None, Some("90000")));
        assert_eq!(replace(&cluster, version, "t", &[("segment.ms", "soon")]), ErrorCode::InvalidConfig);
        assert_eq!(own("segment.ms").as_deref(), Some("90000"));
    }
    assert_eq!(replace(&cluster, 2, "absent", &[]), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn log_levels_follow_what_is_set_until_the_node_is_started_anew() {
    let mut cluster = Cluster::start(1, "");
    let bootstrap = cluster.bootstrap();
    let configs = |cluster: &Cluster, words: &[&str]| {
        let tool = ["kafka-configs", "--bootstrap-server", &bootstrap];
        let logger = ["--entity-type", "broker-loggers", "--entity-name", "1"];
        cluster.tool(&[&tool[..], &logger, words].concat())
    };
    let level = |cluster: &Cluster, logger: &str| {
        let told = configs(cluster, &["--describe"]);
        let line = told.lines().find_map(|line| line.trim().strip_prefix(&format!("{logger}=")));
        line.and_then(|line| line.split(' ').next()).map(str::to_owned)
    };
    let debug_lines = |cluster: &Cluster| cluster.nodes()[0].log().matches(" DEBUG ").count();
    assert_eq!(level(&cluster, "ottla_server").as_deref(), Some("INFO"));
    assert_eq!(debug_lines(&cluster), 0);

    configs(&cluster, &["--alter", "--add-config", "root=ERROR,ottla_server=DEBUG"]);
    eventually("it says more", PATIENCE, || {
        // A pattern that is none is worth a line to developers.
        let request =
            ListTransactionsRequest { transactional_id_pattern: Some("(".to_owned()), ..Default::default() };
        Client::connect(cluster.nodes()[0].port).call(2, &request).expect("an answer");
        (debug_lines(&cluster) > 0).then_some(())
    });
    assert_eq!(level(&cluster, "ottla_server").as_deref(), Some("DEBUG"));
    assert_eq!(level(&cluster, "ottla_net").as_deref(), Some("ERROR"));
    configs(&cluster, &["--alter", "--delete-config", "ottla_server"]);
    assert_eq!(level(&cluster, "ottla_server").as_deref(), Some("ERROR"));
    cluster.stop();
    let said = debug_lines(&cluster);
    cluster.restart();

    assert_eq!(level(&cluster, "root").as_deref(), Some("INFO"));
    assert_eq!(debug_lines(&cluster), said);
}
