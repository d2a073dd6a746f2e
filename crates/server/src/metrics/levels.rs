//! How things stand, as numbers.

use super::clients;
use super::histogram::{BOUNDS_MICROS, Histogram};
use super::observed::{Observed, ObservedBroker};
use super::process;
use super::request_times::Parts;
use crate::broker::lifecycle::Standing;
use crate::replicas::Replica;
use ottla_metadata::{MetadataImage, PartitionRegistration};
use ottla_types::{NodeId, Offset};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A node at the moment at which it is asked.
pub(super) struct Levels {
    node: Arc<Observed>,
    image: Arc<MetadataImage>,
    /// Of the metadata log.
    high_watermark: Option<Offset>,
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levels").field("node_id", &self.node.node_id).finish_non_exhaustive()
    }
}

type Labels = Vec<(&'static str, String)>;

/// Writes metrics, each with its name and help once.
pub(super) struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    /// One gauge for each set of labels.
    fn gauges(&mut self, name: &str, help: &str, values: &[(Labels, i64)]) -> fmt::Result {
        let metric_type = ConstGauge::new(0_i64).metric_type();
        let mut family = self.encoder.encode_descriptor(name, help, None, metric_type)?;
        for (labels, value) in values {
            ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }

    /// Of durations, in milliseconds as in Kafka.
    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        encode(histogram, self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?)
    }

    /// One histogram for each set of labels.
    fn histograms(&mut self, name: &str, help: &str, values: &[(Labels, &Histogram)]) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in values {
            encode(histogram, family.encode_family(labels)?)?;
        }
        Ok(())
    }

    /// Its name is written with `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    /// One number for each set of labels, of gauges or of counters.
    pub(super) fn numbers(
        &mut self,
        name: &str,
        help: &str,
        is_counter: bool,
        values: &[(Vec<(String, String)>, f64)],
    ) -> fmt::Result {
        let metric_type = if is_counter { MetricType::Counter } else { MetricType::Gauge };
        let mut family = self.encoder.encode_descriptor(name, help, None, metric_type)?;
        for (labels, value) in values {
            let encoder = family.encode_family(labels)?;
            if is_counter {
                ConstCounter::new(*value).encode(encoder)?;
            } else {
                ConstGauge::new(*value).encode(encoder)?;
            }
        }
        Ok(())
    }
}

