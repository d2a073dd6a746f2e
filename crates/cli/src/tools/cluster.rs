//! `kafka-cluster`: the cluster's id and nodes, and brokers that are forgotten (`ClusterTool`).

use super::options::{Opt, Parsed, Tool, flag, require, value};
use super::{Failure, connect, exceptions};
use crate::output;
use ottla_client::{ClientError, Quorum};
use ottla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_types::NodeId;
use std::fmt::Write as _;

const OPTIONS: &[Opt] = &[
    value("bootstrap-controller", "server", "The controllers to begin with, as host:port,...").or('C'),
    value("bootstrap-server", "server", "The brokers to begin with, as host:port,...").or('b'),
    value("command-config", "file", "A client's properties."),
    value("config", "file", "The same. Deprecated.").or('c'),
    value("id", "id", "The broker to unregister.").or('i'),
    flag("include-fenced-brokers", "Lists fenced brokers too."),
];

pub(super) const TOOL: Tool = Tool {
    name: "kafka-cluster",
    purpose: "The Kafka cluster tool.",
    short_purpose: None,
    commands: &["cluster-id", "unregister", "list-endpoints"],
    options: OPTIONS,
};

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
    let Some(command) = parsed.command else {
        return usage("the commands are cluster-id, unregister and list-endpoints");
    };
    for (name, of) in [("id", "unregister"), ("include-fenced-brokers", "list-endpoints")] {
        if parsed.has(name) && command != of {
            return usage(&format!("--{name} means nothing to {command}"));
        }
    }
    match (parsed.has("bootstrap-server"), parsed.has("bootstrap-controller")) {
        (true, true) => {
            return usage(
                "argument --bootstrap-controller/-C: not allowed with argument --bootstrap-server/-b",
            );
        }
        (false, false) => {
            return usage("one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required");
        }
        _ => {}
    }
    if parsed.has("config") && parsed.has("command-config") {
        return usage("argument --config/-c: not allowed with argument --command-config");
    }
    match command {
        "cluster-id" => cluster_id(parsed),
        "unregister" => unregister(parsed),
        _ => list_endpoints(parsed),
    }
}

fn refused(error: ClientError) -> Failure {
    Failure::Refused(error.to_string())
}

/// A client of the controllers, if they are to be asked.
fn quorum(parsed: &Parsed) -> Result<Option<Quorum>, Failure> {
    let Some(addresses) = parsed.value("bootstrap-controller") else { return Ok(None) };
    Ok(Some(Quorum::new(connect::config(addresses, properties(parsed), TOOL.name)?)))
}

fn properties(parsed: &Parsed) -> Option<&str> {
    parsed.value("command-config").or_else(|| parsed.value("config"))
}

fn cluster_id(parsed: &Parsed) -> Result<(), Failure> {
    let id = connect::block_on(async {
        if let Some(mut quorum) = quorum(parsed)? {
            return quorum.cluster_id().await.map_err(refused);
        }
        let admin = connect::admin_with(parsed, properties(parsed), TOOL.name)?;
        admin.describe_cluster().await.map(|cluster| cluster.cluster_id).map_err(refused)
    })?;
    output::line(format!("Cluster ID: {id}"));
    Ok(())
}

fn unregister(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["id"])?;
    let id =
        parsed.number::<i32>("id").map_err(|error| Failure::Usage(error.0))?.map_or(NodeId::NONE, NodeId);
    connect::block_on(async {
        let done = match quorum(parsed)? {
            Some(mut quorum) => quorum.unregister_broker(id).await,
            None => connect::admin_with(parsed, properties(parsed), TOOL.name)?.unregister_broker(id).await,
        };
        // Where Kafka's tool has a stack trace, which ends with an empty line, ours has that line.
        done.map_err(|error| Failure::Refused(exceptions::shown(&error) + "\n"))
    })?;
    output::line(format!("Broker {id} is no longer registered."));
    Ok(())
}

fn list_endpoints(parsed: &Parsed) -> Result<(), Failure> {
    let fenced = parsed.has("include-fenced-brokers");
    let text = connect::block_on(async {
        if let Some(mut quorum) = quorum(parsed)? {
            if fenced {
                let only =
                    "The option --include-fenced-brokers is only supported with --bootstrap-server option";
                return Err(Failure::Refused(only.to_owned()));
            }
            return Ok(table(&quorum.controller_endpoints().await.map_err(refused)?, "controller"));
        }
        let admin = connect::admin_with(parsed, properties(parsed), TOOL.name)?;
        Ok(table(&admin.broker_endpoints(fenced).await.map_err(refused)?, "broker"))
    })?;
    output::text(&text);
    Ok(())
}

/// The nodes, one a line; whether they are fenced is said of brokers only.
fn table(nodes: &[DescribeClusterBroker], kind: &str) -> String {
    let host_width = nodes.iter().map(|node| node.host.len()).max().unwrap_or(10);
    let rack_width = nodes.iter().filter_map(|node| node.rack.as_ref().map(String::len)).max().unwrap_or(10);
    let mut text = String::new();
    let mut row = |id: &str, host: &str, port: &str, rack: &str, state: &str, kind_text: &str| {
        write!(text, "{id:<10} {host:<host_width$} {port:<10} {rack:<rack_width$} ")
            .expect("a String takes all");
        if kind == "broker" {
            write!(text, "{state:<10} ").expect("a String takes all");
        }
        writeln!(text, "{kind_text:<15}").expect("a String takes all");
    };
    row("ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE");
    for node in nodes {
        let state = if node.is_fenced { "fenced" } else { "unfenced" };
        let rack = node.rack.as_deref().unwrap_or("null");
        row(&node.broker_id.to_string(), &node.host, &node.port.to_string(), rack, state, kind);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_kafkas() {
        let node = |broker_id, is_fenced| DescribeClusterBroker {
            broker_id,
            host: "127.0.0.1".to_owned(),
            port: 21192,
            is_fenced,
            ..Default::default()
        };

        assert_eq!(
            table(&[node(1, false), node(2, true)], "broker"),
            "ID         HOST      PORT       RACK       STATE      ENDPOINT_TYPE  \n\
             1          127.0.0.1 21192      null       unfenced   broker         \n\
             2          127.0.0.1 21192      null       fenced     broker         \n"
        );
        assert_eq!(
            table(&[node(1, false)], "controller"),
            "ID         HOST      PORT       RACK       ENDPOINT_TYPE  \n\
             1          127.0.0.1 21192      null       controller     \n"
        );
    }
}
