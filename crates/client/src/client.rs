//! The client's knowledge of the cluster, and its calls to it.

use crate::config::{ClientConfig, HostPort};
use crate::connections::Connections;
use crate::error::ClientError;
use crate::hedge::{self, MOMENT};
use crate::metadata::{Metadata, Scope};
use ottla_net::{CallError, Outgoing};
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::{ApiKey, ErrorCode, Request};
use ottla_types::{LeaderEpoch, NodeId, Random, TopicPartition, Uuid};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A client of one cluster. Clones share its connections and what it knows.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: ClientConfig,
    connections: Connections,
    metadata: watch::Sender<Arc<Metadata>>,
    random: Mutex<Random>,
    /// When it was last said of a node that it cannot be reached.
    warned: Mutex<BTreeMap<HostPort, Instant>>,
}

/// Which topics to ask about.
#[derive(Clone, Copy, Debug)]
pub enum Topics<'a> {
    /// All that there are.
    All,
    /// These. None at all: only the brokers.
    Named(&'a [String]),
}

impl Client {
    /// A client that knows nothing yet and has no connection.
    pub fn new(config: ClientConfig) -> Client {
        let inner = Inner {
            connections: Connections::new(&config),
            metadata: watch::Sender::default(),
            random: Mutex::new(Random::new(config.seed)),
            warned: Mutex::default(),
            config,
        };
        Client { inner: Arc::new(inner) }
    }

