//! Brokers are configured while they run (KIP-226): topics follow, and what was set outlives a restart.

use ottla_e2e::client::Client;
use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Cluster, eventually, kcat};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

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
