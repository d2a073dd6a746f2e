//! A broker's membership: it registers, catches up, asks to be let in, says that it lives, and leaves.

use super::controller_channel::ControllerChannel;
use super::cut_off::Answers;
use crate::config::NodeConfig;
use crate::io_pool::IoPool;
use crate::replicas::ReplicaManager;
use ottla_controller::bootstrap::SUPPORTED_FEATURES;
use ottla_net::Clock;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
use ottla_storage::Incarnation;
use ottla_types::{BrokerEpoch, Offset, Uuid};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

/// Where a broker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not registered.
    Starting,
    /// Registered and fenced.
    Fenced,
    /// A member that clients are told of.
    Active,
    /// It may stop.
    Released,
}

/// Why a broker cannot be a member.
#[derive(Debug, Error)]
pub enum LifecycleError {
    /// The controller refuses it for good.
    #[error("the controller refuses this broker: {code} {message}{help}")]
    Refused {
        /// The error's name.
        code: &'static str,
        /// What it means.
        message: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// No registration within `initial.broker.registration.timeout.ms`.
    #[error("not registered within initial.broker.registration.timeout.ms={patience}: {why}; {help}", patience = .patience.as_millis())]
    TimedOut {
        /// How long it was tried.
        patience: Duration,
        /// Why not, the last time.
        why: String,
        /// What to do.
        help: String,
    },
    /// A log directory failed, and no controller could be told.
    #[error("a log directory failed, and no controller heard of it within log.dir.failure.timeout.ms={patience}; replicas in it may still be believed to be in sync", patience = .patience.as_millis())]
    UnheardFailure {
        /// How long it was tried.
        patience: Duration,
    },
}

/// How soon to ask again while something is awaited.
const EAGER: Duration = Duration::from_millis(10);

/// What came of a heartbeat.
struct Beat {
    /// When to send the next one.
    pause: Duration,
    /// Whether the broker must register anew.
    renew: bool,
    /// Whether the controller took it.
    answered: bool,
}

/// What the lifecycle is made with.
pub struct Lifecycle {
    /// The node's configuration.
    pub config: Arc<NodeConfig>,
    /// The cluster.
    pub cluster_id: String,
    /// Chosen by this process at its start.
    pub incarnation_id: Uuid,
    /// The log directories, in which it is noted which incarnation this is.
    pub replicas: Arc<ReplicaManager>,
    /// Gets the ids of those that fail.
    pub failed_directories: watch::Receiver<BTreeSet<Uuid>>,
    /// The last incarnation of which everything that it wrote is here. If that is not the last one at all, this one is
    /// not eligible for what that one had (KIP-966).
    pub previous: Incarnation,
    /// Where disks are waited for.
    pub io: IoPool,
    /// The clocks.
    pub clock: Clock,
    /// The way to the controller.
    pub controller: ControllerChannel,
    /// How far the metadata log is applied.
    pub applied: watch::Receiver<Offset>,
    /// Gets the registration's epoch.
    pub epoch: watch::Sender<BrokerEpoch>,
    /// Gets where the broker stands.
    pub standing: watch::Sender<Standing>,
    /// Gets the times at which heartbeats are answered.
    pub answers: Arc<Answers>,
    /// Turns true when the listeners accept.
    pub listening: watch::Receiver<bool>,
    /// Turns true when the broker is to leave.
    pub leaving: watch::Receiver<bool>,
}

impl Lifecycle {
    /// Keeps the broker a member until it may stop.
    ///
    /// # Errors
    /// When it cannot become one.
    pub async fn run(mut self) -> Result<(), LifecycleError> {
        let mut epoch = self.register().await?;
        let mut leadership = self.controller.leadership();
        let interval = self.config.properties.millis("broker.heartbeat.interval.ms");
        let patience = self.config.properties.millis("log.dir.failure.timeout.ms");
        // How many of the directories that failed a controller knows of, and until when it must know of all.
        let (mut known, mut deadline) = (0, None);
        loop {
            let failed = self.failed_directories.borrow_and_update().clone();
            let count = failed.len();
            if count > known && deadline.is_none() {
                deadline = Some(Instant::now() + patience);
            }
            let beat = self.heartbeat(epoch, interval, failed);
            let Beat { pause, renew, answered } = match deadline {
                None => beat.await,
                Some(deadline) => tokio::time::timeout_at(deadline, beat)
                    .await
                    .map_err(|_| LifecycleError::UnheardFailure { patience })?,
            };
            if answered {
                (known, deadline) = (count, None);
            }
            if *self.standing.borrow() == Standing::Released {
                return Ok(());
            }
            if renew {
                epoch = self.register().await?;
                continue;
            }
            // A change of any of these is a reason to be heard at once.
            tokio::select! {
                biased;
                changed = self.leaving.changed(), if !*self.leaving.borrow() => if changed.is_err() { return Ok(()); },
                changed = self.failed_directories.changed() => if changed.is_err() { return Ok(()); },
                changed = self.listening.changed(), if !*self.listening.borrow() => if changed.is_err() { return Ok(()); },
                // A new controller waits to hear from everyone.
                changed = leadership.changed() => if changed.is_err() { return Ok(()); },
                () = self.answers.wanted() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Registers this process, and first the one before it if that never learned whether it is registered: only who
    /// names the epoch that is registered has lost nothing, and only by its incarnation id can that be asked for.
    async fn register(&mut self) -> Result<BrokerEpoch, LifecycleError> {
        if let Some(unfinished) = self.previous.registering.take() {
            self.previous.epoch = self.register_as(unfinished).await?;
        }
        self.note(Incarnation { registering: Some(self.incarnation_id), ..self.previous }).await;
        let epoch = self.register_as(self.incarnation_id).await?;
        self.previous.epoch = epoch;
        self.note(self.previous).await;
        self.epoch.send_replace(epoch);
        self.standing.send_replace(Standing::Fenced);
        Ok(epoch)
    }

    async fn register_as(&self, incarnation_id: Uuid) -> Result<BrokerEpoch, LifecycleError> {
        let patience = self.config.properties.millis("initial.broker.registration.timeout.ms");
        let deadline = Instant::now() + patience;
        let request = self.registration(incarnation_id);
        let mut warned = false;
        loop {
            let (code, why) = match self.controller.call(&request).await {
                Ok(response) => match ErrorCode::from(response.error_code) {
                    ErrorCode::None => {
                        let epoch = BrokerEpoch(response.broker_epoch);
                        tracing::info!(%epoch, "registered");
                        return Ok(epoch);
                    }
                    error => match refusal(error) {
                        Some(refused) => return Err(refused),
                        None => (error, error.name().to_owned()),
                    },
                },
                Err(error) => (ErrorCode::None, error.to_string()),
            };
            let help = self.help(code);
            if Instant::now() >= deadline {
                return Err(LifecycleError::TimedOut { patience, why, help });
            }
            // That of a process that just died goes away; a person wants to know of the others.
            let is_duplicate = code == ErrorCode::DuplicateBrokerRegistration;
            if is_duplicate && !std::mem::replace(&mut warned, true) {
                tracing::warn!(why, help, "not registered yet");
            }
            tracing::debug!(why, "not registered yet");
            tokio::time::sleep(EAGER * 2).await;
        }
    }

    /// Before it is let in, and has anything that it could lose.
    async fn note(&self, incarnation: Incarnation) {
        let replicas = self.replicas.clone();
        let noted = self.io.run(move || {
            let mut online = replicas.directories().online();
            online.try_for_each(|directory| directory.files.write_incarnation(incarnation))
        });
        if let Ok(Err(error)) = noted.await {
            tracing::warn!(%error, "should this process be killed, it will count as one that has lost records");
        }
    }

    /// What a person can do about a refusal that may pass.
    fn help(&self, error: ErrorCode) -> String {
        match error {
            ErrorCode::DuplicateBrokerRegistration => format!(
                "another process serves as node.id={id}: give this node a node.id of its own, or end the other one",
                id = self.config.node_id
            ),
            _ => "check controller.quorum.voters, and that a majority of them runs".to_owned(),
        }
    }

    /// Says that the broker lives, and which of its directories do not.
    async fn heartbeat(&mut self, epoch: BrokerEpoch, interval: Duration, failed: BTreeSet<Uuid>) -> Beat {
        let leaving = *self.leaving.borrow();
        let applied = *self.applied.borrow();
        let request = BrokerHeartbeatRequest {
            broker_id: self.config.node_id.0,
            broker_epoch: epoch.0,
            current_metadata_offset: applied.0 - 1,
            want_fence: !*self.listening.borrow() && !leaving,
            want_shut_down: leaving,
            offline_log_dirs: failed.into_iter().collect(),
            ..Default::default()
        };
        let asked_at = self.clock.monotonic();
        match self.controller.call(&request).await {
            Ok(response) if response.error_code == ErrorCode::None.code() => {
                self.answers.record(asked_at, !response.is_fenced, self.clock.monotonic());
                let standing = match (response.should_shut_down, response.is_fenced) {
                    (true, _) => Standing::Released,
                    (false, true) => Standing::Fenced,
                    (false, false) => Standing::Active,
                };
                self.standing.send_if_modified(|known| std::mem::replace(known, standing) != standing);
                let eager = leaving || standing == Standing::Fenced;
                Beat { pause: if eager { EAGER } else { interval }, renew: false, answered: true }
            }
            Ok(response) => {
                let error = ErrorCode::from(response.error_code);
                tracing::warn!(error = error.name(), "heartbeat refused");
                Beat { pause: EAGER, renew: error == ErrorCode::StaleBrokerEpoch, answered: false }
            }
            Err(error) => {
                tracing::debug!(%error, "heartbeat not answered");
                Beat { pause: EAGER, renew: false, answered: false }
            }
        }
    }

    fn registration(&self, incarnation_id: Uuid) -> BrokerRegistrationRequest {
        let listeners = self
            .config
            .broker_listeners()
            .map(|listener| {
                let advertised = &self.config.advertised[&listener.name];
                Listener {
                    name: listener.name.clone(),
                    host: advertised.host.clone(),
                    port: advertised.port,
                    security_protocol: 0,
                }
            })
            .collect();
        BrokerRegistrationRequest {
            broker_id: self.config.node_id.0,
            cluster_id: self.cluster_id.clone(),
            incarnation_id,
            listeners,
            features: SUPPORTED_FEATURES
                .iter()
                .map(|(name, levels)| Feature {
                    name: (*name).to_owned(),
                    min_supported_version: levels.min,
                    max_supported_version: levels.max,
                })
                .collect(),
            rack: self.config.rack.clone(),
            log_dirs: self.replicas.directories().online().map(|directory| directory.id).collect(),
            previous_broker_epoch: self.previous.epoch.0,
            ..Default::default()
        }
    }
}

/// Refusals that asking again does not change.
fn refusal(error: ErrorCode) -> Option<LifecycleError> {
    let help = match error {
        ErrorCode::InconsistentClusterId => {
            ": its log directory belongs to another cluster; format a new one or name the right one in log.dirs"
        }
        ErrorCode::UnsupportedVersion => {
            ": the cluster has finalized a feature level that this version does not support"
        }
        ErrorCode::InvalidRegistration => {
            ": check listeners and node.id, and that none of log.dirs is a copy of another broker's"
        }
        _ => return None,
    };
    Some(LifecycleError::Refused { code: error.name(), message: error.message(), help })
}
