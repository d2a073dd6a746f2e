//! Asks controllers: makes topics there, and reads the metadata log as an observer (KIP-595, KIP-919).
//!
//! Any voter may be the first; who leads is learned from it. A voter that is down is passed over for one that
//! was named by another.

use crate::admin::cluster::{METADATA_TOPIC, QuorumDescription, describe_quorum_request, quorum_description};
use crate::client::{Backoff, Client};
use crate::config::{ClientConfig, HostPort};
use crate::error::ClientError;
use bytes::Bytes;
use ottla_net::{CallError, Outgoing};
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_protocol::messages::fetch_snapshot_request as snapshot;
use ottla_protocol::messages::{AddRaftVoterRequest, RemoveRaftVoterRequest};
use ottla_protocol::{ErrorCode, Records, Request};
use ottla_records::batches;
use ottla_types::{LeaderEpoch, NodeId, Offset, OffsetAndEpoch, Uuid};
use tokio::time::Instant;

/// Bytes of the metadata log in one answer, at most.
const FETCH_BYTES_MAX: i32 = 8 * 1024 * 1024;

/// How long a controller holds a fetch of what is not there yet.
const FETCH_WAIT_MS: i32 = 2000;

/// A snapshot larger than this is not read.
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// Elections during one reading, at most.
const ELECTIONS_MAX: usize = 20;

/// Voters remembered, at most: a quorum has fewer.
const VOTERS_MAX: usize = 64;

/// The wire's number for controllers (`EndpointType`).
const CONTROLLERS: i8 = 2;

/// The controllers of a cluster.
pub struct Quorum {
    client: Client,
    /// Every voter heard of; the one that answered last comes first.
    voters: Vec<HostPort>,
    /// One of them has told who the others are.
    knows_voters: bool,
}

/// A piece of the metadata log.
#[derive(Clone, Debug)]
pub enum MetadataBytes {
    /// All batches of a snapshot: everything before its end. What was read before is void.
    Snapshot {
        /// What the snapshot contains everything before.
        end: OffsetAndEpoch,
        /// Its batches.
        batches: Bytes,
    },
    /// Batches of the log, in order. The first may begin before the offset asked for.
    Log(Bytes),
}

impl Quorum {
    /// The quorum that these addresses belong to.
    pub fn new(config: ClientConfig) -> Quorum {
        let voters = config.bootstrap.clone();
        Quorum { client: Client::new(config), voters, knows_voters: false }
    }

    /// Every voter heard of.
    pub fn voters(&self) -> &[HostPort] {
        &self.voters
    }