    /// The client's settings.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// What is known of the cluster.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.inner.metadata.borrow().clone()
    }

    /// Tells of every change of what is known.
    pub fn watch_metadata(&self) -> watch::Receiver<Arc<Metadata>> {
        self.inner.metadata.subscribe()
    }

    /// An index into a collection of `len` elements, by chance.
    pub fn random_index(&self, len: usize) -> usize {
        self.inner.random.lock().index(len)
    }

    /// A number by chance.
    pub fn random_number(&self) -> u64 {
        self.inner.random.lock().next_u64()
    }

    /// An id by chance: nobody else has it.
    pub fn random_uuid(&self) -> Uuid {
        self.inner.random.lock().uuid()
    }

    /// Asks a broker about topics.
    ///
    /// # Errors
    /// When no broker answers. That a topic does not exist is told by [`Metadata::topic_errors`].
    pub async fn refresh(&self, topics: Topics<'_>) -> Result<Arc<Metadata>, ClientError> {
        self.ask_metadata(topics, false).await
    }

    /// Asks about topics, and has those made that do not exist, where the brokers do that.
    ///
    /// # Errors
    /// As [`Client::refresh`].
    pub async fn refresh_or_create(&self, topics: &[String]) -> Result<Arc<Metadata>, ClientError> {
        self.ask_metadata(Topics::Named(topics), true).await
    }

    async fn ask_metadata(&self, topics: Topics<'_>, create: bool) -> Result<Arc<Metadata>, ClientError> {
        let (scope, topics) = match topics {
            Topics::All => (Scope::All, None),
            Topics::Named(names) => {
                let topic =
                    |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
                (Scope::Some, Some(names.iter().map(topic).collect()))
            }
        };
        let request =
            MetadataRequest { topics, allow_auto_topic_creation: create, ..MetadataRequest::default() };
        let response = self.call_any(&request).await?;
        ClientError::check(response.error_code, None)?;
        self.inner.metadata.send_modify(|known| *known = Arc::new(known.updated(response, scope)));
        Ok(self.metadata())
    }

    /// Takes note of a leader that a broker named (KIP-951).
    pub fn learn_leader(&self, at: &TopicPartition, leader: NodeId, epoch: LeaderEpoch) {
        self.inner.metadata.send_if_modified(|known| match known.with_leader(at, leader, epoch) {
            Some(next) => {
                *known = Arc::new(next);
                true
            }
            None => false,
        });
    }

    /// The connection to a broker.
    ///
    /// # Errors
    /// When it is not known, or cannot be reached.
    pub async fn connection(&self, node: NodeId) -> Result<Arc<Outgoing>, ClientError> {
        let address = self.metadata().brokers.get(&node).map(|broker| broker.address.clone());
        let address = address.ok_or_else(|| ClientError::refused(ErrorCode::BrokerNotAvailable, None))?;
        Ok(self.inner.connections.to(&address).await?)
    }

    /// The connection to an address.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn connection_to(&self, address: &HostPort) -> Result<Arc<Outgoing>, CallError> {
        self.inner.connections.to(address).await
    }

    /// Calls one broker.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn call<R: Request>(&self, node: NodeId, request: &R) -> Result<R::Response, ClientError> {
        let connection = self.connection(node).await?;
        Ok(connection.call(request, self.inner.config.request_timeout).await?)
    }

    /// Calls whichever broker answers, beginning with one by chance. Who says nothing for a moment is waited for no longer than
    /// that before the next is asked, unless the request changes something and was sent: two who carry it out could answer that
    /// it was done before.
    ///
    /// # Errors
    /// When none does; what one answers is the answer, whatever it says.
    pub async fn call_any<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        let mut addresses: Vec<HostPort> =
            self.metadata().brokers.values().map(|broker| broker.address.clone()).collect();
        self.inner.random.lock().shuffle(&mut addresses);
        // Those that we began with: the others may all have moved.
        for address in &self.inner.config.bootstrap {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let mut failed = Vec::new();
        if only_asks(R::KEY) {
            match hedge::first(addresses, MOMENT, |address| self.call_at(address, request)).await {
                Ok(answer) => return Ok(answer),
                Err(errors) => failed = errors,
            }
        } else {
            while !addresses.is_empty() {
                let connect = |address| async { self.greet_at(&address).await.map(|open| (address, open)) };
                match hedge::first(addresses.clone(), MOMENT, connect).await {
                    Ok((address, open)) => {
                        let answer = open.call(request, self.inner.config.request_timeout).await;
                        match answer.map_err(|source| self.inner.unreachable(&address, source)) {
                            Ok(answer) => return Ok(answer),
                            Err(error) => failed.push(error),
                        }
                        addresses.retain(|other| *other != address);
                    }
                    Err(errors) => {
                        failed.extend(errors);
                        break;
                    }
                }
            }
        }
        // That a broker does not serve this is an answer, and no reason to ask again; that another cannot be reached does not
        // change it.
        let unserved = failed.iter().position(is_unserved);
        let at = unserved.or_else(|| failed.len().checked_sub(1));
        Err(at.map_or(ClientError::Closed, |at| failed.swap_remove(at)))
    }

    async fn connect_at(&self, address: &HostPort) -> Result<Arc<Outgoing>, ClientError> {
        self.inner.connections.to(address).await.map_err(|source| self.inner.unreachable(address, source))
    }

    /// The connection to a process that runs at this moment.
    async fn greet_at(&self, address: &HostPort) -> Result<Arc<Outgoing>, ClientError> {
        let open = self.connect_at(address).await?;
        let greeted = open.greet(self.inner.config.request_timeout).await;
        greeted.map(|()| open).map_err(|source| self.inner.unreachable(address, source))
    }

    async fn call_at<R: Request>(&self, address: HostPort, request: &R) -> Result<R::Response, ClientError> {
        let open = self.connect_at(&address).await?;
        let answer = open.call(request, self.inner.config.request_timeout).await;
        answer.map_err(|source| self.inner.unreachable(&address, source))
    }

    /// Tries until it succeeds, fails for good, or the time is over ([`ClientConfig::deadline`]).
    ///
    /// # Errors
    /// The last try's error when that is for good, else [`ClientError::TimedOut`].
    pub async fn retry<T, F, A>(&self, what: &'static str, attempt: F) -> Result<T, ClientError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, ClientError>>,
    {
        self.retry_within(what, self.inner.config.deadline, attempt).await
    }

    /// Tries until it succeeds, fails for good, or the time is over.
    ///
    /// # Errors
    /// As [`Client::retry`].
    pub async fn retry_within<T, F, A>(
        &self,
        what: &'static str,
        limit: Duration,
        mut attempt: F,
    ) -> Result<T, ClientError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, ClientError>>,
    {
        let deadline = Instant::now() + limit;
        let mut backoff = Backoff::new(&self.inner.config);
        let mut last = None;
        let over = |last: Option<ClientError>| match last {
            Some(ClientError::Unreachable { .. }) => ClientError::NoNode { what },
            Some(error) => ClientError::TimedOut { what, after: limit, last: error.to_string() },
            None => ClientError::TimedOut { what, after: limit, last: "no answer".to_owned() },
        };
        loop {
            match tokio::time::timeout_at(deadline, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if !error.is_retriable() => return Err(error),
                Ok(Err(error)) => last = Some(error),
                Err(_) => return Err(over(last)),
            }
            let pause = backoff.next();
            if Instant::now() + pause >= deadline {
                return Err(over(last));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// How often it is said of one node that it cannot be reached, at most.
const WARNING_PERIOD: Duration = Duration::from_secs(1);

impl Inner {
    fn unreachable(&self, address: &HostPort, source: CallError) -> ClientError {
        if !matches!(source, CallError::Unsupported { .. }) && self.may_warn_of(address) {
            tracing::warn!(
                "Connection to {address} could not be established ({source}). Node may not be available."
            );
        }
        ClientError::Unreachable { address: address.to_string(), source }
    }

    /// Returns whether nothing was said of this node for a while, and notes that something is now.
    fn may_warn_of(&self, address: &HostPort) -> bool {
        let now = Instant::now();
        let mut warned = self.warned.lock();
        if warned.get(address).is_some_and(|last| now - *last < WARNING_PERIOD) {
            return false;
        }
        warned.insert(address.clone(), now);
        true
    }
}

/// Returns whether a request changes nothing, so that it does no harm if two answer it.
fn only_asks(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::Metadata
            | ApiKey::DescribeCluster
            | ApiKey::DescribeConfigs
            | ApiKey::DescribeQuorum
            | ApiKey::DescribeTopicPartitions
            | ApiKey::FindCoordinator
            | ApiKey::ListConfigResources
            | ApiKey::ListPartitionReassignments
    )
}

fn is_unserved(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { source: CallError::Unsupported { .. }, .. })
}

/// Pauses that double.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// The pauses that the settings allow.
    pub fn new(config: &ClientConfig) -> Backoff {
        Backoff { first: config.backoff, next: config.backoff, max: config.backoff_max }
    }

    /// The next pause.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and nobody iterates")]
    pub fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause
    }

    /// Begins with the shortest again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::message::encode_to_vec;
    use ottla_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
    use ottla_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
    use std::io::{self, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// The last version of CreateTopics whose header has no tagged fields.
    const CREATE_TOPICS_VERSION: i16 = 4;

    /// A broker that creates topics, until it is frozen.
    #[derive(Default)]
    struct Broker {
        is_frozen: AtomicBool,
        /// How many requests came when it was.
        unanswered: AtomicUsize,
    }

    impl Broker {
        fn start() -> (Arc<Broker>, HostPort) {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = HostPort::new("127.0.0.1", listener.local_addr().expect("an address").port());
            let broker = Arc::new(Broker::default());
            let itself = broker.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let broker = itself.clone();
                    std::thread::spawn(move || broker.serve(stream));
                }
            });
            (broker, address)
        }

        fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
            let mut prefix = [0; 4];
            loop {
                stream.read_exact(&mut prefix)?;
                let mut request = vec![0; u32::from_be_bytes(prefix) as usize];
                stream.read_exact(&mut request)?;
                if self.is_frozen.load(Ordering::Relaxed) {
                    self.unanswered.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let body = if request[..2] == ApiKey::ApiVersions.code().to_be_bytes() {
                    let serves = |key: ApiKey, max_version| ApiVersion {
                        api_key: key.code(),
                        max_version,
                        ..Default::default()
                    };
                    let api_keys = vec![
                        serves(ApiKey::ApiVersions, 3),
                        serves(ApiKey::CreateTopics, CREATE_TOPICS_VERSION),
                    ];
                    encode_to_vec(&ApiVersionsResponse { api_keys, ..Default::default() }, 3)
                } else {
                    encode_to_vec(&CreateTopicsResponse::default(), CREATE_TOPICS_VERSION)
                };
                let body = body.expect("it can be encoded");
                let len = u32::try_from(4 + body.len()).expect("it is short");
                stream.write_all(&[&len.to_be_bytes()[..], &request[4..8], &body].concat())?;
            }
        }
    }

    #[tokio::test]
    async fn a_broker_that_froze_on_an_open_connection_is_not_waited_for() {
        let ((frozen, its_address), (_, address)) = (Broker::start(), Broker::start());
        let bootstrap = vec![its_address.clone(), address.clone()];
        let client = Client::new(ClientConfig::new(bootstrap, "client", 1));
        for address in [&its_address, &address] {
            client.connection_to(address).await.expect("it answers");
        }
        frozen.is_frozen.store(true, Ordering::Relaxed);
        let begun = Instant::now();

        client.call_any(&CreateTopicsRequest::default()).await.expect("the other one answers");

        assert!(frozen.unanswered.load(Ordering::Relaxed) > 0, "it is asked first");
        assert!(begun.elapsed() < client.inner.config.request_timeout / 4, "{:?}", begun.elapsed());
    }
}
