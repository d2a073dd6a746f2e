//! Clients' metrics (KIP-714): what clients are asked to measure, and what they have told, for whoever watches this broker.
//!
//! Who subscribes to what is configuration of the cluster (`kafka-client-metrics`). A client asks any broker what is wanted of it, and tells
//! it to that one as long as it is connected. The last it has told is among the broker's own metrics.
//!
//! Reading order: [`subscriptions`], [`samples`], [`clients`]; the handlers are in [`crate::handlers::cluster::telemetry`].

pub mod clients;
pub mod samples;
pub mod subscriptions;

pub use clients::{Clients, Push};
pub use samples::Sample;
pub use subscriptions::{Offer, Profile, Subscriptions};

use ottla_types::Random;
use parking_lot::Mutex;

/// A broker's part in it.
pub struct Telemetry {
    /// How much a client may tell at once, in bytes, compressed or not (`telemetry.max.bytes`).
    pub bytes_max: usize,
    /// Who has asked.
    pub clients: Mutex<Clients>,
    subscriptions: Mutex<Subscriptions>,
}

impl Telemetry {
    /// A broker that nobody has asked yet.
    pub fn new(bytes_max: usize, seed: u64) -> Telemetry {
        Telemetry {
            bytes_max,
            clients: Mutex::new(Clients::new(Random::new(seed))),
            subscriptions: Mutex::default(),
        }
    }

    /// What is wanted of a client.
    pub fn offer(&self, configs: &ottla_metadata::ConfigsImage, profile: &Profile) -> Offer {
        self.subscriptions.lock().offer(configs, profile)
    }
}
