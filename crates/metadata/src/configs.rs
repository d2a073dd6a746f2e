//! Dynamic configuration, by resource.

use ottla_types::NodeId;
use std::collections::BTreeMap;

/// What a configuration belongs to, by Kafka's numbers (`ConfigResource.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    /// A topic.
    Topic,
    /// A broker; the empty name is every broker.
    Broker,
    /// A client metrics subscription.
    ClientMetrics,
    /// A group.
    Group,
}

impl ResourceType {
    /// The type with this wire value, if there is one.
    pub fn from_wire(value: i8) -> Option<ResourceType> {
        match value {
            2 => Some(ResourceType::Topic),
            4 => Some(ResourceType::Broker),
            16 => Some(ResourceType::ClientMetrics),
            32 => Some(ResourceType::Group),
            _ => None,
        }
    }

    /// The wire value.
    pub fn to_wire(self) -> i8 {
        match self {
            ResourceType::Topic => 2,
            ResourceType::Broker => 4,
            ResourceType::ClientMetrics => 16,
            ResourceType::Group => 32,
        }
    }
}

/// One thing that has a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// What kind of thing.
    pub resource_type: ResourceType,
    /// Which one: a topic's name, a broker's id in decimal, or empty for every broker.
    pub name: String,
}

impl ConfigResource {
    /// The topic of this name.
    pub fn topic(name: impl Into<String>) -> ConfigResource {
        ConfigResource { resource_type: ResourceType::Topic, name: name.into() }
    }

    /// The group of this id.
    pub fn group(id: impl Into<String>) -> ConfigResource {
        ConfigResource { resource_type: ResourceType::Group, name: id.into() }
    }

    /// The subscription to clients' metrics of this name.
    pub fn client_metrics(name: impl Into<String>) -> ConfigResource {
        ConfigResource { resource_type: ResourceType::ClientMetrics, name: name.into() }
    }

    /// One broker.
    pub fn broker(id: NodeId) -> ConfigResource {
        ConfigResource { resource_type: ResourceType::Broker, name: id.to_string() }
    }

    /// Every broker.
    pub fn cluster() -> ConfigResource {
        ConfigResource { resource_type: ResourceType::Broker, name: String::new() }
    }
}

/// All dynamic configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigsImage {
    resources: BTreeMap<ConfigResource, BTreeMap<String, String>>,
}

impl ConfigsImage {
    /// Sets a value, or removes it.
    pub(crate) fn set(&mut self, resource: ConfigResource, name: &str, value: Option<&str>) {
        let values = self.resources.entry(resource.clone()).or_default();
        match value {
            Some(value) => values.insert(name.to_owned(), value.to_owned()),
            None => values.remove(name),
        };
        if values.is_empty() {
            self.resources.remove(&resource);
        }
    }

    /// Forgets all of a resource's values.
    pub(crate) fn remove(&mut self, resource: &ConfigResource) {
        self.resources.remove(resource);
    }

    /// A resource's values by name, if it has any.
    pub fn get(&self, resource: &ConfigResource) -> Option<&BTreeMap<String, String>> {
        self.resources.get(resource)
    }

    /// One value of a resource.
    pub fn value(&self, resource: &ConfigResource, name: &str) -> Option<&str> {
        self.resources.get(resource)?.get(name).map(String::as_str)
    }

    /// All resources with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &BTreeMap<String, String>)> {
        self.resources.iter()
    }

    /// The names of all resources of a type, with their values.
    pub fn of_type(
        &self,
        resource_type: ResourceType,
    ) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> {
        let first = ConfigResource { resource_type, name: String::new() };
        let rest = self.resources.range(first..);
        rest.take_while(move |(resource, _)| resource.resource_type == resource_type)
            .map(|(resource, values)| (resource.name.as_str(), values))
    }
}
