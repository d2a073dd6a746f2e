//! What is wanted of a client: the sum of all subscriptions that mean it.

use ottla_metadata::client_metrics::{ALL_METRICS, Attribute, INTERVAL_DEFAULT, Subscription};
use ottla_metadata::{ConfigsImage, ResourceType};
use ottla_types::Uuid;
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The id that it was given when it first asked.
    pub instance_id: Uuid,
    /// What it calls itself.
    pub client_id: String,
    /// The library it uses.
    pub software_name: String,
    /// This library's version.
    pub software_version: String,
    /// The address that its connection comes from.
    pub source_address: String,
    /// The port that its connection comes from.
    pub source_port: u16,
}

/// What is wanted of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The same for what is the same, of one client.
    pub subscription_id: i32,
    /// What the names of the metrics begin with, or [`ALL_METRICS`] alone.
    pub metrics: BTreeSet<String>,
    /// How often they are to be told.
    pub interval: Duration,
}

/// The subscriptions as they are configured, ready for use.
#[derive(Default)]
pub struct Subscriptions {
    /// What they were read from.
    configured: BTreeMap<String, BTreeMap<String, String>>,
    read: Vec<Subscription>,
}

impl Subscriptions {
    /// What is wanted of a client by what is configured now.
    pub fn offer(&mut self, configs: &ConfigsImage, profile: &Profile) -> Offer {
        let is_known = configs
            .of_type(ResourceType::ClientMetrics)
            .eq(self.configured.iter().map(|(name, values)| (name.as_str(), values)));
        if !is_known {
            self.read(configs);
        }
        let (instance, port) = (profile.instance_id.to_string(), profile.source_port.to_string());
        let attribute = |attribute| match attribute {
            Attribute::InstanceId => &instance,
            Attribute::ClientId => &profile.client_id,
            Attribute::SoftwareName => &profile.software_name,
            Attribute::SoftwareVersion => &profile.software_version,
            Attribute::SourceAddress => &profile.source_address,
            Attribute::SourcePort => &port,
        };
        let meaning = self.read.iter().filter(|one| one.means(|name| attribute(name).as_str()));
        let (mut metrics, mut interval) = (BTreeSet::new(), INTERVAL_DEFAULT);
        for subscription in meaning {
            metrics.extend(subscription.metrics.iter().cloned());
            interval = interval.min(subscription.interval);
        }
        if metrics.contains(ALL_METRICS) {
            metrics.retain(|name| name == ALL_METRICS);
        }
        // Every broker comes to the same, whichever its version.
        let mut hasher = SipHasher13::new();
        (&metrics, interval, profile.instance_id).hash(&mut hasher);
        Offer { subscription_id: hasher.finish() as i32, metrics, interval }
    }

    fn read(&mut self, configs: &ConfigsImage) {
        self.configured.clear();
        self.read.clear();
        for (name, values) in configs.of_type(ResourceType::ClientMetrics) {
            match Subscription::parse(values) {
                Ok(subscription) => self.read.push(subscription),
                // Another program's controller may have let it in.
                Err(why) => {
                    tracing::warn!(subscription = name, %why, "no client is asked for what a subscription wants");
                }
            }
            self.configured.insert(name.to_owned(), values.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::MetadataImage;
    use ottla_protocol::records::metadata::{ConfigRecord, MetadataRecord};

    fn profile(client_id: &str) -> Profile {
        Profile {
            instance_id: Uuid::from_u128(1000),
            client_id: client_id.to_owned(),
            software_name: "librdkafka".to_owned(),
            software_version: "2.16.0".to_owned(),
            source_address: "127.0.0.1".to_owned(),
            source_port: 40_000,
        }
    }

    fn set(image: &mut MetadataImage, subscription: &str, name: &str, value: Option<&str>) {
        let record = MetadataRecord::Config(ConfigRecord {
            resource_type: ResourceType::ClientMetrics.to_wire(),
            resource_name: subscription.to_owned(),
            name: name.to_owned(),
            value: value.map(str::to_owned),
        });
        image.replay(&record, &mut Default::default()).unwrap();
    }

    #[test]
    fn a_client_is_asked_for_the_sum_of_what_means_it_as_often_as_the_most_eager_wants() {
        let mut image = MetadataImage::default();
        let mut subscriptions = Subscriptions::default();
        let mut offer = |image: &MetadataImage, id: &str| {
            let offer = subscriptions.offer(&image.configs, &profile(id));
            (offer.metrics.into_iter().collect::<Vec<_>>().join(","), offer.interval.as_millis())
        };
        assert_eq!(offer(&image, "a"), (String::new(), 300_000));

        set(&mut image, "one", "metrics", Some("x,y"));
        set(&mut image, "one", "interval.ms", Some("60000"));
        set(&mut image, "two", "metrics", Some("y,z"));
        set(&mut image, "two", "interval.ms", Some("1000"));
        set(&mut image, "two", "match", Some("client_id=a.*,client_source_port=4.+"));
        assert_eq!(offer(&image, "a"), ("x,y,z".to_owned(), 1000));
        assert_eq!(offer(&image, "b"), ("x,y".to_owned(), 60_000));

        set(&mut image, "all", "metrics", Some("*"));
        assert_eq!(offer(&image, "a"), ("*".to_owned(), 1000));

        set(&mut image, "all", "metrics", None);
        set(&mut image, "two", "match", Some("client_id=("));
        assert_eq!(offer(&image, "a"), ("x,y".to_owned(), 60_000));
    }

    #[test]
    fn another_subscription_has_another_id() {
        let mut image = MetadataImage::default();
        let mut subscriptions = Subscriptions::default();
        let before = subscriptions.offer(&image.configs, &profile("a")).subscription_id;
        assert_eq!(subscriptions.offer(&image.configs, &profile("b")).subscription_id, before);

        set(&mut image, "one", "interval.ms", Some("1000"));

        assert_ne!(subscriptions.offer(&image.configs, &profile("a")).subscription_id, before);
    }
}
