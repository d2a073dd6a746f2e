//! Brokers, their controller, and chance.

use super::broker::{Broker, Process};
use super::judge::Judge;
use crate::brokers::Predecessor;
use crate::bug::Bug;
use crate::{Controller, Settings};
use ottla_metadata::{ELIGIBLE_LEADER_REPLICAS, METADATA_VERSION, MetadataImage, PartitionRegistration};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_request::AlterPartitionRequest;
use ottla_protocol::messages::alter_partition_response;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
use ottla_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_protocol::records::metadata::{FeatureLevelRecord, MetadataRecord, PartitionRecord, TopicRecord};
use ottla_types::{BrokerEpoch, Decision, LeaderEpoch, NodeId, PartitionEpoch, Random, Uuid};

const BROKERS: usize = 3;
const MIN_INSYNC_REPLICAS: usize = 2;
const TOPIC_ID: Uuid = Uuid::from_u128(7);

/// A message under way. What comes from an incarnation that is gone may arrive; what goes to one does not.
enum Message {
    Alter(AlterPartitionRequest),
    Altered {
        to: usize,
        epoch: BrokerEpoch,
        asked: PartitionEpoch,
        answer: alter_partition_response::PartitionData,
    },
}

/// All there is.
pub(super) struct World {
    random: Random,
    bug: Option<Bug>,
    controller: Controller,
    brokers: Vec<Broker>,
    messages: Vec<Message>,
    judge: Judge,
    /// The one machine that loses power, where any does: more of them may lose what is promised to be kept.
    without_power: Option<usize>,
    /// How often a message arrives that might.
    prompt_per_mille: u64,
    next_value: u64,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> World {
        let mut random = Random::new(seed);
        // Without eligible leader replicas the last member leads whatever it has lost: nobody may lose anything then.
        let is_elr_on = random.chance(700);
        let without_power = is_elr_on.then(|| random.index(BROKERS));
        let ids: Vec<i32> = (1..=BROKERS as i32).collect();
        let brokers = ids.iter().map(|&id| Broker::new(NodeId(id))).collect();
        let settings = Settings { min_insync_replicas: MIN_INSYNC_REPLICAS as i32, ..Settings::for_tests() };
        let controller = Controller::new(settings, MetadataImage::default(), random.next_u64());
        let prompt_per_mille = [100, 1000][random.index(2)];
        let mut world = World {
            random,
            bug,
            controller,
            brokers,
            messages: Vec::new(),
            judge: Judge::default(),
            without_power,
            prompt_per_mille,
            next_value: 0,
        };
        world.take_over();
        if is_elr_on {
            let (name, feature_level) = (ELIGIBLE_LEADER_REPLICAS.to_owned(), 1);
            world.write(vec![MetadataRecord::FeatureLevel(FeatureLevelRecord { name, feature_level })]);
        }
        (0..BROKERS).for_each(|index| world.start(index));
        (0..BROKERS).for_each(|index| world.heartbeat(index));
        let partition = PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC_ID,
            replicas: ids.clone(),
            isr: ids,
            leader: 1,
            ..Default::default()
        };
        world.write(vec![
            MetadataRecord::Topic(TopicRecord { name: "t".to_owned(), topic_id: TOPIC_ID }),
            MetadataRecord::Partition(partition),
        ]);
        world
    }

    /// One thing happens; all that must hold is looked at.
    pub(super) fn step(&mut self) -> Result<(), String> {
        let index = self.random.index(BROKERS);
        match self.random.below(1000) {
            0..140 => {
                self.brokers[index].append(self.next_value);
                self.next_value += 1;
            }
            140..420 => self.fetch(index),
            420..570 => self.learn(index)?,
            570..610 => self.ask(index),
            610..720 if self.random.chance(self.prompt_per_mille) => self.deliver(900),
            610..720 => {}
            720..760 => self.brokers[index].synced = self.brokers[index].log.len(),
            760..790 => self.brokers[index].process = None,
            790..805 => self.lose_power(),
            805..860 => self.start(index),
            860..940 => self.heartbeat(index),
            940..945 => self.leave(index),
            945..975 => self.fence(index),
            975..990 => self.prefer(),
            _ => self.take_over(),
        }
        self.look()
    }

    /// Nothing fails any more: somebody leads, and all come into sync.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..20 {
            for index in 0..BROKERS {
                self.start(index);
                self.heartbeat(index);
                self.learn(index)?;
                // Twice: to get what there is, and to say that it has it.
                self.fetch_up_to(index, usize::MAX);
                self.fetch_up_to(index, usize::MAX);
                self.look()?;
            }
            for index in 0..BROKERS {
                let outside = |node: &NodeId| !self.partition().isr.contains(node);
                if let Some(node) = self.brokers.iter().map(|broker| broker.id).find(outside) {
                    self.ask_for(index, node);
                }
                self.request(index);
            }
            while !self.messages.is_empty() {
                self.deliver(1000);
                self.look()?;
            }
        }
        let partition = self.partition();
        match partition.leader.is_some() && partition.isr.len() == BROKERS {
            true => Ok(()),
            false => Err(format!("LIVE-1: not all came back into sync: {partition:?}")),
        }
    }

    /// How many records were committed: a run without any proves nothing.
    pub(super) fn committed_count(&self) -> usize {
        self.judge.committed_count()
    }

    /// How many terms of leadership began.
    pub(super) fn leaders_count(&self) -> usize {
        self.judge.leaders_count()
    }

    fn look(&mut self) -> Result<(), String> {
        for broker in &mut self.brokers {
            let id = broker.id;
            self.judge.committed(id, broker.commit(MIN_INSYNC_REPLICAS))?;
        }
        let image = self.controller.image();
        let partition =
            image.topics.by_id(TOPIC_ID).map(|topic| &topic.partitions[&0]).expect("it was created");
        self.judge.registration(partition, &image.cluster, &self.brokers)
    }
}