fn encode(histogram: &Histogram, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    let bounds = BOUNDS_MICROS.map(|micros| micros as f64 / 1e3).into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(histogram.buckets()).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    let sum = histogram.micros() as f64 / 1e3;
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

/// A count as a level.
pub(super) fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Collector for Levels {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page { encoder };
        self.quorum(&mut page)?;
        if self.node.is_controller {
            self.controller(&mut page)?;
        }
        if let Some(observed) = &self.node.broker {
            self.replicas(&mut page, observed)?;
            groups(&mut page, observed)?;
            traffic(&mut page, observed)?;
            request_times(&mut page, observed)?;
            clients::told(&mut page, &observed.broker)?;
            page.histogram(
                "ottla_failoversilencems",
                "From the last word of a partition's former leader until it was led here.",
                &observed.broker.failover_silence,
            )?;
        }
        for process::Figure { name, help, value } in process::figures() {
            if name == "process_cpu_seconds" {
                let counter = ConstCounter::new(value);
                counter.encode(page.encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
            } else {
                let gauge = ConstGauge::new(value);
                gauge.encode(page.encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

impl Levels {
    pub(super) fn new(node: Arc<Observed>, high_watermark: Option<Offset>) -> Levels {
        let image = node.image.borrow().clone();
        Levels { node, image, high_watermark }
    }

    fn leads_quorum(&self) -> bool {
        let leadership = self.node.quorum.leadership();
        let leader = leadership.borrow().leader.as_ref().map(|(leader, _)| *leader);
        leader == Some(self.node.node_id)
    }

    fn quorum(&self, page: &mut Page<'_>) -> fmt::Result {
        let leadership = self.node.quorum.leadership();
        let (leader, epoch) = {
            let known = leadership.borrow();
            (known.leader.as_ref().map_or(NodeId::NONE, |(leader, _)| *leader), known.epoch)
        };
        page.gauge(
            "kafka_server_raft_metrics_current_leader",
            "The quorum's leader; -1: unknown.",
            leader.0.into(),
        )?;
        page.gauge("kafka_server_raft_metrics_current_epoch", "The quorum's epoch.", epoch.0.into())?;
        if let Some(high_watermark) = self.high_watermark {
            let help = "The end of what is committed in the metadata log.";
            page.gauge("kafka_server_raft_metrics_high_watermark", help, high_watermark.0)?;
        }
        let applied = self.image.end.offset.0 - 1;
        let help = "The last record of the metadata log that this node has applied.";
        page.gauge("kafka_server_broker_metadata_metrics_last_applied_record_offset", help, applied)
    }

    /// As in Kafka, what only the active controller knows is 0 on the others.
    fn controller(&self, page: &mut Page<'_>) -> fmt::Result {
        let is_active = self.leads_quorum();
        let help = "1 on the active controller.";
        page.gauge("kafka_controller_kafkacontroller_activecontrollercount", help, is_active.into())?;
        let partitions = || self.image.topics.iter().flat_map(|topic| topic.partitions.values());
        let level = |known: usize| if is_active { count(known) } else { 0 };
        let offline = partitions().filter(|partition| partition.leader.is_none()).count();
        let help = "Partitions without a leader.";
        page.gauge("kafka_controller_kafkacontroller_offlinepartitionscount", help, level(offline))?;
        let elsewhere =
            |partition: &&PartitionRegistration| partition.leader != partition.replicas.first().copied();
        let help = "Partitions that are not led by their preferred replica.";
        let name = "kafka_controller_kafkacontroller_preferredreplicaimbalancecount";
        page.gauge(name, help, level(partitions().filter(elsewhere).count()))?;
        let name = "kafka_controller_kafkacontroller_globaltopiccount";
        page.gauge(name, "Topics.", level(self.image.topics.len()))?;
        let name = "kafka_controller_kafkacontroller_globalpartitioncount";
        page.gauge(name, "Partitions.", level(partitions().count()))?;
        let fenced = self.image.cluster.brokers.values().filter(|broker| broker.fenced).count();
        let active = self.image.cluster.brokers.len() - fenced;
        let name = "kafka_controller_kafkacontroller_activebrokercount";
        page.gauge(name, "Brokers that are members.", level(active))?;
        let name = "kafka_controller_kafkacontroller_fencedbrokercount";
        page.gauge(name, "Brokers that are registered and fenced.", level(fenced))
    }

    fn replicas(&self, page: &mut Page<'_>, observed: &ObservedBroker) -> fmt::Result {
        let ObservedBroker { broker, standing } = observed;
        // `BrokerState`: starting, recovering, running, stopping.
        let state = match *standing.borrow() {
            Standing::Starting => 1,
            Standing::Fenced => 2,
            Standing::Active => 3,
            Standing::Released => 6,
        };
        page.gauge(
            "kafka_server_kafkaserver_brokerstate",
            "1 starting, 2 fenced, 3 running, 6 stopping.",
            state,
        )?;
        let mut replicas = broker.replicas.all();
        replicas.sort_by(|a, b| a.name.cmp(&b.name));
        let led: Vec<Led> = replicas.iter().filter_map(|replica| Led::of(replica)).collect();
        let total = |is_so: fn(&Led) -> bool| count(led.iter().filter(|partition| is_so(partition)).count());
        let name = "kafka_server_replicamanager_partitioncount";
        page.gauge(name, "Replicas on this broker.", count(replicas.len()))?;
        page.gauge("kafka_server_replicamanager_leadercount", "Partitions led here.", count(led.len()))?;
        let name = "kafka_server_replicamanager_underreplicatedpartitions";
        page.gauge(
            name,
            "Partitions led here that have replicas out of sync.",
            total(Led::is_under_replicated),
        )?;
        let name = "kafka_server_replicamanager_underminisrpartitioncount";
        let help = "Partitions led here that refuse acks=all: in-sync sets below min.insync.replicas.";
        page.gauge(name, help, total(Led::is_under_min_isr))?;
        let name = "kafka_server_replicamanager_atminisrpartitioncount";
        let help = "Partitions led here that cannot lose another in-sync replica.";
        page.gauge(name, help, total(Led::is_at_min_isr))?;
        page.gauge(
            "kafka_server_replicamanager_offlinereplicacount",
            "Replicas whose disk failed.",
            count(broker.replicas.offline_count()),
        )?;
        page.gauge(
            "kafka_log_logmanager_offlinelogdirectorycount",
            "Log directories that do not work.",
            count(broker.replicas.directories().offline().count()),
        )?;
        of_partitions(page, &led)?;
        of_logs(page, &replicas)
    }
}

/// What is known of a partition that this broker leads.
struct Led {
    labels: Labels,
    replicas: usize,
    in_sync: usize,
    in_sync_min: usize,
}

impl Led {
    fn of(replica: &Replica) -> Option<Led> {
        let partition = replica.lock();
        let leader = partition.serving()?;
        Some(Led {
            labels: labels(replica),
            replicas: leader.replicas.len(),
            in_sync: leader.isr.committed.len(),
            in_sync_min: partition.min_insync_replicas(),
        })
    }

    fn is_under_replicated(&self) -> bool {
        self.in_sync < self.replicas
    }

    fn is_under_min_isr(&self) -> bool {
        self.in_sync < self.in_sync_min.min(self.replicas)
    }

    fn is_at_min_isr(&self) -> bool {
        self.in_sync == self.in_sync_min
    }
}

fn labels(replica: &Replica) -> Labels {
    vec![("topic", replica.name.topic.clone()), ("partition", replica.name.partition.to_string())]
}

fn of_partitions(page: &mut Page<'_>, led: &[Led]) -> fmt::Result {
    let each = |value: fn(&Led) -> i64| -> Vec<(Labels, i64)> {
        led.iter().map(|partition| (partition.labels.clone(), value(partition))).collect()
    };
    let values = each(|partition| partition.is_under_replicated().into());
    page.gauges("kafka_cluster_partition_underreplicated", "1: replicas are out of sync.", &values)?;
    let values = each(|partition| partition.is_under_min_isr().into());
    page.gauges("kafka_cluster_partition_underminisr", "1: acks=all is refused.", &values)?;
    let values = each(|partition| count(partition.in_sync));
    page.gauges("kafka_cluster_partition_insyncreplicascount", "The size of the in-sync set.", &values)?;
    let values = each(|partition| count(partition.replicas));
    page.gauges("kafka_cluster_partition_replicascount", "The number of replicas.", &values)
}

fn of_logs(page: &mut Page<'_>, replicas: &[Arc<Replica>]) -> fmt::Result {
    let each = |value: fn(&ottla_storage::Log) -> i64| -> Vec<(Labels, i64)> {
        replicas.iter().map(|replica| (labels(replica), value(replica.lock().log()))).collect()
    };
    let values = each(|log| i64::try_from(log.size_bytes()).unwrap_or(i64::MAX));
    page.gauges("kafka_log_log_size", "Bytes of the log.", &values)?;
    let values = each(|log| count(log.segments_count()));
    page.gauges("kafka_log_log_numlogsegments", "Segments of the log.", &values)?;
    let values = each(|log| log.log_start_offset().0);
    page.gauges("kafka_log_log_logstartoffset", "The first offset of the log.", &values)?;
    let values = each(|log| log.log_end_offset().0);
    page.gauges("kafka_log_log_logendoffset", "The offset of the next record.", &values)
}

/// Of the groups that are coordinated here. How far they lag is known where a replica of the partition is here too.
fn groups(page: &mut Page<'_>, observed: &ObservedBroker) -> fmt::Result {
    let broker = &observed.broker;
    let overview = broker.groups.overview();
    let name = "kafka_coordinator_group_groupmetadatamanager_numgroups";
    page.gauge(name, "Groups coordinated here.", count(overview.groups))?;
    let name = "kafka_coordinator_group_groupmetadatamanager_numoffsets";
    page.gauge(name, "Committed offsets kept here.", count(overview.committed.len()))?;
    let ends: BTreeMap<(String, i32), i64> = broker
        .replicas
        .all()
        .iter()
        .map(|replica| {
            let name = &replica.name;
            ((name.topic.clone(), name.partition), replica.lock().high_watermark().0)
        })
        .collect();
    let (mut offsets, mut lags) = (Vec::new(), Vec::new());
    for committed in overview.committed {
        let labels = vec![
            ("consumergroup", committed.group),
            ("topic", committed.topic.clone()),
            ("partition", committed.partition.to_string()),
        ];
        if let Some(end) = ends.get(&(committed.topic, committed.partition)) {
            lags.push((labels.clone(), (end - committed.offset.0).max(0)));
        }
        offsets.push((labels, committed.offset.0));
    }
    page.gauges("kafka_consumergroup_current_offset", "The offset that a group has committed.", &offsets)?;
    page.gauges("kafka_consumergroup_lag", "Records that a group has not committed yet.", &lags)
}

fn traffic(page: &mut Page<'_>, observed: &ObservedBroker) -> fmt::Result {
    let traffic = &observed.broker.traffic;
    let rows = [
        ("messagesin", "Records appended for producers.", &traffic.messages_in),
        ("bytesin", "Bytes appended for producers.", &traffic.bytes_in),
        ("bytesrejected", "Bytes of batches that were refused.", &traffic.bytes_rejected),
        ("bytesout", "Bytes of records sent to consumers.", &traffic.bytes_out),
        ("replicationbytesout", "Bytes of records sent to followers.", &traffic.replication_bytes_out),
        ("totalproducerequests", "Partitions that were produced to.", &traffic.produce_requests),
        (
            "failedproducerequests",
            "Partitions that refused what was produced.",
            &traffic.failed_produce_requests,
        ),
        ("totalfetchrequests", "Fetches that were answered.", &traffic.fetch_requests),
    ];
    for (name, help, counter) in rows {
        page.counter(&format!("kafka_server_brokertopicmetrics_{name}"), help, counter.get())?;
    }
    Ok(())
}

/// Chooses a part of a request's way.
type Part = fn(&Parts) -> &Histogram;

/// Of the APIs that were asked for.
fn request_times(page: &mut Page<'_>, observed: &ObservedBroker) -> fmt::Result {
    let asked = || {
        let parts = observed.broker.request_times.by_name();
        parts.filter(|(_, parts)| parts.total.buckets().iter().any(|&count| count > 0))
    };
    let rows: [(&str, &str, Part); 5] = [
        ("requestqueuetimems", "From a request's arrival to its handler.", |parts| &parts.request_queue),
        ("localtimems", "In a request's handler.", |parts| &parts.local),
        ("remotetimems", "Waiting for others, or for answers to earlier requests.", |parts| &parts.remote),
        ("responsesendtimems", "Handing an answer to the system.", |parts| &parts.response_send),
        ("totaltimems", "From a request's arrival to its answer.", |parts| &parts.total),
    ];
    for (name, help, part) in rows {
        let values: Vec<(Labels, &Histogram)> =
            asked().map(|(api, parts)| (vec![("request", api.to_owned())], part(parts))).collect();
        page.histograms(&format!("kafka_network_requestmetrics_{name}"), help, &values)?;
    }
    Ok(())
}