    /// Asks the voters in turn until one answers as the active controller would. `judge` makes a refusal of
    /// an answer that another voter must give.
    ///
    /// # Errors
    /// When none answers within the client's deadline, or the active controller refuses.
    pub async fn ask<R: Request, T>(
        &mut self,
        what: &'static str,
        request: &R,
        mut judge: impl FnMut(R::Response) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let limit = self.client.config().deadline;
        let deadline = Instant::now() + limit;
        let mut backoff = Backoff::new(self.client.config());
        loop {
            let mut last = ClientError::Closed;
            let mut all_refuse = true;
            for voter in self.voters.clone() {
                match self.ask_voter(&voter, request).await {
                    Ok(answer) => {
                        all_refuse = false;
                        match judge(answer) {
                            Ok(answer) => {
                                self.prefer(&voter);
                                return Ok(answer);
                            }
                            Err(error) if !moved(&error) && !error.is_retriable() => return Err(error),
                            Err(error) => last = error,
                        }
                    }
                    Err(error @ CallError::Unsupported { .. }) => return Err(error.into()),
                    Err(source) => {
                        all_refuse &= matches!(source, CallError::Refused(_));
                        last = ClientError::Unreachable { address: voter.to_string(), source };
                    }
                }
            }
            // Nobody listens at any of them: waiting does not help a person who mistyped an address.
            if all_refuse && self.voters.len() == self.client.config().bootstrap.len() {
                return Err(last);
            }
            if Instant::now() + backoff.clone().next() >= deadline {
                return Err(ClientError::TimedOut { what, after: limit, last: last.to_string() });
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn ask_voter<R: Request>(
        &mut self,
        voter: &HostPort,
        request: &R,
    ) -> Result<R::Response, CallError> {
        let connection = self.client.connection_to(voter).await?;
        self.learn_voters(&connection).await;
        connection.call(request, self.client.config().request_timeout).await
    }

    /// Asks one controller, by its id.
    ///
    /// # Errors
    /// When nobody tells where it is, or it does not answer.
    pub(crate) async fn ask_node<R: Request>(
        &mut self,
        node: NodeId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let all = self.controller_endpoints().await?;
        let found = all.into_iter().find(|controller| controller.broker_id == node.0);
        let found = found.ok_or_else(|| ClientError::no_such_node(node))?;
        let port = u16::try_from(found.port).map_err(|_| ClientError::Incomplete("DescribeCluster"))?;
        let address = HostPort::new(found.host, port);
        let answer = self.ask_voter(&address, request).await;
        answer.map_err(|source| ClientError::Unreachable { address: address.to_string(), source })
    }

    /// Asks once who the others are; that it fails is no reason not to go on.
    async fn learn_voters(&mut self, connection: &Outgoing) {
        if self.knows_voters {
            return;
        }
        let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
        match connection.call(&request, self.client.config().request_timeout).await {
            Ok(answer) => {
                self.knows_voters = true;
                for node in answer.brokers {
                    if let Ok(port) = u16::try_from(node.port) {
                        self.add(HostPort::new(node.host, port));
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "a controller does not name the others"),
        }
    }

    fn add(&mut self, voter: HostPort) {
        if !self.voters.contains(&voter) && self.voters.len() < VOTERS_MAX {
            self.voters.push(voter);
        }
    }

    fn prefer(&mut self, voter: &HostPort) {
        if let Some(index) = self.voters.iter().position(|known| known == voter) {
            self.voters[..=index].rotate_right(1);
        }
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn cluster_id(&mut self) -> Result<String, ClientError> {
        let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
        self.ask("describeCluster", &request, |answer| {
            ClientError::check(answer.error_code, answer.error_message)?;
            Ok(answer.cluster_id)
        })
        .await
    }

    /// The quorum as its leader sees it.
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn describe(&mut self) -> Result<QuorumDescription, ClientError> {
        self.ask("describeMetadataQuorum", &describe_quorum_request(), quorum_description).await
    }

    /// Makes an observer a voter (KIP-853). What may be done in a while is asked again.
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn add_voter(&mut self, request: &AddRaftVoterRequest) -> Result<(), ClientError> {
        self.ask("addRaftVoter", request, |answer| {
            ClientError::check(answer.error_code, answer.error_message)
        })
        .await
    }

    /// Takes a voter out of the set (KIP-853).
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn remove_voter(&mut self, request: &RemoveRaftVoterRequest) -> Result<(), ClientError> {
        self.ask("removeRaftVoter", request, |answer| {
            ClientError::check(answer.error_code, answer.error_message)
        })
        .await
    }

    /// Reads the metadata log up to where it is committed when the reading begins, piece by piece. `each`
    /// tells the end of what it has replayed.
    ///
    /// # Errors
    /// As [`Quorum::ask`]; and when elections never end.
    pub async fn read_metadata(
        &mut self,
        mut each: impl FnMut(MetadataBytes) -> Result<OffsetAndEpoch, ClientError>,
    ) -> Result<(), ClientError> {
        let description = self.describe().await?.partition;
        let committed = Offset(description.high_watermark);
        let mut leader_epoch = LeaderEpoch(description.leader_epoch);
        let mut elections = 0;
        let mut position = OffsetAndEpoch { offset: Offset::ZERO, epoch: LeaderEpoch::NONE };
        while position.offset < committed {
            let Some(partition) = self.fetch(position, leader_epoch, None).await? else {
                elections += 1;
                if elections > ELECTIONS_MAX {
                    return Err(ClientError::refused(ErrorCode::LeaderNotAvailable, None));
                }
                leader_epoch = LeaderEpoch(self.describe().await?.partition.leader_epoch);
                continue;
            };
            let piece = self.piece(partition, leader_epoch, committed).await?;
            let next = each(piece)?;
            if next.offset <= position.offset {
                return Err(ClientError::Incomplete("Fetch"));
            }
            position = next;
        }
        Ok(())
    }

    /// What is before `committed` of what was fetched, or the snapshot that must come first.
    pub(crate) async fn piece(
        &mut self,
        partition: PartitionData,
        leader_epoch: LeaderEpoch,
        committed: Offset,
    ) -> Result<MetadataBytes, ClientError> {
        if partition.snapshot_id.end_offset < 0 {
            return Ok(MetadataBytes::Log(committed_part(records(partition)?, committed)));
        }
        let end = OffsetAndEpoch {
            offset: Offset(partition.snapshot_id.end_offset),
            epoch: LeaderEpoch(partition.snapshot_id.epoch),
        };
        Ok(MetadataBytes::Snapshot { end, batches: self.fetch_snapshot(end, leader_epoch).await? })
    }

    /// What follows `position`; `None` when there was an election and the epoch is another. Who knows up to where
    /// the log is committed waits until there is more (KIP-1166), or [`FETCH_WAIT_MS`] have passed.
    pub(crate) async fn fetch(
        &mut self,
        position: OffsetAndEpoch,
        leader_epoch: LeaderEpoch,
        known: Option<Offset>,
    ) -> Result<Option<PartitionData>, ClientError> {
        let request = FetchRequest {
            max_wait_ms: FETCH_WAIT_MS,
            min_bytes: i32::from(known.is_some()),
            max_bytes: FETCH_BYTES_MAX,
            topics: vec![FetchTopic {
                topic: METADATA_TOPIC.to_owned(),
                topic_id: Uuid::METADATA_TOPIC,
                partitions: vec![FetchPartition {
                    partition: 0,
                    current_leader_epoch: leader_epoch.0,
                    fetch_offset: position.offset.0,
                    last_fetched_epoch: position.epoch.0.max(0),
                    partition_max_bytes: FETCH_BYTES_MAX,
                    high_watermark: known.map_or(i64::MAX, |known| known.0),
                    ..FetchPartition::default()
                }],
            }],
            ..FetchRequest::default()
        };
        self.ask("fetchMetadata", &request, |answer| match fetched(answer) {
            Ok(partition) => Ok(Some(partition)),
            Err(error) if is_of_another_epoch(&error) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn fetch_snapshot(
        &mut self,
        end: OffsetAndEpoch,
        leader_epoch: LeaderEpoch,
    ) -> Result<Bytes, ClientError> {
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            let request = snapshot::FetchSnapshotRequest {
                max_bytes: FETCH_BYTES_MAX,
                topics: vec![snapshot::TopicSnapshot {
                    name: METADATA_TOPIC.to_owned(),
                    partitions: vec![snapshot::PartitionSnapshot {
                        current_leader_epoch: leader_epoch.0,
                        snapshot_id: snapshot::SnapshotId { end_offset: end.offset.0, epoch: end.epoch.0 },
                        position: bytes.len() as i64,
                        ..Default::default()
                    }],
                }],
                ..Default::default()
            };
            let (size, piece) = self
                .ask("fetchSnapshot", &request, |answer| {
                    ClientError::check(answer.error_code, None)?;
                    let topic = answer.topics.into_iter().next();
                    let partition = topic.and_then(|topic| topic.partitions.into_iter().next());
                    let partition = partition.ok_or(ClientError::Incomplete("FetchSnapshot"))?;
                    ClientError::check(partition.error_code, None)?;
                    Ok((partition.size, partition.unaligned_records))
                })
                .await?;
            let piece = piece.unwrap_or(Records::EMPTY).to_bytes();
            let piece = piece.map_err(|_| ClientError::Incomplete("FetchSnapshot"))?;
            if piece.is_empty() || bytes.len() + piece.len() > SNAPSHOT_BYTES_MAX {
                return Err(ClientError::Incomplete("FetchSnapshot"));
            }
            bytes.extend_from_slice(&piece);
            if bytes.len() as i64 >= size {
                return Ok(bytes.into());
            }
        }
    }
}

/// The metadata partition in an answer.
fn fetched(answer: FetchResponse) -> Result<PartitionData, ClientError> {
    // That is what a broker says, who does not hold this log.
    let unknown = [ErrorCode::UnknownTopicId, ErrorCode::UnknownTopicOrPartition];
    let check = |code: i16| match ErrorCode::from(code) {
        code if unknown.contains(&code) => {
            let message = "this is a broker, not a controller: use --bootstrap-server".to_owned();
            Err(ClientError::refused(ErrorCode::InvalidRequest, Some(message)))
        }
        code => ClientError::check(code.code(), None),
    };
    check(answer.error_code)?;
    let topic = answer.responses.into_iter().next();
    let partition = topic.and_then(|topic| topic.partitions.into_iter().next());
    let partition = partition.ok_or(ClientError::Incomplete("Fetch"))?;
    check(partition.error_code)?;
    Ok(partition)
}

/// The batches in an answer.
pub(crate) fn records(partition: PartitionData) -> Result<Bytes, ClientError> {
    let records = partition.records.unwrap_or(Records::EMPTY);
    records.to_bytes().map_err(|_| ClientError::Incomplete("Fetch"))
}

/// The batches before `committed`: a voter hands out what is not committed yet too, and it may never be.
pub(crate) fn committed_part(bytes: Bytes, committed: Offset) -> Bytes {
    let len: usize = batches(&bytes)
        .map_while(Result::ok)
        .take_while(|batch| batch.header().base_offset < committed)
        .map(|batch| batch.bytes().len())
        .sum();
    bytes.slice(..len)
}

/// Returns whether another voter must be asked.
fn moved(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::NotController | ErrorCode::NotLeaderOrFollower | ErrorCode::BrokerNotAvailable)
    )
}

/// Returns whether there was an election.
fn is_of_another_epoch(error: &ClientError) -> bool {
    matches!(error.code(), Some(ErrorCode::FencedLeaderEpoch | ErrorCode::UnknownLeaderEpoch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_records::BatchBuilder;
    use ottla_types::Timestamp;

    #[test]
    fn what_is_not_committed_is_left_out() {
        let batch = |base: i64| {
            let mut builder = BatchBuilder::new().base_offset(Offset(base));
            builder.push(Timestamp(0), None, Some(b"a"), &[]);
            builder.push(Timestamp(0), None, Some(b"b"), &[]);
            builder.build()
        };
        let (first, second) = (batch(0), batch(2));
        let both = Bytes::from([first.as_slice(), &second].concat());

        assert_eq!(committed_part(both.clone(), Offset(2)), first);
        assert_eq!(committed_part(both.clone(), Offset(4)), both);
        assert_eq!(committed_part(both.slice(..first.len() + 9), Offset(4)), first);
    }
}
