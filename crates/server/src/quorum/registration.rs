//! A controller announces itself to the active one (KIP-919), whenever the log does not show it yet.

use crate::broker::controller_channel::ControllerChannel;
use crate::config::NodeConfig;
use ottla_controller::bootstrap::SUPPORTED_FEATURES;
use ottla_metadata::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::controller_registration_request::{
    ControllerRegistrationRequest, Feature, Listener,
};
use ottla_types::Uuid;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long to wait before looking again.
const PERIOD: Duration = Duration::from_millis(500);

/// Registers this incarnation, and again if the log loses it.
pub async fn run(
    config: Arc<NodeConfig>,
    channel: ControllerChannel,
    mut image: watch::Receiver<Arc<MetadataImage>>,
    incarnation_id: Uuid,
) {
    // Told once: it is asked again twice a second.
    let mut last_refusal = 0;
    loop {
        let known = {
            let image = image.borrow_and_update();
            let registered = image.cluster.controllers.get(&config.node_id);
            !image.metadata_version().has_controller_registration()
                || registered.is_some_and(|controller| controller.incarnation_id == incarnation_id)
        };
        if known {
            if image.changed().await.is_err() {
                return;
            }
            continue;
        }
        match channel.call(&request(&config, incarnation_id)).await {
            Err(error) => tracing::debug!(%error, "controller not registered yet"),
            Ok(response) if response.error_code != 0 && response.error_code != last_refusal => {
                let error = ErrorCode::from(response.error_code);
                let message = response.error_message.as_deref().unwrap_or(error.message());
                tracing::warn!(
                    error = error.name(),
                    message,
                    "the registration of this controller is refused"
                );
                last_refusal = response.error_code;
            }
            Ok(_) => {}
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn request(config: &NodeConfig, incarnation_id: Uuid) -> ControllerRegistrationRequest {
    ControllerRegistrationRequest {
        controller_id: config.node_id.0,
        incarnation_id,
        zk_migration_ready: false,
        listeners: config
            .bound_controller_listeners()
            .map(|listener| {
                let advertised = &config.advertised[&listener.name];
                Listener {
                    name: listener.name.clone(),
                    host: advertised.host.clone(),
                    port: advertised.port,
                    security_protocol: 0,
                }
            })
            .collect(),
        features: SUPPORTED_FEATURES
            .iter()
            .map(|(name, levels)| Feature {
                name: (*name).to_owned(),
                min_supported_version: levels.min,
                max_supported_version: levels.max,
            })
            .collect(),
    }
}
