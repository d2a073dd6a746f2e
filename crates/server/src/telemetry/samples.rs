//! What a client has measured, in the form of OpenTelemetry's protocol (OTLP).

use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;

/// A number that a client has told.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it measures, in dots: `org.apache.kafka.producer.record.send.total`.
    pub name: String,
    /// Of what: a topic, say, or a broker.
    pub labels: BTreeMap<String, String>,
    /// The number.
    pub value: f64,
    /// Whether it counts from the client's start on, and so never falls.
    pub is_total: bool,
}

impl Sample {
    /// How much memory it takes, about, in bytes.
    pub fn bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(name, value)| 64 + name.len() + value.len()).sum();
        128 + self.name.len() + labels
    }
}

/// Reads what a client has told. Only gauges and totals are numbers of their own; clients have no others so far, and histograms
/// are passed over.
///
/// # Errors
/// When it is not OTLP.
pub fn decode(bytes: Bytes) -> Result<Vec<Sample>, prost::DecodeError> {
    let data = otlp::MetricsData::decode(bytes)?;
    let mut samples = Vec::new();
    for resource in data.resource_metrics {
        let common = labels(resource.resource.unwrap_or_default().attributes);
        for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            let (points, is_total) = match metric.data {
                Some(otlp::Data::Gauge(gauge)) => (gauge.data_points, false),
                // What was added since the last time says nothing by itself. Clients were asked for totals.
                Some(otlp::Data::Sum(sum)) if sum.aggregation_temporality == otlp::DELTA => continue,
                Some(otlp::Data::Sum(sum)) => (sum.data_points, sum.is_monotonic),
                None => continue,
            };
            for point in points {
                let value = match point.value {
                    Some(otlp::Value::Double(value)) => value,
                    Some(otlp::Value::Int(value)) => value as f64,
                    None => continue,
                };
                let mut labels = labels(point.attributes);
                labels.extend(common.clone());
                samples.push(Sample { name: metric.name.clone(), labels, value, is_total });
            }
        }
    }
    Ok(samples)
}

fn labels(attributes: Vec<otlp::KeyValue>) -> BTreeMap<String, String> {
    let label = |attribute: otlp::KeyValue| {
        let value = match attribute.value?.value? {
            otlp::Any::Text(text) => text,
            otlp::Any::Bool(value) => value.to_string(),
            otlp::Any::Int(value) => value.to_string(),
            otlp::Any::Double(value) => value.to_string(),
        };
        Some((attribute.key, value))
    };
    attributes.into_iter().filter_map(label).collect()
}

/// The parts of `opentelemetry/proto/metrics/v1/metrics.proto` that are looked at, by their numbers there.
mod otlp {
    use prost::{Message, Oneof};

    /// `AGGREGATION_TEMPORALITY_DELTA`.
    pub(super) const DELTA: i32 = 1;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct MetricsData {
        #[prost(message, repeated, tag = "1")]
        pub(super) resource_metrics: Vec<ResourceMetrics>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct ResourceMetrics {
        #[prost(message, optional, tag = "1")]
        pub(super) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(super) scope_metrics: Vec<ScopeMetrics>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct ScopeMetrics {
        #[prost(message, repeated, tag = "2")]
        pub(super) metrics: Vec<Metric>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Metric {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(oneof = "Data", tags = "5, 7")]
        pub(super) data: Option<Data>,
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub(super) enum Data {
        #[prost(message, tag = "5")]
        Gauge(Gauge),
        #[prost(message, tag = "7")]
        Sum(Sum),
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Gauge {
        #[prost(message, repeated, tag = "1")]
        pub(super) data_points: Vec<NumberDataPoint>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Sum {
        #[prost(message, repeated, tag = "1")]
        pub(super) data_points: Vec<NumberDataPoint>,
        #[prost(int32, tag = "2")]
        pub(super) aggregation_temporality: i32,
        #[prost(bool, tag = "3")]
        pub(super) is_monotonic: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct NumberDataPoint {
        #[prost(message, repeated, tag = "7")]
        pub(super) attributes: Vec<KeyValue>,
        #[prost(oneof = "Value", tags = "4, 6")]
        pub(super) value: Option<Value>,
    }

    #[derive(Clone, Copy, PartialEq, Oneof)]
    pub(super) enum Value {
        #[prost(double, tag = "4")]
        Double(f64),
        #[prost(sfixed64, tag = "6")]
        Int(i64),
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct AnyValue {
        #[prost(oneof = "Any", tags = "1, 2, 3, 4")]
        pub(super) value: Option<Any>,
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub(super) enum Any {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(int64, tag = "3")]
        Int(i64),
        #[prost(double, tag = "4")]
        Double(f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of a message: its key, its length, its bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        assert!(length < 128);
        [&[number << 3 | 2, length], bytes].concat()
    }

    fn attribute(name: &str, value: &str) -> Vec<u8> {
        [field(1, name.as_bytes()), field(2, &field(1, value.as_bytes()))].concat()
    }

    /// What a client tells that has measured one thing, of a partition; `kind` is the field of gauges, or of sums.
    fn told(kind: u8, after_points: &[u8]) -> Vec<u8> {
        let value = [&[6 << 3 | 1][..], &7_i64.to_le_bytes()].concat();
        let point = [value, field(7, &attribute("topic", "t"))].concat();
        let data = [&field(1, &point)[..], after_points].concat();
        let metric = [field(1, b"a.b"), field(kind, &data)].concat();
        let resource = field(1, &field(1, &attribute("rack", "r")));
        field(1, &[resource, field(2, &field(2, &metric))].concat())
    }

    #[test]
    fn gauges_and_totals_are_read_with_what_they_are_of() {
        let labels = [("rack", "r"), ("topic", "t")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = |is_total| {
            vec![Sample {
                name: "a.b".to_owned(),
                labels: BTreeMap::from(labels.clone()),
                value: 7.0,
                is_total,
            }]
        };

        assert_eq!(decode(told(5, &[]).into()).unwrap(), expected(false));
        // Cumulative, and monotonic.
        assert_eq!(decode(told(7, &[2 << 3, 2, 3 << 3, 1]).into()).unwrap(), expected(true));
        assert_eq!(decode(told(7, &[2 << 3, 2]).into()).unwrap(), expected(false));
    }

    #[test]
    fn what_was_added_since_the_last_time_and_histograms_are_passed_over() {
        assert_eq!(decode(told(7, &[2 << 3, 1, 3 << 3, 1]).into()).unwrap(), []);
        assert_eq!(decode(told(9, &[]).into()).unwrap(), []);
        assert_eq!(decode(Bytes::new()).unwrap(), []);
    }

    #[test]
    fn what_is_no_otlp_is_refused() {
        let whole = told(5, &[]);
        assert!(decode(Bytes::copy_from_slice(&whole[..whole.len() - 1])).is_err());
        assert!(decode(Bytes::from_static(b"metrics")).is_err());
    }
}
