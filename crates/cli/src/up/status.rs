//! `ottla status`: the nodes of a cluster, and how it is.

use super::control;
use super::layout::{Layout, NodeLayout};
use super::watcher::Watcher;
use anyhow::{Context, Result};
use ottla_types::NodeId;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Describes a cluster that runs, in words or as JSON.
pub(super) async fn describe(layout: &Layout, as_json: bool) -> Result<String> {
    let pids = control::processes(layout).await?;
    let live = pids.keys().map(|&id| NodeId(id.into())).collect();
    let watcher = Watcher::start(layout).await.context("no controller answers; see the nodes' logs")?;
    let (health, (topics, partitions)) = (watcher.health(&live), watcher.counts());
    if as_json {
        let nodes: Vec<_> = layout.nodes().iter().map(|node| node_json(node, &pids)).collect();
        let json = serde_json::json!({
            "cluster_id": layout.cluster_id,
            "healthy": health.is_healthy(),
            "can_lose": health.can_lose,
            "quorum": { "live": health.quorum.0, "voters": health.quorum.1 },
            "topics": topics,
            "partitions": { "all": partitions, "offline": health.offline, "under_replicated": health.under_replicated },
            "nodes": nodes,
        });
        return Ok(json.to_string());
    }
    let mut text = String::new();
    for node in layout.nodes() {
        let clients =
            node.client_port.map_or("controller only".to_owned(), |port| format!("localhost:{port}"));
        let state = pids.get(&node.id).map_or("down".to_owned(), |pid| format!("pid {pid}"));
        writeln!(text, " {:<5} {clients:<15} :{:<6} {state}", node.id, node.controller_port)?;
    }
    write!(text, " {topics} topics, {partitions} partitions\n {health}")?;
    Ok(text)
}

fn node_json(node: &NodeLayout, pids: &BTreeMap<u16, u32>) -> serde_json::Value {
    serde_json::json!({
        "id": node.id,
        "clients": node.client_port.map(|port| format!("localhost:{port}")),
        "controller": format!("localhost:{}", node.controller_port),
        "pid": pids.get(&node.id),
        "log": node.log().display().to_string(),
    })
}