/// What the controller does.
impl World {
    fn partition(&self) -> &PartitionRegistration {
        &self.controller.image().topics.by_id(TOPIC_ID).expect("it was created").partitions[&0]
    }

    fn write(&mut self, records: Vec<MetadataRecord>) {
        for record in &records {
            let end = self.controller.image().end.offset;
            self.controller.replay(record, end).unwrap();
        }
    }

    fn carry_out<T>(&mut self, mut decision: Decision<MetadataRecord, T>) -> T {
        self.write(decision.records);
        decision.replies.pop().expect("a request is answered")
    }

    /// Another controller goes on from what the log says.
    fn take_over(&mut self) {
        let (settings, image) = (self.controller.settings.clone(), self.controller.image().clone());
        self.controller = Controller::new(settings, image, self.random.next_u64());
        self.controller.bug = self.bug;
    }

    /// The failure detector says that a broker is gone: it is, or for once it is not.
    fn fence(&mut self, index: usize) {
        if self.brokers[index].process.is_some() && !self.random.chance(200) {
            return;
        }
        let id = self.brokers[index].id;
        if let Some(epoch) = self.controller.image().cluster.broker(id).map(|broker| broker.epoch) {
            let records = self.controller.fence(id, epoch);
            self.write(records);
        }
    }

    fn prefer(&mut self) {
        let decision = self.controller.handle_elect_leaders(&ElectLeadersRequest::default());
        let answer = self.carry_out(decision);
        assert_eq!(answer.error_code, ErrorCode::None.code());
    }

    /// One message arrives, or is lost.
    fn deliver(&mut self, arrives_per_mille: u64) {
        if self.messages.is_empty() {
            return;
        }
        let message = self.messages.swap_remove(self.random.index(self.messages.len()));
        if !self.random.chance(arrives_per_mille) {
            return;
        }
        match message {
            Message::Alter(request) => {
                let decision = self.controller.handle_alter_partition(&request);
                let answer = self.carry_out(decision);
                let asked = PartitionEpoch(request.topics[0].partitions[0].partition_epoch);
                let epoch = BrokerEpoch(request.broker_epoch);
                let to = self.brokers.iter().position(|broker| broker.id.0 == request.broker_id);
                // A stale incarnation is told so, and does not live any more.
                if let (Some(to), Some(topic)) = (to, answer.topics.into_iter().next()) {
                    let answer = topic.partitions.into_iter().next().expect("one was asked for");
                    self.messages.push(Message::Altered { to, epoch, asked, answer });
                }
            }
            Message::Altered { to, epoch, asked, answer } => self.altered(to, epoch, asked, &answer),
        }
    }
}

/// What brokers do.
impl World {
    fn start(&mut self, index: usize) {
        if self.brokers[index].process.is_some() {
            return;
        }
        let feature = |name: &str, max| Feature {
            name: name.to_owned(),
            min_supported_version: 0,
            max_supported_version: max,
        };
        let request = BrokerRegistrationRequest {
            broker_id: self.brokers[index].id.0,
            cluster_id: self.controller.settings.cluster_id.clone(),
            incarnation_id: self.random.uuid(),
            listeners: vec![Listener { port: 9092, ..Listener::default() }],
            features: vec![feature(METADATA_VERSION, 99), feature(ELIGIBLE_LEADER_REPLICAS, 1)],
            previous_broker_epoch: self.brokers[index].complete_since.0,
            ..Default::default()
        };
        let decision = self.controller.handle_broker_registration(&request, Predecessor::Gone);
        let answer = self.carry_out(decision);
        assert_eq!(answer.error_code, ErrorCode::None.code());
        let epoch = BrokerEpoch(answer.broker_epoch);
        let broker = &mut self.brokers[index];
        (broker.complete_since, broker.has_lost) = (epoch, false);
        broker.process = Some(Process { epoch, is_leaving: false, known: None, leading: None });
    }

