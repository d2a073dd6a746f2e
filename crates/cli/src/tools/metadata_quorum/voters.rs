//! `add-controller` and `remove-controller`: the voters change (KIP-853).

use super::TOOL;
use crate::tools::options::{Parsed, require};
use crate::tools::{Failure, connect};
use crate::{output, properties_file};
use ottla_client::admin::cluster::add_voter_request;
use ottla_client::{ClientError, Quorum};
use ottla_protocol::messages::RemoveRaftVoterRequest;
use ottla_protocol::messages::add_raft_voter_request::Listener;
use ottla_server::NodeConfig;
use ottla_storage::{MetaProperties, RealDisk};
use ottla_types::{NodeId, Uuid};
use std::path::Path;
use std::time::Duration;

/// What the request says about how long the tool waits. The leader has a limit of its own.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Makes the controller that `--command-config` configures a voter.
pub(super) fn add(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["command-config"])?;
    let file = parsed.value("command-config").unwrap_or_default();
    let config = properties_file::read(Path::new(file), &[])
        .map_err(|error| Failure::Refused(format!("{error:#}")))?;
    if !config.roles.controller {
        return Err(Failure::Refused(format!("process.roles in {file} has no controller")));
    }
    let directory_id = directory_id(&config)?;
    let listeners: Vec<Listener> = config
        .controller_listeners
        .iter()
        .filter_map(|name| config.advertised.get(name))
        .map(|listener| Listener {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
        })
        .collect();
    let endpoints = listeners.iter().map(|l| format!("{}://{}:{}", l.name, l.host, l.port));
    let endpoints = endpoints.collect::<Vec<_>>().join(", ");
    let what =
        format!("controller {} with directory id {directory_id} and endpoints: {endpoints}", config.node_id);
    if parsed.has("dry-run") {
        output::line(format!("DRY RUN of adding {what}"));
        return Ok(());
    }
    let request = add_voter_request(None, config.node_id, directory_id, listeners, TIMEOUT);
    // The file is the new controller's, not a client's.
    connect::block_on(async {
        if let Some(addresses) = parsed.value("bootstrap-controller") {
            let mut quorum = Quorum::new(connect::config(addresses, None, TOOL.name)?);
            return quorum.add_voter(&request).await.map_err(refused);
        }
        let admin = connect::admin_without_file(parsed, TOOL.name)?;
        admin.add_raft_voter(&request).await.map_err(refused)
    })?;
    output::line(format!("Added {what}"));
    Ok(())
}

/// The id of the controller's metadata directory.
fn directory_id(config: &NodeConfig) -> Result<Uuid, Failure> {
    let dir = &config.metadata_log_dir;
    let properties =
        MetaProperties::read(&RealDisk, dir).map_err(|error| Failure::Refused(error.to_string()))?;
    let Some(properties) = properties else {
        return Err(Failure::Refused(format!("{} is not formatted.", dir.display())));
    };
    if properties.node_id != config.node_id {
        return Err(Failure::Refused(format!(
            "{} is the directory of node {}, not {}",
            dir.display(),
            properties.node_id,
            config.node_id
        )));
    }
    Ok(properties.directory_id)
}

/// Takes a controller out of the voters.
pub(super) fn remove(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["controller-id", "controller-directory-id"])?;
    let invalid = |error: crate::tools::options::Invalid| Failure::Usage(error.0);
    let id = parsed.number::<i32>("controller-id").map_err(invalid)?.map_or(NodeId::NONE, NodeId);
    if !id.is_some() {
        return Err(Failure::Refused(format!("Invalid negative --controller-id: {id}")));
    }
    let text = parsed.value("controller-directory-id").unwrap_or_default();
    let directory_id: Uuid = text
        .parse()
        .map_err(|_| Failure::Refused(format!("Failed to parse --controller-directory-id: {text}")))?;
    // The two spaces are Kafka's.
    let what = format!(" KRaft controller {id} with directory id {directory_id}");
    if parsed.has("dry-run") {
        output::line(format!("DRY RUN of removing {what}"));
        return Ok(());
    }
    let request =
        RemoveRaftVoterRequest { cluster_id: None, voter_id: id.0, voter_directory_id: directory_id };
    connect::block_on(async {
        if let Some(addresses) = parsed.value("bootstrap-controller") {
            let config = connect::config(addresses, parsed.value("command-config"), TOOL.name)?;
            return Quorum::new(config).remove_voter(&request).await.map_err(refused);
        }
        let admin = connect::admin(parsed, TOOL.name)?;
        admin.remove_raft_voter(&request).await.map_err(refused)
    })?;
    output::line(format!("Removed {what}"));
    Ok(())
}

fn refused(error: ClientError) -> Failure {
    Failure::Refused(format!("Error: {error}"))
}