    /// A process is told to end in order. It says so with every heartbeat, until it may.
    fn leave(&mut self, index: usize) {
        if let Some(process) = &mut self.brokers[index].process {
            process.is_leaving = true;
        }
    }

    fn heartbeat(&mut self, index: usize) {
        let Some(process) = &self.brokers[index].process else { return };
        let request = BrokerHeartbeatRequest {
            broker_id: self.brokers[index].id.0,
            broker_epoch: process.epoch.0,
            current_metadata_offset: self.controller.image().end.offset.0 - 1,
            want_shut_down: process.is_leaving,
            ..Default::default()
        };
        let decision = self.controller.handle_broker_heartbeat(&request);
        let answer = self.carry_out(decision);
        assert_eq!(answer.error_code, ErrorCode::None.code());
        if answer.should_shut_down {
            let broker = &mut self.brokers[index];
            broker.synced = broker.log.len();
            broker.process = None;
        }
    }

    /// Power goes, whether a process runs or not: the page cache is lost.
    fn lose_power(&mut self) {
        let Some(index) = self.without_power else { return };
        let broker = &mut self.brokers[index];
        let end = broker.synced + self.random.index(broker.log.len() - broker.synced + 1);
        broker.process = None;
        broker.log.truncate(end);
        broker.synced = end;
        (broker.complete_since, broker.has_lost) = (BrokerEpoch::NONE, true);
    }

    fn learn(&mut self, index: usize) -> Result<(), String> {
        let partition = self.partition().clone();
        let broker = &mut self.brokers[index];
        if broker.learn(&partition) { self.judge.leads(broker) } else { Ok(()) }
    }

    fn fetch(&mut self, index: usize) {
        let count = self.random.index(4);
        self.fetch_up_to(index, count);
    }

    /// A follower asks its leader, and gets up to so many records, if both know of the same term.
    fn fetch_up_to(&mut self, index: usize, count_max: usize) {
        let Some(Process { epoch, known: Some(known), .. }) = &self.brokers[index].process else { return };
        let (epoch, leader_epoch, leader) = (*epoch, known.leader_epoch, known.leader);
        let Some(at) = self.brokers.iter().position(|broker| Some(broker.id) == leader) else { return };
        if at == index || self.leader_epoch(at) != Some(leader_epoch) {
            return;
        }
        let log = self.brokers[at].log.clone();
        let follower = &mut self.brokers[index];
        let reached = follower.truncate(&log);
        follower.log.extend(log[reached..].iter().take(count_max));
        let id = follower.id;
        if let Some(leading) = self.brokers[at].leading() {
            leading.fetched(id, epoch, reached);
        }
    }

    fn leader_epoch(&mut self, index: usize) -> Option<LeaderEpoch> {
        self.brokers[index].leading().map(|leading| leading.epoch)
    }

    /// A leader finds that a follower lags, or that it has caught up; or it asks again.
    fn ask(&mut self, index: usize) {
        let node = self.brokers[self.random.index(BROKERS)].id;
        self.ask_for(index, node);
        self.request(index);
    }

    fn ask_for(&mut self, index: usize, node: NodeId) {
        let Some(local) = self.identity(index) else { return };
        if let Some(leading) = self.brokers[index].leading() {
            leading.ask(local, node);
        }
    }

    fn request(&mut self, index: usize) {
        let Some(local) = self.identity(index) else { return };
        let request = self.brokers[index].leading().and_then(|leading| leading.request(TOPIC_ID, local));
        self.messages.extend(request.map(Message::Alter));
    }

    fn identity(&self, index: usize) -> Option<(NodeId, BrokerEpoch)> {
        let broker = &self.brokers[index];
        Some((broker.id, broker.process.as_ref()?.epoch))
    }

    fn altered(
        &mut self,
        to: usize,
        epoch: BrokerEpoch,
        asked: PartitionEpoch,
        answer: &alter_partition_response::PartitionData,
    ) {
        let Some(process) = self.brokers[to].process.as_mut().filter(|process| process.epoch == epoch) else {
            return;
        };
        let Some(leading) = &mut process.leading else { return };
        match ErrorCode::from(answer.error_code) {
            ErrorCode::None if leading.epoch == LeaderEpoch(answer.leader_epoch) => {
                let isr: Vec<NodeId> = answer.isr.iter().copied().map(NodeId).collect();
                leading.settled(&isr, PartitionEpoch(answer.partition_epoch));
            }
            ErrorCode::IneligibleReplica => leading.refused(asked),
            // The image says more.
            _ => {}
        }
    }
}
